"""What the pipeline asks to be fetched, and for how long a report waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondread.domain.completeness import Completeness
from secondread.domain.condition import AttributeTest
from secondread.domain.fetch import FetchKind, FetchState, FetchTerms
from secondread.domain.instance import Instance
from secondread.domain.network import Peer
from secondread.domain.states import JobState, StudyState
from secondread.pipeline.complete import Complete
from secondread.pipeline.write import Write
from secondread.store.archive_counts import ArchiveCount
from secondread.store.door import held_open
from tests.house import House, StillClock

Make = Callable[..., Any]
PRIOR = "2.25.77"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house whose rule fetches from 'pacs'."""
    found = House(tmp_path / "data", StillClock())
    terms = Completeness(ask="pacs", counts=False, wait_max_s=900.0, quiet_s=5.0)
    peer = Peer("ct", "CT1", ("127.0.0.1",), 5.0, complete=terms)
    found.place = replace(found.place, peers={"ct": peer})
    found.set_rule(fetch=FetchTerms("pacs", missing=True, priors=1, wait_s=100.0))
    yield found
    found.place.ledger.close()


def rows(house: House) -> list[tuple[str, str]]:
    with house.place.ledger.read() as view:
        return [(row.kind, row.state) for row in view.fetches.of_study(1)]


def said(house: House) -> list[str]:
    with house.place.ledger.read() as view:
        return [row.text for row in view.trail.of_study(1) if row.event == "fetch"]


def look(house: House, archive_has: int) -> None:
    """The archive answers, and the study is looked at."""
    house.clock.time += 20
    with house.place.ledger.begin() as change:
        change.archive_counts.keep(ArchiveCount(1, "pacs", archive_has, house.clock.time))
        change.looks.hurry([house.study.study_instance_uid], house.clock.time)
    with held_open(house.place.spool.root):
        house.complete.step()


def close(house: House, kind: FetchKind, state: FetchState, objects: int | None = None) -> None:
    """As the fetcher does when it has ended."""
    with house.place.ledger.begin() as change:
        (one,) = [row for row in change.fetches.of_study(1) if row.kind is kind]
        change.fetches.close(one, state, house.clock.time, "Ended.", objects)


def test_what_lacks_is_asked_for_once_for_each_number(house: House, head_series: Make) -> None:
    house.receive(head_series(size=(20, 32, 32)).paths)
    look(house, 20 + 3)
    look(house, 20 + 3)
    assert rows(house) == [("missing", "ready")]
    assert len(said(house)) == 1
    close(house, FetchKind.MISSING, FetchState.FAILED)
    look(house, 20 + 3)
    assert rows(house) == [("missing", "failed")]
    look(house, 20 + 4)
    assert rows(house) == [("missing", "ready")]
    assert house.study.state is StudyState.RECEIVING


@pytest.mark.parametrize("changes", [{"fetch": None}, {"modality": "CT"}, {"ask": ""}])
def test_nothing_is_asked_for_that_no_rule_wants(
    house: House, head_series: Make, changes: dict[str, Any]
) -> None:
    if "fetch" in changes:
        house.set_rule(fetch=FetchTerms("pacs", missing=False, priors=1))
    if "ask" in changes:
        house.set_rule(complete={"ask": ""})
    if "modality" in changes:
        house.set_rule(when=(AttributeTest("Modality", one_of=("CT",)),))
    house.receive(head_series(size=(20, 32, 32)).paths)
    look(house, 23)
    assert ("missing", "ready") not in rows(house)


def test_the_archive_has_no_more_and_nothing_is_asked_for(house: House, head_series: Make) -> None:
    house.receive(head_series(size=(20, 32, 32)).paths)
    look(house, 20)
    assert rows(house) == []
    assert house.study.state is StudyState.ASSEMBLING


@pytest.fixture
def inferred(house: House, head_series: Make) -> House:
    """A house whose job has an answer, so that a report could be written."""
    house.set_rule(complete={"ask": ""})
    house.complete = Complete(house.place)
    house.receive(head_series(size=(20, 32, 32)).paths)
    house.assemble()
    house.analyse()
    return house


def write(house: House) -> JobState:
    house.clock.time += 6
    Write(house.place).step()
    state: JobState = house.job.state
    return state


def arrive(house: House) -> None:
    """A first object of the earlier study comes in."""
    now = house.clock.time
    one = Instance("2.25.5", "1.1", PRIOR, "2.25.6", "1.2", "x", 1, "a", "pacs", now)
    with house.place.ledger.begin() as change:
        change.instances.add([one])
        change.studies.add_instances([one], lambda _: 5.0)


def test_a_report_waits_until_the_earlier_study_is_done(inferred: House) -> None:
    assert rows(inferred) == [("search", "ready")]
    assert write(inferred) is JobState.INFERRED
    with inferred.place.ledger.begin() as change:
        change.fetches.ask(1, "pacs", FetchKind.PRIOR, PRIOR, inferred.clock.time)
    close(inferred, FetchKind.SEARCH, FetchState.DONE)
    assert write(inferred) is JobState.INFERRED
    close(inferred, FetchKind.PRIOR, FetchState.DONE, 20)
    assert write(inferred) is JobState.INFERRED, "what has come is not entered yet"
    arrive(inferred)
    assert write(inferred) is JobState.INFERRED
    with inferred.place.ledger.begin() as change:
        study = change.studies.find(PRIOR)
        change.studies.move(study, StudyState.ASSEMBLING, inferred.clock.time, "Complete.")
        study = change.studies.find(PRIOR)
        change.studies.move(study, StudyState.DONE, inferred.clock.time, "No rule wants it.")
    assert write(inferred) is JobState.WRITTEN
    assert not any("goes on" in text for text in said(inferred))


@pytest.mark.parametrize(("state", "objects"), [(FetchState.FAILED, None), (FetchState.DONE, 0)])
def test_nobody_waits_for_what_does_not_come(
    inferred: House, state: FetchState, objects: int | None
) -> None:
    with inferred.place.ledger.begin() as change:
        change.fetches.ask(1, "pacs", FetchKind.PRIOR, PRIOR, inferred.clock.time)
    close(inferred, FetchKind.SEARCH, FetchState.DONE)
    close(inferred, FetchKind.PRIOR, state, objects)
    assert write(inferred) is JobState.WRITTEN


def test_a_report_waits_no_longer_than_the_rule_says_and_tells_it_once(inferred: House) -> None:
    assert write(inferred) is JobState.INFERRED
    inferred.clock.time += 100
    assert write(inferred) is JobState.WRITTEN
    assert said(inferred) == [
        "The report goes on after 100 s without an earlier study. "
        "Earlier studies are looked for at 'pacs'."
    ]


def test_missing_images_are_nothing_that_a_report_waits_for(inferred: House) -> None:
    close(inferred, FetchKind.SEARCH, FetchState.DONE)
    with inferred.place.ledger.begin() as change:
        uid = change.studies.get(1).study_instance_uid
        change.fetches.ask(1, "pacs", FetchKind.MISSING, uid, inferred.clock.time)
    assert write(inferred) is JobState.WRITTEN
