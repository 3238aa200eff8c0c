"""Timers of the pipeline: when what is called rarely is called first, also after a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from secondread.app import _watch_models
from secondread.domain.monitoring import Drift, DriftRow
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.pipeline import watching
from secondread.pipeline.watching import FIRST_LOOK_S, METRICS_FILE, ModelWatch
from secondread.schedule.timers import Timers
from tests.house import House, StillClock

DAY_S = 86_400.0
DAILY = MonitoringTerms(look_minutes=1440)
GROUPS: Sequence[tuple[str, str]] = (("Siemens SKYRA", "MR, GR 3D"), ("GE DISCOVERY", "CT"))
LONG_S = 20.0


@pytest.fixture
def timers() -> Iterator[Timers]:
    found = Timers()
    yield found
    found.stop()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "data", StillClock())


def looked(house: House, ago_s: Sequence[float]) -> None:
    """Note that the only model was looked at so many seconds ago, one time for each group."""
    (manifest,) = house.place.manifests.values()
    with house.place.ledger.begin() as change:
        for group, seconds in zip(GROUPS, ago_s, strict=False):
            at = house.clock.time - seconds
            row = DriftRow(manifest.id, manifest.version, *group, Drift.OK, at, at, "As before.")
            change.observations.note_drift(row)


def test_a_first_call_comes_before_the_first_interval_is_over(timers: Timers) -> None:
    early, usual = threading.Event(), threading.Event()
    timers.every(DAY_S, "usual", usual.set)
    timers.every(DAY_S, "early", early.set, first_s=0.05)
    timers.start()
    assert early.wait(LONG_S)
    assert not usual.is_set()


def test_calls_go_on_after_the_first_one(timers: Timers) -> None:
    calls = threading.Semaphore(0)
    timers.every(0.1, "often", calls.release, first_s=0.0)
    timers.start()
    assert all(calls.acquire(timeout=LONG_S) for _ in range(3))


def test_a_node_that_never_looked_looks_soon_after_its_start(house: House) -> None:
    assert ModelWatch(house.place, DAILY).wait_s() == FIRST_LOOK_S


@pytest.mark.parametrize(
    ("ago_s", "wait_s"),
    [
        ([30 * DAY_S], FIRST_LOOK_S),
        ([DAY_S - 3600.0], 3600.0),
        # Of many scanners some are not seen any more; the newest look is that of the model.
        ([60.0, 90 * DAY_S], DAY_S - 60.0),
        ([DAY_S - 1.0], FIRST_LOOK_S),
        # The clock was set back by a year since.
        ([-365 * DAY_S], DAY_S),
    ],
)
def test_the_interval_goes_on_over_a_restart(
    house: House, ago_s: Sequence[float], wait_s: float
) -> None:
    looked(house, ago_s)
    assert ModelWatch(house.place, DAILY).wait_s() == pytest.approx(wait_s)


def test_a_node_that_looks_every_minute_does_not_wait_longer_for_the_first_time(
    house: House,
) -> None:
    assert ModelWatch(house.place, MonitoringTerms(look_minutes=1.0)).wait_s() == 60.0


def test_a_node_that_looks_once_a_day_has_looked_although_it_is_restarted_every_day(
    house: House, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FIRST_LOOK_S", 0.1)
    settings: Any = SimpleNamespace(monitoring=DAILY)
    looked(house, [2 * DAY_S])
    _watch_models(settings, house.place, timers)
    timers.start()
    until = time.monotonic() + LONG_S
    # A look writes the metrics, which come by themselves only after a minute.
    while not (house.place.spool.root / METRICS_FILE).exists():
        assert time.monotonic() < until
        time.sleep(0.05)
