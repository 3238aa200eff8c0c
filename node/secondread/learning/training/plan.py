"""What one run does, and its folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from secondread.errors import DataError, UsageError
from secondread.learning import predictions
from secondread.learning.case import Case
from secondread.learning.predictions import Predictions, Row
from secondread.learning.readers.nifti import ENDINGS
from secondread.learning.recipe import Recipe
from secondread.learning.whole import write_whole

RECIPE_NAME = "recipe.toml"
LOCK_NAME = ".lock"
SPLIT_NAME = "folds.sha256"


@dataclass(frozen=True)
class Plan:
    """What one run does.

    Attributes:
        recipe: checked.
        data: the folder that the recipe's folders lie in.
        out: the run's folder.
        folds: which folds are trained; empty for all.
        resume: go on from checkpoints.
        threads: how many the arithmetic may use.
    """

    recipe: Recipe
    data: Path
    out: Path
    folds: tuple[int, ...] = ()
    resume: bool = False
    threads: int = 1

    def folder(self, fold: int) -> Path:
        """Where a fold's files lie."""
        return self.out / f"fold{fold}"


@dataclass(frozen=True)
class FoldResult:
    """What a fold came to: how many cases taught it, and its figures on those held out."""

    fold: int
    trained: int
    held_out: int
    figures: Mapping[str, float]


def choose_folds(plan: Plan) -> tuple[int, ...]:
    """The folds that a plan trains, each once.

    Raises:
        UsageError: one of them is not there.
    """
    count = plan.recipe.folds.count
    folds = plan.folds or tuple(range(count))
    if bad := [fold for fold in folds if not 0 <= fold < count]:
        raise UsageError(f"There is no fold {bad[0]}; folds are 0 to {count - 1}.")
    return tuple(dict.fromkeys(folds))


def prepare_folder(plan: Plan, folds: Sequence[int], begun_by: str) -> None:
    """Make the run's folder, with a copy of the recipe.

    Args:
        plan: of the run.
        folds: those that are trained.
        begun_by: the file of a fold's folder that shows that it was begun.

    Raises:
        DataError: the folder is a run of another recipe.
        UsageError: a fold was begun and the plan does not go on.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    path = plan.out / RECIPE_NAME
    if path.exists() and path.read_text("utf-8") != plan.recipe.text:
        raise DataError(
            f"The folder '{plan.out.name}' is a run of another recipe; give --out a new folder."
        )
    for fold in folds:
        if (plan.folder(fold) / begun_by).exists() and not plan.resume:
            raise UsageError(
                f"Fold {fold} was begun in '{plan.out.name}'; add --resume to go on with it, or "
                "give --out a new folder."
            )
    if not path.exists():
        write_whole(path, plan.recipe.text)


def hold_split(plan: Plan, parts: Sequence[Sequence[Case]]) -> None:
    """Hold that a run stays one over the same cases, dealt in the same way.

    One more subject deals all of them anew: a fold that went on would answer for people who had
    taught it before.

    Raises:
        DataError: the run was begun with other cases, subjects or targets.
    """
    path, digest = plan.out / SPLIT_NAME, digest_split(parts)
    if not path.exists():
        write_whole(path, digest + "\n")
    elif path.read_text("utf-8").strip() != digest:
        raise DataError(
            f"The data are not those with which '{plan.out.name}' was begun: cases, subjects or "
            "targets have changed, and with them the folds. Give --out a new folder, or put the "
            "data back as they were."
        )


def digest_split(parts: Sequence[Sequence[Case]]) -> str:
    """Give the sha256 of which cases, of which subjects and with which targets, each fold holds."""
    rows = [[(case.id, case.subject, case.target) for case in part] for part in parts]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def write_rows(plan: Plan, fold: int, rows: Sequence[Row]) -> None:
    """Put a fold's rows into the run's predictions; those of other folds stay.

    Folds may be trained side by side: one waits for the other here.
    """
    with (plan.out / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _put_rows(plan, fold, rows)


def _put_rows(plan: Plan, fold: int, rows: Sequence[Row]) -> None:
    recipe = plan.recipe
    kept: tuple[Row, ...] = ()
    if (plan.out / predictions.FILE_NAME).exists():
        before = predictions.read(plan.out)
        kept = tuple(row for row in before.rows if row.fold != fold)
    document = Predictions(
        name=recipe.name,
        task=cast("predictions.Task", recipe.task),
        rows=tuple(sorted((*kept, *rows), key=lambda row: (row.fold, row.id))),
        threshold=recipe.figures.threshold,
        subgroups=recipe.figures.subgroups,
    )
    predictions.write(plan.out, document)


def relative(path: Path | None, data: Path) -> str | None:
    """A file of the data as predictions name it; None for none, or for one of DICOM.

    Folders of DICOM objects are often called after the patient.
    """
    if path is None or not path.name.endswith(ENDINGS):
        return None
    return path.relative_to(data).as_posix()


def make_row(plan: Plan, fold: int, case: Case, answer: tuple[float, float]) -> Row:
    """The row of a case with its truth and what was found."""
    truth, found = answer
    return Row(
        id=case.id,
        subject=case.subject,
        fold=fold,
        values=case.values,
        truth=truth,
        found=found,
        image=relative(case.image, plan.data),
        truth_labels=relative(case.labels, plan.data),
    )
