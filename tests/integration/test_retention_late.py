"""What comes for a study whose images were removed: nothing is analysed in part, nor in silence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secondread.domain.retention import DAY_S, Kind, Retention
from secondread.domain.states import JobState, StudyState
from secondread.intake.registrar import Registrar
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.purge import Purge
from secondread.pipeline.retry import retry_study
from secondread.store.studies import Waits
from tests.conftest import Acquisition
from tests.house import House, StillClock
from tests.kept_files import nobody


class RestedHouse(House):
    """A node whose study was analysed, is safe, and has lost its images to time."""

    def __init__(self, folder: Path, clock: StillClock, paths: list[Path]) -> None:
        super().__init__(folder, clock)
        waits = Waits(lambda _: 5.0, lambda _: 5.0, lambda _: 60.0)
        self.registrar = Registrar(self.place.ledger, waits, lambda _: None)
        self.registrar.start()
        self.receive(paths[:-1])
        self.assemble()
        with self.place.ledger.begin() as change:
            (job,) = change.jobs.of_study(1)
            assert job.state is JobState.QUEUED
            for state in (JobState.PREPARED, JobState.INFERRED, JobState.WRITTEN):
                change.jobs.move(change.jobs.get(job.id), state, clock.now(), "Moved.")
            done = change.jobs.get(job.id)
            change.jobs.move(done, JobState.DELIVERED, clock.now(), "Done.", outcome="analysed")
            change.studies.close_if_finished(1, clock.now())
        clock.time += 31 * DAY_S
        purge = Purge(self.place.ledger, self.place.spool, clock, Retention(), nobody)
        assert set(purge.run(threading.Event())) == {Kind.IMAGES}

    def receive(self, paths: list[Path]) -> None:  # type: ignore[override]
        """Store files as intake does, rows and all."""
        self._enter = self.registrar.enter  # type: ignore[method-assign]
        super().receive(paths)
        assert self.registrar.settle(10)

    def state(self) -> tuple[StudyState, str]:
        """Where the study is, and why."""
        with self.place.ledger.read() as view:
            study = view.studies.get(1)
        return study.state, study.reason

    def jobs(self) -> int:
        """How many jobs there are."""
        with self.place.ledger.read() as view:
            return len(view.jobs.of_study(1))


@pytest.fixture
def paths(head_series: Callable[..., Acquisition]) -> list[Path]:
    return head_series(size=(20, 16, 16)).paths


@pytest.fixture
def house(tmp_path: Path, paths: list[Path]) -> Iterator[RestedHouse]:
    made = RestedHouse(tmp_path / "data", StillClock(), paths)
    yield made
    made.registrar.stop()
    made.place.ledger.close()


def test_a_late_image_alone_is_not_analysed_and_the_reason_is_told(
    house: RestedHouse, paths: list[Path]
) -> None:
    house.receive(paths[-1:])
    house.assemble()
    state, reason = house.state()
    assert state is StudyState.HELD
    assert "19 images of the same series were removed when their time was over" in reason
    assert house.jobs() == 1


def test_the_rest_of_the_series_lets_the_study_go_on_by_itself(
    house: RestedHouse, paths: list[Path]
) -> None:
    house.receive(paths[-1:])
    house.assemble()
    house.receive(paths[:-1])
    house.assemble()
    assert house.state()[0] is StudyState.ANALYSING
    assert house.jobs() == 2
    with house.place.ledger.read() as view:
        assert len(house.place.instances_of(view.jobs.of_study(1)[-1])) == 20
        assert view.studies.get(1).instances == 20


def test_the_same_images_again_are_looked_at_and_give_no_second_result(
    house: RestedHouse, paths: list[Path]
) -> None:
    house.receive(paths[:-1])
    house.assemble()
    assert house.state()[0] is StudyState.DONE
    assert house.jobs() == 1


def test_a_retry_after_a_purge_is_as_before_one(house: RestedHouse) -> None:
    with house.place.ledger.begin() as change:
        assert retry_study(change, change.studies.get(1), house.clock.now()) == 0
    assert Assemble(house.place).step()
    assert house.state()[0] is StudyState.DONE
    assert house.jobs() == 1
