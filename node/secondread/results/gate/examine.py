"""What can be said of anybody's object without the job that made it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID

from secondread.errors import ResultError
from secondread.results.gate import (
    key_objects,
    parametric_map,
    pictures,
    presentation,
    segmentation,
    structure_set,
    template,
)
from secondread.results.gate.content import read_content
from secondread.results.gate.evidence import list_evidence
from secondread.results.gate.faults import UNREADABLE, describe, guard
from secondread.results.gate.groups import read_frames
from secondread.results.gate.opened import Opened, open_object
from secondread.results.gate.planes import SourcePlane, find_plane_faults, read_source_planes
from secondread.results.gate.required import (
    CAPTURE,
    COLOUR_CAPTURES,
    COLOUR_STATE,
    GRAYSCALE_STATE,
    KEY_OBJECTS,
    LABEL_MAP,
    MODULES,
    PARAMETRIC_MAP,
    PDF,
    REPORTS,
    SEGMENTATION,
    SEGMENTATIONS,
    STRUCTURE_SET,
    find_missing,
)
from secondread.results.identity import find_differences

_ANY = ("", "")
_STATES = frozenset({GRAYSCALE_STATE, COLOUR_STATE})
_CAPTURES = frozenset({CAPTURE, COLOUR_CAPTURES})


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in one file.

    Attributes:
        kind: what the object is, in words; '' where it cannot be read.
        faults: sentences, none twice.
        is_readable: False where nothing could be examined.
        is_result: False for what can be read and is of no kind that the gate knows.
    """

    path: Path
    kind: str
    faults: tuple[str, ...]
    is_readable: bool = True
    is_result: bool = True


@dataclass(frozen=True, slots=True)
class Sources:
    """Objects that others refer to, without their pixels."""

    headers: tuple[Dataset, ...]
    by_uid: Mapping[str, Dataset]
    planes: Mapping[tuple[str, int], SourcePlane]


def read_sources(paths: Sequence[Path]) -> Sources:
    """Read the headers of source objects; what cannot be read is left out."""
    headers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            try:
                header = open_object(path).header
            except (ResultError, OSError):
                continue
            if header.get("SOPInstanceUID"):
                headers.append(header)
        planes: dict[tuple[str, int], SourcePlane] = {}
        for header in headers:
            try:
                planes.update(read_source_planes([header]))
            except UNREADABLE:
                continue
    return Sources(tuple(headers), {str(one.SOPInstanceUID): one for one in headers}, planes)


def examine(path: Path, sources: Sources | None = None) -> Examination:
    """Examine one file, whoever made it.

    Args:
        path: of a DICOM file.
        sources: what its references are looked up in; None where that is not to be done.

    Raises:
        OSError: the file cannot be opened at all.
    """
    # The library warns of values that it does not like; what matters of them is told as a fault.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            opened = open_object(path)
            sop_class_uid = str(opened.header.get("SOPClassUID", ""))
        except (ResultError, *UNREADABLE) as error:
            sentence = str(error) if isinstance(error, ResultError) else f"{describe(error)}."
            return Examination(path, "", (sentence,), is_readable=False)
        module = MODULES.get(sop_class_uid)
        if module is None:
            known = UID(sop_class_uid).name if sop_class_uid else "an object without SOP Class UID"
            sentence = f"It is of a kind that the gate does not know: {known}."
            return Examination(path, known, (sentence,), is_readable=False, is_result=False)
        found = guard(module.name, _examine(opened, sources))
        return Examination(path, module.name, tuple(dict.fromkeys(found)))


def _examine(opened: Opened, sources: Sources | None) -> Iterator[str]:
    header = opened.header
    module = MODULES[str(header.SOPClassUID)]
    yield from guard(module.name, find_missing(header, module))
    yield from guard(module.name, _find_meta_faults(header))
    yield from guard(module.name, _find_own_faults(opened))
    if sources is not None:
        yield from guard(module.name, _find_source_faults(opened, sources))


def _find_meta_faults(header: Dataset) -> Iterator[str]:
    meta = header.file_meta
    for keyword, own in (
        ("MediaStorageSOPClassUID", "SOPClassUID"),
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
    ):
        if str(meta.get(keyword, "")) != str(header.get(own, "")):
            yield "The file meta information names another object than the data set."
            return


def _find_own_faults(opened: Opened) -> Iterator[str]:
    header = opened.header
    kind = str(header.SOPClassUID)
    if kind in SEGMENTATIONS:
        yield from segmentation.find_faults(opened)
    elif kind in REPORTS:
        yield from template.find_report_faults(header)
    elif kind == KEY_OBJECTS:
        yield from key_objects.find_faults(header)
    elif kind in _STATES:
        yield from presentation.find_faults(header)
    elif kind in _CAPTURES:
        yield from pictures.find_picture_faults(opened)
    elif kind == PDF:
        yield from pictures.find_document_faults(header)
    elif kind == PARAMETRIC_MAP:
        yield from parametric_map.find_faults(opened)
    elif kind == STRUCTURE_SET:
        yield from structure_set.find_faults(header)


def _find_source_faults(opened: Opened, sources: Sources) -> Iterator[str]:
    header = opened.header
    own = str(header.get("SOPInstanceUID", ""))
    named = {uid: kind for uid, kind in _list_named(opened).items() if uid != own}
    there = [sources.by_uid[uid] for uid in named if uid in sources.by_uid]
    if absent := len(named) - len(there):
        yield f"{absent} of the {len(named)} objects it refers to are not in the source folder."
    if not there:
        return
    if any(named[str(one.SOPInstanceUID)] != str(one.SOPClassUID) for one in there):
        yield "It refers to an object as of another SOP class than it is."
    differing = sorted({word for one in there for word in find_differences(one, header)})
    if differing:
        yield f"Its patient or study is not the source's: {', '.join(differing)}."
    frames = {str(one.FrameOfReferenceUID) for one in there if one.get("FrameOfReferenceUID")}
    reference = str(header.get("FrameOfReferenceUID", ""))
    if reference and frames and reference not in frames:
        yield "Its Frame of Reference is not the source's."
    if str(header.SOPClassUID) in {SEGMENTATION, LABEL_MAP, PARAMETRIC_MAP}:
        known = frozenset(key for key in sources.planes)
        laid = read_frames(header)
        spatial = tuple(
            plane
            for plane in laid.planes
            if plane.is_in_patient
            and any((one.sop_instance_uid, one.frame) in known for one in plane.sources)
        )
        lying = type(laid)(laid.segments, laid.places, spatial)
        yield from find_plane_faults(lying, sources.planes, _ANY)


def _list_named(opened: Opened) -> dict[str, str]:
    """SOP class of every object that is referred to, by SOP Instance UID."""
    header = opened.header
    named = {uid: listed[0] for uid, listed in list_evidence(header).items()}
    kind = str(header.SOPClassUID)
    if kind in REPORTS or kind == KEY_OBJECTS:
        for item in read_content(header).walk():
            if item.reference is not None:
                named[item.reference.sop_instance_uid] = item.reference.sop_class_uid
    if kind in {SEGMENTATION, LABEL_MAP, PARAMETRIC_MAP}:
        for plane in read_frames(header).planes:
            named.update({one.sop_instance_uid: one.sop_class_uid for one in plane.sources})
    for series in header.get("ReferencedSeriesSequence") or ():
        for keyword in ("ReferencedInstanceSequence", "ReferencedImageSequence"):
            for one in series.get(keyword) or ():
                named[str(one.ReferencedSOPInstanceUID)] = str(one.ReferencedSOPClassUID)
    if kind == STRUCTURE_SET:
        named.update(structure_set.list_images(header))
    named.pop("", None)
    return named
