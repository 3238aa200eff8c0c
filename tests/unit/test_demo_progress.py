"""The demo's view of the ledger: what it says while it waits, and the timeline afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.demo.progress import Progress, Stage, stages, timeline
from secondread.domain.job import Job
from secondread.domain.states import JobState, StudyState
from secondread.domain.study import Study
from secondread.store.trail import TrailRow


def study(state, reason="why"):
    return Study(1, "1.2.3", state, "scanner", 100.0, 103.0, 2.0, 105.0, 12, 0, reason)


def job(state):
    values = dict.fromkeys(Job.__dataclass_fields__, "")
    return Job(**{**values, "state": state})


def row(at, event, after):
    return TrailRow(0, at, event, 1, 1, "", after, "", {}, "")


@pytest.mark.parametrize(
    ("state", "jobs", "sentence"),
    [
        (StudyState.RECEIVING, [], "receiving, 12 images so far"),
        (StudyState.ASSEMBLING, [], "choosing a series"),
        (StudyState.ANALYSING, [JobState.PREPARED], "the model is at work"),
        (StudyState.ANALYSING, [JobState.DELIVERED, JobState.REFUSED], "writing the report"),
        (StudyState.ANALYSING, [JobState.DELIVERED], "finishing"),
    ],
)
def test_it_says_what_the_node_is_doing(state, jobs, sentence):
    progress = Progress(((study(state), tuple(map(job, jobs))),))
    assert progress.sentence == sentence
    assert not progress.ended


def test_every_state_has_words():
    for state in StudyState:
        for job_state in JobState:
            assert Progress(((study(state), (job(job_state),)),)).sentence


def test_it_has_ended_when_every_study_has():
    assert not Progress(()).ended
    done, busy = (study(StudyState.DONE), ()), (study(StudyState.RECEIVING), ())
    assert Progress((done,)).ended
    assert not Progress((done, busy)).ended
    assert Progress((done, busy)).sentence == "receiving, 12 images so far"


def test_the_stages_add_up_to_the_whole():
    trail = [
        row(100.0, "study", "receiving"),
        row(105.5, "study", "assembling"),
        row(106.0, "job", "queued"),
        row(106.0, "study", "analysing"),
        row(106.5, "job", "prepared"),
        row(116.5, "job", "inferred"),
        row(118.0, "job", "written"),
        row(118.5, "delivery", "sent"),
        row(119.0, "job", "delivered"),
        row(119.0, "study", "done"),
    ]
    found = stages(study(StudyState.DONE), trail)
    assert [(stage.name, stage.seconds) for stage in found] == [
        ("receive the images", 3.0),
        ("wait for the quiet time", 2.5),
        ("choose a series", 0.5),
        ("read the volume", 0.5),
        ("run the model", 10.0),
        ("write and check the results", 1.5),
        ("deliver to the PACS", 1.0),
    ]
    text = timeline([(study(StudyState.DONE), found)])
    assert "in all                           19.00 s" in text
    assert "of which not the model            9.00 s" in text


def test_a_study_that_was_not_analysed_has_no_model_stage():
    trail = [
        row(105.0, "study", "assembling"),
        row(106.0, "job", "refused"),
        row(106.0, "study", "analysing"),
        row(107.0, "job", "written"),
        row(107.5, "job", "delivered"),
    ]
    names = [stage.name for stage in stages(study(StudyState.DONE), trail)]
    assert "run the model" not in names
    assert names[-2:] == ["write and check the results", "deliver to the PACS"]
    assert "of which not the model" in timeline([(study(StudyState.DONE), [Stage("x", 1.0)])])


def test_a_model_that_refuses_has_run():
    trail = [
        row(105.0, "study", "assembling"),
        row(106.0, "job", "prepared"),
        replace(row(111.0, "job", "refused"), before="prepared"),
        row(112.0, "job", "written"),
    ]
    found = stages(study(StudyState.DONE), trail)
    assert [stage.seconds for stage in found if stage.name == "run the model"] == [5.0]
