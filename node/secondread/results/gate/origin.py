"""What every object that leaves must say of itself: whose it is, who made it, and when."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from secondread.results.context import RESEARCH_NOTICE, ResultContext
from secondread.results.gate.evidence import uid_of, value_of
from secondread.results.gate.required import SIGNED, Module, find_missing, is_empty
from secondread.results.identity import find_differences
from secondread.results.wording import plain

_NOTICES = (RESEARCH_NOTICE, "仅供研究使用")
_UUID_ROOT = "2.25"
_UID_MAX = 64
_OWN_UIDS = ("SOPInstanceUID", "SeriesInstanceUID")
_DATES = (
    "ContentDate",
    "SeriesDate",
    "InstanceCreationDate",
    "PresentationCreationDate",
    "StructureSetDate",
)
_TIMES = tuple(keyword.replace("Date", "Time") for keyword in _DATES)
_PROCESSING_ALGORITHM = "1630001"
_SERIES = Tag("SeriesInstanceUID")


def find_origin_faults(
    header: Dataset, context: ResultContext, module: Module, kind: str
) -> Iterator[str]:
    """Faults of attributes that every result of a job has, whatever it is."""
    what = module.name
    yield from find_missing(header, module)
    if absent := [word for word in SIGNED if is_empty(header, word)]:
        yield f"The {what} lacks {', '.join(absent)}."
    yield from _find_identity_faults(header, context, what)
    yield from _find_uid_faults(header, context, what)
    yield from _find_algorithm_faults(header, context, what)
    if int(header.SeriesNumber) != context.series_number(kind):
        yield f"The {what} has another Series Number than its kind has in this study."
    if context.is_research and "RESEARCH" not in str(header.SeriesDescription):
        yield f"The {what}'s Series Description does not say that it is for research only."
    date, time = context.created.strftime("%Y%m%d"), context.created.strftime("%H%M%S")
    if any(str(header.get(word, date)) != date for word in _DATES) or any(
        str(header.get(word, time)) != time for word in _TIMES
    ):
        yield f"The {what} is not dated by its job, so that writing it again would change it."


def _find_identity_faults(header: Dataset, context: ResultContext, what: str) -> Iterator[str]:
    if differences := find_differences(context.reference, header):
        yield f"The {what}'s patient or study is not the source's: {', '.join(differences)}."
    series = {str(value_of(source, _SERIES)) for source in context.sources}
    if str(header.SeriesInstanceUID) in series:
        yield f"The {what} would join a series of the scanner."
    if str(header.SOPInstanceUID) in {uid_of(source) for source in context.sources}:
        yield f"The {what} would replace a source image."


def _find_uid_faults(header: Dataset, context: ResultContext, what: str) -> Iterator[str]:
    root = context.uid_root or _UUID_ROOT
    for keyword in _OWN_UIDS:
        uid = str(header[keyword].value)
        if not uid.startswith(f"{root}.") or len(uid) > _UID_MAX:
            yield f"The {what}'s {keyword} is not under the node's own root {root}."
    meta = header.file_meta
    if meta.get("MediaStorageSOPInstanceUID") != header.SOPInstanceUID or (
        meta.get("MediaStorageSOPClassUID") != header.SOPClassUID
    ):
        yield f"The {what}'s file meta information names another object than its data set."


def _find_algorithm_faults(header: Dataset, context: ResultContext, what: str) -> Iterator[str]:
    """Contributing Equipment names the algorithm as IHE AI Results wants it."""
    found = False
    for item in header.ContributingEquipmentSequence:
        purpose = (item.get("PurposeOfReferenceCodeSequence") or [Dataset()])[0]
        if purpose.get("CodeValue") != _PROCESSING_ALGORITHM:
            continue
        found = True
        if item.get("DeviceUID") != context.model_uid:
            yield f"The {what} names another training of the model."
        if item.get("SoftwareVersions") != plain(context.manifest.version, 64):
            yield f"The {what} names another version of the model."
        if is_empty(item, "Manufacturer") or is_empty(item, "ManufacturerModelName"):
            yield f"The {what} does not say who made its algorithm, or what it is called."
    if not found:
        yield f"The {what} does not name its algorithm as contributing equipment."


def is_marked(text: str) -> bool:
    """Whether a text carries the notice that a result is for research only."""
    flat = " ".join(text.split())
    return any(notice in flat for notice in _NOTICES)
