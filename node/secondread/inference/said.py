"""Numbers, findings and places of an answer: read row by row, and only what is declared."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from secondread.domain.answer import (
    AnsweredFinding,
    AnsweredNumber,
    AnsweredPlace,
    Declared,
    ModelAnswer,
)
from secondread.errors import InvalidPredictionError

POINTS_MAX = 200
"""Of all places together; a report that lists more is read by nobody."""
_PAIR, _TRIPLE = 2, 3
_POINTS_LEAST = {"point": 1, "polyline": 2, "polygon": 3}
_BESIDE = 1.0
"""How many voxels beside the volume a place may lie: a contour runs around voxels."""


def read_rows(
    rows: Mapping[str, Any], declared: Declared, shape: Sequence[int] | None = None
) -> ModelAnswer:
    """What a model says besides its arrays.

    Args:
        rows: ``numbers`` as ``[id, value]``, ``findings`` as ``[id, value, probability]``,
            ``places`` as ``[id, [[slice, row, column], …], probability]``.
        declared: what it may say.
        shape: of the volume that it saw, which no place may lie outside of; None is any.

    Raises:
        InvalidPredictionError: something is not declared, said twice, not finite, or somewhere
            else.
    """
    _check_counts(rows, declared)
    numbers = tuple(_number(row, declared) for row in rows["numbers"])
    findings = tuple(_finding(row, declared) for row in rows["findings"])
    for kind, named in (("number", numbers), ("finding", findings)):
        names = [one.id for one in named]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidPredictionError(
                f"The model answered the {kind} '{twice[0]}' more than once."
            )
    places = tuple(_place(row, declared, shape) for row in rows["places"])
    if sum(len(place.points) for place in places) > POINTS_MAX:
        raise InvalidPredictionError(
            f"The model answered places with more than {POINTS_MAX} points in all."
        )
    return ModelAnswer(numbers, findings, places)


def as_rows(answer: ModelAnswer) -> dict[str, list[list[Any]]]:
    """What ``read_rows`` reads."""
    return {
        "numbers": [[one.id, float(one.value)] for one in answer.numbers],
        "findings": [[one.id, one.value, _float(one.probability)] for one in answer.findings],
        "places": [
            [one.id, [list(map(float, point)) for point in one.points], _float(one.probability)]
            for one in answer.places
        ],
    }


def _check_counts(rows: Mapping[str, Any], declared: Declared) -> None:
    # Before any row is looked at: a flood costs no more than a glance.
    most = {
        "numbers": len(declared.numbers),
        "findings": len(declared.findings),
        "places": POINTS_MAX if declared.places else 0,
    }
    for name, limit in most.items():
        if not isinstance(rows.get(name), list):
            raise InvalidPredictionError(f"The model answered {name} that are no list.")
        if len(rows[name]) > limit:
            raise InvalidPredictionError(
                f"The model answered more {name} ({len(rows[name])}) than its manifest allows "
                f"({limit})."
            )


def _number(row: object, declared: Declared) -> AnsweredNumber:
    name, value = _parts(row, _PAIR, "number")
    _check_declared(name, declared.numbers, "number")
    if not _is_finite(value):
        raise InvalidPredictionError(f"The model answered no finite value for the number '{name}'.")
    return AnsweredNumber(name, float(value))


def _finding(row: object, declared: Declared) -> AnsweredFinding:
    name, value, probability = _parts(row, _TRIPLE, "finding")
    _check_declared(name, declared.findings, "finding")
    if not isinstance(value, str) or value not in declared.findings[name]:
        raise InvalidPredictionError(
            f"The model answered a value of the finding '{name}' that its manifest does not "
            "declare."
        )
    return AnsweredFinding(name, value, _probability(probability, name))


def _place(row: object, declared: Declared, shape: Sequence[int] | None) -> AnsweredPlace:
    name, rows, probability = _parts(row, _TRIPLE, "place")
    _check_declared(name, declared.places, "place")
    kind = declared.places[name]
    least = _POINTS_LEAST[kind]
    if not isinstance(rows, list) or len(rows) < least or (kind == "point" and len(rows) > 1):
        raise InvalidPredictionError(f"The model answered the place '{name}', which is no {kind}.")
    points = tuple(_point(point, name, shape) for point in rows)
    return AnsweredPlace(name, points, _probability(probability, name))


def _point(row: object, name: str, shape: Sequence[int] | None) -> tuple[float, float, float]:
    if not isinstance(row, list) or len(row) != _TRIPLE or not all(map(_is_finite, row)):
        raise InvalidPredictionError(
            f"The model answered a point of the place '{name}' that is not slice, row and column."
        )
    ends = shape or (math.inf,) * _TRIPLE
    low = -_BESIDE if shape else -math.inf
    if not all(low <= at <= end - 1 + _BESIDE for at, end in zip(row, ends, strict=True)):
        raise InvalidPredictionError(f"The model put the place '{name}' outside the volume.")
    return float(row[0]), float(row[1]), float(row[2])


def _parts(row: object, count: int, kind: str) -> list[Any]:
    if not isinstance(row, list) or len(row) != count or not isinstance(row[0], str):
        raise InvalidPredictionError(f"The model answered a {kind} that cannot be read.")
    return row


def _check_declared(name: str, declared: Collection[str], kind: str) -> None:
    # What it calls itself is not repeated: a name is a place to hide things in.
    if name not in declared:
        raise InvalidPredictionError(
            f"The model answered a {kind} that its manifest does not declare."
        )


def _probability(value: object, name: str) -> float | None:
    if value is None:
        return None
    if not _is_finite(value) or not 0.0 <= value <= 1.0:  # type: ignore[operator]
        raise InvalidPredictionError(
            f"The model answered a probability of '{name}' that is not between 0 and 1."
        )
    return float(value)  # type: ignore[arg-type]


def _is_finite(value: object) -> bool:
    # An integer of any length is JSON, and no float.
    try:
        return type(value) in {int, float} and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
