"""When nobody brings a study any more, and all that brought it have said goodbye."""

from __future__ import annotations

import pytest

from secondread.intake.releases import Releases


class Told:
    """Remembers which studies were released."""

    def __init__(self) -> None:
        self.studies: list[str] = []
        self.releases = Releases(lambda uids: self.studies.extend(sorted(uids)))


@pytest.fixture
def told() -> Told:
    """Nobody is there yet."""
    return Told()


def test_a_release_tells_of_all_that_the_association_brought(told: Told) -> None:
    one = told.releases.open()
    for study in ("1.1", "1.2", "1.1"):
        told.releases.bring(one, study)
    told.releases.end(one, released=True)
    assert told.studies == ["1.1", "1.2"]


def test_the_last_of_several_associations_counts(told: Told) -> None:
    one, two, other = (told.releases.open() for _ in range(3))
    told.releases.bring(one, "1.1")
    told.releases.bring(two, "1.1")
    told.releases.bring(other, "1.2")
    told.releases.end(one, released=True)
    assert told.studies == []
    told.releases.end(two, released=True)
    assert told.studies == ["1.1"]


def test_an_association_that_breaks_off_is_no_release(told: Told) -> None:
    one = told.releases.open()
    told.releases.bring(one, "1.1")
    told.releases.end(one, released=False)
    assert told.studies == []


def test_after_a_break_only_a_newer_association_releases(told: Told) -> None:
    one, two = told.releases.open(), told.releases.open()
    told.releases.bring(one, "1.1")
    told.releases.bring(two, "1.1")
    told.releases.end(one, released=False)
    told.releases.end(two, released=True)
    assert told.studies == []
    again = told.releases.open()
    told.releases.bring(again, "1.1")
    told.releases.end(again, released=True)
    assert told.studies == ["1.1"]


def test_what_comes_after_the_end_is_forgotten(told: Told) -> None:
    one, two = told.releases.open(), told.releases.open()
    told.releases.end(one, released=True)
    told.releases.bring(one, "1.1")
    told.releases.bring(two, "1.1")
    told.releases.end(two, released=True)
    assert told.studies == ["1.1"]
    told.releases.end(one, released=True)
