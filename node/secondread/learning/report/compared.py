"""The report of two runs over the same cases."""

from __future__ import annotations

from pathlib import Path

from secondread.learning.comparison import Comparison, Difference
from secondread.learning.intervals import Bootstrap
from secondread.learning.report.page import (
    Plot,
    Section,
    Table,
    embed,
    show_estimate,
    show_number,
    write_page,
)
from secondread.learning.report.plots import draw_differences

# One plot for figures of one scale: mL and shares on one axis would say nothing.
_PLOTTED = ("dice", "roc_auc", "sensitivity", "specificity", "mean_absolute_error")
COLUMNS = ("figure", "A", "B", "B less A (interval)", "p")


def write_report(folder: Path, comparison: Comparison, bootstrap: Bootstrap) -> Path:
    """Write `report.html` of a comparison into a folder; returns its path."""
    first, second = comparison.names
    lead = [
        f"A: {first}. B: {second}. {comparison.cases} cases of {comparison.subjects} subjects that "
        f"both runs held out; {comparison.only_first} only A has and {comparison.only_second} only "
        "B has are left out.",
        f"Intervals: {bootstrap.level:.0%}, percentiles of {bootstrap.draws} bootstrap draws of "
        f"subjects. p: a permutation test, {bootstrap.draws} exchanges of subjects' answers, seed "
        f"{bootstrap.seed}, two-sided, not corrected for the number of figures.",
    ]
    table = Table(COLUMNS, make_rows(comparison))
    section = Section("Differences", (), table, _draw(comparison))
    return write_page(folder, f"Comparison of {first} and {second}", lead, [section])


def make_rows(comparison: Comparison) -> tuple[tuple[str, ...], ...]:
    """A row of texts for each figure, under `COLUMNS`."""
    return tuple(_row(name, each) for name, each in comparison.differences.items())


def _row(name: str, each: Difference) -> tuple[str, ...]:
    p_value = "–" if each.p_value is None else f"{each.p_value:.4f}"
    gap = show_estimate(each.difference)
    return (name, show_number(each.first), show_number(each.second), gap, p_value)


def _draw(comparison: Comparison) -> tuple[Plot, ...]:
    names = [
        name
        for name, each in comparison.differences.items()
        if name.rpartition(".")[2] in _PLOTTED and each.difference.value is not None
    ]
    if not names:
        return ()
    return (embed("Differences with their intervals", draw_differences(comparison, names)),)
