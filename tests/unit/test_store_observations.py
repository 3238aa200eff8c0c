"""Observations, baselines, drift and pauses in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from secondread.domain.monitoring import (
    Baseline,
    Drift,
    DriftRow,
    ModelPause,
    Observation,
    Observed,
)
from secondread.errors import UsageError
from secondread.store import Ledger
from secondread.store.ledger import LEDGER_NAME
from secondread.store.tables import metadata
from tests.unit.test_store_migrations import fill, take_back

MODEL = ("brain", "1")
GROUP = ("Siemens SKYRA", "MR")
ONE = Observation(1, 10.0, *MODEL, *GROUP, Observed.ANSWERED, {"slices": 3.0})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path)
    fill(ledger)
    yield ledger
    ledger.close()


def test_an_observation_comes_back_as_it_was(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.observations.keep(ONE)
        change.observations.keep(replace(ONE, job_id=2, at=20.0, outcome=Observed.REFUSED))
        seen = change.observations
        assert replace(seen.of_job(1) or ONE, id=0) == ONE
        assert seen.groups(*MODEL) == (GROUP,)
        assert seen.counts(*MODEL) == {Observed.ANSWERED: 1, Observed.REFUSED: 1}
        assert [one.job_id for one in seen.first_answered(*MODEL, GROUP, 0.0, 9)] == [1]
        assert seen.first_answered(*MODEL, GROUP, 11.0, 9) == ()
        assert [one.job_id for one in seen.last(*MODEL, GROUP, 0.0, 9)] == [1, 2]
        assert [one.job_id for one in seen.last(*MODEL, GROUP, 0.0, 1)] == [2]
        assert seen.refused(*MODEL, GROUP, (0.0, 20.0)) == 1
        assert seen.refused(*MODEL, GROUP, (0.0, 19.0)) == 0


def test_a_baseline_is_the_last_that_was_set_and_each_is_in_the_trail(ledger: Ledger) -> None:
    with ledger.begin() as change:
        assert change.observations.baseline(*MODEL) is None
        for since in (5.0, 6.0):
            change.observations.set_baseline(Baseline(*MODEL, since, "anna", 7.0))
        assert change.observations.baseline(*MODEL) == Baseline(*MODEL, 6.0, "anna", 7.0)
        assert len(change.trail.of_event("model-baseline")) == 2


def test_drift_is_told_when_it_changes_and_keeps_since_when(ledger: Ledger) -> None:
    def found(state: Drift, at: float) -> DriftRow:
        return DriftRow(*MODEL, *GROUP, state, at, at, f"It is {state}.", 0.5)

    with ledger.begin() as change:
        note = change.observations.note_drift
        changes = [
            note(found(state, at))
            for at, state in enumerate([Drift.FEW, Drift.DRIFT, Drift.DRIFT, Drift.OK])
        ]
        (row,) = change.observations.drift_rows(*MODEL)
        said = change.trail.of_event("model-drift")
    assert changes == [False, True, False, True]
    assert (row.state, row.since, row.looked_at) == (Drift.OK, 3.0, 3.0)
    assert [(one.before, one.after) for one in said] == [("too few yet", "drift"), ("drift", "ok")]


def test_a_model_is_paused_once_and_resumed_once(ledger: Ledger) -> None:
    pause = ModelPause(*MODEL, 5.0, "It looked odd.", "anna")
    with ledger.begin() as change:
        change.model_pauses.pause(pause)
        with pytest.raises(UsageError, match="paused already, by anna"):
            change.model_pauses.pause(pause)
        assert change.model_pauses.paused("brain", "2") is None
        assert change.model_pauses.resume(*MODEL, "ben", "Well again.", 9.0) == pause
        with pytest.raises(UsageError, match="not paused"):
            change.model_pauses.resume(*MODEL, "ben", "", 9.0)
        assert change.model_pauses.last_resumed(*MODEL) == 9.0
        assert change.model_pauses.last_resumed("brain", "2") == 0.0


def test_a_migrated_ledger_has_the_tables_that_the_code_names(tmp_path: Path) -> None:
    Ledger.open(tmp_path).close()
    take_back(tmp_path, "0006")
    ledger = Ledger.open(tmp_path)
    with ledger.read() as view:
        assert view.observations.groups(*MODEL) == ()
    ledger.close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / LEDGER_NAME}")
    found = sa.inspect(engine)
    for table in metadata.sorted_tables:
        columns = {one["name"]: one["nullable"] for one in found.get_columns(table.name)}
        assert columns == {
            one.name: bool(one.nullable) and not one.primary_key for one in table.columns
        }, table.name
        assert {one["name"] for one in found.get_indexes(table.name) if one["name"]} == {
            str(one.name) for one in table.indexes
        }, table.name
        assert len(found.get_unique_constraints(table.name)) == sum(
            isinstance(one, sa.UniqueConstraint) for one in table.constraints
        ), table.name
    engine.dispose()
