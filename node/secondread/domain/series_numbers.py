"""Which Series Numbers the results of each model have, so that no two models share one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from secondread.domain.network import ModelReference

USUAL_FIRST = 801
FIRSTS = (USUAL_FIRST, 901, 701, 601, 501, 401, 301, 201, 101)
"""The first number of each hundred, in the order in which models get them."""


def first_numbers(models: Iterable[ModelReference]) -> Mapping[str, int]:
    """The first of each model's hundred numbers, by the model's id.

    A model whose row names one has that. The others get those that are free, in the order of the
    file; challengers, which send nothing, get theirs last, so that a trial moves nobody's. Where
    there are more models than hundreds, they begin again at the first.
    """
    rows = tuple(models)
    found = {row.id: row.series_from for row in rows if row.series_from}
    rest = sorted((row for row in rows if not row.series_from), key=lambda row: bool(row.package))
    free = [first for first in FIRSTS if first not in found.values()] or list(FIRSTS)
    return found | {row.id: free[index % len(free)] for index, row in enumerate(rest)}
