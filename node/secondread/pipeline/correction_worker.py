"""The process that reads what somebody sent back: it has limits, and its parent can end it.

What came over the network goes through parsers and codecs of others, which may crash, hang or take
all memory. The request comes as JSON on standard input, the answer leaves on standard output.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr import _snomed_dict

from secondread.domain.code import Code
from secondread.domain.form import SegmentationKind
from secondread.errors import ResultError
from secondread.monitoring.agreement import OtherGridError, Plane, Region, compare
from secondread.monitoring.structures import Structure, pair
from secondread.pipeline.correction_match import Candidate, NotMatchedError, Signs, find_job
from secondread.results.reading.contents import SegmentationContents
from secondread.results.reading.pixels import in_words, quietly
from secondread.results.reading.segmentation import read_segmentation
from secondread.results.reading.segments import Segment

MEMORY_BYTES = 6 << 30
PROCESSOR_S = 240

_KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
_REJECTIONS = frozenset({"113001", "113037"})
"""Rejected for Quality Reasons, for Patient Safety Reasons (PS3.16 CID 7011).

113038 (Incorrect Modality Worklist Entry) and 113039 (Data Retention Policy Expired) take objects
away without saying that they were wrong about the images.
"""
_REFERENCED = "ReferencedSOPInstanceUID"
_SIDES = MappingProxyType({("SCT", "7771000"): "left", ("SCT", "24028007"): "right"})
"""PS3.16 CID 244."""
_SNOMED_RT = frozenset({"SRT", "SNM3", "99SDM"})
_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_AUTOMATIC = "AUTOMATIC"
_HALF = 0.5

Answer = dict[str, Any]


def main() -> None:
    """Answer the one request."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_S, PROCESSOR_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    request = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):
        answer = look(Path(request["path"]), [_candidate(one) for one in request["candidates"]])
    json.dump(answer, sys.stdout)


def look(path: Path, candidates: Sequence[Candidate]) -> Answer:
    """What an object says of our results.

    Returns:
        ``{"job", "verdict", "measures"}`` of a segmentation; ``{"rejects"}``, SOP Instance UIDs, of
        a key object selection; ``{"errno"}`` where the system does not let a file be read, which
        says nothing about the object; else ``{"fault"}``, a sentence.
    """
    try:
        with in_words("The object"), quietly():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            if str(header.get("SOPClassUID", "")) == _KEY_OBJECTS:
                return _rejection(header)
        return _correction(path, header, candidates)
    except (ResultError, NotMatchedError) as error:
        if number := _errno(error):
            return {"errno": number}
        return {"fault": str(error)}
    except OtherGridError:
        return {
            "fault": "Its voxels do not lie on those of the result: it was drawn on other images, "
            "or resampled, so that every voxel would differ."
        }


def _errno(error: Exception) -> int | None:
    """Of the fault of the system behind an error; codecs raise ``OSError`` too, without one."""
    behind = error.__context__
    return behind.errno if isinstance(behind, OSError) else None


def _rejection(header: Dataset) -> Answer:
    titles = [
        str(item.get("CodeValue", "")) for item in header.get("ConceptNameCodeSequence") or ()
    ]
    if not _REJECTIONS.intersection(titles):
        return {"fault": "It is a selection of key objects, and no rejection for quality."}
    return {"rejects": sorted(_named(header))}


def _correction(path: Path, header: Dataset, candidates: Sequence[Candidate]) -> Answer:
    theirs = read_segmentation(path)
    with quietly():
        signs = _signs(header, theirs)
    ours = {one.job_id: _read_ours(one) for one in candidates}
    structures = {one.job_id: _structures(ours[one.job_id], one.model_id) for one in candidates}
    chosen = find_job(signs, candidates, structures)
    own = structures[chosen.job_id]
    pairing = pair(own, signs.structures)
    if pairing.unclear:
        raise NotMatchedError(
            "Which of its segments is which of our structures cannot be told from their codes: "
            f"{', '.join(pairing.unclear)}."
        )
    _check_frame(theirs, ours[chosen.job_id])
    regions = _regions(ours[chosen.job_id], own)
    places = {structure.number: at for at, structure in enumerate(own)}
    pairs = {number: places[which] for number, which in pairing.pairs.items()}
    found = compare(regions, pairs, _planes(theirs))
    return {"job": chosen.job_id, "verdict": found.verdict, "measures": found.measures}


def _candidate(values: dict[str, Any]) -> Candidate:
    lists = {name: tuple(values[name]) for name in ("sources", "result_uids")}
    editions = tuple(tuple(files) for files in values["editions"])
    return Candidate(**{**values, **lists, "editions": editions})


def _signs(header: Dataset, theirs: SegmentationContents) -> Signs:
    named = _named(header)
    named |= {source.sop_instance_uid for frame in theirs.frames for source in frame.sources}
    kinds = {segment.algorithm_type for segment in theirs.segments}
    return Signs(
        named=frozenset(named),
        series_uids=frozenset(theirs.series_uids),
        structures=tuple(_structure(one, one.number) for one in theirs.segments),
        is_automatic=kinds <= {_AUTOMATIC},
    )


def _named(header: Dataset) -> set[str]:
    """Every object that a header refers to; what frames refer to is read apart, and faster."""
    kept = Dataset({tag: header.get_item(tag) for tag in header.keys()})  # noqa: SIM118
    if _PER_FRAME in kept:
        del kept[_PER_FRAME]
    return {str(one.value) for one in kept.iterall() if one.keyword == _REFERENCED}


def _read_ours(one: Candidate) -> list[SegmentationContents]:
    """The first form that can be read."""
    for files in one.editions:
        found = [read_segmentation(Path(name)) for name in files]
        if all(contents.kind is not SegmentationKind.FRACTIONAL for contents in found):
            return found
    return [read_segmentation(Path(name)) for name in one.editions[0]]


def _structures(ours: Sequence[SegmentationContents], model_id: str) -> tuple[Structure, ...]:
    """Ours, numbered from 0 through all files: with one segment in each, all have number 1."""
    found: dict[str, Structure] = {}
    for contents in ours:
        for segment in contents.segments:
            # The Tracking ID is the model's id and the label's name (docs/segmentation.md).
            name = segment.tracking_id.removeprefix(f"{model_id} ") or segment.label
            if name in found:
                name = f"{name} {len(found)}"
            found[name] = replace(_structure(segment, len(found)), name=name)
    return tuple(found.values())


def _structure(segment: Segment, number: int) -> Structure:
    modifiers = {_coded(one) for one in (*segment.type_modifiers, *segment.region_modifiers)}
    region = {_coded(segment.region)} if segment.region is not None else set()
    return Structure(
        number=number,
        type=_coded(segment.type) if segment.type else ("", ""),
        laterality=next((_SIDES[one] for one in sorted(modifiers) if one in _SIDES), ""),
        detail=frozenset(modifiers - set(_SIDES) | region),
        label=segment.label,
        tracking_uid=segment.tracking_uid,
    )


def _coded(code: Code) -> tuple[str, str]:
    """Scheme and value; older programs write SNOMED RT, of which SNOMED CT is the successor."""
    newer = _snomed_dict.mapping["SRT"].get(code.value) if code.scheme in _SNOMED_RT else None
    if newer is not None:
        return "SCT", str(newer)
    return code.scheme, code.value


def _check_frame(theirs: SegmentationContents, ours: Sequence[SegmentationContents]) -> None:
    frames = {one.frame_of_reference_uid for one in ours} - {""}
    if theirs.frame_of_reference_uid and frames and theirs.frame_of_reference_uid not in frames:
        raise NotMatchedError(
            "It lies in another frame of reference than the result, so that nobody knows which "
            "voxel is which."
        )


def _regions(ours: Sequence[SegmentationContents], structures: Sequence[Structure]) -> list[Region]:
    """Our structures with their voxels, in their order."""
    regions: list[Region] = []
    for contents in ours:
        is_map = contents.kind is not SegmentationKind.FRACTIONAL
        whole = contents.label_map().labels if is_map else None
        for segment in contents.segments:
            name = structures[len(regions)].name
            if whole is not None:
                regions.append(Region(name, whole, segment.number, contents.affine_lps))
            else:
                mask = contents.mask(segment.number).view(np.uint8)
                regions.append(Region(name, mask, 1, contents.affine_lps))
    return regions


def _planes(theirs: SegmentationContents) -> Iterator[Plane]:
    """Every frame of a correction, once for each segment that has voxels in it."""
    numbers = {segment.number for segment in theirs.segments}
    for frame, stored in zip(theirs.frames, theirs.stored_frames(), strict=True):
        along = np.array(frame.orientation[:3], float) * frame.pixel_spacing[1]
        down = np.array(frame.orientation[3:], float) * frame.pixel_spacing[0]
        position = np.array(frame.position, float)
        for number, mask in _masks(theirs, stored.segment, stored.values, numbers):
            yield Plane(number, mask, position, down, along)


def _masks(
    theirs: SegmentationContents, segment: int, values: Any, numbers: set[int]
) -> Iterator[tuple[int, Any]]:
    if theirs.kind is SegmentationKind.LABELMAP:
        for number in np.unique(values).tolist():
            if number in numbers:
                yield number, values == number
    elif theirs.kind is SegmentationKind.FRACTIONAL:
        yield segment, values >= _HALF * theirs.maximum
    else:
        yield segment, values.astype(bool)


if __name__ == "__main__":
    main()
