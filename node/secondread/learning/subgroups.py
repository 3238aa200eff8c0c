"""Figures of parts of the cases: by sex, by scanner, by thirds of the age.

A figure over a handful of people says nothing, and may say who they are: a group below the minimum
count is listed with its count alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from secondread.errors import DataError
from secondread.learning.intervals import Bootstrap, Estimate, Figures, IndexArray, estimate
from secondread.learning.predictions import Predictions, Row
from secondread.learning.tasks import make_figures

FloatArray = npt.NDArray[np.float64]

LEAST_SUBJECTS = 10
BANDS = 3
# Numbers of which there are no more than these are values, such as a group 0 or 1, not a scale.
_FEW_VALUES = 5
_ALL_DIGITS = 17


@dataclass(frozen=True)
class Subgroup:
    """One part of the cases.

    Attributes:
        column: what divides them.
        band: the value, or the band of values.
        cases: how many cases.
        subjects: of how many subjects.
        figures: by name; empty where there are too few subjects.
    """

    column: str
    band: str
    cases: int
    subjects: int
    figures: Mapping[str, Estimate]


def split(
    predictions: Predictions,
    names: Sequence[str],
    bootstrap: Bootstrap | None = None,
    least_subjects: int = LEAST_SUBJECTS,
) -> tuple[Subgroup, ...]:
    """Figures of each part that each of the named columns makes.

    Raises:
        DataError: no row has such a column.
    """
    figures, subjects = make_figures(predictions), [row.subject for row in predictions.rows]
    found = []
    for column in names:
        for band, indices in bands(predictions.rows, column).items():
            chosen = [subjects[index] for index in indices]
            count = len(set(chosen))
            known: Mapping[str, Estimate] = {}
            if count >= least_subjects:
                known = estimate(chosen, _within(figures, indices), bootstrap)
            found.append(Subgroup(column, band, len(indices), count, known))
    return tuple(found)


def bands(rows: Sequence[Row], column: str) -> dict[str, IndexArray]:
    """Indices of rows by the value of a column, or by thirds where it is a scale of numbers.

    Rows without a value are a part of their own, 'not known'.

    Raises:
        DataError: no row has such a column.
    """
    values = [row.values.get(column) for row in rows]
    known = [value for value in values if _is_known(value)]
    if not known:
        raise DataError(f"No case has a value for '{column}', so there are no subgroups of it.")
    numbers = [float(value) for value in known if isinstance(value, int | float)]
    if len(numbers) == len(known) and len(set(numbers)) > _FEW_VALUES:
        parts = _thirds(np.array([_number(value) for value in values], np.float64))
    else:
        texts = [_text(value) for value in values]
        names = sorted(set(texts) - {""}, key=lambda name: (_number(name, 0.0), name))
        parts = {name: np.flatnonzero([text == name for text in texts]) for name in names}
    missing = np.flatnonzero([not _is_known(value) for value in values])
    return parts | ({"not known": missing} if missing.size else {})


def _thirds(numbers: FloatArray) -> dict[str, IndexArray]:
    """Bands of about as many cases each; equal edges, which ties make, fall together."""
    shares = [100 * part / BANDS for part in range(BANDS + 1)]
    edges = np.unique(np.nanpercentile(numbers, shares))
    texts = _tell_apart(edges)
    parts = {}
    for number, (low, high) in enumerate(pairwise(edges)):
        last = number == len(edges) - 2
        inside = (numbers >= low) & ((numbers <= high) if last else (numbers < high))
        name = f"{texts[number]} to {'' if last else 'below '}{texts[number + 1]}"
        parts[name] = np.flatnonzero(inside)
    return parts


def _tell_apart(edges: FloatArray) -> list[str]:
    """Edges in four digits, or in as many as it takes for no two of them to look the same."""
    for digits in range(4, _ALL_DIGITS):
        texts = [f"{edge:.{digits}g}" for edge in edges]
        if len(set(texts)) == len(edges):
            return texts
    return [repr(float(edge)) for edge in edges]


def _within(figures: Figures, indices: IndexArray) -> Figures:
    return lambda drawn: figures(indices[drawn])


def _is_known(value: float | str | None) -> bool:
    return bool(_text(value))


def _text(value: float | str | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    # All digits: two scanners may have serial numbers that differ in the eighth.
    return f"{value:.15g}" if isinstance(value, int | float) else value.strip()


def _number(value: float | str | None, otherwise: float = math.nan) -> float:
    try:
        return otherwise if value is None else float(value)
    except ValueError:
        return otherwise
