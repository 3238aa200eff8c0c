"""The plots of a report, as SVG: matplotlib without a window and without shared state."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from secondread.learning.metrics.classification import CalibrationBin, roc_auc, roc_curve
from secondread.learning.metrics.segmentation import bland_altman
from secondread.learning.tasks import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from secondread.learning.comparison import Comparison
    from secondread.learning.predictions import Row

_WIDTH_IN = 4.6
_HEIGHT_IN = 3.6
_INK = "#1f5673"
_SECOND = "#b5562b"
_GREY = "#777777"


def draw_dice(rows: Sequence[Row], names: Sequence[str]) -> bytes:
    """A box of Dice for each label, with the cases beside it."""
    figure, axes = _new(width_in=max(_WIDTH_IN, 0.5 * len(names) + 1.5))
    values = [[row.labels[name].dice for row in rows if name in row.labels] for name in names]
    axes.boxplot(values, showfliers=False, medianprops={"color": _SECOND})
    for place, each in enumerate(values, 1):
        spread = np.linspace(-0.12, 0.12, len(each)) if len(each) > 1 else np.zeros(len(each))
        axes.plot(place + spread, each, ".", color=_INK, alpha=0.45, markersize=3)
    turned = 0 if len(names) < 5 else 90
    axes.set_xticks(range(1, len(names) + 1), [_plain(name) for name in names], rotation=turned)
    axes.set_ylabel("Dice")
    return _svg(figure)


def draw_bland_altman(truth_ml: FloatArray, found_ml: FloatArray, name: str) -> bytes:
    """Difference over mean of two volumes in mL, with bias and limits of agreement."""
    return _agreement(truth_ml, found_ml, f"{_plain(name)}: ", "mL")


def draw_agreement(truth: FloatArray, found: FloatArray) -> bytes:
    """The same for the numbers of a regression."""
    return _agreement(truth, found, "", "")


def draw_roc(truth: FloatArray, probability: FloatArray) -> bytes:
    """The ROC curve, with the area under it."""
    figure, axes = _new()
    false, true = roc_curve(truth, probability)
    axes.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=0.8)
    axes.plot(false, true, color=_INK, label=f"AUC {roc_auc(truth, probability):.3f}")
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.legend(loc="lower right", frameon=False)
    return _svg(figure)


def draw_calibration(table: Sequence[CalibrationBin]) -> bytes:
    """Share of positive cases over mean probability, a dot for each bin that has cases."""
    figure, axes = _new()
    known = [each for each in table if each.count]
    most = max(each.count for each in known)
    axes.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=0.8)
    axes.scatter(
        [each.probability for each in known],
        [each.share for each in known],
        s=[15 + 120 * each.count / most for each in known],
        color=_INK,
        alpha=0.8,
    )
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("mean probability")
    axes.set_ylabel("share of positive cases")
    return _svg(figure)


def draw_differences(comparison: Comparison, names: Sequence[str]) -> bytes:
    """The differences of some figures, with their intervals, about zero."""
    figure, axes = _new(height_in=max(1.6, 0.35 * len(names) + 1.0))
    axes.axvline(0, color=_GREY, linewidth=0.8)
    for place, name in enumerate(reversed(names)):
        gap = comparison.differences[name].difference
        if gap.low is not None and gap.high is not None:
            axes.plot([gap.low, gap.high], [place, place], color=_INK)
        if gap.value is not None:
            axes.plot([gap.value], [place], "o", color=_INK, markersize=4)
    axes.set_yticks(range(len(names)), [_plain(name) for name in reversed(names)])
    axes.set_xlabel("B less A")
    return _svg(figure)


def _agreement(truth: FloatArray, found: FloatArray, title: str, unit: str) -> bytes:
    figure, axes = _new()
    limits = bland_altman(truth, found)
    lines = [("-", limits.bias_ml), ("--", limits.low_ml), ("--", limits.high_ml)]
    axes.plot((truth + found) / 2, found - truth, ".", color=_INK, alpha=0.6)
    for style, height in lines:
        if height is not None:
            axes.axhline(height, linestyle=style, color=_SECOND, linewidth=1)
    axes.set_title(f"{title}bias {limits.bias_ml:+.3g} {unit}".rstrip(), fontsize=9)
    axes.set_xlabel(f"mean of reference and answer{f', {unit}' if unit else ''}")
    axes.set_ylabel(f"answer less reference{f', {unit}' if unit else ''}")
    return _svg(figure)


def _new(width_in: float = _WIDTH_IN, height_in: float = _HEIGHT_IN) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _plain(text: str) -> str:
    """A name as it is: a dollar sign would start a formula, and a leading _ hide a label."""
    return text.replace("$", r"\$")


def _svg(figure: Figure) -> bytes:
    # Neither date nor random ids: the same figures give the same file.
    with mpl.rc_context({"svg.hashsalt": "secondread"}):
        buffer = BytesIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
