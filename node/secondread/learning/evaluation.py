"""A run judged as a whole: figures with intervals, subgroups, worst cases."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from secondread.errors import DataError
from secondread.learning import leaks
from secondread.learning.case import Case
from secondread.learning.intervals import Bootstrap, Estimate, estimate
from secondread.learning.metrics.classification import CalibrationBin, calibration_table
from secondread.learning.predictions import Predictions, Row
from secondread.learning.subgroups import LEAST_SUBJECTS, Subgroup, split
from secondread.learning.tasks import columns, make_figures, score
from secondread.learning.whole import write_whole

FILE_NAME = "figures.json"
WORST = 5


@dataclass(frozen=True)
class Evaluation:
    """What a run reached.

    Attributes:
        predictions: what is judged.
        figures: over all held-out cases, by name.
        folds: how many folds the cases were held out in.
        subjects: how many subjects they come from.
        subgroups: figures of parts of the cases.
        calibration: of a classification, what was promised and what came true.
        worst: the cases with the lowest scores, the worst first.
        bootstrap: how the intervals were made.
    """

    predictions: Predictions
    figures: Mapping[str, Estimate]
    folds: int
    subjects: int
    subgroups: tuple[Subgroup, ...]
    calibration: tuple[CalibrationBin, ...]
    worst: tuple[Row, ...]
    bootstrap: Bootstrap


@dataclass(frozen=True)
class Judging:
    """How to judge.

    Attributes:
        bootstrap: how intervals are made.
        subgroups: columns to split by; empty for those that the predictions name.
        least_subjects: a subgroup of fewer gets no figures.
        worst: how many of the worst cases to name.
    """

    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    subgroups: tuple[str, ...] = ()
    least_subjects: int = LEAST_SUBJECTS
    worst: int = WORST


def evaluate(
    predictions: Predictions, data: Path | None = None, judging: Judging | None = None
) -> Evaluation:
    """Judge the answers of a run.

    Args:
        predictions: the held-out answers.
        data: the folder that images are relative to; with it, images are compared across folds.
        judging: how to judge.

    Raises:
        DataError: a subject or an image lies in two folds, or a subgroup has no values.
    """
    judging = judging or Judging()
    refuse_leaks(predictions.rows, data)
    subjects = [row.subject for row in predictions.rows]
    calibration: tuple[CalibrationBin, ...] = ()
    if predictions.task == "classification":
        calibration = calibration_table(*columns(predictions.rows))
    return Evaluation(
        predictions=predictions,
        figures=estimate(subjects, make_figures(predictions), judging.bootstrap),
        folds=len({row.fold for row in predictions.rows}),
        subjects=len(set(subjects)),
        subgroups=split(
            predictions,
            judging.subgroups or predictions.subgroups,
            judging.bootstrap,
            judging.least_subjects,
        ),
        calibration=calibration,
        worst=tuple(sorted(predictions.rows, key=score)[: judging.worst]),
        bootstrap=judging.bootstrap,
    )


def refuse_leaks(rows: Sequence[Row], data: Path | None = None) -> None:
    """Go no further where a subject, or an image of the data folder, lies in two folds.

    Raises:
        DataError: so it is; the sentence says of how many.
    """
    folds: defaultdict[str, set[int]] = defaultdict(set)
    for row in rows:
        folds[row.subject].add(row.fold)
    leaking = sum(len(each) > 1 for each in folds.values())
    if leaking:
        raise DataError(
            f"{leaking} of {len(folds)} subjects lie in more than one fold, so that the model was "
            "judged by people it had learnt from. Group the folds by subject, and train again."
        )
    if data is not None:
        there = _cases_by_fold(rows, data)
        if not there and any(row.image for row in rows):
            raise DataError(
                "None of the run's images is in the folder of --data; name the one that "
                "'secondread train' was given."
            )
        leaks.refuse(there)


def write_figures(folder: Path, evaluation: Evaluation) -> Path:
    """Write `figures.json`: all of it but the single cases; returns its path."""
    path = folder / FILE_NAME
    text = json.dumps(describe(evaluation), indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")
    return path


def describe(evaluation: Evaluation) -> dict[str, object]:
    """The evaluation as plain objects that JSON can hold; what is not known is null."""
    return {
        "name": evaluation.predictions.name,
        "task": evaluation.predictions.task,
        "cases": len(evaluation.predictions.rows),
        "subjects": evaluation.subjects,
        "folds": evaluation.folds,
        "bootstrap": asdict(evaluation.bootstrap),
        "figures": {name: asdict(each) for name, each in evaluation.figures.items()},
        "subgroups": [asdict(each) for each in evaluation.subgroups],
        "calibration": [
            asdict(each) if each.count else asdict(each) | {"probability": None, "share": None}
            for each in evaluation.calibration
        ],
        "worst": [{"id": row.id, "score": score(row)} for row in evaluation.worst],
    }


def _cases_by_fold(rows: Sequence[Row], data: Path) -> list[list[Case]]:
    """The cases of each fold whose images are there to be compared."""
    by_fold: defaultdict[int, list[Case]] = defaultdict(list)
    for row in rows:
        image = data / row.image if row.image else None
        if image is not None and image.is_file():
            by_fold[row.fold].append(Case(row.id, row.subject, image, None, None, row.values))
    return [by_fold[fold] for fold in sorted(by_fold)]
