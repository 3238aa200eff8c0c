"""What must hold within [rules.fetch], and what is hardly meant there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secondread.config.destinations import DestinationRow
from secondread.config.faults import Fault, unknown_name
from secondread.config.fetch import RuleFetch
from secondread.config.remark import Remark
from secondread.config.schema import PeerRow, RuleRow
from secondread.config.settings import Settings
from secondread.config.source import Source
from secondread.config.tables import Tables, place
from secondread.domain.destination import Destination, Way
from secondread.domain.fetch import FetchTerms
from secondread.domain.network import Rule, Service

_WAYS = frozenset({Way.DICOM, Way.STOW})


def check_fetch(source: Source, tables: Tables) -> Iterator[Fault]:
    """Faults in [rules.fetch]; a destination that is faulty itself counts as one that fits."""
    rows = tables.rows["destinations"]
    named = source.raw.get("destinations", [])
    kinds: dict[str, Way | None] = {
        str(raw.get("name")): Way(row.kind) if isinstance(row, DestinationRow) else None
        for raw, row in zip(named, rows, strict=False)
        if isinstance(raw, dict)
    }
    for index, rule in enumerate(tables.rows["rules"]):
        if isinstance(rule, RuleRow) and rule.fetch is not None:
            for key, sentence in _faults(rule, rule.fetch, kinds, tables):
                yield Fault(place(source, ("rules", index, "fetch", key)), sentence)


def _faults(
    rule: RuleRow, table: RuleFetch, kinds: Mapping[str, Way | None], tables: Tables
) -> Iterator[tuple[str, str]]:
    name = f"[rules.fetch] of '{rule.name}'"
    if table.source not in kinds:
        yield "source", unknown_name("destinations", table.source, name, kinds)
        return
    kind = kinds[table.source]
    if kind is not None and kind not in _WAYS:
        yield (
            "source",
            f"'source' in {name} is '{table.source}', which is of kind '{kind}': only an archive "
            "of kind 'dicom' or 'stow' can be fetched from.",
        )
    if table.missing and table.source not in _asked(rule, tables):
        yield (
            "missing",
            f"'missing' in {name} needs to know how much '{table.source}' has: name it as 'ask' in "
            "[rules.complete] of this rule, or in [peers.complete] of those who send.",
        )


def _asked(rule: RuleRow, tables: Tables) -> frozenset[str]:
    """The archives that are asked how much they have of the studies that a rule may want."""
    if rule.complete.ask is not None:
        return frozenset({rule.complete.ask})
    return frozenset(row.complete.ask for row in tables.rows["peers"] if isinstance(row, PeerRow))


def fetch_remarks(settings: Settings) -> Iterator[Remark]:
    """What is allowed about fetching, but probably not meant."""
    destinations = {one.name: one for one in settings.destinations}
    storing = {peer.ae_title for peer in settings.peers if Service.STORE in peer.may}
    told: set[str] = set()
    for rule in settings.rules:
        if rule.fetch is None:
            continue
        yield from _remarks(rule, rule.fetch)
        archive = destinations[rule.fetch.source]
        if archive.name not in told and not _may_store(archive, storing):
            told.add(archive.name)
            yield Remark(
                f"No peer that may store has the AE title of '{archive.name}', '{archive.ae_title}'"
                ": what it sends for a C-MOVE would be turned away.",
                "Add it to [[peers]], under the AE title that it calls itself.",
            )


def _remarks(rule: Rule, terms: FetchTerms) -> Iterator[Remark]:
    if not (terms.missing or terms.priors):
        yield Remark(
            f"[rules.fetch] of '{rule.name}' fetches nothing: 'missing' is false and 'priors' 0.",
            "Set one of them, or take the table out.",
        )
    if terms.priors and rule.shadow:
        yield Remark(
            f"[rules.fetch] of '{rule.name}' fetches no priors, because the rule is in shadow.",
            "Nothing, if that is so for now.",
        )


def _may_store(archive: Destination, storing: set[str]) -> bool:
    return archive.way is not Way.DICOM or archive.ae_title in storing
