"""Versions of a job: which images give one, which are allowed, and which replace another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from secondread.domain.condition import Finding
from secondread.domain.instance import Instance
from secondread.domain.job import Job, PlannedJob, RuleAnswer
from secondread.domain.network import LateImages, Urgency
from secondread.domain.result import ResultObject
from secondread.domain.states import JOB_ENDS, JobState, StudyState
from secondread.store import Ledger
from secondread.store.versions import Terms

PLANNED = PlannedJob("heads", "model", "1.0", "1.8", "a", 0, "", ())
NEVER = Terms(late_images=LateImages.NEVER)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger with a study whose first object came at 100 s; jobs are planned from 110 s on."""
    ledger = Ledger.open(tmp_path)
    receive(ledger, 1, 100.0)
    return ledger


def receive(ledger: Ledger, number: int, at: float, study: str = "1.9") -> int:
    """Let an object come; the id of its study."""
    record = Instance(
        f"{study}.{number}", "1.1", study, "1.8", "1.7", f"{number}", 10, "f" * 64, "ct", at
    )
    with ledger.begin() as change:
        change.instances.add([record])
        change.studies.add_instances([record], lambda _: 5.0)
        return change.studies.find(study).id


def add(ledger: Ledger, digest: str, at: float, terms: Terms = Terms()) -> Job | None:  # noqa: B008
    """Plan the images with this digest."""
    with ledger.begin() as change:
        planned = replace(PLANNED, input_digest=digest)
        return change.jobs.add(1, planned, [f"1.{digest}", "1.1"], at, terms)


def objection(ledger: Ledger, digest: str, at: float, terms: Terms) -> str:
    with ledger.read() as view:
        return view.jobs.objection(1, replace(PLANNED, input_digest=digest), ["9"], at, terms)


def walk(ledger: Ledger, job: Job | None, *states: JobState) -> None:
    """Move a job through these states."""
    assert job is not None
    for state in states:
        with ledger.begin() as change:
            change.jobs.move(change.jobs.get(job.id), state, 150.0, "Moved.")


def states(ledger: Ledger) -> list[JobState]:
    with ledger.read() as view:
        return [job.state for job in view.jobs.of_study(1)]


WRITTEN = (JobState.PREPARED, JobState.INFERRED, JobState.WRITTEN)


def test_other_images_give_a_version_that_knows_its_predecessor(ledger: Ledger) -> None:
    first = add(ledger, "a", 110.0)
    walk(ledger, first, *WRITTEN)
    receive(ledger, 2, 120.0)
    second = add(ledger, "b", 130.0)
    assert first is not None
    assert second is not None
    assert (first.version, first.predecessor_id) == (1, None)
    assert (second.version, second.predecessor_id) == (2, first.id)
    with ledger.read() as view:
        assert [job.id for job in view.jobs.before(second)] == [first.id]
        assert view.jobs.has_newer(first)
        assert not view.jobs.has_newer(second)
        assert view.jobs.sources(second.id) == ("1.1", "1.b")


def test_the_same_images_give_nothing_and_nobody_objects(ledger: Ledger) -> None:
    walk(ledger, add(ledger, "a", 110.0), *WRITTEN)
    receive(ledger, 2, 120.0)
    assert add(ledger, "a", 130.0, NEVER) is None
    assert objection(ledger, "a", 130.0, NEVER) == ""


def test_a_rule_may_forbid_versions(ledger: Ledger) -> None:
    walk(ledger, add(ledger, "a", 110.0, NEVER), *WRITTEN)
    receive(ledger, 2, 120.0)
    assert add(ledger, "b", 130.0, NEVER) is None
    assert objection(ledger, "b", 130.0, NEVER) == (
        "New images came, but rule 'heads' allows no new version."
    )


def test_another_choice_without_new_images_is_not_what_a_rule_forbids(ledger: Ledger) -> None:
    walk(ledger, add(ledger, "a", 110.0, NEVER), *WRITTEN)
    assert objection(ledger, "b", 130.0, NEVER) == ""
    assert add(ledger, "b", 130.0, NEVER) is not None


def test_a_rule_may_limit_versions_and_superseded_ones_do_not_count(ledger: Ledger) -> None:
    two = Terms(versions_max=2)
    walk(ledger, add(ledger, "a", 110.0, two), *WRITTEN)
    for number, digest in enumerate("bcd"):
        receive(ledger, 10 + number, 120.0 + 10 * number)
        assert add(ledger, digest, 125.0 + 10 * number, two) is not None
    queued, superseded = JobState.QUEUED, JobState.SUPERSEDED
    assert states(ledger) == [JobState.WRITTEN, superseded, superseded, queued]
    with ledger.read() as view:
        last = view.jobs.of_study(1)[-1]
    walk(ledger, last, *WRITTEN)
    receive(ledger, 20, 160.0)
    assert add(ledger, "e", 170.0, two) is None
    assert objection(ledger, "e", 170.0, two).endswith("allows no more than 2 versions.")


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PREPARED])
def test_a_version_that_nobody_works_on_is_superseded(ledger: Ledger, state: JobState) -> None:
    first = add(ledger, "a", 110.0)
    if state is JobState.PREPARED:
        walk(ledger, first, state)
    receive(ledger, 2, 120.0)
    second = add(ledger, "b", 130.0)
    assert states(ledger) == [JobState.SUPERSEDED, JobState.QUEUED]
    assert second is not None
    assert second.version == 2
    assert JobState.SUPERSEDED in JOB_ENDS


def test_a_version_that_a_worker_has_is_left_alone(ledger: Ledger) -> None:
    walk(ledger, add(ledger, "a", 110.0), JobState.PREPARED)
    with ledger.begin() as change:
        assert change.jobs.claim([JobState.PREPARED], "pipeline:1", 115.0, 600.0) is not None
    receive(ledger, 2, 120.0)
    assert add(ledger, "b", 130.0) is not None
    assert states(ledger) == [JobState.PREPARED, JobState.QUEUED]


def test_the_same_refusal_is_not_said_again(ledger: Ledger) -> None:
    refused = replace(PLANNED, refusal="No T1 here.")
    with ledger.begin() as change:
        assert change.jobs.add(1, refused, [], 110.0) is not None
    receive(ledger, 2, 120.0)
    other = replace(refused, input_digest="b")
    anything = Terms(late_images=LateImages.ANY)
    with ledger.begin() as change:
        assert change.jobs.add(1, other, [], 130.0) is None
        assert change.jobs.objection(1, other, [], 130.0) == ""
        assert change.jobs.add(1, replace(other, refusal="Too thick."), [], 130.0) is not None
        assert change.jobs.add(1, replace(other, input_digest="c"), [], 131.0, anything) is not None


def test_another_model_version_is_no_late_image(ledger: Ledger) -> None:
    walk(ledger, add(ledger, "a", 110.0, NEVER), *WRITTEN)
    receive(ledger, 2, 120.0)
    with ledger.begin() as change:
        found = change.jobs.add(1, replace(PLANNED, model_version="2.0"), [], 130.0, NEVER)
    assert found is not None
    assert found.version == 2


def test_urgent_studies_go_before_priority_and_age(ledger: Ledger) -> None:
    receive(ledger, 1, 101.0, "1.10")
    with ledger.begin() as change:
        for number, (priority, urgency) in enumerate(
            [(9, Urgency.MEDIUM), (0, Urgency.HIGH), (5, Urgency.HIGH), (9, Urgency.LOW)]
        ):
            planned = replace(PLANNED, rule=f"{number}", priority=priority)
            change.jobs.add(2, planned, [], 110.0 + number, Terms(urgency=urgency))
        order = []
        while job := change.jobs.claim([JobState.QUEUED], "a", 200.0, 60.0):
            order.append(job.rule)
    assert order == ["2", "1", "0", "3"]


def test_shadow_and_version_are_in_the_trail_without_uids(ledger: Ledger) -> None:
    walk(ledger, add(ledger, "a", 110.0), *WRITTEN)
    receive(ledger, 2, 120.0)
    job = add(ledger, "b", 130.0, Terms(shadow=True))
    assert job is not None
    assert job.shadow
    with ledger.read() as view:
        row = view.trail.of_study(1)[-1]
    assert row.text == "Planned for model 'model' 1.0, version 2, in shadow."
    assert row.detail["version"] == 2
    assert "1.8" not in str(row.detail)


def test_a_study_ends_by_its_newest_versions_and_says_what_was_not_made(ledger: Ledger) -> None:
    first = add(ledger, "a", 110.0)
    second = add(ledger, "b", 111.0)
    with ledger.begin() as change:
        change.studies.move(change.studies.get(1), StudyState.ASSEMBLING, 112.0, "Complete.")
        change.studies.move(change.studies.get(1), StudyState.ANALYSING, 112.0, "Planned.")
        note = "New images came, but rule 'heads' allows no new version."
        answers = (RuleAnswer("heads", True, "Wanted.", note=note),)
        change.studies.keep_answers(1, answers)
        assert change.studies.answers(1) == answers
    walk(ledger, second, *WRITTEN, JobState.DELIVERED)
    with ledger.begin() as change:
        assert first is not None
        assert change.jobs.get(first.id).state is JobState.SUPERSEDED
        change.studies.close_if_finished(1, 160.0)
        study = change.studies.get(1)
    assert study.state is StudyState.DONE
    assert study.reason == f"Finished; model 'model': analysed. {note}"


def test_results_of_urgent_studies_are_sent_first(ledger: Ledger) -> None:
    with ledger.begin() as change:
        for number, urgency in enumerate((Urgency.MEDIUM, Urgency.HIGH)):
            planned = replace(PLANNED, rule=f"{number}")
            job = change.jobs.add(1, planned, [], 110.0, Terms(urgency=urgency))
            assert job is not None
            objects = [ResultObject("sr", f"2.25.{number}", "1.1", "sr.dcm")]
            change.outbox.add(job.id, "pacs", objects, 120.0 + number)
        assert change.outbox.knows("2.25.0")
        assert not change.outbox.knows("2.25.2")
        claimed = change.lines.claim("pacs", "deliver:1", 200.0, 60.0, 10)
        sent = [one.item.sop_instance_uid for one in claimed]
    assert [one.urgency for one in claimed] == [Urgency.HIGH, Urgency.MEDIUM]
    assert sent == ["2.25.1", "2.25.0"]


def test_answers_are_kept_rule_by_rule(ledger: Ledger) -> None:
    age = Finding(False, "PatientAge from 18: it is 12")
    first = RuleAnswer("heads", False, "Too young.", (("1.8", Finding(False, "all", (age,))),))
    other = RuleAnswer("feet", True, "It asks for series 2.")
    with ledger.begin() as change:
        change.studies.keep_answers(1, [first])
        change.studies.keep_answers(1, [other])
        assert change.studies.answers(1) == (first, other)
        newer = replace(first, wanted=True, findings=())
        change.studies.keep_answers(1, [newer])
        assert change.studies.answers(1) == (newer, other)


def test_images_that_only_got_the_name_of_a_part_are_the_same_input(ledger: Ledger) -> None:
    walk(ledger, add(ledger, "a", 110.0), *WRITTEN)
    receive(ledger, 2, 120.0)
    named = replace(PLANNED, input_digest="b", part="EchoNumbers 1")
    anything = Terms(late_images=LateImages.ANY)
    with ledger.begin() as change:
        assert change.jobs.add(1, named, ["1.1", "1.a"], 130.0) is None
        assert change.jobs.objection(1, named, ["1.1", "1.a"], 130.0, NEVER) == ""
        assert change.jobs.add(1, named, ["1.1", "1.a"], 130.0, anything) is not None
        # Other frames of the same object are other images.
        other = replace(named, input_digest="c", part="EchoNumbers 2")
        assert change.jobs.add(1, other, ["1.1", "1.a"], 140.0, anything) is not None


def test_claim_is_held_longer_by_whoever_has_it_and_nobody_else(ledger: Ledger) -> None:
    add(ledger, "a", 110.0)
    with ledger.begin() as change:
        job = change.jobs.claim([JobState.QUEUED], "pipeline:1", 200.0, 60.0)
        assert job is not None
        assert change.jobs.renew(job, "pipeline:1", 1000.0)
        assert change.jobs.claim([JobState.QUEUED], "pipeline:2", 900.0, 60.0) is None
        again = change.jobs.claim([JobState.QUEUED], "pipeline:2", 1001.0, 60.0)
        assert again is not None
        assert not change.jobs.renew(job, "pipeline:1", 2000.0)
        assert not change.jobs.renew(job, "pipeline:2", 2000.0)
        assert change.jobs.renew(again, "pipeline:2", 2000.0)


def test_delivered_jobs_of_a_patient_are_those_of_other_studies_and_the_same_model(
    ledger: Ledger,
) -> None:
    other = receive(ledger, 2, 100.0, "1.10")
    with ledger.begin() as change:
        own = change.jobs.add(1, PLANNED, [], 110.0)
        found = {}
        for name, plan, outcome, end in (
            ("delivered", PLANNED, "analysed", JobState.DELIVERED),
            ("failed", replace(PLANNED, rule="b"), "analysed", JobState.FAILED),
            ("refused", replace(PLANNED, rule="c"), "not analysed", JobState.DELIVERED),
            ("other model", replace(PLANNED, model_id="x"), "analysed", JobState.DELIVERED),
        ):
            job = change.jobs.add(other, plan, [], 110.0)
            assert job is not None
            found[name] = job.id
            for state in (JobState.PREPARED, JobState.INFERRED, JobState.WRITTEN, end):
                values = {"outcome": outcome, "patient_mark": "m"}
                change.jobs.move(change.jobs.get(job.id), state, 150.0, "Moved.", **values)
        assert own is not None
        of_patient = change.jobs.delivered_of_patient
        assert [job.id for job in of_patient(own, "m", 10)] == [found["delivered"]]
        assert of_patient(own, "other", 10) == ()
        assert of_patient(own, "", 10) == ()
        assert of_patient(change.jobs.get(found["delivered"]), "m", 10) == ()
