"""Which segment of a correction is which of our structures: by what they are, never by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Coded = tuple[str, str]
"""Coding scheme and value."""

_GENERIC = frozenset(
    {
        ("SCT", "85756007"),
        ("SCT", "123037004"),
        ("SCT", "91723000"),
        ("SCT", "113343008"),
        ("SCT", "49755003"),
        ("DCM", "125040"),
    }
)
"""Tissue, anatomical structure, organ, abnormal structure: what viewers write where nobody chose.

PS3.16 CID 7150 and the defaults of common viewers; such a type says nothing about which one it is.
"""


@dataclass(frozen=True, slots=True)
class Structure:
    """What a segment says that it shows.

    Attributes:
        number: its Segment Number, which says nothing about what it is.
        type: Segmented Property Type; ``("", "")`` where it has none.
        laterality: ``left``, ``right`` or ''.
        detail: its other codes, of modifiers and region.
        label: Segment Label.
        tracking_uid: Tracking UID; '' where it has none.
        name: ours alone: how measures call it.
    """

    number: int
    type: Coded = ("", "")
    laterality: str = ""
    detail: frozenset[Coded] = field(default_factory=frozenset)
    label: str = ""
    tracking_uid: str = ""
    name: str = ""

    @property
    def is_vague(self) -> bool:
        """Whether its type does not say which structure it is."""
        return not self.type[1] or self.type in _GENERIC


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which is which.

    Attributes:
        pairs: number of their segment to number of ours.
        added: numbers of their segments that are none of ours.
        unclear: labels of ours among which one of theirs cannot be told, or that two of theirs
            claim to be; a comparison would be a guess.
    """

    pairs: dict[int, int]
    added: tuple[int, ...]
    unclear: tuple[str, ...]


def pair(ours: Sequence[Structure], theirs: Sequence[Structure]) -> Pairing:
    """Find each of their segments among ours.

    Type and laterality decide. Where these fit several of ours, the other codes, Tracking UID and
    label tell them apart. Where the type is absent or says no more than 'tissue', the Tracking UID
    decides, else the label. A type that is none of ours is another structure, whatever its label.
    """
    pairs: dict[int, int] = {}
    added: list[int] = []
    unclear: list[str] = []
    for one in theirs:
        found, is_sure = _candidates(one, ours)
        if not found:
            added.append(one.number)
        elif len(found) > 1 or not is_sure or found[0].number in pairs.values():
            unclear += [structure.name for structure in found]
        else:
            pairs[one.number] = found[0].number
    return Pairing(pairs, tuple(added), tuple(dict.fromkeys(unclear)))


def _candidates(one: Structure, ours: Sequence[Structure]) -> tuple[list[Structure], bool]:
    """Those of ours that it may be, and whether a single one is sure to be it."""
    same_type = [own for own in ours if own.type == one.type and one.type[1]]
    if one.is_vague:
        named = _named(one, same_type or ours)
        return (named or same_type), bool(named) or len(same_type) == 1
    same_side = [own for own in same_type if own.laterality == one.laterality]
    if not same_side and not one.laterality:
        # It lost its side on the way; only what names it can give that back.
        named = _named(one, same_type)
        return (named or same_type), bool(named)
    if len(same_side) > 1:
        same_detail = [own for own in same_side if own.detail == one.detail] or same_side
        return (_named(one, same_detail) or same_detail), True
    return same_side, True


def _named(one: Structure, among: Sequence[Structure]) -> list[Structure]:
    """Those with its Tracking UID; else those with its label."""
    tracked = [own for own in among if own.tracking_uid and own.tracking_uid == one.tracking_uid]
    label = _plain(one.label)
    return tracked or [
        own for own in among if label and label in {_plain(own.label), _plain(own.name)}
    ]


def _plain(text: str) -> str:
    return " ".join(text.replace("_", " ").casefold().split())
