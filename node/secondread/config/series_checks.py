"""Series Numbers of results: no two models that send may have the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from secondread.config.faults import Fault
from secondread.config.remark import Remark
from secondread.config.schema import ModelRow
from secondread.config.settings import Settings
from secondread.config.source import Source
from secondread.config.tables import Tables, place
from secondread.domain.series_numbers import FIRSTS, first_numbers


def check_series(source: Source, tables: Tables) -> Iterator[Fault]:
    """Two [[models]] with the same ``series_from``; a challenger, which sends nothing, is free."""
    first: dict[int, str] = {}
    for index, row in enumerate(tables.rows["models"]):
        if not isinstance(row, ModelRow) or row.package or row.series_from is None:
            continue
        holder = first.setdefault(row.series_from, row.id)
        if holder != row.id:
            sentence = (
                f"[[models]] '{row.id}' has the Series Numbers of [[models]] '{holder}', from "
                f"{row.series_from}: in the archive nobody could tell their series apart by "
                "number. Give it another 'series_from', or leave it out."
            )
            yield Fault(place(source, ("models", index, "series_from")), sentence)


def series_remarks(settings: Settings) -> Iterator[Remark]:
    """More models than there are hundreds of Series Numbers."""
    senders = [model for model in settings.models if not model.package]
    numbers = first_numbers(senders)
    for first, count in Counter(numbers.values()).items():
        if count > 1:
            shared = " and ".join(f"'{name}'" for name, of in numbers.items() if of == first)
            yield Remark(
                f"Models {shared} share their Series Numbers, from {first}, because there are more "
                f"than {len(FIRSTS)} models.",
                "Order the [[models]] so that those which share never look at the same series.",
            )
