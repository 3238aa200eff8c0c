"""Completeness that asks an archive how many objects it has."""

from __future__ import annotations

from typing import Any

import pytest

from secondread.domain.completeness import Completeness
from secondread.pipeline.complete import Complete
from secondread.store.archive_counts import ArchiveCount
from tests.wards import Acquired, Ward, Wards


class HandArchives:
    """Archives that the test answers for."""

    def __init__(self, house: Ward) -> None:
        self.house = house
        self.asked: list[float] = []

    def ask(self, study: Any, destination: str) -> None:
        """Remember when."""
        self.asked.append(self.house.clock.time)

    def answer(self, objects: int | None, reason: str = "") -> None:
        """What the archive said to the last question."""
        count = ArchiveCount(1, "pacs", objects, self.asked[-1], reason)
        with self.house.place.ledger.begin() as change:
            change.archive_counts.keep(count)
            change.looks.hurry([change.studies.get(1).study_instance_uid], self.house.clock.time)


def asking(ward: Wards) -> tuple[Ward, HandArchives]:
    """A house that asks the archive, with a quiet time of 20 s."""
    house = ward(Completeness(ask="pacs", counts=False, wait_max_s=120), quiet_s=20)
    archives: Any = HandArchives(house)
    house.complete = Complete(house.place, archives)
    return house, archives


def test_an_archive_with_as_many_objects_completes_a_study(ward: Wards, acquired: Acquired) -> None:
    house, archives = asking(ward)
    house.receive(acquired())
    assert house.run(9.5) == []
    assert not archives.asked
    house.run(0.5)
    assert archives.asked
    archives.answer(6)
    assert house.run(0.5) == ["Complete: 6 objects, as many as 'pacs' has."]


def test_an_archive_with_more_objects_is_waited_for(ward: Wards, acquired: Acquired) -> None:
    house, archives = asking(ward)
    house.receive(acquired())
    house.run(10)
    archives.answer(7)
    assert house.run(109) == []
    assert "6 of 7 objects that 'pacs' has are here" in house.study.reason
    assert len(house.run(2)) == 1


@pytest.mark.parametrize("answered", [False, True])
def test_an_archive_that_does_not_answer_delays_nothing(
    ward: Wards, acquired: Acquired, answered: bool
) -> None:
    house, archives = asking(ward)
    house.receive(acquired())
    house.run(10)
    if answered:
        archives.answer(None, "Nobody listens.")
    assert house.run(9.5) == []
    (reason,) = house.run(0.5)
    assert ("'pacs' could not be asked: Nobody listens." in reason) is answered


def test_waiting_leaves_a_row_in_the_trail_only_when_its_reason_changes(
    ward: Wards, acquired: Acquired
) -> None:
    house = ward(Completeness(), quiet_s=5)
    house.facts = {"ImagesInAcquisition": 30}
    for path in acquired(slices=12):
        house.receive([path])
        house.run(8)
    with house.place.ledger.read() as view:
        rows = [row.text for row in view.trail.of_study(1) if row.before == row.after]
    assert len(rows) <= 3
    assert "12 of 30" in house.study.reason
