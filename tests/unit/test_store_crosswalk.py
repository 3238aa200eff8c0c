"""The tables of the crosswalk, without a key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa

from secondread.domain.crosswalk import KeyState, PairKind, SealedPair
from secondread.errors import LedgerError
from secondread.store import Ledger
from secondread.store.ledger import HEAD_REVISION, LEDGER_NAME


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    found = Ledger.open(tmp_path)
    yield found
    found.close()


def pair(number: int, project_id: int, key_id: str = "k1") -> SealedPair:
    """A row with marks of its own."""
    first, second = bytes([1, number // 256, number % 256]), bytes([2, number // 256, number % 256])
    return SealedPair(project_id, PairKind.INSTANCE, first, second, key_id, b"sealed")


def begin(ledger: Ledger, *names: str) -> list[int]:
    """Projects under the key k1."""
    with ledger.begin() as change:
        change.crosswalk.take_up("k1", 10.0)
        return [change.crosswalk.add_project(name, "k1", b"s", 11.0).id for name in names]


def test_a_key_becomes_old_when_another_is_taken_up(ledger: Ledger) -> None:
    begin(ledger)
    with ledger.begin() as change:
        change.crosswalk.take_up("k2", 20.0)
        states = {key.id: key.state for key in change.crosswalk.known_keys()}
        assert states == {"k1": KeyState.OLD, "k2": KeyState.CURRENT}
        assert change.crosswalk.retire_old(30.0) == 1
        first, second = change.crosswalk.known_keys()
    assert (first.id, first.state, first.since, first.retired_at) == (
        "k1",
        KeyState.RETIRED,
        10.0,
        30.0,
    )
    assert (second.state, second.retired_at) == (KeyState.CURRENT, None)


def test_pairs_are_found_by_their_marks_however_many_are_asked_for(ledger: Ledger) -> None:
    (project,) = begin(ledger, "trial")
    rows = [pair(number, project) for number in range(2000)]
    with ledger.begin() as change:
        change.crosswalk.add(rows)
        change.crosswalk.add([])
        marks = [row.original_mark for row in rows]
        assert change.crosswalk.known([*marks, b"no"]) == frozenset(marks)
        found = change.crosswalk.with_pseudonym([row.pseudonym_mark for row in rows])
        assert {replace(row, id=0) for row in found} == set(rows)
        assert change.crosswalk.with_pseudonym([b"no"]) == ()


def test_one_original_has_one_pair(ledger: Ledger) -> None:
    (project,) = begin(ledger, "trial")
    with pytest.raises(LedgerError), ledger.begin() as change:
        change.crosswalk.add([pair(1, project), pair(1, project)])


def test_pairs_and_projects_are_replaced_in_their_rows(ledger: Ledger) -> None:
    (project,) = begin(ledger, "trial")
    with ledger.begin() as change:
        change.crosswalk.add([pair(number, project) for number in range(5)])
        some = change.crosswalk.sealed_with(["k1"], 3)
        assert len(some) == 3
        change.crosswalk.replace([replace(row, key_id="k2", sealed=b"anew") for row in some])
        change.crosswalk.replace([])
        assert change.crosswalk.count_by_key() == {"k1": 2, "k2": 3}
        assert change.crosswalk.count_of(project)[PairKind.INSTANCE] == 5
        assert change.crosswalk.count_of(project)[PairKind.PATIENT] == 0
        change.crosswalk.replace_project(project, "k2", b"t")
        (record,) = change.crosswalk.projects()
    assert (record.name, record.key_id, record.sealed, record.since) == ("trial", "k2", b"t", 11.0)


def test_all_of_it_can_be_given_up(ledger: Ledger) -> None:
    (project,) = begin(ledger, "trial")
    with ledger.begin() as change:
        change.crosswalk.add([pair(number, project) for number in range(5)])
    with ledger.begin() as change:
        assert change.crosswalk.discard(50.0) == 5
        assert change.crosswalk.projects() == ()
        assert [key.state for key in change.crosswalk.known_keys()] == [KeyState.RETIRED]


def test_a_ledger_without_a_crosswalk_gets_one_and_keeps_what_it_has(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    with ledger.begin() as change:
        change.trail.append(1.0, "test", "Before.")
    ledger.close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / LEDGER_NAME}")
    options = alembic.config.Config()
    options.set_main_option("script_location", "secondread.store:migrations")
    with engine.begin() as connection:
        options.attributes["connection"] = connection
        alembic.command.downgrade(options, "0003")
    engine.dispose()
    ledger = Ledger.open(tmp_path)
    with ledger.read() as view:
        assert view.crosswalk.known_keys() == ()
        assert [row.text for row in view.trail.all()] == ["Before."]
    ledger.close()
    assert HEAD_REVISION >= "0004"
