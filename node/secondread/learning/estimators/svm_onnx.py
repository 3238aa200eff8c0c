"""A support vector machine with Platt's sigmoid as an ONNX graph of plain operators, in 64 bits.

skl2onnx writes a machine's probabilities only from ``SVC(probability=True)``, whose sigmoid is
fitted on folds that are not grouped by subject, and which scikit-learn 1.11 takes away.

A machine holds its support vectors, which are rows of the table that it was trained on. Where those
may not leave the site, `surface_of` writes a polynomial instead that gives the same probabilities
within the range of training, and holds no row of anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondread.errors import DataError

__all__ = ["OPSET", "Range", "graph_of", "surface_of"]

OPSET = 18
_IR_VERSION = 8
"""What goes with this opset; newer ones are not read by older versions of ONNX Runtime."""


def graph_of(calibrated: Any) -> Any:
    """Give the ONNX model of a fitted ``CalibratedClassifierCV`` around imputer, scaler and SVC.

    It takes ``features`` (case, feature) float32 and gives ``probabilities`` (case, 2) float32.
    """
    from onnx import TensorProto, helper, numpy_helper

    (whole,) = calibrated.calibrated_classifiers_
    gaps, scale, machine = (step for _, step in whole.estimator.steps)
    (platt,) = whole.calibrators
    vectors = np.asarray(machine.support_vectors_, np.float64)
    constants = {
        "median": gaps.statistics_[None],
        "mean": scale.mean_[None],
        "deviation": scale.scale_[None],
        "vectors_turned": vectors.T,
        "vectors_squared": (vectors**2).sum(axis=1)[None],
        "weights": np.asarray(machine.dual_coef_, np.float64).T,
        "shift": machine.intercept_[None],
        "minus_gamma": np.array(-machine._gamma),
        "two": np.array(2.0),
        "one": np.array(1.0),
        "slope": np.array(-platt.a_),
        "offset": np.array(-platt.b_),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["features"], ["given"], to=TensorProto.DOUBLE),
        node("IsNaN", ["given"], ["unknown"]),
        node("Where", ["unknown", "median", "given"], ["whole"]),
        node("Sub", ["whole", "mean"], ["centred"]),
        node("Div", ["centred", "deviation"], ["scaled"]),
        # |x - v|² = |x|² + |v|² - 2 x·v
        node("ReduceSumSquare", ["scaled", "last_axis"], ["squared"], keepdims=1),
        node("MatMul", ["scaled", "vectors_turned"], ["products"]),
        node("Mul", ["products", "two"], ["doubled"]),
        node("Add", ["squared", "vectors_squared"], ["squares"]),
        node("Sub", ["squares", "doubled"], ["distances"]),
        node("Mul", ["distances", "minus_gamma"], ["exponents"]),
        node("Exp", ["exponents"], ["kernel"]),
        node("MatMul", ["kernel", "weights"], ["weighted"]),
        node("Add", ["weighted", "shift"], ["margin"]),
        node("Mul", ["margin", "slope"], ["sloped"]),
        node("Add", ["sloped", "offset"], ["logit"]),
        node("Sigmoid", ["logit"], ["positive"]),
        node("Sub", ["one", "positive"], ["negative"]),
        node("Concat", ["negative", "positive"], ["both"], axis=1),
        node("Cast", ["both"], ["probabilities"], to=TensorProto.FLOAT),
    ]
    kept = [
        numpy_helper.from_array(np.asarray(value, np.float64), name)
        for name, value in constants.items()
    ]
    kept.append(numpy_helper.from_array(np.array([1], np.int64), "last_axis"))
    return _model(nodes, kept, vectors.shape[1])


@dataclass(frozen=True)
class Range:
    """Within which values of the features, (feature,) each, a polynomial has to hold."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def draw(self, count: int, seed: int) -> NDArray[np.float64]:
        """Give points within, evenly spread: (point, feature)."""
        drawn = np.random.default_rng(seed).uniform(size=(count, len(self.low)))
        points: NDArray[np.float64] = self.low + drawn * (self.high - self.low)
        return points


def surface_of(calibrated: Any, within: Range, *, degree: int = 4, most: float = 0.005) -> Any:
    """Give the ONNX model of a polynomial that stands for a machine, and holds none of its rows.

    It is fitted to the margin at random points, and compared at others. It takes and gives what
    `graph_of` does; unknown features it does not take.

    Raises:
        DataError: a probability within the range differs by more than ``most``.
    """
    from onnx import TensorProto, helper, numpy_helper

    (whole,) = calibrated.calibrated_classifiers_
    (platt,) = whole.calibrators
    middle, half = (within.low + within.high) / 2, (within.high - within.low) / 2
    points = within.draw(_POINTS, 0)
    powers = _powers((points - middle) / half, degree)
    margins = whole.estimator.decision_function(points)
    weights = np.linalg.lstsq(powers, -(platt.a_ * margins + platt.b_), rcond=None)[0]
    others = within.draw(_POINTS, 1)
    given = 1 / (1 + np.exp(-_powers((others - middle) / half, degree) @ weights))
    difference = float(np.abs(given - calibrated.predict_proba(others)[:, 1]).max())
    if not difference <= most:
        raise DataError(
            f"A polynomial of degree {degree} differs by {difference:.3f} from the support vector "
            f"machine; {most:g} is the most."
        )
    node, count = helper.make_node, len(middle)
    nodes = [
        node("Cast", ["features"], ["given"], to=TensorProto.DOUBLE),
        node("Sub", ["given", "middle"], ["centred"]),
        node("Div", ["centred", "half"], ["scaled"]),
        node("Pad", ["scaled", "one_before", "one"], ["power_1"]),
        node("Unsqueeze", ["power_1", "row_axis"], ["rows"]),
    ]
    for power in range(2, degree + 1):
        nodes += [
            node("Unsqueeze", [f"power_{power - 1}", "column_axis"], [f"columns_{power}"]),
            node("Mul", [f"columns_{power}", "rows"], [f"square_{power}"]),
            node("Flatten", [f"square_{power}"], [f"power_{power}"], axis=1),
        ]
    nodes += [
        node("MatMul", [f"power_{degree}", "weights"], ["logit"]),
        node("Sigmoid", ["logit"], ["positive"]),
        node("Sub", ["one", "positive"], ["negative"]),
        node("Concat", ["negative", "positive"], ["both"], axis=1),
        node("Cast", ["both"], ["probabilities"], to=TensorProto.FLOAT),
    ]
    constants = {
        "middle": middle[None],
        "half": half[None],
        "one": np.array(1.0),
        "weights": weights[:, None],
        "one_before": np.array([0, 1, 0, 0], np.int64),
        "row_axis": np.array([1], np.int64),
        "column_axis": np.array([2], np.int64),
    }
    return _model(nodes, [numpy_helper.from_array(v, n) for n, v in constants.items()], count)


_POINTS = 6_000


def _powers(scaled: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """Give all products of ``degree`` of 1 and the features: (point, product)."""
    first = np.hstack((np.ones((len(scaled), 1)), scaled))

    def raise_by_one(power: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
        return (power[:, :, None] * first[:, None, :]).reshape(len(first), -1)

    return reduce(raise_by_one, [first] * degree)


def _model(nodes: Sequence[Any], kept: Sequence[Any], count: int) -> Any:
    """Give a model that takes ``count`` features."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        list(nodes),
        "svm",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["case", count])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["case", 2])],
        list(kept),
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )
