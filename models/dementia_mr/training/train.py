"""Train and judge the estimators of dementia_mr on the table of OASIS-2, in about a minute.

    python train.py --data FOLDER --bundle .. --runs RUNS

FOLDER has oasis_longitudinal.csv. The recipes beside this file are trained into RUNS, as
`secondread train` does. Writes svm.onnx, tree.onnx and reference.json, and evaluation/figures.json
and calibration.png; the table itself is not copied. Every figure comes from subjects that had no
part in fitting or in choosing hyper-parameters: nested cross-validation, both loops grouped by
subject. Intervals are bootstraps over subjects, for the visits of a person are not independent.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secondread.learning import leaks, predictions
from secondread.learning.intervals import Bootstrap, estimate
from secondread.learning.metrics import classification
from secondread.learning.readers.table import assemble_features
from secondread.learning.recipe import read_recipe
from secondread.learning.training import tabular
from secondread.learning.training.cases import find_cases
from secondread.learning.training.plan import Plan
from secondread.learning.training.run import run as train

HERE = Path(__file__).resolve().parent
RECIPES = {
    "svm": HERE / "recipe.toml",
    "tree": HERE / "recipe_tree.toml",
    "logistic": HERE / "recipe_logistic.toml",
}
FOLDS, SEED, BINS, DRAWS = 5, 0, 5, 2000
QUANTILES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
SHIPPED = ("svm", "tree")


@dataclass(frozen=True)
class HeldOut:
    """What an estimator says of held-out cases, and what was chosen for it in each fold."""

    probabilities: np.ndarray
    folds: np.ndarray
    chosen: tuple[dict, ...]


def read(data: Path):
    """Give the cases, and features with the truth: demented at this visit (CDR above 0)."""
    recipe = read_recipe(RECIPES["svm"])
    cases = find_cases(recipe, data)
    source = recipe.data
    return cases, assemble_features(
        cases, source.columns, lambda case: case.target > recipe.target.above, source.coding
    )


def hold_out(kind: str, data: Path, runs: Path, ids) -> HeldOut:
    """Train a recipe, and give its held-out answers in the order of the cases."""
    out = runs / kind
    train(Plan(read_recipe(RECIPES[kind]), data, out, resume=True), lambda *_: None)
    rows = {row.id: row for row in predictions.read(out).rows}
    return HeldOut(
        np.array([rows[name].found for name in ids]),
        np.array([rows[name].fold for name in ids]),
        tuple(chosen(out / f"fold{fold}") for fold in range(FOLDS)),
    )


def chosen(folder: Path) -> dict:
    """Give the hyper-parameters that were chosen."""
    return json.loads((folder / tabular.CHOSEN_NAME).read_text())


def check_folds(cases, features, folds) -> None:
    """Hold that no subject lies in two folds, by our own count and by the leak check."""
    by_fold = [[c for c, k in zip(cases, folds, strict=True) if k == n] for n in range(FOLDS)]
    leaks.refuse(by_fold)
    where: dict[str, set[int]] = {}
    for subject, fold in zip(features.subjects, folds, strict=True):
        where.setdefault(subject, set()).add(int(fold))
    assert all(len(one) == 1 for one in where.values()), "a subject lies in two folds"
    assert (folds >= 0).all(), "a case was never held out"


def single_scores(features, folds) -> dict[str, np.ndarray]:
    """Give each feature alone as a score, its direction taken from the training folds."""
    scores = {}
    for column, name in enumerate(features.names):
        values, score = features.values[:, column], np.empty(len(features.truth))
        for fold in range(FOLDS):
            train = folds != fold
            auc = classification.roc_auc(features.truth[train], values[train])
            score[~train] = np.where(auc >= 0.5, 1.0, -1.0) * values[~train]
        scores[name] = score
    return scores


def judge(features, held, singles) -> dict:
    """Give all figures with their intervals."""
    truth = features.truth
    best = max(singles, key=lambda name: classification.roc_auc(truth, singles[name]))
    age, male = (features.values[:, features.names.index(name)] for name in ("Age", "M/F"))
    first = np.array([name.endswith("_MR1") for name in features.ids])
    groups = {
        "first_visits": first,
        "men": male == 1,
        "women": male == 0,
        "under_75": age < 75,
        "from_75": age >= 75,
    }

    def figures(rows):
        found = {}
        for name, scores in singles.items():
            found[f"single/{name}/auc"] = classification.roc_auc(truth[rows], scores[rows])
        top = found[f"single/{best}/auc"]
        share = truth[rows].mean()
        found["prevalence/brier"] = float(share * (1 - share))
        for kind, result in held.items():
            p, t = result.probabilities[rows], truth[rows]
            auc = classification.roc_auc(t, p)
            found |= {
                f"{kind}/auc": auc,
                f"{kind}/auc_minus_best_single": auc - top,
                f"{kind}/brier": classification.brier(t, p),
                f"{kind}/calibration_error": classification.calibration_error(t, p, BINS),
            }
            for group, mask in groups.items():
                part = mask[rows]
                found[f"{kind}/auc/{group}"] = classification.roc_auc(t[part], p[part])
        return found

    estimates = estimate(features.subjects, figures, Bootstrap(DRAWS, SEED))
    rows = {
        name: [None if x is None else round(x, 4) for x in (e.value, e.low, e.high)]
        for name, e in estimates.items()
    }
    return {
        "subjects": len(set(features.subjects)),
        "sessions": len(truth),
        "sessions_demented": int(truth.sum()),
        "folds": FOLDS,
        "best_single": best,
        "sessions_by_group": {name: int(mask.sum()) for name, mask in groups.items()},
        "figures": rows,
        "calibration": {k: calibration(truth, r.probabilities) for k, r in held.items()},
        "chosen": {kind: list(map(dict, result.chosen)) for kind, result in held.items()},
    }


def calibration(truth, probability) -> list[dict]:
    """Give promised and true shares in bins of equal counts."""
    parts = np.array_split(np.argsort(probability, kind="stable"), BINS)
    return [
        {
            "sessions": len(p),
            "promised": round(float(probability[p].mean()), 3),
            "true": round(float(truth[p].mean()), 3),
        }
        for p in parts
    ]


def reference(cases) -> dict:
    """Fit linear quantiles of nWBV against age, of subjects nondemented at all their visits.

    Each subject has the same weight, however many visits there were.
    """
    from sklearn.linear_model import QuantileRegressor

    sound = [case for case in cases if case.values["Group"] == "Nondemented"]
    subjects = [case.subject for case in sound]
    weights = np.array([1 / subjects.count(one) for one in subjects])
    age = np.array([[case.values["Age"]] for case in sound])
    volume = np.array([case.values["nWBV"] for case in sound])
    rows = []
    for quantile in QUANTILES:
        line = QuantileRegressor(quantile=quantile, alpha=0.0, solver="highs")
        line.fit(age, volume, sample_weight=weights)
        rows.append(
            [100 * quantile, round(float(line.intercept_), 6), round(float(line.coef_[0]), 8)]
        )
    return {
        "subjects": len(set(subjects)),
        "sessions": len(sound),
        "age_years": [float(age.min()), float(age.max())],
        "lines": rows,
        "columns": ["percentile", "intercept", "slope per year"],
    }


def draw(figures: dict, path: Path) -> None:
    """Draw promised against true shares."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    names = {"svm": "Support vector machine", "tree": "Decision tree"}
    for kind, name in names.items():
        rows = figures["calibration"][kind]
        axes.plot([r["promised"] for r in rows], [r["true"] for r in rows], "o-", label=name)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="Probability that was given, mean of a fifth",
        ylabel="Share demented (CDR above 0)",
        title="Held-out sessions, five folds",
    )
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def run(data: Path, bundle: Path, runs: Path) -> dict:
    """Do all of it; gives the figures."""
    cases, features = read(data)
    held = {kind: hold_out(kind, data, runs, features.ids) for kind in RECIPES}
    folds = held["svm"].folds
    for result in held.values():
        assert np.array_equal(result.folds, folds)
    check_folds(cases, features, folds)
    figures = judge(features, held, single_scores(features, folds))
    (bundle / "evaluation").mkdir(exist_ok=True)
    for kind in SHIPPED:
        shutil.copyfile(runs / kind / tabular.MODEL_NAME, bundle / f"{kind}.onnx")
        figures["chosen"][f"{kind} as shipped"] = chosen(runs / kind)
    figures["training_range"] = {
        name: [float(features.values[:, n].min()), float(features.values[:, n].max())]
        for n, name in enumerate(features.names)
    }
    write(bundle / "reference.json", reference(cases))
    write(bundle / "evaluation" / "figures.json", figures)
    draw(figures, bundle / "evaluation" / "calibration.png")
    return figures


def write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the table lies")
    parser.add_argument("--bundle", type=Path, default=HERE.parent)
    parser.add_argument("--runs", type=Path, required=True, help="where the runs go")
    args = parser.parse_args()
    figures = run(args.data, args.bundle, args.runs)
    print(
        f"{figures['subjects']} subjects, {figures['sessions']} sessions, "
        f"{figures['sessions_demented']} demented; best single: {figures['best_single']}"
    )
    for name, (value, low, high) in figures["figures"].items():
        interval = "" if low is None else f"({low:.3f} to {high:.3f})"
        print(f"{name:36} {value:.3f} {interval}")


if __name__ == "__main__":
    main()
