"""Completeness over a real ledger and real files, with a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from secondread.domain.completeness import AtLimit, Completeness, WantedSeries
from secondread.domain.condition import AttributeTest
from secondread.domain.network import Rule, Urgency
from secondread.domain.notice import Notice, NoticeKind
from secondread.domain.states import StudyState
from tests.wards import Acquired, Wards

T1 = WantedSeries("T1", (AttributeTest("SeriesDescription", one_of=("t1",)),))
T2 = WantedSeries("T2", (AttributeTest("SeriesDescription", one_of=("t2",)),))


@pytest.mark.parametrize(("apart_s", "times"), [(3.0, 1), (6.0, 3)])
def test_series_that_come_within_the_quiet_time_are_one_study(
    ward: Wards, acquired: Acquired, apart_s: float, times: int
) -> None:
    house = ward()
    reasons = []
    for number in (1, 2, 3):
        house.receive(acquired(number))
        reasons += house.run(apart_s)
    reasons += house.run(10)
    assert len(reasons) == times
    assert reasons[-1] == "Complete: 18 objects, none new for 5 s."


def test_without_rules_the_quiet_time_decides(ward: Wards, acquired: Acquired) -> None:
    house = ward()
    house.rules()
    house.receive(acquired())
    assert house.run(4.5) == []
    assert house.run(0.5) == ["Complete: 6 objects, none new for 5 s."]
    assert house.study.state is StudyState.DONE


def test_required_series_are_waited_for(ward: Wards, acquired: Acquired) -> None:
    house = ward(Completeness(series=(T1, T2), counts=False, wait_max_s=600))
    house.receive(acquired(1, "t1"))
    assert house.run(60) == []
    assert "the series 'T2' is not here" in house.study.reason
    house.receive(acquired(2, "t2"))
    assert house.run(5) == ["Complete: 12 objects, none new for 5 s."]


def test_required_series_that_are_whole_complete_a_study_at_once(
    ward: Wards, acquired: Acquired
) -> None:
    house = ward(Completeness(series=(T1,)), quiet_s=60)
    house.facts = {"NumberOfSeriesRelatedInstances": 6}
    house.receive(acquired(1, "t1"))
    (reason,) = house.run(2)
    assert "all that the series that have to be there announce of themselves" in reason


def test_announced_images_are_waited_for_and_complete_the_study(
    ward: Wards, acquired: Acquired
) -> None:
    house = ward(Completeness())
    house.facts = {"ImagesInAcquisition": 6, "NumberOfStudyRelatedInstances": 6}
    paths = acquired()
    house.receive(paths[:5])
    assert house.run(100) == []
    assert "5 of 6 images of series 1 are here (Images in Acquisition)" in house.study.reason
    house.receive(paths[5:])
    (reason,) = house.run(1.5)
    assert "6 of 6 objects of the study are here" in reason


@pytest.mark.parametrize(
    ("at_limit", "state", "jobs"),
    [
        (AtLimit.CONTINUE, StudyState.ANALYSING, 1),
        (AtLimit.HOLD, StudyState.HELD, 0),
        (AtLimit.DROP, StudyState.DONE, 0),
    ],
)
def test_the_longest_wait_ends_as_configured(
    ward: Wards, acquired: Acquired, at_limit: AtLimit, state: StudyState, jobs: int
) -> None:
    house = ward(Completeness(wait_max_s=60, at_limit=at_limit))
    house.facts = {"ImagesInAcquisition": 7}
    house.receive(acquired())
    assert house.run(59) == []
    (reason,) = house.run(2)
    assert "not complete 60 s after its first object: 6 of 7 images of series 1" in reason
    assert house.study.state is state
    assert len(house.planned) == jobs
    # Another object begins another wait.
    house.receive(acquired(2, slices=2))
    assert house.study.state is StudyState.RECEIVING
    assert house.run(55) == []
    assert len(house.run(10)) == 1


def test_objects_that_never_stop_reach_the_longest_wait_once_in_a_while(
    ward: Wards, acquired: Acquired
) -> None:
    house = ward(Completeness(wait_max_s=10, counts=False))
    reasons = []
    for path in acquired(slices=24):
        house.receive([path])
        reasons += house.run(1)
    assert len(reasons) == 2
    assert all("objects are still arriving" in reason for reason in reasons)


def test_urgent_studies_do_not_wait_for_numbers(ward: Wards, acquired: Acquired) -> None:
    house = ward(Completeness())
    house.urgency = Urgency.HIGH
    house.facts = {"ImagesInAcquisition": 7}
    house.receive(acquired())
    (reason,) = house.run(5)
    assert reason.startswith("Urgent, and goes on after its quiet time although 6 of 7 images")


def test_a_step_in_progress_is_waited_for(ward: Wards, acquired: Acquired) -> None:
    house = ward(Completeness())
    house.receive(acquired())
    uid = house.study.study_instance_uid
    with house.place.ledger.read() as view:
        objects = tuple(one.sop_instance_uid for one in view.instances.of_study(uid))
    started = Notice(NoticeKind.MPPS, "1.7", uid, "ct", "IN PROGRESS", 0.0, ())
    with house.place.ledger.begin() as change:
        change.notices.replace([started])
    assert house.run(60) == []
    assert "still at work" in house.study.reason
    with house.place.ledger.begin() as change:
        change.notices.replace([replace(started, status="COMPLETED", objects=objects)])
        change.looks.hurry([uid], house.clock.time)
    (reason,) = house.run(0.5)
    assert "6 of 6 objects that the scanner has made are here" in reason


def test_rules_with_terms_of_their_own_are_planned_each_in_its_time(
    ward: Wards, acquired: Acquired
) -> None:
    house = ward(quiet_s=10)
    house.rules(
        Rule(name="slow", model="", destinations=("pacs",), complete={"quiet_s": 30.0}),
        Rule(name="fast", model="", destinations=("pacs",), complete={"quiet_s": 2.0}),
        Rule(
            name="unwanted",
            model="",
            destinations=("pacs",),
            when=(AttributeTest("Modality", one_of=("US",)),),
            complete={"quiet_s": 300.0},
        ),
    )
    house.receive(acquired())
    assert len(house.run(2)) == 1
    assert house.planned == ["fast"]
    assert house.study.state is StudyState.RECEIVING
    assert "Rule 'slow': Waits until" in house.study.reason
    assert house.run(27.5) == []
    assert len(house.run(0.5)) == 1
    assert house.planned == ["fast", "slow"]
    assert house.study.state is StudyState.ANALYSING
    with house.place.ledger.read() as view:
        answers = {one.rule: one.wanted for one in view.studies.answers(1)}
    assert answers == {"slow": True, "fast": True, "unwanted": False}
    assert house.run(400) == []


def test_a_rule_that_is_held_waits_for_the_jobs_of_the_others(
    ward: Wards, acquired: Acquired
) -> None:
    house = ward()
    held = {"wait_max_s": 20.0, "at_limit": AtLimit.HOLD, "series": (T2,)}
    house.rules(
        Rule(name="plain", model="", destinations=("pacs",)),
        Rule(name="strict", model="", destinations=("pacs",), complete=held),
    )
    house.receive(acquired())
    house.run(19.5)
    assert house.planned == ["plain"]
    house.run(1)
    assert house.study.state is StudyState.HELD
    assert "the series 'T2' is not here" in house.study.reason


def test_the_quiet_time_is_learned_from_past_studies(ward: Wards, acquired: Acquired) -> None:
    house = ward(Completeness(learn=True, counts=False, quiet_min_s=1.0), quiet_s=30)
    paths = acquired()
    house.receive(paths[:3])
    house.run(4)
    house.receive(paths[3:])
    (reason,) = house.run(40)
    with house.place.ledger.read() as view:
        kept = view.pauses.of_study(1)
    assert kept is not None
    assert kept.longest_s == 4.0
    assert "t1" not in kept.protocol
    assert "none new for 30 s (fixed, for only 0 of the 20 past studies" in reason
    house.remember([4.0] * 20)
    house.receive(acquired(2))
    assert house.run(5.5) == []
    (reason,) = house.run(1)
    assert "none new for 6 s (learned: 99 % of the last 20 studies of this protocol" in reason
    assert "had no pause longer than 4 s" in reason


def test_a_restart_in_the_middle_changes_nothing(ward: Wards, acquired: Acquired) -> None:
    house = ward(Completeness(wait_max_s=60))
    house.facts = {"ImagesInAcquisition": 7}
    house.receive(acquired())
    house.run(30)
    house.restart()
    assert house.run(29) == []
    house.restart()
    assert len(house.run(2)) == 1


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 30.0, -30.0])
@pytest.mark.parametrize("lacks", [False, True])
def test_setting_the_clock_neither_completes_a_study_nor_delays_it(
    ward: Wards, acquired: Acquired, seconds: float, lacks: bool
) -> None:
    house = ward(Completeness(wait_max_s=60), quiet_s=20)
    house.facts = {"ImagesInAcquisition": 7} if lacks else {}
    house.receive(acquired())
    house.run(10)
    house.set_clock(seconds)
    left_s = 50.0 if lacks else 10.0
    assert house.run(left_s - 1) == []
    assert len(house.run(2)) == 1
    with house.place.ledger.read() as view:
        (row,) = view.trail.of_event("clock")
    assert row.text.startswith("The clock was set")


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_objects_that_came_just_after_the_clock_was_set_keep_their_time(
    ward: Wards, acquired: Acquired, seconds: float
) -> None:
    house = ward(quiet_s=20)
    paths = acquired()
    house.receive(paths[:3])
    house.run(10)
    house.set_clock(seconds)
    house.clock.run(0.2)
    house.receive(paths[3:])
    assert house.run(19) == []
    assert len(house.run(2)) == 1


def test_a_study_from_the_future_is_brought_back_at_the_start(
    ward: Wards, acquired: Acquired
) -> None:
    house = ward(quiet_s=20)
    house.receive(acquired())
    house.run(5)
    house.set_clock(-36_000)
    house.restart()
    assert house.run(19.5) == []
    assert len(house.run(2)) == 1


def test_while_the_machine_sleeps_nothing_is_silent(ward: Wards, acquired: Acquired) -> None:
    house = ward(quiet_s=20)
    house.receive(acquired())
    house.run(10)
    house.clock.time += 8 * 3600
    assert house.run(9) == []
    assert len(house.run(2)) == 1


def test_what_is_released_completes_only_without_newer_objects(
    ward: Wards, acquired: Acquired
) -> None:
    house = ward(Completeness(on_release=True, counts=False), quiet_s=60)
    paths = acquired()
    house.receive(paths[:3])
    uid = house.study.study_instance_uid
    at = house.clock.time
    house.clock.run(1)
    house.receive(paths[3:])
    with house.place.ledger.begin() as change:
        change.looks.release([uid], at)
    assert house.run(5) == []
    with house.place.ledger.begin() as change:
        change.looks.release([uid], house.clock.time)
    (reason,) = house.run(0.5)
    assert reason == (
        "Complete: 6 objects, and the peer has released the association that brought them."
    )


def test_an_object_that_comes_during_a_look_is_not_overlooked(
    ward: Wards, acquired: Acquired, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secondread.pipeline import complete

    house = ward()
    paths = acquired()
    house.receive(paths[:3])
    real = complete.summaries

    def meanwhile(place: Any, study: Any) -> Any:
        monkeypatch.undo()
        house.receive(paths[3:])
        return real(place, study)

    monkeypatch.setattr(complete, "summaries", meanwhile)
    assert house.run(9.5) == []
    assert house.run(1) == ["Complete: 6 objects, none new for 5 s."]
