"""What must hold within and between the tables that say when a study is complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secondread.config.complete import PeerComplete, RuleComplete, to_completeness
from secondread.config.faults import Fault, unknown_name
from secondread.config.positions import KeyPath
from secondread.config.remark import Remark
from secondread.config.schema import PeerRow, RuleRow
from secondread.config.settings import Settings
from secondread.config.source import Source
from secondread.config.tables import Tables, place
from secondread.domain.completeness import AtLimit, Completeness


@dataclass(frozen=True, slots=True)
class _Table:
    """A table as it stands in the file, with what holds for what it leaves out.

    Attributes:
        path: of its row.
        name: how it is called in a sentence.
        terms: values by key, of the row and its table together.
        given: the keys that the table itself or its row sets.
    """

    source: Source
    path: KeyPath
    name: str
    terms: Mapping[str, Any]
    given: frozenset[str]

    def fault(self, key: str, sentence: str, *inside: str | int) -> Fault:
        path = (*self.path, "complete", key, *inside)
        if key == "quiet_s" and self.path[0] == "peers":
            path = (*self.path, key)
        return Fault(place(self.source, path), sentence)


def check_complete(source: Source, tables: Tables, destinations: Sequence[str]) -> Iterator[Fault]:
    """Faults in [peers.complete] and [rules.complete]; each row counts by itself.

    A rule is held against each peer that it might get studies from, for what it leaves out.
    """
    peers = [
        _of_peer(source, index, row)
        for index, row in enumerate(tables.rows["peers"])
        if isinstance(row, PeerRow)
    ]
    for peer in peers:
        yield from _faults(peer, destinations)
    for index, row in enumerate(tables.rows["rules"]):
        if not isinstance(row, RuleRow):
            continue
        own = _of_rule(source, index, row, {})
        yield from _faults(own, destinations)
        among = [peer for peer in peers if not row.peers or peer.terms["name"] in row.peers]
        for peer in among:
            both = _of_rule(source, index, row, peer.terms)
            found = next(_orders(both, with_peer=f", for peer '{peer.terms['name']}'"), None)
            if found is not None and not list(_orders(own)):
                yield found
                break


def _of_peer(source: Source, index: int, row: PeerRow) -> _Table:
    terms = {key: getattr(row.complete, key) for key in PeerComplete.model_fields}
    given = row.complete.model_fields_set | ({"quiet_s"} & row.model_fields_set)
    name = f"[peers.complete] of '{row.name}'"
    terms |= {
        "quiet_s": row.quiet_s,
        "name": row.name,
        "wait_max_s": to_completeness(row.quiet_s, row.complete).wait_max_s,
    }
    return _Table(source, ("peers", index), name, terms, frozenset(given))


def _of_rule(source: Source, index: int, row: RuleRow, peer: Mapping[str, Any]) -> _Table:
    own = {
        key: value
        for key in RuleComplete.model_fields
        if (value := getattr(row.complete, key)) is not None
    }
    name = f"[rules.complete] of '{row.name}'"
    return _Table(source, ("rules", index), name, {**peer, **own}, frozenset(own))


def _faults(table: _Table, destinations: Sequence[str]) -> Iterator[Fault]:
    yield from _orders(table)
    ask = table.terms.get("ask")
    if ask and ask not in destinations:
        yield table.fault("ask", unknown_name("destinations", ask, table.name, destinations))
    names = Counter(row.name for row in table.terms.get("series") or [])
    for name, count in names.items():
        if count > 1:
            yield table.fault(
                "series", f"{count} series in {table.name} are called '{name}'; name each once."
            )


def _orders(table: _Table, with_peer: str = "") -> Iterator[Fault]:
    """Times of which one has to be the longer; told where one of them is set."""
    terms, given = table.terms, table.given
    low, high = terms.get("quiet_min_s"), terms.get("quiet_max_s")
    key = next((key for key in ("quiet_min_s", "quiet_max_s") if key in given), None)
    if key and low is not None and high is not None and low > high:
        yield table.fault(
            key,
            f"{table.name}{with_peer}: quiet_min_s is {low:g}, longer than quiet_max_s, which is "
            f"{high:g}.",
        )
    quiet, limit = terms.get("quiet_s"), terms.get("wait_max_s")
    late = next((key for key in ("wait_max_s", "quiet_s") if key in given), None)
    if late and limit and quiet is not None and quiet > limit:
        yield table.fault(
            late,
            f"{table.name}{with_peer}: quiet_s is {quiet:g}, longer than wait_max_s, which is "
            f"{limit:g}, so that it would never pass. Set wait_max_s higher, or to 0 for no limit.",
        )


def complete_remarks(settings: Settings) -> Iterator[Remark]:
    """What is allowed about completeness, but probably not meant."""
    for peer in settings.peers:
        if peer.complete is not None:
            yield from _remarks(f"[peers.complete] of '{peer.name}'", peer.complete)


def _remarks(name: str, terms: Completeness) -> Iterator[Remark]:
    if not terms.wait_max_s and terms.at_limit is not AtLimit.CONTINUE:
        yield Remark(
            f"at_limit in {name} is '{terms.at_limit}', but there is no limit.",
            "Set wait_max_s.",
        )
    if not terms.wait_max_s and (terms.series or terms.counts):
        yield Remark(
            f"A study that lacks something waits for ever, because wait_max_s in {name} is 0.",
            "Set wait_max_s, if only to a day.",
        )
    if terms.learn and terms.wait_max_s and terms.quiet_max_s > terms.wait_max_s:
        yield Remark(
            f"quiet_max_s in {name} is {terms.quiet_max_s:g}, but waiting ends after "
            f"{terms.wait_max_s:g} s.",
            "Lower quiet_max_s, or set wait_max_s higher.",
        )
