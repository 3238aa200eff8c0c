"""Defects of what goes besides segmentation and report."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from tests.defects.seeding import ELSEWHERE, Seeds, item_of

seeds = Seeds()
KO, PR = "key objects", "presentation state"
PICTURES = ("capture", "summary")
PDF, PM, RTSTRUCT = "PDF", "parametric map", "structure set"


def references_of(selection: Dataset) -> list[Dataset]:
    return [item for item in selection.ContentSequence if "ReferencedSOPSequence" in item]


@seeds(KO, "title is not in DICOM's CID 7010")
def _untitled(found):
    """another title than key object selections have"""
    found.ConceptNameCodeSequence[0].CodeValue = "126000"


@seeds(KO, "does not name TID 2010")
def _other_template(found):
    """another root template"""
    found.ContentTemplateSequence[0].TemplateIdentifier = "1500"


@seeds(KO, "refers to an object that is not there")
def _select_nothing(found):
    """a key object that does not exist"""
    evidence = found.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    for instance in (references_of(found)[0], evidence):
        instance.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = ELSEWHERE


@seeds(KO, "evidence does not list every object")
def _forget_evidence(found):
    """a key object that the evidence does not list"""
    del found.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]


@seeds(KO, "as of another SOP class than it is")
def _other_class(found):
    """a key object with another SOP class"""
    reference = references_of(found)[0].ReferencedSOPSequence[0]
    reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"


@seeds(KO, "does not name the report")
def _leave_out_the_report(found):
    """a selection without the report"""
    found.ContentSequence.remove(references_of(found)[0])


@seeds(KO, "does not say that it is for research only")
def _drop_notice(found):
    """a description without the notice of research"""
    item_of(found, "Key Object Description").TextValue = "Structures of the head."


@seeds(KO, "items of a type that TID 2010 does not have")
def _other_type(found):
    """a number among the key objects"""
    item_of(found, "Key Object Description").ValueType = "NUM"


@seeds(PR, "refers to an object that is not there")
def _draw_on_nothing(found):
    """an image that does not exist"""
    first = found.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    old = first.ReferencedSOPInstanceUID
    first.ReferencedSOPInstanceUID = ELSEWHERE
    for keyword in ("GraphicAnnotationSequence", "SoftcopyVOILUTSequence"):
        for item in found.get(keyword) or ():
            for image in item.get("ReferencedImageSequence") or ():
                if image.ReferencedSOPInstanceUID == old:
                    image.ReferencedSOPInstanceUID = ELSEWHERE


@seeds(PR, "draws on an image that it does not list")
def _forget_an_image(found):
    """lines on an image that is not listed"""
    del found.ReferencedSeriesSequence[0].ReferencedImageSequence[0]


@seeds(PR, "in a series that it is not in")
def _other_series(found):
    """images in another series than they are in"""
    found.ReferencedSeriesSequence[0].SeriesInstanceUID = ELSEWHERE


@seeds(PR, "draws on a layer that it does not describe")
def _drop_layers(found):
    """lines on a layer that is not there"""
    found.GraphicAnnotationSequence[0].GraphicLayer = "ELSEWHERE"


@seeds(PR, "another number of points than it says")
def _other_count(found):
    """a line with more points than it says"""
    found.GraphicAnnotationSequence[0].GraphicObjectSequence[0].NumberOfGraphicPoints = 2


@seeds(PR, "draws beside the image")
def _draw_beside(found):
    """a line beside the image"""
    line = found.GraphicAnnotationSequence[0].GraphicObjectSequence[0]
    line.GraphicData = [float(value) + 300.0 for value in line.GraphicData]


@seeds(PR, "how grey its values are")
def _drop_lut(found):
    """no Presentation LUT Shape"""
    del found.PresentationLUTShape


@seeds(PR, "does not say that it is for research only")
def _drop_description(found):
    """no notice of research"""
    found.ContentDescription = "Outlines"


@seeds(PR, "lacks DisplayedAreaSelectionSequence")
def _drop_area(found):
    """no Displayed Area Selection"""
    del found.DisplayedAreaSelectionSequence


@seeds(PICTURES, "does not say that text is burned into it")
def _deny_text(found):
    """Burned In Annotation NO"""
    found.BurnedInAnnotation = "NO"


@seeds(PICTURES, "has not the length of its frames|does not decode to the size")
def _lose_pixels(found):
    """pixels for fewer rows than it says"""
    found.Rows = int(found.Rows) + 8


@seeds(PICTURES, "does not say that it is derived")
def _original(found):
    """a picture that calls itself original"""
    found.ImageType = ["ORIGINAL", "PRIMARY"]


@seeds(PICTURES, "refers to an object that is not there")
def _derive_from_nothing(found):
    """a picture of an image that does not exist"""
    found.SourceImageSequence[0].ReferencedSOPInstanceUID = ELSEWHERE


@seeds(PICTURES, "lacks ConversionType")
def _drop_conversion(found):
    """no Conversion Type"""
    del found.ConversionType


@seeds(PDF, "it does not begin with %PDF")
def _no_pdf(found):
    """a document that is no PDF"""
    found.EncapsulatedDocument = b"<html>" + bytes(found.EncapsulatedDocument)[6:]


@seeds(PDF, "its end is not there")
def _cut_short(found):
    """a PDF without its end"""
    content = bytes(found.EncapsulatedDocument)
    found.EncapsulatedDocument = content[: len(content) // 4 * 2]
    found.EncapsulatedDocumentLength = len(found.EncapsulatedDocument)


@seeds(PDF, "another MIME type")
def _other_type_of_document(found):
    """another MIME type"""
    found.MIMETypeOfEncapsulatedDocument = "text/xml"


@seeds(PDF, "not as long as it says")
def _other_length(found):
    """another length than it has"""
    found.EncapsulatedDocumentLength = 100


@seeds(PDF, "does not say that it shows who the patient is")
def _deny_identity(found):
    """Burned In Annotation NO"""
    found.BurnedInAnnotation = "NO"


@seeds(PDF, "refers to an object that is not there")
def _made_from_nothing(found):
    """a PDF of an object that does not exist"""
    found.SourceInstanceSequence[0].ReferencedSOPInstanceUID = ELSEWHERE


def mapping_of(found: Dataset) -> Dataset:
    shared = found.SharedFunctionalGroupsSequence[0]
    mapping: Dataset = shared.RealWorldValueMappingSequence[0]
    return mapping


@seeds(PM, "has not the model's values")
def _other_slope(found):
    """another slope of the real world values"""
    mapping_of(found).RealWorldValueSlope = 2.0


@seeds(PM, "has not the model's values")
def _other_intercept(found):
    """another intercept of the real world values"""
    mapping_of(found).RealWorldValueIntercept = -1024.0


@seeds(PM, "another quantity or unit than the model declares")
def _other_unit(found):
    """another unit"""
    mapping_of(found).MeasurementUnitsCodeSequence[0].CodeValue = "mm2/s"


@seeds(PM, "another quantity or unit than the model declares")
def _other_quantity(found):
    """another quantity"""
    definition = mapping_of(found).QuantityDefinitionSequence[0]
    definition.ConceptCodeSequence[0].CodeValue = "113043"


@seeds(PM, "does not say what its values mean")
def _drop_mapping(found):
    """no Real World Value Mapping"""
    del found.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence


@seeds(PM, "has not the model's values")
def _change_a_value(found):
    """one voxel with another value"""
    pixels = bytearray(found.FloatPixelData)
    pixels[7] ^= 0x40
    found.FloatPixelData = bytes(pixels)


@seeds(PM, "does not lie on its source slice")
def _shift_frame(found):
    """a frame 3 mm beside its slice"""
    position = found.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    position.ImagePositionPatient[2] = float(position.ImagePositionPatient[2]) + 3.0


@seeds(PM, "Frame of Reference is not the source's")
def _move_map(found):
    """another Frame of Reference"""
    found.FrameOfReferenceUID = ELSEWHERE


def roi_of(found: Dataset, index: int = 0) -> Dataset:
    roi: Dataset = found.ROIContourSequence[index]
    return roi


@seeds(RTSTRUCT, "Frame of Reference is not the source's")
def _move_structures(found):
    """another Frame of Reference"""
    found.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = ELSEWHERE
    for item in found.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = ELSEWHERE


@seeds(RTSTRUCT, "in a Frame of Reference that is not listed")
def _unlisted_frame(found):
    """a structure in a Frame of Reference that is not listed"""
    found.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = ELSEWHERE


@seeds(RTSTRUCT, "refers to an image that is not a source")
def _outline_nothing(found):
    """an outline on an image that does not exist"""
    image = roi_of(found).ContourSequence[0].ContourImageSequence[0]
    image.ReferencedSOPInstanceUID = ELSEWHERE


@seeds(RTSTRUCT, "names another image than it lies on")
def _name_the_neighbour(found):
    """an outline that names the slice beside its own"""
    contours = roi_of(found).ContourSequence
    contours[0].ContourImageSequence = contours[-1].ContourImageSequence


@seeds(RTSTRUCT, "does not lie on a slice of the source")
def _lift(found):
    """an outline between two slices"""
    contour = roi_of(found).ContourSequence[0]
    values = [float(value) for value in contour.ContourData]
    contour.ContourData = [
        value + (1.4 if index % 3 == 2 else 0.0) for index, value in enumerate(values)
    ]


@seeds(RTSTRUCT, "filled again, are not the structure")
def _shift_outline(found):
    """outlines a few voxels beside their structure"""
    for contour in roi_of(found).ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        points += np.array([0.96, 0.2, -0.195959179]) * 6.0
        contour.ContourData = [f"{value:.6f}" for value in points.ravel()]


@seeds(RTSTRUCT, "has no outline on a slice that shows it")
def _drop_outlines(found):
    """a slice without outline"""
    contours = roi_of(found).ContourSequence
    uid = contours[0].ContourImageSequence[0].ReferencedSOPInstanceUID
    roi_of(found).ContourSequence = [
        one for one in contours if one.ContourImageSequence[0].ReferencedSOPInstanceUID != uid
    ]


@seeds(RTSTRUCT, "another number of points than it says")
def _other_points(found):
    """an outline with more points than it says"""
    roi_of(found).ContourSequence[0].NumberOfContourPoints = 3


@seeds(RTSTRUCT, "leaves out a structure that was found")
def _drop_structure(found):
    """a structure that is left out"""
    number = found.StructureSetROISequence[0].ROINumber
    del found.StructureSetROISequence[0]
    for keyword in ("ROIContourSequence", "RTROIObservationsSequence"):
        items = [one for one in found[keyword].value if one.ReferencedROINumber != number]
        setattr(found, keyword, items)


@seeds(RTSTRUCT, "structure that the model does not declare")
def _rename(found):
    """a structure that the model does not know"""
    found.StructureSetROISequence[0].ROIName = "Spleen"


@seeds(RTSTRUCT, "of a structure that it does not list")
def _other_number(found):
    """outlines of a number that is not there"""
    roi_of(found).ReferencedROINumber = 99


DEFECTS = tuple(seeds.defects)
