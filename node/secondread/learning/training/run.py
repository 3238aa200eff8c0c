"""A run: the folds of a recipe trained one after the other, and their held-out answers written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from secondread.errors import DataError, UsageError
from secondread.inference.worker.networks.unet3d import UNet3D
from secondread.learning import leaks, predictions
from secondread.learning.case import Case, Loaded
from secondread.learning.metrics.segmentation import LabelMeasures, measure
from secondread.learning.predictions import Predictions, Row
from secondread.learning.preprocessing.intensity import make_scaling, normalise
from secondread.learning.readers import nifti
from secondread.learning.recipe import Recipe
from secondread.learning.splits import grouped_folds
from secondread.learning.training import checkpoint, loop, segmentation
from secondread.learning.training.loop import Report

RECIPE_NAME = "recipe.toml"
WEIGHTS_NAME = "weights.safetensors"
FOUND_NAME = "found"


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


@dataclass(frozen=True)
class FoldResult:
    """What a fold came to: how many cases taught it, and its mean figures on those held out."""

    fold: int
    trained: int
    held_out: int
    dice: Mapping[str, float]


def run(plan: Plan, report: Report) -> tuple[FoldResult, ...]:
    """Train the folds of a plan and write their held-out answers.

    Raises:
        RecipeError: the recipe asks for what cannot be trained.
        DataError: the cases cannot be read, leak between folds, or the run is another recipe's.
        UsageError: a fold is not there, or was begun and ``resume`` is not set.
    """
    import torch

    recipe = plan.recipe
    folds = plan.folds or tuple(range(recipe.folds.count))
    if bad := [fold for fold in folds if not 0 <= fold < recipe.folds.count]:
        raise UsageError(f"There is no fold {bad[0]}; folds are 0 to {recipe.folds.count - 1}.")
    # What of the recipe is wrong is said before hours of reading, not after.
    make_scaling(recipe.preprocessing)
    segmentation.check(recipe)
    _prepare_folder(plan, folds)
    cases = find_cases(recipe, plan.data)
    parts = split(cases, recipe)
    leaks.refuse(parts)
    loaded = {case.id: _load(case, len(recipe.figures.labels)) for case in cases}
    torch.set_num_threads(plan.threads)
    return tuple(_run_fold(plan, fold, parts, loaded, report) for fold in folds)


def find_cases(recipe: Recipe, data: Path) -> tuple[Case, ...]:
    """The cases of a recipe, by name.

    Raises:
        DataError: there are none, one lacks its labels, or a name does not tell its subject.
    """
    source = recipe.data
    layout = nifti.NiftiLayout(
        images=source.images,
        labels=source.labels,
        subject=source.subject,
        leave_out=source.leave_out,
    )
    cases = nifti.find_cases(data, layout)
    return tuple(map(_pair, cases)) if source.pairs else cases


def split(cases: Sequence[Case], recipe: Recipe) -> tuple[tuple[Case, ...], ...]:
    """The held-out cases of each fold; a subject lies in one fold only."""
    subjects = [case.subject for case in cases]
    folds = grouped_folds(subjects, recipe.folds.count, recipe.seed)
    return tuple(tuple(case for case in cases if case.subject in held) for held in folds)


def _pair(case: Case) -> Case:
    if not case.subject.isdigit():
        raise DataError(
            f"'pairs' of [data] counts files, but the subject of '{case.id}' is no number."
        )
    return dataclasses.replace(case, subject=f"{(int(case.subject) + 1) // 2:03d}")


def _prepare_folder(plan: Plan, folds: Sequence[int]) -> None:
    plan.out.mkdir(parents=True, exist_ok=True)
    path = plan.out / RECIPE_NAME
    if path.exists() and path.read_text("utf-8") != plan.recipe.text:
        raise DataError(
            f"The folder '{plan.out.name}' is a run of another recipe; give --out a new folder."
        )
    for fold in folds:
        begun = (plan.out / f"fold{fold}" / checkpoint.FILE_NAME).exists()
        if begun and not plan.resume:
            raise UsageError(
                f"Fold {fold} was begun in '{plan.out.name}'; add --resume to go on with it, or "
                "give --out a new folder."
            )
    path.write_text(plan.recipe.text, "utf-8")


def _load(case: Case, labels: int) -> Loaded:
    loaded = nifti.load_case(case)
    greatest = int(segmentation.labels_of(loaded).max())
    if greatest > labels:
        raise DataError(
            f"The label map of {case.id} has label {greatest}, but the recipe names {labels}."
        )
    return loaded


def _run_fold(
    plan: Plan,
    fold: int,
    parts: Sequence[Sequence[Case]],
    loaded: Mapping[str, Loaded],
    report: Report,
) -> FoldResult:
    from safetensors.torch import save_file

    recipe, folder = plan.recipe, plan.out / f"fold{fold}"
    held_out = {case.id for case in parts[fold]}
    taught = [each for name, each in loaded.items() if name not in held_out]
    lesson = segmentation.make_lesson(recipe, fold, taught)
    average = loop.train(lesson, recipe.training, folder, resume=plan.resume, report=report)
    net = cast("segmentation.Trainee", average).net
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file(weights, folder / WEIGHTS_NAME)
    rows = []
    what = f"Fold {fold}, held-out cases"
    for number, case in enumerate(parts[fold], 1):
        rows.append(_answer(plan, fold, loaded[case.id], net))
        report(what, number, len(parts[fold]))
    _write_rows(plan, fold, rows)
    dice = {
        name: float(np.mean([row.labels[name].dice for row in rows]))
        for name in recipe.figures.labels
    }
    return FoldResult(fold, len(taught), len(rows), dice)


def _answer(plan: Plan, fold: int, loaded: Loaded, net: UNet3D) -> Row:
    recipe, case = plan.recipe, loaded.case
    image = normalise(loaded.image, make_scaling(recipe.preprocessing))
    found = segmentation.segment(net, image, recipe.training)
    relative = f"fold{fold}/{FOUND_NAME}/{case.id}.nii.gz"
    _write_labels(plan.out / relative, found, loaded.affine_ras)
    return Row(
        id=case.id,
        subject=case.subject,
        fold=fold,
        values=case.values,
        labels=measure_labels(loaded, found, recipe.figures.labels),
        image=_relative(case.image, plan.data),
        truth_labels=_relative(case.labels, plan.data),
        found_labels=relative,
    )


def measure_labels(
    loaded: Loaded, found: NDArray[np.uint8], names: Sequence[str]
) -> dict[str, LabelMeasures]:
    """Compare found labels (x, y, z) with those of the case, for each name (label 1 first)."""
    truth = segmentation.labels_of(loaded)
    spacing_mm = np.linalg.norm(loaded.affine_ras[:3, :3], axis=0).tolist()
    return {
        name: measure(truth == label, found == label, spacing_mm)
        for label, name in enumerate(names, 1)
    }


def _write_labels(path: Path, labels: NDArray[np.uint8], affine_ras: NDArray[np.float64]) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, affine_ras), path)


def _relative(path: Path | None, data: Path) -> str | None:
    return path.relative_to(data).as_posix() if path else None


def _write_rows(plan: Plan, fold: int, rows: Sequence[Row]) -> None:
    """Put a fold's rows into the run's predictions; those of other folds stay."""
    recipe = plan.recipe
    kept: tuple[Row, ...] = ()
    if (plan.out / predictions.FILE_NAME).exists():
        before = predictions.read(plan.out)
        kept = tuple(row for row in before.rows if row.fold != fold)
    document = Predictions(
        name=recipe.name,
        task=cast("predictions.Task", recipe.task),
        rows=tuple(sorted((*kept, *rows), key=lambda row: (row.fold, row.id))),
    )
    predictions.write(plan.out, document)
