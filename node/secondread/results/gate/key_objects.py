"""Key object selections (PS3.3 A.35.4, PS3.16 TID 2010)."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from secondread.results.context import SR, ResultContext
from secondread.results.gate.content import Item, read_content
from secondread.results.gate.evidence import (
    find_existence_faults,
    find_listing_faults,
    list_evidence,
    list_objects,
)
from secondread.results.gate.opened import Opened
from secondread.results.gate.origin import is_marked
from secondread.results.made import Made

_WHAT = "key object selection"
_DESCRIPTION = "113012"
_ALLOWED = frozenset({"CODE", "TEXT", "PNAME", "UIDREF", "IMAGE", "COMPOSITE", "WAVEFORM"})


def find_key_object_faults(opened: Opened, context: ResultContext, made: Made) -> Iterator[str]:
    """Faults of a selection that the node made, but for those of its origin."""
    header = opened.header
    yield from find_faults(header)
    root = read_content(header)
    uid = str(header.SOPInstanceUID)
    others = [one for one in made.documents if str(one.header.SOPInstanceUID) != uid]
    there = list_objects([*context.sources, *(one.header for one in others)])
    evidence = list_evidence(header)
    named = _list_named(root)
    yield from find_existence_faults(
        {**{key: value[0] for key, value in evidence.items()}, **named}, there, _WHAT
    )
    yield from find_listing_faults(evidence, there, _WHAT)
    reports = {str(one.header.SOPInstanceUID) for one in others if one.kind == SR}
    if not reports <= set(named):
        yield f"The {_WHAT} does not name the report."
    yield from _find_frame_faults(root, context)
    descriptions = [item.text for item in root.find_all(_DESCRIPTION)]
    if context.is_research and not any(is_marked(text) for text in descriptions):
        yield f"The {_WHAT} does not say that it is for research only."


def _list_named(root: Item) -> dict[str, str]:
    named = {}
    for item in root.walk():
        if item.reference is not None:
            named[item.reference.sop_instance_uid] = item.reference.sop_class_uid
            if item.reference.state is not None:
                sop_class_uid, uid = item.reference.state
                named[uid] = sop_class_uid
    return named


def _find_frame_faults(root: Item, context: ResultContext) -> Iterator[str]:
    frames = {
        str(header.SOPInstanceUID): int(header.get("NumberOfFrames") or 0)
        for header in context.sources
    }
    for item in root.walk():
        reference = item.reference
        if reference is None or reference.sop_instance_uid not in frames:
            continue
        count = frames[reference.sop_instance_uid]
        if any(not 0 < number <= count for number in reference.frames):
            yield f"The {_WHAT} names a frame that its source image has not."
            return


def find_faults(header: Dataset) -> Iterator[str]:
    """Faults of anybody's selection, as far as it can be judged by itself."""
    root = read_content(header)
    titles = {getattr(codes.cid7010, name).value for name in codes.cid7010.dir()}
    if root.concept not in titles:
        yield f"The {_WHAT}'s title is not in DICOM's CID 7010."
    template = (header.get("ContentTemplateSequence") or [Dataset()])[0]
    if template.get("TemplateIdentifier") != "2010":
        yield f"The {_WHAT} does not name TID 2010 as its root template."
    references = [item for item in root.children if item.reference is not None]
    if not references:
        yield f"The {_WHAT} selects nothing."
    if any(item.value_type not in _ALLOWED for item in root.children):
        yield f"The {_WHAT} has items of a type that TID 2010 does not have."
    if any(
        item.reference is None
        for item in root.children
        if item.value_type in {"IMAGE", "COMPOSITE", "WAVEFORM"}
    ):
        yield f"The {_WHAT} has a reference that names nothing."
    evidence = list_evidence(header)
    for uid, sop_class_uid in _list_named(root).items():
        is_state = all(
            item.reference is None or item.reference.sop_instance_uid != uid for item in references
        )
        if uid not in evidence:
            # A presentation state is named by the way and may be left out (PS3.3 C.17.6.2.1).
            if not is_state:
                yield f"The {_WHAT}'s evidence does not list every object that it refers to."
        elif evidence[uid][0] != sop_class_uid:
            yield f"The {_WHAT} refers to an object as of another SOP class than it is."
    studies = {study for _, _, study in evidence.values()}
    if str(header.StudyInstanceUID) not in studies:
        yield f"The {_WHAT} lies in a study that none of its objects is in."
