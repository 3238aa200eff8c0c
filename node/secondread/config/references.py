"""Which rules name a peer, in ``peers`` and anywhere in their conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from secondread.config.blocks import Kind, RowChange
from secondread.config.positions import KeyPath

_KEYS = ("peers", "when")


def named_peers(rule: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """The peers that a row of ``[[rules]]`` names, each with where it does."""
    for key in _KEYS:
        yield from _named(rule.get(key), (key,), is_peers=key == "peers")


def rules_naming(raw: Mapping[str, Any], peer: str) -> tuple[str, ...]:
    """The rules of a file that name a peer."""
    rules = [rule for rule in raw.get("rules", []) if isinstance(rule, dict)]
    return tuple(
        str(rule.get("name"))
        for rule in rules
        if any(name == peer for _, name in named_peers(rule))
    )


def renamings(raw: Mapping[str, Any], old: str, new: str) -> tuple[RowChange, ...]:
    """What has to change in the rules of a file when a peer gets another name."""
    changes = []
    for name in rules_naming(raw, old):
        rule = next(row for row in raw["rules"] if row.get("name") == name)
        values = {
            key: _renamed(rule[key], old, new, is_peers=key == "peers")
            for key in _KEYS
            if key in rule
        }
        changed = {key: value for key, value in values.items() if value != rule[key]}
        changes.append(RowChange(Kind.CHANGE, "rules", name, changed))
    return tuple(changes)


def _named(value: Any, path: KeyPath, *, is_peers: bool) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str) and is_peers:
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _named(item, (*path, index), is_peers=is_peers)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _named(item, (*path, key), is_peers=key == "peer")


def _renamed(value: Any, old: str, new: str, *, is_peers: bool) -> Any:
    if isinstance(value, str):
        return new if is_peers and value == old else value
    if isinstance(value, list):
        return [_renamed(item, old, new, is_peers=is_peers) for item in value]
    if isinstance(value, dict):
        return {
            key: _renamed(item, old, new, is_peers=key == "peer") for key, item in value.items()
        }
    return value
