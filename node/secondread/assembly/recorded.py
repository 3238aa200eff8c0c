"""The header of an image as intake recorded it, so that its file need not be parsed again."""

from __future__ import annotations

from typing import Any

from secondread.dicom.contexts import UNCOMPRESSED_SYNTAXES
from secondread.dicom.headers import PixelLayout, SliceHeader
from secondread.dicom.planes import Plane
from secondread.dicom.traits import CLASSIC, Trait
from secondread.domain.instance import Instance

_NATIVE = frozenset(syntax.uid for syntax in UNCOMPRESSED_SYNTAXES)
# Intake leaves out what it cannot read; then the file itself has to say what is wrong.
_NEEDED = frozenset(
    "Rows Columns BitsAllocated PhotometricInterpretation ImageType ImagePositionPatient "
    "ImageOrientationPatient PixelSpacing FrameOfReferenceUID".split()
)
# What these hold is not recorded.
_ELSEWHERE = frozenset({"ModalityLUTSequence", "PerFrameFunctionalGroupsSequence"})
_TRAITS = frozenset(place.keyword for place in CLASSIC.values())


def recorded_slice(instance: Instance) -> SliceHeader | None:
    """What ``read_slice`` would say about a single-frame image.

    Free text, such as the descriptions, and the attributes that rules ask for are not recorded and
    stay empty.

    Returns:
        None where the record is not enough and the file must be read: an older row, several
        frames, a deflated data set, pixels that are not encoded as its transfer syntax says, a
        value that intake could not read.
    """
    facts = instance.facts
    if instance.data_offset <= 0 or instance.pixel_offset < 0:
        return None
    encapsulated = instance.pixel_length < 0
    if (instance.transfer_syntax_uid in _NATIVE) is encapsulated:
        return None
    if facts.get("NumberOfFrames", 1) > 1:
        return None
    if not facts.keys() >= _NEEDED or not _ELSEWHERE.isdisjoint(facts):
        return None
    # Empty where the element is there and is no number.
    if not (facts.get("RescaleSlope", "1") and facts.get("RescaleIntercept", "0")):
        return None
    return SliceHeader(
        sop_instance_uid=instance.sop_instance_uid,
        sop_class_uid=instance.sop_class_uid,
        series_instance_uid=instance.series_instance_uid,
        modality=facts.get("Modality", "").upper(),
        image_type=tuple(map(str.upper, facts["ImageType"])),
        body_part="",
        study_description="",
        series_description="",
        series_number=facts.get("SeriesNumber"),
        instance_number=facts.get("InstanceNumber"),
        frame_of_reference_uid=facts["FrameOfReferenceUID"],
        burned_in=False,
        planes=(_plane(facts),),
        pixels=_layout(instance),
    )


def _plane(facts: Any) -> Plane:
    x, y, z = facts["ImagePositionPatient"]
    orientation = facts["ImageOrientationPatient"]
    between_rows, between_columns = facts["PixelSpacing"]
    return Plane(
        frame=1,
        position_mm=(x, y, z),
        row_direction=(orientation[0], orientation[1], orientation[2]),
        column_direction=(orientation[3], orientation[4], orientation[5]),
        spacing_mm=(between_rows, between_columns),
        slope=float(facts.get("RescaleSlope", "1")),
        intercept=float(facts.get("RescaleIntercept", "0")),
        unreadable=(),
        traits=tuple(sorted(_traits(facts).items())),
    )


def _traits(facts: Any) -> dict[str, Trait]:
    traits: dict[str, Trait] = {}
    for keyword in _TRAITS & facts.keys():
        value = facts[keyword]
        if isinstance(value, list):
            # Image Type, whose values were recorded one by one.
            traits[keyword] = "\\".join(value).upper()
        elif isinstance(value, (int, float)):
            traits[keyword] = float(value)
        elif value is not None:
            traits[keyword] = value
    return traits


def _layout(instance: Instance) -> PixelLayout:
    facts = instance.facts
    allocated = facts["BitsAllocated"]
    stored = facts.get("BitsStored") or allocated
    encapsulated = instance.pixel_length < 0
    value_offset = instance.data_offset + instance.pixel_offset
    return PixelLayout(
        transfer_syntax_uid=instance.transfer_syntax_uid,
        frames=1,
        rows=facts["Rows"],
        columns=facts["Columns"],
        samples=facts.get("SamplesPerPixel") or 1,
        photometric=facts["PhotometricInterpretation"].upper(),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=facts.get("HighBit", stored - 1),
        signed=facts.get("PixelRepresentation") == 1,
        kind="integer" if facts["Rows"] and facts["Columns"] else "",
        offset=0 if encapsulated else value_offset,
        length_bytes=0 if encapsulated else instance.pixel_length,
        modality_table=False,
        items_offset=value_offset if encapsulated else 0,
    )
