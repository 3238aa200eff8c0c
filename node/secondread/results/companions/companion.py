"""What all results besides segmentation and report have in common."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from secondread.results.context import NODE_MANUFACTURER, NODE_MODEL, ResultContext
from secondread.results.equipment import sign
from secondread.results.wording import plain

_LONG_STRING = 64
_UNPAIRED = frozenset(
    "ABDOMEN BRAIN CHEST CSPINE HEAD HEART LIVER LSPINE NECK PELVIS SKULL SPINE SSPINE TSPINE "
    "WHOLEBODY".split()
)
"""The usual ones of the parts that have no side (PS3.16 annex L)."""


@dataclass(frozen=True, slots=True)
class Companion:
    """What tells one companion from another.

    Attributes:
        kind: one of ``results.context.KINDS``; it has a series of its own.
        sop_class_uid: of the object.
        modality: as PS3.3 C.7.3.1.1.1 defines it for objects of this kind.
        what: the end of its Series Description.
        number: Instance Number, from 1; each has a UID of its own.
    """

    kind: str
    sop_class_uid: str
    modality: str
    what: str
    number: int = 1


def begin(context: ResultContext, companion: Companion) -> Dataset:
    """A data set with patient, study, series, equipment and SOP common modules.

    What is added afterwards must not be of those modules, so that identity stays the source's byte
    for byte.
    """
    kind = companion.kind
    more = () if companion.number == 1 else (str(companion.number),)
    made = Dataset()
    made.SOPClassUID = companion.sop_class_uid
    made.SOPInstanceUID = context.object_uid("instance", kind, *more)
    made.Modality = companion.modality
    made.SeriesInstanceUID = context.object_uid("series", kind)
    made.SeriesNumber = context.series_number(kind)
    made.SeriesDescription = context.series_description(companion.what)
    made.InstanceNumber = companion.number
    made.Manufacturer = NODE_MANUFACTURER
    made.ManufacturerModelName = NODE_MODEL
    made.SoftwareVersions = plain(context.software_version, _LONG_STRING)
    made.DeviceSerialNumber = plain(context.device_serial, _LONG_STRING)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = UID(made.SOPClassUID)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    sign(made, context)
    return made


def say_body_part(made: Dataset, source: Dataset) -> None:
    """Body Part Examined and Laterality (PS3.3 C.7.3.1) as the source has them.

    Laterality is type 2C: of a paired part it must be there, empty where nobody knows it; of an
    unpaired one it must not. Where the source is silent and the part may be paired, it is empty.
    """
    part = str(source.get("BodyPartExamined") or "")
    if part:
        made.BodyPartExamined = part
    if source.get("Laterality"):
        made.Laterality = source.Laterality
    elif part.upper() not in _UNPAIRED:
        made.Laterality = None
