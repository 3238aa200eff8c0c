"""A run of a network that draws labels: its folds, and what it drew in the held-out cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from secondread.errors import DataError
from secondread.inference.worker.networks.unet3d import UNet3D
from secondread.learning import leaks
from secondread.learning.case import Case, Loaded
from secondread.learning.metrics.segmentation import LabelMeasures, measure
from secondread.learning.predictions import Row
from secondread.learning.preprocessing.steps import make_preparation
from secondread.learning.recipe import Recipe
from secondread.learning.training import checkpoint, loop, segmentation
from secondread.learning.training.cases import find_cases, load_case, split
from secondread.learning.training.loop import Report
from secondread.learning.training.plan import (
    FoldResult,
    Plan,
    hold_split,
    prepare_folder,
    relative,
    write_rows,
)
from secondread.learning.whole import whole

WEIGHTS_NAME = "weights.safetensors"
FOUND_NAME = "found"


def run(plan: Plan, folds: Sequence[int], report: Report) -> tuple[FoldResult, ...]:
    """Train a network that draws labels; `training.run.run` says what is raised."""
    recipe = plan.recipe
    # What of the recipe is wrong is said before hours of reading, not after.
    make_preparation(recipe.preprocessing)
    segmentation.check(recipe)
    prepare_folder(plan, folds, checkpoint.FILE_NAME)
    cases = find_cases(recipe, plan.data)
    parts = split(cases, recipe)
    leaks.refuse(parts)
    hold_split(plan, parts)
    loaded = {}
    for number, case in enumerate(cases, 1):
        loaded[case.id] = _load(recipe, case)
        report("Images", number, len(cases))
    torch.set_num_threads(plan.threads)
    return tuple(_run_fold(plan, fold, parts, loaded, report) for fold in folds)


def _load(recipe: Recipe, case: Case) -> Loaded:
    loaded, labels = load_case(recipe, case), len(recipe.figures.labels)
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
    recipe, folder = plan.recipe, plan.folder(fold)
    held_out = {case.id for case in parts[fold]}
    taught = [each for name, each in loaded.items() if name not in held_out]
    lesson = segmentation.make_lesson(recipe, fold, taught)
    average = loop.train(lesson, recipe.training, folder, resume=plan.resume, report=report)
    net = cast("segmentation.Trainee", average).net
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    keep_weights(weights, folder)
    rows = []
    what = f"Fold {fold}, held-out cases"
    for number, case in enumerate(parts[fold], 1):
        rows.append(_answer(plan, fold, loaded[case.id], net))
        report(what, number, len(parts[fold]))
    write_rows(plan, fold, rows)
    figures = {
        f"{name}.dice": float(np.mean([row.labels[name].dice for row in rows]))
        for name in recipe.figures.labels
    }
    return FoldResult(fold, len(taught), len(rows), figures)


def keep_weights(weights: dict[str, Tensor], folder: Path) -> None:
    """Write weights by name into a fold's folder, whole or not at all."""
    with whole(folder / WEIGHTS_NAME) as partial:
        save_file(weights, partial)


def _answer(plan: Plan, fold: int, loaded: Loaded, net: UNet3D) -> Row:
    recipe, case = plan.recipe, loaded.case
    preparation = make_preparation(recipe.preprocessing)
    prepared = preparation.prepare(loaded)
    found = segmentation.segment(net, prepared.image, recipe.training)
    # Judged on the grid on which somebody drew, whatever the network sees.
    found = preparation.restore(found, prepared, loaded)
    name = f"fold{fold}/{FOUND_NAME}/{case.id}.nii.gz"
    _write_labels(plan.out / name, found, loaded.affine_ras)
    return Row(
        id=case.id,
        subject=case.subject,
        fold=fold,
        values=case.values,
        labels=measure_labels(loaded, found, recipe.figures.labels),
        image=relative(case.image, plan.data),
        truth_labels=relative(case.labels, plan.data),
        found_labels=name,
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
    with whole(path) as partial:
        nibabel.save(nibabel.Nifti1Image(labels, affine_ras), partial)
