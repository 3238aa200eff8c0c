"""Classical estimators on tables: chosen and judged by nested cross-validation, kept as ONNX.

An outer loop holds out one fold of subjects after the other. Within what is left an inner loop,
grouped by subject too, chooses the hyper-parameters by ROC AUC. So no figure comes from a subject
that had a part in anything that was fitted or chosen.

A support vector machine gives a distance; Platt's sigmoid, fitted on the held-out distances of the
inner folds, makes a probability of it (Platt, 1999). Nothing is ever kept as a pickle.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondread.errors import DataError, RecipeError
from secondread.learning.estimators.svm_onnx import OPSET, graph_of
from secondread.learning.readers.table import Features
from secondread.learning.splits import grouped_folds

__all__ = [
    "GRIDS",
    "Fitted",
    "HeldOut",
    "Plan",
    "check_agreement",
    "choose_rows",
    "export",
    "fit",
    "run_onnx",
    "validate",
]

GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = MappingProxyType(
    {
        "svm": {"C": (0.1, 1.0, 10.0, 100.0), "gamma": (0.001, 0.01, 0.1, 1.0)},
        "tree": {"max_depth": (2, 3, 4, 5), "min_samples_leaf": (5, 10, 20, 30)},
        "forest": {"max_depth": (3, 5, None), "min_samples_leaf": (3, 10)},
        "logistic": {"C": (0.01, 0.1, 1.0, 10.0)},
    }
)
"""Kind of estimator → the hyper-parameters among which the inner loop chooses."""

AGREEMENT = 1e-4
"""By how much ONNX may differ from scikit-learn: it reckons with 32 bits."""

_SCALED = ("svm", "logistic")
_TREES = 200


@dataclass(frozen=True)
class Plan:
    """How an estimator is chosen and judged.

    Attributes:
        kind: one of `GRIDS`.
        outer: folds that are held out, one after the other.
        inner: folds within the rest.
        seed: of the folds and of whatever else is drawn.
        grid: hyper-parameters to choose among; those of `GRIDS` where None.
    """

    kind: str
    outer: int = 5
    inner: int = 5
    seed: int = 0
    grid: Mapping[str, Sequence[Any]] | None = None


@dataclass(frozen=True)
class Fitted:
    """An estimator: ``model.predict_proba`` takes (case, feature)."""

    kind: str
    model: Any
    chosen: Mapping[str, Any]
    feature_count: int

    def probabilities(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probability of the positive class: (case,) from (case, feature)."""
        found: NDArray[np.float64] = self.model.predict_proba(values)[:, 1]
        return found


@dataclass(frozen=True)
class HeldOut:
    """What an estimator says of cases that it has never seen.

    Attributes:
        probabilities: (case,).
        folds: (case,), in which fold each was held out.
        chosen: the hyper-parameters, by fold.
    """

    probabilities: NDArray[np.float64]
    folds: NDArray[np.int64]
    chosen: tuple[Mapping[str, Any], ...]


def validate(features: Features, plan: Plan) -> HeldOut:
    """Judge an estimator by nested cross-validation, grouped by subject in both loops.

    Raises:
        DataError: there are too few subjects, or a fold has one class alone.
        RecipeError: there is no such kind of estimator.
    """
    found = np.full(len(features.truth), np.nan)
    folds = np.full(len(features.truth), -1)
    chosen = []
    for number, (train, test) in enumerate(split_rows(features, plan.outer, plan.seed)):
        fitted = fit(choose_rows(features, train), plan)
        found[test] = fitted.probabilities(features.values[test])
        folds[test] = number
        chosen.append(fitted.chosen)
    return HeldOut(found, folds, tuple(chosen))


def split_rows(
    features: Features, count: int, seed: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Give the rows to learn from and those held out, fold by fold.

    Raises:
        DataError: there are too few subjects, or one class is absent from what is to be learnt.
    """
    subjects = np.array(features.subjects)
    for held in grouped_folds(features.subjects, count, seed):
        out = np.isin(subjects, sorted(held))
        if set(subjects[out]) & set(subjects[~out]):
            raise DataError("A subject lies in two folds.")
        if len(np.unique(features.truth[~out])) < len(np.unique(features.truth)):
            raise DataError("A fold leaves only one class to learn from; ask for fewer folds.")
        yield np.flatnonzero(~out), np.flatnonzero(out)


def fit(features: Features, plan: Plan) -> Fitted:
    """Choose hyper-parameters by the inner folds' mean ROC AUC, and fit on all rows.

    Raises:
        DataError: there are too few subjects, or a fold has one class alone.
        RecipeError: there is no such kind of estimator.
    """
    from sklearn.model_selection import GridSearchCV

    sizes = _grid(plan)
    if empty := [
        name
        for name, of in zip(features.names, features.values.T, strict=True)
        if np.isnan(of).all()
    ]:
        raise DataError(f"None of the cases to learn from has a value of '{empty[0]}'.")
    splits = list(split_rows(features, plan.inner, plan.seed + 1))
    if any(len(np.unique(features.truth[out])) < 2 for _, out in splits):
        raise DataError(
            "An inner fold has cases of one class alone, so that no ROC AUC can choose by it; ask "
            "for fewer inner folds ('nested' of [folds]), or give more data."
        )
    grid = {f"estimator__{key}": list(row) for key, row in sizes.items()}
    search = GridSearchCV(
        _build(plan.kind, plan.seed), grid, scoring="roc_auc", cv=splits, error_score="raise"
    )
    search.fit(features.values, features.truth)
    model = search.best_estimator_
    if plan.kind == "svm":
        model = _calibrate(model, features, splits)
    chosen = {key.removeprefix("estimator__"): row for key, row in search.best_params_.items()}
    return Fitted(plan.kind, model, chosen, len(features.names))


def _grid(plan: Plan) -> Mapping[str, Sequence[Any]]:
    if plan.kind not in GRIDS:
        raise RecipeError(
            f"There is no estimator '{plan.kind}' for tables; known: {', '.join(GRIDS)}."
        )
    return plan.grid if plan.grid is not None else GRIDS[plan.kind]


def _build(kind: str, seed: int) -> Any:
    """Fill gaps with the training rows' median, scale where it matters, and estimate."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    estimators = {
        "svm": lambda: SVC(kernel="rbf"),
        "tree": lambda: DecisionTreeClassifier(random_state=seed),
        "forest": lambda: RandomForestClassifier(_TREES, random_state=seed),
        "logistic": lambda: LogisticRegression(max_iter=1000),
    }
    steps: list[tuple[str, Any]] = [("gaps", SimpleImputer(strategy="median"))]
    if kind in _SCALED:
        steps.append(("scale", StandardScaler()))
    return Pipeline([*steps, ("estimator", estimators[kind]())])


def _calibrate(model: Any, features: Features, splits: Sequence[Any]) -> Any:
    """Fit Platt's sigmoid on distances of held-out subjects; the machine itself on all rows."""
    from sklearn.base import clone
    from sklearn.calibration import CalibratedClassifierCV

    calibrated = CalibratedClassifierCV(clone(model), method="sigmoid", cv=splits, ensemble=False)
    return calibrated.fit(features.values, features.truth)


def choose_rows(features: Features, rows: NDArray[np.intp]) -> Features:
    """Give some of the cases, by their places."""
    return Features(
        features.names,
        features.values[rows],
        features.truth[rows],
        tuple(features.subjects[row] for row in rows),
        tuple(features.ids[row] for row in rows),
        features.coding,
    )


def export(fitted: Fitted, path: Path) -> None:
    """Write an estimator as ONNX: ``features`` (case, feature) → ``probabilities`` (case, 2)."""
    if fitted.kind == "svm":
        path.write_bytes(graph_of(fitted.model).SerializeToString())
        return
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    written = to_onnx(
        fitted.model,
        initial_types=[("features", FloatTensorType([None, fitted.feature_count]))],
        options={id(fitted.model): {"zipmap": False}},
        target_opset={"": OPSET, "ai.onnx.ml": 3},
    )
    path.write_bytes(written.SerializeToString())


def run_onnx(path: Path, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probability of the positive class as ONNX Runtime has it: (case,)."""
    # Read at its import; else it reports to its maker.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = values.astype(np.float32)
    found = session.run(["probabilities"], {"features": rows})[0]
    return np.asarray(found, np.float64)[:, 1]


def check_agreement(fitted: Fitted, path: Path, values: NDArray[np.float64]) -> float:
    """Give the largest difference between ONNX Runtime and scikit-learn, over (case, feature).

    Raises:
        DataError: it is more than `AGREEMENT`.
    """
    # The same 32-bit rows go into both: a value must not change sides of a threshold by rounding.
    rows = values.astype(np.float32).astype(np.float64)
    difference = float(np.abs(run_onnx(path, rows) - fitted.probabilities(rows)).max())
    if not difference <= AGREEMENT:
        raise DataError(
            f"The ONNX file differs by {difference:.1e} from the estimator it was made from; "
            f"{AGREEMENT:.0e} is the most."
        )
    return difference
