"""What must hold within [destinations.results], and what is allowed there but hardly meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from secondread.config.destinations import DestinationRow
from secondread.config.faults import Fault
from secondread.config.positions import KeyPath
from secondread.config.remark import Remark
from secondread.config.results import DestinationResults
from secondread.config.settings import Settings
from secondread.config.source import Source
from secondread.config.tables import Tables, place
from secondread.domain.form import COMPRESSIONS, Compression, Form, SegmentationKind

_NONE = SegmentationKind.NONE.value


def check_results(source: Source, tables: Tables) -> Iterator[Fault]:
    """Faults in [destinations.results]; each row counts by itself."""
    for index, row in enumerate(tables.rows["destinations"]):
        if not isinstance(row, DestinationRow):
            continue
        path = ("destinations", index, "results")
        name = f"[destinations.results] of '{row.name}'"
        for key, sentence in _faults(row.results, name):
            yield Fault(_place(source, path, key), sentence)


def _place(source: Source, path: KeyPath, key: str) -> str:
    return place(source, (*path, key))


def _faults(table: DestinationResults, name: str) -> Iterator[tuple[str, str]]:
    kind, fallback = table.segmentation, table.fallback
    compressions = COMPRESSIONS[SegmentationKind(kind)]
    if kind != _NONE and Compression(table.compression) not in compressions:
        possible = ", ".join(sorted(f"'{one}'" for one in compressions))
        yield (
            "compression",
            f"{name}: a segmentation of kind '{kind}' cannot be encoded as '{table.compression}'; "
            f"it can be {possible}. Another kind, such as 'labelmap', can.",
        )
    if "fallback" not in table.model_fields_set:
        return
    if kind == _NONE and fallback:
        yield (
            "fallback",
            f"{name}: 'segmentation' is 'none', so there is nothing that could be refused; leave "
            "'fallback' out.",
        )
        return
    if kind in fallback:
        yield (
            "fallback",
            f"{name}: 'fallback' names '{kind}', which is what was refused; leave it out there.",
        )
    for twice in (one for one, count in Counter(fallback).items() if count > 1):
        yield "fallback", f"{name}: 'fallback' names '{twice}' twice; once is enough."
    if _NONE in fallback[:-1]:
        yield (
            "fallback",
            f"{name}: nothing can come after 'none' in 'fallback', for the report alone holds no "
            "segmentation that could be refused. Put 'none' last.",
        )


def results_remarks(settings: Settings) -> Iterator[Remark]:
    """What is allowed about the form of results, but probably not meant."""
    for destination in settings.destinations:
        yield from _remarks(f"[destinations.results] of '{destination.name}'", destination.form)


def _remarks(name: str, form: Form) -> Iterator[Remark]:
    if form.segmentation is not SegmentationKind.NONE:
        return
    usual = Form()
    said = [
        key
        for key in ("compression", "empty_frames", "one_segment_each")
        if getattr(form, key) != getattr(usual, key)
    ]
    if said:
        yield Remark(
            f"{' and '.join(said)} in {name} mean nothing, because 'segmentation' is 'none'.",
            "Take them out, or choose a kind of segmentation.",
        )
