"""Which result objects a destination has, and of which series they are: for those who are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from secondread.delivery.object_names import read_names
from secondread.domain.commitment import Reference
from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState
from secondread.store import Spool

Whereabouts = Mapping[tuple[str, str], Sequence[Reference]]
"""Objects by their Study and Series Instance UIDs."""

_THERE = frozenset({DeliveryState.SENT, DeliveryState.SAFE})
_NEVER_WANTED = frozenset({DeliveryState.RESERVED, DeliveryState.REPLACED})


def is_there(item: OutboxItem) -> bool:
    """Whether its destination said that it has stored it."""
    return item.state in _THERE


def is_settled(item: OutboxItem) -> bool:
    """Whether its destination has it as surely as it will ever say, or was never to get it."""
    if item.state is DeliveryState.SENT:
        return item.prove_at is None
    return item.state is DeliveryState.SAFE or item.state in _NEVER_WANTED


def locate(spool: Spool, items: Iterable[OutboxItem]) -> Whereabouts:
    """The objects of some rows by study and series, in the order of the rows.

    Raises:
        PeerRefusedError: a file is not there any more, or is not what it should be.
    """
    found: dict[tuple[str, str], list[Reference]] = {}
    for item in items:
        names = read_names(Path(spool.absolute(item.path)))
        key = (names.study_instance_uid, names.series_instance_uid)
        reference = Reference(item.sop_class_uid, item.sop_instance_uid)
        found.setdefault(key, []).append(reference)
    return found
