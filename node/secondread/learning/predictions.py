"""``predictions.json`` of a run folder: what the model answered for each case that it had not seen.

Training writes it, one row a held-out case; evaluating and comparing read it. The document::

    {"schema": 1, "name": "hippocampus_mr", "task": "segmentation",
     "threshold": 0.5, "subgroups": ["age", "sex"], "rows": [...]}

A row has ``id``, ``subject``, ``fold`` and ``values`` (columns that subgroups are made of), and

- for ``segmentation`` ``labels``: ``{name: {dice, hd95_mm, surface_mm, truth_ml, found_ml}}``;
- for ``classification`` ``truth`` (0 or 1) and ``probability`` of 1;
- for ``regression`` ``truth`` and ``found``;
- where they are kept ``image`` and ``truth_labels`` (files relative to the data folder) and
  ``found_labels`` (relative to the run folder): NIfTI, all of them on one grid.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from secondread.errors import DataError
from secondread.learning.metrics.segmentation import LabelMeasures
from secondread.learning.whole import write_whole

FILE_NAME = "predictions.json"
SCHEMA = 1
DEFAULT_THRESHOLD = 0.5

Task = Literal["segmentation", "classification", "regression"]


@dataclass(frozen=True)
class Row:
    """The answer for one held-out case; which of the fields are used depends on the task.

    Attributes:
        id: the case.
        subject: whose case it is; intervals resample subjects.
        fold: the fold that the case was held out in.
        values: columns and attributes of the case.
        labels: by label name, in a segmentation.
        truth: 0 or 1 in a classification, the number in a regression.
        found: the probability of 1 in a classification, the number in a regression.
        image: the picture, relative to the data folder.
        truth_labels: the reference's label map, relative to the data folder.
        found_labels: the answer's label map, relative to the run folder.
    """

    id: str
    subject: str
    fold: int
    values: Mapping[str, float | str] = field(default_factory=dict)
    labels: Mapping[str, LabelMeasures] = field(default_factory=dict)
    truth: float | None = None
    found: float | None = None
    image: str | None = None
    truth_labels: str | None = None
    found_labels: str | None = None


@dataclass(frozen=True)
class Predictions:
    """All held-out answers of one run.

    Attributes:
        name: the recipe's name.
        task: what the model does.
        rows: one for each case.
        threshold: the probability from which on a case counts as positive.
        subgroups: names of `values` that figures are split by.
    """

    name: str
    task: Task
    rows: tuple[Row, ...]
    threshold: float = DEFAULT_THRESHOLD
    subgroups: tuple[str, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every label of any row, in the order of their first appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.labels))


def write(run: Path, predictions: Predictions) -> Path:
    """Write the file into a run folder, whole or not at all; returns its path."""
    document = {
        "schema": SCHEMA,
        "name": predictions.name,
        "task": predictions.task,
        "threshold": predictions.threshold,
        "subgroups": list(predictions.subgroups),
        "rows": [_plain(predictions.task, row) for row in predictions.rows],
    }
    path = run / FILE_NAME
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")
    return path


def read(run: Path) -> Predictions:
    """Read the file of a run folder and check every row.

    Raises:
        DataError: it is not there, is not such a file, or a row is wrong or there twice.
    """
    path = run / FILE_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"'{run}' has no {FILE_NAME}; name the folder that 'secondread train' wrote."
        ) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' is not JSON: {error}.") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise DataError(f"'{path}' is not a list of predictions of schema {SCHEMA}.")
    named = document.get("task")
    if named not in get_args(Task):
        known = ", ".join(get_args(Task))
        raise DataError(f"'{path}' names the task '{named}'; it is one of {known}.")
    task: Task = named  # type: ignore[assignment]
    entries = document.get("rows")
    if not isinstance(entries, list) or not entries:
        raise DataError(f"'{path}' has no rows: no case was held out.")
    rows = tuple(_row(task, entry, number) for number, entry in enumerate(entries, 1))
    _check_once(rows)
    return Predictions(
        name=str(document.get("name", run.name)),
        task=task,
        rows=rows,
        threshold=float(document.get("threshold", DEFAULT_THRESHOLD)),
        subgroups=tuple(str(name) for name in document.get("subgroups", ())),
    )


def _check_once(rows: Sequence[Row]) -> None:
    twice = len(rows) - len({row.id for row in rows})
    if twice:
        raise DataError(
            f"{twice} of the {len(rows)} rows name a case that another row names, too; each case "
            "is held out once."
        )


def _plain(task: Task, row: Row) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": row.id,
        "subject": row.subject,
        "fold": row.fold,
        "values": dict(row.values),
    }
    if task == "segmentation":
        entry["labels"] = {name: asdict(measures) for name, measures in row.labels.items()}
    elif task == "classification":
        entry |= {"truth": row.truth, "probability": row.found}
    else:
        entry |= {"truth": row.truth, "found": row.found}
    for key in ("image", "truth_labels", "found_labels"):
        if getattr(row, key) is not None:
            entry[key] = getattr(row, key)
    return entry


def _row(task: Task, entry: Any, number: int) -> Row:
    try:
        row = Row(
            id=str(entry["id"]),
            subject=str(entry["subject"]),
            fold=int(entry["fold"]),
            values=dict(entry.get("values") or {}),
            labels={name: _measures(each) for name, each in (entry.get("labels") or {}).items()},
            truth=None if task == "segmentation" else float(entry["truth"]),
            found=_found(task, entry),
            image=entry.get("image"),
            truth_labels=entry.get("truth_labels"),
            found_labels=entry.get("found_labels"),
        )
        _check(task, row)
    except KeyError as error:
        raise DataError(f"Row {number} of the predictions lacks {error}.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"Row {number} of the predictions is wrong: {error}.") from error
    return row


def _found(task: Task, entry: Mapping[str, Any]) -> float | None:
    if task == "segmentation":
        return None
    return float(entry["probability" if task == "classification" else "found"])


def _measures(entry: Mapping[str, Any]) -> LabelMeasures:
    optional = {
        key: None if entry[key] is None else float(entry[key]) for key in ("hd95_mm", "surface_mm")
    }
    needed = {key: float(entry[key]) for key in ("dice", "truth_ml", "found_ml")}
    if not all(math.isfinite(value) for value in needed.values()):
        raise ValueError("a measure is not a finite number")
    if not 0 <= needed["dice"] <= 1:
        raise ValueError("Dice is not between 0 and 1")
    return LabelMeasures(**needed, **optional)  # type: ignore[arg-type]


def _check(task: Task, row: Row) -> None:
    if task == "segmentation" and not row.labels:
        raise ValueError("a segmentation without a label")
    numbers = [value for value in (row.truth, row.found) if value is not None]
    if not all(math.isfinite(value) for value in numbers):
        raise ValueError("a number is not finite")
    if task == "classification" and (
        row.truth not in (0.0, 1.0) or row.found is None or not 0 <= row.found <= 1
    ):
        raise ValueError("the truth is 0 or 1, and the probability lies between them")
