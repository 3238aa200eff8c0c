"""Everything of a parametric map before its frames: whose it is, what it shows, where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import format_number_as_ds

from secondread.bundles.output import DeclaredMap
from secondread.errors import ResultError
from secondread.results import coding
from secondread.results.companions.companion import Companion, begin, say_body_part
from secondread.results.context import NODE_MANUFACTURER, PM, RESEARCH_NOTICE, ResultContext
from secondread.results.equipment import mark_lossy
from secondread.results.slices import SliceGeometry
from secondread.results.wording import plain

PARAMETRIC_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.30"

_IMAGE_TYPE = ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]
_CODE_STRING = 16
_LONG_STRING = 64
_QUANTITY = Code("246205007", "SCT", "Quantity")
_REGIONS: Mapping[str, Code] = MappingProxyType(
    {
        "ABDOMEN": Code("818981001", "SCT", "Abdomen"),
        "BRAIN": Code("12738006", "SCT", "Brain"),
        "CHEST": Code("816094009", "SCT", "Chest"),
        "CSPINE": Code("122494005", "SCT", "Cervical spine"),
        "HEAD": Code("69536005", "SCT", "Head"),
        "HEART": Code("80891009", "SCT", "Heart"),
        "LIVER": Code("10200004", "SCT", "Liver"),
        "LSPINE": Code("122496007", "SCT", "Lumbar spine"),
        "NECK": Code("45048000", "SCT", "Neck"),
        "PELVIS": Code("816092008", "SCT", "Pelvis"),
        "SPINE": Code("421060004", "SCT", "Spine"),
        "TSPINE": Code("122495006", "SCT", "Thoracic spine"),
    }
)
"""Of the usual body parts that have no side (PS3.16 annex L)."""
_FLOAT = np.finfo(np.float32)


def make_map_header(
    context: ResultContext, declared: DeclaredMap, number: int, slices: tuple[SliceGeometry, ...]
) -> Dataset:
    """Everything of a map before the groups of each frame.

    Args:
        context: the job.
        declared: what the map shows.
        number: its place in the series, from 1.
        slices: of the volume.

    Raises:
        ResultError: the source has no frame of reference.
    """
    source = context.reference
    if not source.get("FrameOfReferenceUID"):
        raise ResultError(
            "The source has no Frame of Reference UID, so nothing can be laid over it."
        )
    # C.8.32.1: the modality is that of the images that the map was made from.
    modality = str(source.get("Modality") or "OT")
    companion = Companion(PM, PARAMETRIC_MAP_STORAGE, modality, "parametric map", number)
    header = begin(context, companion)
    header.FrameOfReferenceUID = source.FrameOfReferenceUID
    header.PositionReferenceIndicator = source.get("PositionReferenceIndicator")
    header.ImageType = _IMAGE_TYPE
    header.AcquisitionContextSequence = []
    header.PixelPresentation = "MONOCHROME"
    header.ContentQualification = context.qualification
    header.ContentLabel = _as_code_string(declared.id)
    header.ContentDescription = _describe(context, declared)
    header.ContentCreatorName = f"{NODE_MANUFACTURER}^{plain(context.manifest.id, 48)}"
    header.BurnedInAnnotation = "NO"
    header.RecognizableVisualFeatures = str(source.get("RecognizableVisualFeatures") or "NO")
    header.PresentationLUTShape = "IDENTITY"
    _describe_pixels(header, context)
    _name_dimensions(header, context.object_uid("dimensions", PM))
    _list_sources(header, context)
    say_body_part(header, source)
    header.SharedFunctionalGroupsSequence = [_share(context, declared, slices[0])]
    return header


def _as_code_string(text: str) -> str:
    """Upper case letters, digits, space and underscore (PS3.5 6.2)."""
    signs = (sign if sign.isalnum() else "_" for sign in plain(text).upper())
    return "".join(signs)[:_CODE_STRING]


def _describe(context: ResultContext, declared: DeclaredMap) -> str:
    if context.is_research:
        name = plain(declared.name.meaning, _LONG_STRING - len(RESEARCH_NOTICE) - 2)
        return f"{name}. {RESEARCH_NOTICE}"
    return plain(declared.name.meaning, _LONG_STRING)


def _describe_pixels(header: Dataset, context: ResultContext) -> None:
    depth, rows, columns = context.analysed.voxels.shape
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.NumberOfFrames = depth
    header.Rows, header.Columns = rows, columns
    header.BitsAllocated = 32
    header.LossyImageCompression = "00"
    mark_lossy(header, context.reference)


def _name_dimensions(header: Dataset, uid: str) -> None:
    """One dimension: the slices, by their position (PS3.3 C.7.6.17)."""
    organization, index = Dataset(), Dataset()
    organization.DimensionOrganizationUID = index.DimensionOrganizationUID = uid
    index.DimensionIndexPointer = 0x0020_0032
    index.FunctionalGroupPointer = 0x0020_9113
    index.DimensionDescriptionLabel = "Image Position Patient"
    header.DimensionOrganizationSequence = [organization]
    header.DimensionIndexSequence = [index]


def _list_sources(header: Dataset, context: ResultContext) -> None:
    """Referenced Series Sequence: every source object, by series (PS3.3 C.12.5)."""
    series: dict[str, list[Dataset]] = {}
    for source in context.sources:
        instance = Dataset()
        instance.ReferencedSOPClassUID = source.SOPClassUID
        instance.ReferencedSOPInstanceUID = source.SOPInstanceUID
        series.setdefault(str(source.SeriesInstanceUID), []).append(instance)
    items = []
    for uid, instances in series.items():
        item = Dataset()
        item.ReferencedInstanceSequence = instances
        item.SeriesInstanceUID = uid
        items.append(item)
    header.ReferencedSeriesSequence = items


def _share(context: ResultContext, declared: DeclaredMap, first: SliceGeometry) -> Dataset:
    """The functional groups that all frames share (PS3.3 table A.75-2)."""
    step_mm = context.analysed.step_mm
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(first.orientation)
    measures.SliceThickness = format_number_as_ds(first.thickness_mm or step_mm)
    measures.SpacingBetweenSlices = format_number_as_ds(step_mm)
    measures.PixelSpacing = list(first.pixel_spacing)
    window = Dataset()
    window.WindowCenter = format_number_as_ds((declared.low + declared.high) / 2)
    window.WindowWidth = format_number_as_ds(declared.high - declared.low)
    # The usual function takes no width under 1 (PS3.3 C.11.2.1.2.1), which most maps need.
    window.VOILUTFunction = "LINEAR_EXACT"
    rescale, kind = Dataset(), Dataset()
    rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = 0, 1, "US"
    kind.FrameType = _IMAGE_TYPE
    shared = Dataset()
    if region := _REGIONS.get(str(context.reference.get("BodyPartExamined") or "").upper()):
        anatomy = Dataset()
        anatomy.AnatomicRegionSequence = [CodedConcept.from_code(region)]
        anatomy.FrameLaterality = "U"
        shared.FrameAnatomySequence = [anatomy]
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelMeasuresSequence = [measures]
    shared.FrameVOILUTSequence = [window]
    shared.PixelValueTransformationSequence = [rescale]
    shared.ParametricMapFrameTypeSequence = [kind]
    shared.RealWorldValueMappingSequence = [_map_values(declared)]
    return shared


def _map_values(declared: DeclaredMap) -> Dataset:
    """What the numbers are: themselves, of this quantity in this unit (PS3.3 C.7.6.16.2.11)."""
    quantity, mapping = Dataset(), Dataset()
    quantity.ValueType = "CODE"
    quantity.ConceptNameCodeSequence = [CodedConcept.from_code(_QUANTITY)]
    quantity.ConceptCodeSequence = [coding.concept(declared.name)]
    mapping.LUTExplanation = plain(declared.name.meaning, _LONG_STRING)
    mapping.LUTLabel = plain(declared.id, _CODE_STRING)
    mapping.MeasurementUnitsCodeSequence = [coding.concept(declared.unit)]
    mapping.QuantityDefinitionSequence = [quantity]
    mapping.DoubleFloatRealWorldValueFirstValueMapped = float(_FLOAT.min)
    mapping.DoubleFloatRealWorldValueLastValueMapped = float(_FLOAT.max)
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 0.0, 1.0
    return mapping
