"""What went instead of a segmentation that a destination refused, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState

_LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATION = "seg"
"""The kind of result that a destination may get in another form; see ``results.context``."""


def tell_fallbacks(items: Sequence[OutboxItem]) -> Iterator[str]:
    """A clause for each destination that refused a segmentation of a job, without an end."""
    for name in dict.fromkeys(item.destination for item in items):
        own = [item for item in items if item.destination == name]
        replaced = [item for item in own if item.state is DeliveryState.REPLACED]
        if not replaced:
            continue
        last = max(item.level for item in replaced)
        going = [
            item for item in own if item.level > last and item.state is not DeliveryState.RESERVED
        ]
        tense = "goes" if any(i.state is DeliveryState.READY for i in going) else "went"
        yield f"'{name}' refused the segmentation; {_what(replaced, going)} {tense} instead"


def _what(replaced: Sequence[OutboxItem], going: Sequence[OutboxItem]) -> str:
    kinds = {item.sop_class_uid for item in going if item.kind == SEGMENTATION}
    before = {item.sop_class_uid for item in replaced if item.kind == SEGMENTATION}
    if not kinds:
        return "the report alone" if len(going) == 1 else "the rest without it"
    if kinds & before:
        return "the same in another encoding or kind"
    return "a label map" if _LABEL_MAP_STORAGE in kinds else "a segmentation of another kind"
