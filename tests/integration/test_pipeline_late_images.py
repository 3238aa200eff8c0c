"""Images that come late: versions, which report replaces which, shadow, and what is not made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from secondread.domain.engine import Failed, Finished
from secondread.domain.job import Job
from secondread.domain.network import LateImages
from secondread.domain.states import JobState, StudyState
from secondread.errors import NotFoundError
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.retry import retry_study
from secondread.pipeline.write import Write
from secondread.results.reading.transcript import Transcript, read_report
from secondread.store.door import held_open
from tests.house import House, StillClock


def other_series(head_series: Callable[..., Any], slices: int, number: int) -> Sequence[Path]:
    """A series of the same study, with so many slices of 3 mm."""
    made = head_series(
        size=(slices, 32, 32),
        spacing_mm=(3.0, 5.5, 6.0),
        seed=f"series {number}",
        study="late",
        series_number=number,
    )
    paths: Sequence[Path] = made.paths
    return paths


@pytest.fixture
def growing(tmp_path: Path, head_series: Callable[..., Any]) -> House:
    """A house with the first series of a study, which has been analysed and written."""
    house = House(tmp_path / "data", StillClock())
    house.receive(other_series(head_series, 20, 2))
    house.assemble()
    house.analyse()
    Write(house.place).step()
    return house


def report_of(house: House, job: Job) -> Transcript:
    return read_report(house.place.spool.results / job.key / "sr.dcm")


def test_late_image_gives_a_new_version_and_the_same_images_none(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    paths = head_series("axial").paths
    house.receive(paths[:-1])
    house.assemble()
    house.receive(paths)
    assert house.study.state is StudyState.RECEIVING
    house.assemble()
    first, second = house.jobs
    assert first.input_digest != second.input_digest
    # Nobody had begun with the first one.
    assert (first.state, second.state) == (JobState.SUPERSEDED, JobState.QUEUED)
    assert (second.version, second.predecessor_id) == (2, first.id)
    house.receive(paths)
    assert house.study.state is StudyState.ANALYSING


def test_report_of_a_new_version_names_the_one_before(
    growing: House, head_series: Callable[..., Any]
) -> None:
    growing.receive(other_series(head_series, 24, 3))
    growing.assemble()
    growing.analyse()
    Write(growing.place).step()
    first, second = growing.jobs
    before = dcmread(growing.place.spool.results / first.key / "sr.dcm")
    assert report_of(growing, first).predecessors == frozenset()
    assert report_of(growing, second).predecessors == {before.SOPInstanceUID}
    assert "version 2" in report_of(growing, second).series_description
    with growing.place.ledger.read() as view:
        assert [item.level for item in view.outbox.of_job(second.id)] == [0, 0, 1]


def test_images_that_change_nothing_for_the_model_give_no_version(
    growing: House, head_series: Callable[..., Any]
) -> None:
    growing.receive(other_series(head_series, 12, 3))
    growing.assemble()
    assert len(growing.jobs) == 1
    assert growing.study.reason == "Nothing new to analyse."


def test_any_image_gives_a_version_where_the_rule_says_so(
    growing: House, head_series: Callable[..., Any]
) -> None:
    growing.set_rule(late_images=LateImages.ANY)
    growing.receive(other_series(head_series, 12, 3))
    growing.assemble()
    growing.analyse()
    Write(growing.place).step()
    first, second = growing.jobs
    assert first.series_instance_uid == second.series_instance_uid
    folder = growing.place.spool.results
    uids = {
        str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        for job in (first, second)
        for path in (folder / job.key).rglob("*.dcm")
    }
    assert len(uids) == 6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"late_images": LateImages.NEVER}, "allows no new version."),
        ({"versions_max": 1}, "allows no more than 1 version."),
    ],
)
def test_version_that_is_not_allowed_is_an_answer_once(
    growing: House,
    head_series: Callable[..., Any],
    changes: dict[str, Any],
    sentence: str,
) -> None:
    growing.set_rule(**changes)
    with growing.place.ledger.begin() as change:
        (job,) = change.jobs.of_study(1)
        change.jobs.move(job, JobState.DELIVERED, growing.clock.time, "Sent.")
        change.studies.close_if_finished(1, growing.clock.time)
    growing.receive(other_series(head_series, 24, 3))
    growing.assemble()
    assert len(growing.jobs) == 1
    assert growing.study.state is StudyState.DONE
    said = f"New images came, but rule 'heads' {sentence}"
    assert growing.study.reason == f"Finished; model 'bright_head': analysed. {said}"
    with growing.place.ledger.begin() as change:
        retry_study(change, change.studies.get(1), growing.clock.time)
    Assemble(growing.place).step()
    with growing.place.ledger.read() as view:
        (answer,) = view.studies.answers(1)
        assert answer.note == said
        assert [row.text for row in view.trail.of_study(1) if row.event == "late-images"] == [said]


def test_a_report_waits_for_that_of_the_version_before(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    house.receive(other_series(head_series, 20, 2))
    house.assemble()
    Prepare(house.place).step()
    house.infer.step()
    late = Finished(house.answer(), "", (), 0.1)
    house.receive(other_series(head_series, 24, 3))
    house.assemble()
    house.analyse()
    assert Write(house.place).step()
    assert [job.state for job in house.jobs] == [JobState.PREPARED, JobState.INFERRED]
    house.engine.outcomes.append(late)
    house.infer.collect(0)
    for _ in range(2):
        house.clock.time += 5
        Write(house.place).step()
    first, second = house.jobs
    assert (first.state, second.state) == (JobState.WRITTEN, JobState.WRITTEN)
    before = dcmread(house.place.spool.results / first.key / "sr.dcm")
    assert report_of(house, second).predecessors == {before.SOPInstanceUID}


def test_rule_in_shadow_makes_results_and_sends_nothing(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    house.set_rule(shadow=True)
    house.receive(other_series(head_series, 20, 2))
    house.assemble()
    house.analyse()
    Write(house.place).step()
    assert (house.job.state, house.job.shadow) == (JobState.DELIVERED, True)
    assert house.study.state is StudyState.DONE
    with house.place.ledger.read() as view:
        assert view.outbox.of_job(1) == ()
    assert len(list((house.place.spool.results / house.job.key).iterdir())) == 2


def test_what_is_sent_does_not_replace_what_was_in_shadow(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    house.set_rule(shadow=True)
    for slices, shadow in ((18, True), (20, True), (24, False)):
        house.set_rule(shadow=shadow)
        house.receive(other_series(head_series, slices, slices))
        house.assemble()
        house.analyse()
        Write(house.place).step()
    first, second, third = house.jobs
    before = dcmread(house.place.spool.results / first.key / "sr.dcm")
    assert report_of(house, second).predecessors == {before.SOPInstanceUID}
    assert (third.version, report_of(house, third).predecessors) == (3, frozenset())


def test_two_rules_with_one_answer_send_it_once_and_both_end(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    (rule,) = house.place.rules
    house.place = replace(house.place, rules=(rule, replace(rule, name="again")))
    house.set_rule()
    house.receive(other_series(head_series, 20, 2))
    house.assemble()
    for _ in range(2):
        house.analyse()
        Write(house.place).step()
    assert {job.state for job in house.jobs} == {JobState.WRITTEN, JobState.DELIVERED}


def test_job_keeps_its_images_whatever_comes_and_says_when_one_is_gone(
    growing: House, head_series: Callable[..., Any]
) -> None:
    (job,) = growing.jobs
    growing.receive(other_series(head_series, 24, 3))
    instances = growing.place.instances_of(job)
    assert len(instances) == 20
    growing.place.spool.absolute(instances[3].path).unlink()
    with pytest.raises(NotFoundError, match="1 of the 20 images"):
        growing.place.instances_of(job)


def test_failed_version_that_has_a_newer_one_is_not_tried_again(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    house.receive(other_series(head_series, 20, 2))
    house.assemble()
    Prepare(house.place).step()
    house.infer.step()
    house.engine.outcomes.append(Failed(house.answer(), "The model broke.", "model"))
    house.infer.collect(0)
    house.receive(other_series(head_series, 24, 3))
    house.assemble()
    house.analyse()
    Write(house.place).step()
    with house.place.ledger.begin() as change:
        _, second = change.jobs.of_study(1)
        change.jobs.move(second, JobState.DELIVERED, house.clock.time, "Sent.")
        change.studies.close_if_finished(1, house.clock.time)
        assert retry_study(change, change.studies.get(1), house.clock.time) == 0
    Assemble(house.place).step()
    assert [job.state for job in house.jobs] == [JobState.SUPERSEDED, JobState.DELIVERED]
    assert house.study.reason == "Finished; model 'bright_head': analysed."


def test_study_that_was_claimed_and_lost_gives_the_same_plan(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    house.receive(other_series(head_series, 20, 2))
    house.clock.time += 10
    with held_open(house.place.spool.root):
        house.complete.step()
    with house.place.ledger.begin() as change:
        assert change.studies.claim("pipeline:dead", house.clock.time, 600.0) is not None
        assert change.studies.claim("pipeline:test", house.clock.time, 600.0) is None
        change.studies.release_claims_of("pipeline:dead")
    assert Assemble(house.place).step()
    assert not Assemble(house.place).step()
    with house.place.ledger.read() as view:
        assert len(view.jobs.sources(house.job.id)) == 20


def test_study_whose_other_rules_wait_is_received_further_while_its_jobs_run(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    (rule,) = house.place.rules
    slow = replace(rule, name="slow", complete={"quiet_s": 60.0})
    house.place = replace(house.place, rules=(rule, slow))
    house.set_rule()
    house.receive(other_series(head_series, 20, 2))
    house.assemble()
    assert house.study.state is StudyState.RECEIVING
    assert house.study.reason.startswith("1 job planned. Rule 'heads': Complete:")
    assert "Rule 'slow': Waits until" in house.study.reason
    assert [job.rule for job in house.jobs] == ["heads"]
    house.analyse()
    Write(house.place).step()
    house.clock.time += 60
    house.assemble()
    assert [job.rule for job in house.jobs] == ["heads", "slow"]
    assert house.study.state is StudyState.ANALYSING
    with house.place.ledger.read() as view:
        assert [answer.rule for answer in view.studies.answers(1)] == ["heads", "slow"]


def echo(head_series: Callable[..., Any], number: int) -> Sequence[Path]:
    """One echo of a series that holds two at the same places."""
    paths = other_series(head_series, 20, 10 + number)
    for path in paths:
        image = dcmread(path)
        image.SeriesInstanceUID, image.SeriesNumber, image.EchoNumbers = "2.25.77", 2, number
        image.save_as(path)
    return paths


def test_an_echo_of_a_series_is_analysed_with_its_own_images_alone(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    house.receive([*echo(head_series, 1), *echo(head_series, 2)])
    house.assemble()
    assert house.job.part == "EchoNumbers 1"
    house.analyse()
    Write(house.place).step()
    assert house.job.state is JobState.WRITTEN
    images = report_of(house, house.job).images
    with house.place.ledger.read() as view:
        assert images == set(view.jobs.sources(house.job.id))
    assert len(images) == 20


def test_a_second_echo_that_comes_late_is_nothing_new_for_the_first(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    house.receive(echo(head_series, 1))
    house.assemble()
    house.analyse()
    house.receive(echo(head_series, 2))
    house.assemble()
    assert len(house.jobs) == 1
    Write(house.place).step()
    assert len(report_of(house, house.job).images) == 20
