"""Who made a result: the node, the scanner whose images it used, and the algorithm."""

from __future__ import annotations

from highdicom.content import AlgorithmIdentificationSequence
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, MRImageStorage

from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.results import coding
from secondread.results.context import ResultContext
from secondread.results.identity import TYPE_2, copy_identity
from secondread.results.wording import plain

_LONG_STRING = 64
_SHORT_TEXT = 1024
_NEEDED = (
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
)
_LOSSY = (
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
_SCANNER = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")


def name_algorithm(context: ResultContext) -> AlgorithmIdentificationSequence:
    """Algorithm Identification (PS3.3 table 10-19); its parameters hold the package's digest."""
    manifest = context.manifest
    return AlgorithmIdentificationSequence(
        name=plain(manifest.id, _LONG_STRING),
        family=coding.ARTIFICIAL_INTELLIGENCE,
        version=plain(manifest.version, _LONG_STRING),
        source=plain(manifest.manufacturer, _LONG_STRING),
        parameters={"package_sha256": manifest.digest},
    )


def _list_equipment(context: ResultContext) -> list[Dataset]:
    """Contributing Equipment (PS3.3 C.12.1.1.5), the algorithm as IHE AI Results asks for it."""
    manifest, source = context.manifest, context.reference
    items: list[Dataset] = []
    if source.get("Manufacturer"):
        scanner = _purpose(coding.ACQUISITION_EQUIPMENT)
        for keyword in _SCANNER:
            if source.get(keyword):
                scanner[keyword] = source[keyword]
        items.append(scanner)
    algorithm = _purpose(coding.PROCESSING_ALGORITHM)
    algorithm.Manufacturer = plain(manifest.manufacturer, _LONG_STRING)
    algorithm.ManufacturerModelName = plain(manifest.id, _LONG_STRING)
    algorithm.SoftwareVersions = plain(manifest.version, _LONG_STRING)
    algorithm.DeviceUID = context.model_uid
    algorithm.ContributionDescription = plain(manifest.title, _SHORT_TEXT)
    return [*items, algorithm]


def _purpose(code: Code) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(code)]
    return item


def sign(result: Dataset, context: ResultContext) -> None:
    """Replace whatever the library put there by chance of time or number, and add what it omits.

    After this the object depends on the job alone, is in the source's study under the source's
    patient, and says who made it.
    """
    copy_identity(context.reference, result)
    created = context.created
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
    result.InstanceCreationDate = result.ContentDate = result.SeriesDate = date
    result.InstanceCreationTime = result.ContentTime = result.SeriesTime = time
    result.InstanceCreatorUID = context.device_uid
    result.DeviceUID = context.device_uid
    result.ContributingEquipmentSequence = _list_equipment(context)
    result.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    result.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME


def mark_lossy(result: Dataset, source: Dataset) -> None:
    """What was derived from a lossy image is lossy too (PS3.3 C.7.6.1.1.5)."""
    if source.get("LossyImageCompression") != "01":
        return
    for keyword in _LOSSY:
        if keyword in source:
            result[keyword] = source[keyword]


def stand_in(header: Dataset) -> Dataset:
    """What highdicom needs of a source object, and no more.

    Real headers break it in many ways: absent type 2 attributes, a sex of 'M ', character sets
    and retired SOP classes that it does not list. Identity is copied afterwards, unchanged, and
    references are made from the headers themselves.
    """
    brief = Dataset()
    for keyword in _NEEDED:
        if keyword in header:
            brief[keyword] = header[keyword]
    for keyword in TYPE_2:
        setattr(brief, keyword, None)
    brief.SOPClassUID = MRImageStorage
    return brief
