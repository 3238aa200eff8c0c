"""Two models' answers to one volume, structure by structure.

Structures are matched by what they are, code and side, and never by their number or name: two
versions of one model may number their labels differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondread.bundles.manifest import Label
from secondread.bundles.output import DeclaredNumber
from secondread.domain.answer import ModelAnswer
from secondread.domain.code import Code

LabelMap = npt.NDArray[np.uint8]
_Key = tuple[object, ...]
_VALUES = 256

DICE, VOLUME_ML, NUMBER = "dice", "volume_ml", "number"
"""First parts of the names of measures; the structure's name follows after a point."""
CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True, slots=True)
class Pair:
    """One structure that both models answer.

    Attributes:
        name: what the champion calls it.
        champion: its label values with the champion; several where the champion has it in parts.
        challenger: likewise.
    """

    name: str
    champion: tuple[int, ...]
    challenger: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Matched:
    """What two models have in common; names of what only one of them answers."""

    pairs: tuple[Pair, ...]
    champion_only: tuple[str, ...]
    challenger_only: tuple[str, ...]


def match(champion: Sequence[Label], challenger: Sequence[Label]) -> Matched:
    """Find the structures that both models answer, by their codes and sides.

    The structure's code counts with its modifiers and the region it lies in; colour, name and
    meaning do not.
    """
    ours, theirs = _by_key(champion), _by_key(challenger)
    return Matched(
        pairs=tuple(
            Pair(_name(labels), _values(labels), _values(theirs[key]))
            for key, labels in ours.items()
            if key in theirs
        ),
        champion_only=tuple(_name(labels) for key, labels in ours.items() if key not in theirs),
        challenger_only=tuple(_name(labels) for key, labels in theirs.items() if key not in ours),
    )


def compare_maps(
    champion: LabelMap, challenger: LabelMap, pairs: Sequence[Pair], voxel_ml: float
) -> dict[str, float]:
    """Dice and volumes of each structure.

    Args:
        champion: label map ``(slice, row, column)`` uint8.
        challenger: on the same grid.
        pairs: the structures that both answer.
        voxel_ml: volume of a voxel, mL.

    Returns:
        ``dice.NAME`` (absent where neither has a voxel of it), ``champion.volume_ml.NAME`` and
        ``challenger.volume_ml.NAME``.

    Raises:
        ValueError: the grids differ.
    """
    if champion.shape != challenger.shape:
        raise ValueError(f"the grids differ: {champion.shape} and {challenger.shape}")
    counts = _count_together(champion, challenger)
    measures: dict[str, float] = {}
    for pair in pairs:
        rows, columns = list(pair.champion), list(pair.challenger)
        first, second = int(counts[rows].sum()), int(counts[:, columns].sum())
        if first or second:
            both = int(counts[np.ix_(rows, columns)].sum())
            measures[f"{DICE}.{pair.name}"] = 2 * both / (first + second)
        measures[f"{CHAMPION}.{VOLUME_ML}.{pair.name}"] = first * voxel_ml
        measures[f"{CHALLENGER}.{VOLUME_ML}.{pair.name}"] = second * voxel_ml
    return measures


@dataclass(frozen=True, slots=True)
class Numbers:
    """The measurements of one model: what it declares, and what it answered."""

    declared: Sequence[DeclaredNumber]
    labels: Sequence[Label]
    answer: ModelAnswer


def compare_numbers(champion: Numbers, challenger: Numbers) -> dict[str, float]:
    """The measurements that both models give of the same thing in the same unit.

    Returns:
        ``champion.number.ID`` and ``challenger.number.ID``, by the champion's ids.
    """
    theirs = {key: value for _, key, value in _numbers(challenger)}
    measures: dict[str, float] = {}
    for name, key, value in _numbers(champion):
        if key in theirs:
            measures[f"{CHAMPION}.{NUMBER}.{name}"] = value
            measures[f"{CHALLENGER}.{NUMBER}.{name}"] = theirs[key]
    return measures


def _numbers(side: Numbers) -> list[tuple[str, _Key, float]]:
    labels = {label.name: _key(label) for label in side.labels}
    answered = {number.id: number.value for number in side.answer.numbers}
    return [
        (one.id, (_code(one.name), _code(one.unit), labels.get(one.label)), answered[one.id])
        for one in side.declared
        if one.id in answered
    ]


def _count_together(champion: LabelMap, challenger: LabelMap) -> npt.NDArray[np.int64]:
    """How many voxels have each pair of labels: ``(champion's value, challenger's value)``."""
    counts = np.zeros(_VALUES * _VALUES, np.int64)
    # Slice by slice, for the joint index takes eight bytes for each voxel.
    for first, second in zip(champion, challenger, strict=True):
        joint = first.astype(np.int64).ravel() * _VALUES + second.ravel()
        counts += np.bincount(joint, minlength=_VALUES * _VALUES)
    return counts.reshape(_VALUES, _VALUES)


def _by_key(labels: Sequence[Label]) -> Mapping[_Key, list[Label]]:
    found: dict[_Key, list[Label]] = {}
    for label in labels:
        found.setdefault(_key(label), []).append(label)
    return found


def _key(label: Label) -> _Key:
    return (
        _code(label.type),
        frozenset(map(_code, label.type_modifiers)),
        _code(label.region) if label.region else None,
        frozenset(map(_code, label.region_modifiers)),
        label.laterality,
    )


def _code(code: Code) -> tuple[str, str]:
    # The meaning is for people and may be worded in another way.
    return code.scheme, code.value


def _name(labels: Sequence[Label]) -> str:
    return "+".join(label.name for label in labels)


def _values(labels: Sequence[Label]) -> tuple[int, ...]:
    return tuple(label.value for label in labels)
