"""Figures of the card from the held-out predictions of five folds: means and 95 % intervals.

    python figures.py --data FOLDER [--out figures.json]

has every network of this package draw the cases that it was not trained with: minutes. FOLDER holds
TrainingSet, as in the recipe. After training anew the predictions are there already:

    secondread train ../training/recipe.toml --data FOLDER --out RUN
    python figures.py --run RUN [--out figures.json]

Intervals are percentiles of a bootstrap over subjects, since the two crops of one are not
independent.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from secondread.learning import leaks
from secondread.learning.preprocessing.steps import make_preparation
from secondread.learning.recipe import read_recipe
from secondread.learning.training.cases import find_cases, load_case, split
from secondread.learning.training.drawing import measure_labels
from secondread.learning.training.segmentation import make_trainee, segment

HERE = Path(__file__).resolve().parent
DRAWS, SEED = 10_000, 20261123
PARTS = ("anterior", "posterior")
Rows = list[dict[str, Any]]


def predict(data: Path) -> Rows:
    """Draw every case with the network of the fold that held it out."""
    recipe = read_recipe(HERE.parent / "training" / "recipe.toml")
    preparation = make_preparation(recipe.preprocessing)
    parts = split(find_cases(recipe, data), recipe)
    leaks.refuse(parts)
    rows: Rows = []
    for fold, cases in enumerate(parts):
        net = make_trainee(recipe, fold).net.eval()
        weights = load_file(HERE.parent / f"fold{fold}.safetensors")
        net.load_state_dict({name: value.float() for name, value in weights.items()})
        for number, case in enumerate(cases, 1):
            loaded = load_case(recipe, case)
            prepared = preparation.prepare(loaded)
            found = segment(net, prepared.image, recipe.training)
            found = preparation.restore(found, prepared, loaded)
            labels = measure_labels(loaded, found, recipe.figures.labels)
            measured = {name: dataclasses.asdict(each) for name, each in labels.items()}
            rows.append({"subject": case.subject, "fold": fold, "labels": measured})
            print(f"\rfold {fold}: {number} of {len(cases)}", end="", flush=True)
        print()
    return rows


def interval(values: np.ndarray, subjects: np.ndarray) -> list[float]:
    """Give the 95 % interval of the mean: percentiles over draws of whole subjects."""
    names, index = np.unique(subjects, return_inverse=True)
    sums = np.bincount(index, values)
    counts = np.bincount(index)
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(len(names), size=(DRAWS, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [round(float(value), 4) for value in np.percentile(means, (2.5, 97.5))]


def measure(rows: Rows, part: str) -> dict[str, Any]:
    """Give the figures of one part over all held-out cases."""
    subjects = np.array([row["subject"] for row in rows])
    found = {
        name: np.array([row["labels"][part][name] for row in rows], float)
        for name in ("dice", "hd95_mm", "surface_mm", "truth_ml", "found_ml")
    }
    error = found["found_ml"] - found["truth_ml"]
    share = 100 * np.abs(error) / found["truth_ml"]
    folds = sorted({row["fold"] for row in rows})
    of_fold = np.array([row["fold"] for row in rows])
    return {
        "dice": round(float(found["dice"].mean()), 4),
        "dice_interval": interval(found["dice"], subjects),
        "dice_of_folds": [round(float(found["dice"][of_fold == k].mean()), 4) for k in folds],
        "dice_worst": round(float(found["dice"].min()), 4),
        "hd95_mm": round(float(found["hd95_mm"].mean()), 3),
        "hd95_mm_interval": interval(found["hd95_mm"], subjects),
        "surface_mm": round(float(found["surface_mm"].mean()), 3),
        "bias_ml": round(float(error.mean()), 4),
        "bias_ml_interval": interval(error, subjects),
        "limits_of_agreement_ml": [
            round(float(error.mean() + sign * 1.96 * error.std(ddof=1)), 3) for sign in (-1, 1)
        ],
        "volume_error_percent": round(float(share.mean()), 2),
        "volume_error_percent_interval": interval(share, subjects),
        "volume_correlation": round(
            float(np.corrcoef(found["found_ml"], found["truth_ml"])[0, 1]), 3
        ),
        "truth_ml": round(float(found["truth_ml"].mean()), 3),
    }


def main() -> None:
    """Write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path)
    source.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "figures.json")
    args = parser.parse_args()
    if args.data:
        rows = predict(args.data)
    else:
        rows = json.loads((args.run / "predictions.json").read_text())["rows"]
    figures = {
        "crops": len(rows),
        "subjects": len({row["subject"] for row in rows}),
        **{part: measure(rows, part) for part in PARTS},
    }
    args.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
