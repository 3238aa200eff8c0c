"""``study list|show|retry`` on a ledger with one study of each kind."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from secondread.cli.main import execute
from secondread.domain.instance import Instance
from secondread.domain.job import Candidate, PlannedJob
from secondread.domain.result import ResultObject
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.errors import EXIT_NO_INPUT, EXIT_OK, EXIT_USAGE
from secondread.store import Ledger

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
SERIES = ("1.2.826.0.1.3680043.8.498.11", "1.2.826.0.1.3680043.8.498.12")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    (tmp_path / "secondread.toml").write_text('[node]\ndata_dir = "data"\n')
    monkeypatch.delenv("SECONDREAD_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return Ledger.open(tmp_path / "data")


def receive(ledger: Ledger, study_uid: str, at: float) -> int:
    """Three objects in two series; the id of the study."""
    study_id = 0
    for number in range(3):
        record = Instance(
            sop_instance_uid=f"{study_uid}.9.{number}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
            study_instance_uid=study_uid,
            series_instance_uid=SERIES[number % 2],
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            path=f"spool/objects/{number}.dcm",
            size_bytes=10,
            sha256="0" * 64,
            peer="mr1",
            received_at=at + number,
        )
        with ledger.begin() as change:
            change.instances.add([record])
            change.studies.add_instances([record], lambda _: 60.0)
            study_id = change.studies.find(study_uid).id
    return study_id


def analyse(ledger: Ledger, study_id: int, at: float) -> int:
    """Plan one job and let its delivery fail for good; the id of the job."""
    planned = PlannedJob(
        rule="heads",
        model_id="brain_mr",
        model_version="0.1.0",
        series_instance_uid=SERIES[0],
        input_digest="d" * 64,
        priority=0,
        refusal="",
        candidates=(
            Candidate(SERIES[0], "t1 mprage", True, ""),
            Candidate(SERIES[1], "localizer", False, "3 slices are too few; 20 are needed."),
        ),
    )
    with ledger.begin() as change:
        study = change.studies.get(study_id)
        change.studies.move(study, StudyState.ASSEMBLING, at, "Complete.")
        change.studies.move(change.studies.get(study_id), StudyState.ANALYSING, at, "Planned.")
        job = change.jobs.add(study_id, planned, at)
        assert job is not None
        change.jobs.move(job, JobState.PREPARED, at, "Prepared.")
        checks = [
            ["brain volume in mL", 1400.0, 700.0, 2100.0, True],
            ["spread of values", 0.5, 1.0, 3.4e38, False],
        ]
        change.jobs.move(change.jobs.get(job.id), JobState.INFERRED, at, "Answered.", checks=checks)
        change.jobs.move(
            change.jobs.get(job.id), JobState.WRITTEN, at, "Written.", outcome="analysed"
        )
        change.outbox.add(
            job.id, "pacs", [ResultObject("seg", "2.25.1", SEG, "results/x/seg.dcm")], at
        )
        (item,) = change.outbox.of_job(job.id)
        change.outbox.move(item, DeliveryState.DEAD, at, "The PACS refused it: 0xA900.")
        change.jobs.move(
            change.jobs.get(job.id), JobState.FAILED, at, "Failed.", reason="Not delivered."
        )
        change.studies.close_if_finished(study_id, at)
    return job.id


def test_no_node_has_run_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secondread.toml").write_text('[node]\ndata_dir = "data"\n')
    monkeypatch.delenv("SECONDREAD_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert execute(["study", "list"]) == EXIT_OK
    assert "No study has come yet" in capsys.readouterr().out
    assert execute(["study", "list", "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == {"studies": []}
    assert execute(["study", "show", "1"]) == EXIT_NO_INPUT
    assert not (tmp_path / "data").exists()


def test_a_study_that_is_still_arriving(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    study_id = receive(ledger, STUDY_UID, time.time())
    assert execute(["study", "show", str(study_id)]) == EXIT_OK
    out = capsys.readouterr().out
    assert f"Study {study_id}: receiving" in out
    assert "Waits for more objects until" in out
    assert "3 objects from peer 'mr1'" in out
    assert f"    2  series {SERIES[0]}" in out
    assert "study  → receiving: First object, from peer 'mr1'." in out


def test_a_study_is_told_from_beginning_to_end(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    study_id = receive(ledger, STUDY_UID, time.time() - 3600)
    analyse(ledger, study_id, time.time())
    assert execute(["study", "show", STUDY_UID]) == EXIT_OK
    out = capsys.readouterr().out
    assert f"Study {study_id}: held" in out
    assert "Waits for a person: model 'brain_mr': Not delivered." in out
    assert "Model brain_mr 0.1.0, by rule 'heads': analysed, failed" in out
    assert "chosen  't1 mprage'" in out
    assert "no      'localizer': 3 slices are too few; 20 are needed." in out
    assert "ok      brain volume in mL 1400 (expected 700 to 2100)" in out
    assert "fail    spread of values 0.5 (expected at least 1)" in out
    assert "dead    Segmentation to 'pacs': The PACS refused it: 0xA900." in out
    assert "job queued → prepared: Prepared." in out


def test_the_story_in_json(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    study_id = receive(ledger, STUDY_UID, 1_700_000_000.0)
    analyse(ledger, study_id, 1_700_000_100.0)
    assert execute(["study", "show", str(study_id), "--json"]) == EXIT_OK
    story = json.loads(capsys.readouterr().out)
    assert story["study"]["state"] == "held"
    assert story["study"]["first_at"] == "2023-11-14T22:13:20Z"
    assert len(story["log_key"]) == 12
    assert [entry["objects"] for entry in story["series"]] == [2, 1]
    (job,) = story["jobs"]
    assert job["outcome"] == "analysed"
    assert [entry["accepted"] for entry in job["candidates"]] == [True, False]
    assert job["checks"][0]["passed"] is True
    assert job["deliveries"][0]["kind"] == "Segmentation"
    assert job["deliveries"][0]["state"] == "dead"
    assert story["trail"][0]["after"] == "receiving"


def test_retry_puts_a_held_study_on_its_way(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    study_id = receive(ledger, STUDY_UID, time.time())
    assert execute(["study", "retry", str(study_id)]) == EXIT_USAGE
    job_id = analyse(ledger, study_id, time.time())
    capsys.readouterr()
    assert execute(["study", "retry", str(study_id), "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == {"study": study_id, "jobs_retried": 1}
    with ledger.read() as view:
        assert view.studies.get(study_id).state is StudyState.ASSEMBLING
        assert view.jobs.get(job_id).state is JobState.WRITTEN
        assert [item.state for item in view.outbox.of_job(job_id)] == [DeliveryState.READY]


def test_the_list_is_newest_first_and_limited(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [receive(ledger, f"{STUDY_UID}.{n}", 1_700_000_000.0 + n * 100) for n in range(3)]
    assert execute(["study", "list", "-n", "2", "--json"]) == EXIT_OK
    listed = json.loads(capsys.readouterr().out)["studies"]
    assert [entry["id"] for entry in listed] == [ids[2], ids[1]]
    assert execute(["study", "list"]) == EXIT_OK
    assert capsys.readouterr().out.count("receiving") == 3
