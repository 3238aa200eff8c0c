"""Cases from a table: one row, one case."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secondread.errors import DataError
from secondread.learning.case import Case

__all__ = ["Features", "TableLayout", "assemble_features", "read_table"]

Value = float | str


@dataclass(frozen=True)
class TableLayout:
    """Where in a CSV file with a header line things stand.

    Attributes:
        id: the column that names the case; '' numbers the rows.
        subject: the column that says whose it is.
        target: the column of what is to be told; '' for none.
        subject_pattern: a regular expression with one group, for a subject that is a part of its
            column; '' takes the column whole.
        columns: which columns are kept; all where empty.
        needed: columns that have to be there, whichever are kept.
    """

    id: str
    subject: str
    target: str = ""
    subject_pattern: str = ""
    columns: Sequence[str] = ()
    needed: Sequence[str] = ()


@dataclass(frozen=True)
class Features:
    """What an estimator learns from.

    Attributes:
        names: of the features.
        values: (case, feature), NaN where unknown.
        truth: (case,), 0 or 1.
        subjects: of each case.
        ids: of each case.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    truth: NDArray[np.int64]
    subjects: tuple[str, ...]
    ids: tuple[str, ...]
    coding: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Which number stands for which text, of columns that hold text."""


def read_table(path: Path, layout: TableLayout) -> tuple[Case, ...]:
    """Read a CSV file; what looks like a number is one, an empty field is left out.

    Raises:
        DataError: it is absent, is no CSV, lacks a column or has one twice, has a row that is
            longer than its header line, or names a case twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = tuple(reader.fieldnames or ()), list(reader)
    except FileNotFoundError:
        raise DataError(f"The data have no table '{path.name}'.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The table {path.name} cannot be read: {error}") from None
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise DataError(
            f"The table {path.name} has several columns '{twice[0]}'; give each its own name."
        )
    asked = [layout.id, layout.subject, layout.target, *layout.columns, *layout.needed]
    if missing := sorted({name for name in asked if name and name not in columns}):
        raise DataError(f"The table {path.name} has no column {', '.join(missing)}.")
    cases = tuple(_read_row(row, number, layout) for number, row in enumerate(rows, 1))
    names = [case.id for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"The table {path.name} has several rows of {', '.join(twice[:3])}.")
    if not cases:
        raise DataError(f"The table {path.name} has no rows.")
    return cases


def _read_row(row: Mapping[str, str], number: int, layout: TableLayout) -> Case:
    if None in row:
        raise DataError(
            f"Row {number} of the table has more fields than the header line has columns, so that "
            "they cannot be told apart; put a text that holds a comma in quotation marks."
        )
    texts = {key: (text or "").strip() for key, text in row.items() if key}
    subject = texts[layout.subject]
    if layout.subject_pattern:
        found = re.search(layout.subject_pattern, subject)
        subject = found[1] if found else ""
    if not subject:
        raise DataError(f"Row {number} of the table does not say whose it is ({layout.subject}).")
    kept = layout.columns or tuple(texts)
    return Case(
        id=texts[layout.id] if layout.id else str(number),
        subject=subject,
        image=None,
        labels=None,
        target=_read_value(texts[layout.target]) if layout.target else None,
        values={key: _read_value(texts[key]) for key in kept if texts[key]},
    )


def _read_value(text: str) -> Value:
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else text


def assemble_features(
    cases: Sequence[Case],
    names: Sequence[str],
    positive: Callable[[Case], bool | None],
    coding: Mapping[str, Mapping[str, float]] | None = None,
) -> Features:
    """Put columns of cases into one array.

    Args:
        cases: rows.
        names: the columns, in the order of the features.
        positive: whether a case is one of those to be found; None leaves it out.
        coding: numbers for the texts of a column.

    Raises:
        DataError: a column holds a text that ``coding`` does not name, or one class is empty.
    """
    coding = coding or {}
    kept = [(case, answer) for case in cases if (answer := positive(case)) is not None]
    values = [[_number(case, name, coding.get(name, {})) for name in names] for case, _ in kept]
    truth = np.array([int(answer) for _, answer in kept], np.int64)
    if len(np.unique(truth)) != 2:
        raise DataError("All cases are of one class; there is nothing to learn to tell apart.")
    return Features(
        tuple(names),
        np.array(values, np.float64),
        truth,
        tuple(case.subject for case, _ in kept),
        tuple(case.id for case, _ in kept),
        coding,
    )


def _number(case: Case, name: str, codes: Mapping[str, float]) -> float:
    value = case.values.get(name, math.nan)
    if isinstance(value, str):
        if value not in codes:
            raise DataError(f"'{value}' in column {name} of case {case.id} is no number.")
        return codes[value]
    return value
