"""Two runs over the same cases: the difference of each figure, its interval, and its p value.

The cases are paired, so that easy and hard ones cancel. The interval draws subjects, as all of
them do. The p value is of a permutation test: were the runs alike, each subject's two answers could
as well have been exchanged (Good, Permutation, Parametric and Bootstrap Tests, 2005).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from secondread.errors import DataError
from secondread.learning.evaluation import refuse_leaks
from secondread.learning.intervals import Bootstrap, Estimate, IndexArray, cases_of, estimate
from secondread.learning.metrics.segmentation import LabelMeasures
from secondread.learning.predictions import Predictions, Row
from secondread.learning.tasks import make_figures

# The reference's volume of one case, told by two runs, may differ by rounding alone.
_VOLUME_SLACK = 1e-3


@dataclass(frozen=True)
class Difference:
    """One figure of two runs.

    Attributes:
        first: of run A over the shared cases; None where they cannot give it.
        second: of run B.
        difference: B less A, with its interval.
        p_value: of the permutation test, two-sided; None where there is no difference to test.
    """

    first: float | None
    second: float | None
    difference: Estimate
    p_value: float | None


@dataclass(frozen=True)
class Comparison:
    """Two runs over the cases that both held out.

    Attributes:
        names: of the recipes of A and B.
        task: what both do.
        cases: how many cases both have.
        subjects: of how many subjects.
        only_first: cases that only A has, which are left out.
        only_second: cases that only B has.
        differences: by figure.
    """

    names: tuple[str, str]
    task: str
    cases: int
    subjects: int
    only_first: int
    only_second: int
    differences: Mapping[str, Difference]


def compare(
    first: Predictions, second: Predictions, bootstrap: Bootstrap | None = None
) -> Comparison:
    """Compare B with A, figure by figure.

    Raises:
        DataError: the runs do different things, share no case, differ in a case's truth or subject,
            or one of them leaks.
    """
    settings = bootstrap or Bootstrap()
    if first.task != second.task:
        raise DataError(
            f"Run A is a {first.task} and run B a {second.task}; only like runs can be compared."
        )
    for predictions in (first, second):
        refuse_leaks(predictions.rows)
    pairs = _pair(first, second)
    shared_a = replace(first, rows=tuple(pair[0] for pair in pairs))
    shared_b = replace(second, rows=tuple(pair[1] for pair in pairs))
    subjects = [row.subject for row in shared_a.rows]
    figures_a, figures_b = make_figures(shared_a), make_figures(shared_b)

    def difference(indices: IndexArray) -> Mapping[str, float]:
        of_a, of_b = figures_a(indices), figures_b(indices)
        return {name: of_b[name] - of_a[name] for name in of_a if name in of_b}

    everything = np.arange(len(pairs))
    whole_a, whole_b = figures_a(everything), figures_b(everything)
    differences = estimate(subjects, difference, settings)
    p_values = _permute(shared_a, shared_b, settings)
    return Comparison(
        names=(first.name, second.name),
        task=first.task,
        cases=len(pairs),
        subjects=len(set(subjects)),
        only_first=len(first.rows) - len(pairs),
        only_second=len(second.rows) - len(pairs),
        differences={
            name: Difference(_known(whole_a[name]), _known(whole_b[name]), each, p_values[name])
            for name, each in differences.items()
        },
    )


def describe(comparison: Comparison) -> dict[str, object]:
    """The comparison as plain objects that JSON can hold."""
    return asdict(comparison)


def _pair(first: Predictions, second: Predictions) -> list[tuple[Row, Row]]:
    """The rows of both for each shared case, with the labels that both runs know."""
    shared = [name for name in first.label_names if name in second.label_names]
    others = {row.id: row for row in second.rows}
    pairs = [
        (_keep(row, shared), _keep(others[row.id], shared))
        for row in first.rows
        if row.id in others
    ]
    if not pairs or (first.label_names and not shared):
        what = "case" if not pairs else "label"
        raise DataError(f"The two runs have no {what} in common; compare runs over the same data.")
    unlike = sum(not _same_truth(*pair) for pair in pairs)
    if unlike:
        raise DataError(
            f"{unlike} of the {len(pairs)} cases that both runs have differ in their truth or "
            "their subject; compare runs over the same data."
        )
    return pairs


def _keep(row: Row, names: Sequence[str]) -> Row:
    labels = {name: row.labels[name] for name in names if name in row.labels}
    return replace(row, labels=labels)


def _same_truth(first: Row, second: Row) -> bool:
    if first.subject != second.subject or first.truth != second.truth:
        return False
    if first.labels.keys() != second.labels.keys():
        return False
    return all(_same_volume(first.labels[name], second.labels[name]) for name in first.labels)


def _same_volume(first: LabelMeasures, second: LabelMeasures) -> bool:
    return math.isclose(first.truth_ml, second.truth_ml, rel_tol=_VOLUME_SLACK, abs_tol=1e-6)


def _permute(
    first: Predictions, second: Predictions, settings: Bootstrap
) -> dict[str, float | None]:
    """For each figure, how often exchanged answers differ by as much as the real ones do."""
    count = len(first.rows)
    # One list of all answers, A's and then B's: an exchange is then a choice of indices.
    thresholds = np.repeat([first.threshold, second.threshold], count)
    pooled = make_figures(replace(first, rows=first.rows + second.rows), thresholds)
    everything = np.arange(count)

    def gaps(swapped: IndexArray) -> dict[str, float]:
        of_a = pooled(everything + count * swapped)
        of_b = pooled(everything + count * (1 - swapped))
        return {name: abs(of_b[name] - of_a[name]) for name in of_a}

    seen = gaps(np.zeros(count, np.intp))
    groups = cases_of([row.subject for row in first.rows])
    generator = np.random.default_rng(settings.seed)
    beyond = dict.fromkeys(seen, 1)
    for _ in range(settings.draws):
        swapped = np.zeros(count, np.intp)
        for group, swap in zip(groups, generator.integers(2, size=len(groups)), strict=True):
            swapped[group] = swap
        for name, gap in gaps(swapped).items():
            # A hair's breadth for rounding: a mean taken in another order is the same mean.
            # Exchanged answers that give no figure, such as a PPV where nobody is called positive,
            # are no witness against chance.
            beyond[name] += not gap < seen[name] - 1e-12
    total = settings.draws + 1
    return {name: None if math.isnan(seen[name]) else beyond[name] / total for name in seen}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
