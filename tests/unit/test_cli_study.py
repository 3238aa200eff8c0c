"""``study list|show|retry`` on a ledger with one study of each kind."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondread.cli.main import execute
from secondread.domain.condition import Finding
from secondread.domain.instance import Instance
from secondread.domain.job import Candidate, PlannedJob, RuleAnswer
from secondread.domain.result import ResultObject
from secondread.domain.series import PartSummary, SeriesSummary
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.errors import EXIT_NO_INPUT, EXIT_OK, EXIT_USAGE
from secondread.store import Ledger
from secondread.store.versions import Terms

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
CONFIGURATION = """
[node]
data_dir = "data"
[[models]]
id = "brain_mr"
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = 11112
[[rules]]
name = "heads"
model = "brain_mr"
destinations = ["pacs"]
"""
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


def summary(uid: str, number: int, **changes: Any) -> SeriesSummary:
    """A series of MR images, which make one sound volume."""
    part = PartSummary(
        "", "sound", "", "", 176, 256, 240, (1.0, 0.9, 0.9), "sagittal", 0.0, f"p{number}"
    )
    attributes = {"Modality": ("MR",), "SeriesDescription": (f"series no {number}",)}
    made = SeriesSummary(uid, number, 2, 0, True, attributes, (part,), f"s{number}")
    return replace(made, **changes)


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
        change.series.replace(study_id, [summary(SERIES[0], 2), summary(SERIES[1], 1)])
        study = change.studies.get(study_id)
        change.studies.move(study, StudyState.ASSEMBLING, at, "Complete.")
        change.studies.move(change.studies.get(study_id), StudyState.ANALYSING, at, "Planned.")
        job = change.jobs.add(study_id, planned, [], at)
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
    assert "Images are still arriving. Looked at again at" in out
    assert "3 objects from peer 'mr1'" in out
    assert f"  A series that has not been looked at  2 objects  {SERIES[0]}" in out
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
    assert "Model brain_mr 0.1.0, by rule 'heads'\n  Analysed, failed.\n" in out
    assert "chosen  Series 2 't1 mprage'" in out
    assert "no      Series 1 'localizer': 3 slices are too few; 20 are needed." in out
    assert "ok      brain volume in mL 1400 (expected 700 to 2100)" in out
    assert "fail    spread of values 0.5 (expected at least 1)" in out
    assert "dead      Segmentation to 'pacs': The PACS refused it: 0xA900." in out
    assert "job queued → prepared: Prepared." in out


def test_the_story_in_json(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    study_id = receive(ledger, STUDY_UID, 1_700_000_000.0)
    analyse(ledger, study_id, 1_700_000_100.0)
    assert execute(["study", "show", str(study_id), "--json"]) == EXIT_OK
    story = json.loads(capsys.readouterr().out)
    assert story["study"]["state"] == "held"
    assert story["study"]["first_at"] == "2023-11-14T22:13:20Z"
    assert len(story["log_key"]) == 12
    assert [(one["number"], one["objects"]) for one in story["series"]] == [(1, 1), (2, 2)]
    assert story["series"][0]["parts"][0]["spacing_mm"] == [1.0, 0.9, 0.9]
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


def findings() -> tuple[tuple[str, Finding], ...]:
    """What a rule for old heads found in the two series."""
    modality = Finding(True, "Modality is 'MR', as it should be.")
    age = Finding(False, "PatientAge is 12; it should be from 18 to 90.")
    slices = Finding(False, "Slices is 176; it should be at most 100.")
    return (
        (SERIES[0], Finding(True, "All hold.", (modality,))),
        (SERIES[1], Finding(False, "Not all hold.", (modality, age, slices))),
    )


def test_what_came_and_what_each_rule_made_of_it(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    study_id = receive(ledger, STUDY_UID, 1_700_000_000.0)
    part = replace(summary("", 0).parts[0], name="EchoNumbers 1")
    gap = replace(
        part,
        name="EchoNumbers 2",
        outcome="missing-slices",
        reason="Slices are missing between 12.0 mm and 18.0 mm.",
        spacing_mm=None,
    )
    with ledger.begin() as change:
        other = summary(SERIES[1], 3, parts=(part, gap), unreadable=1)
        change.series.replace(study_id, [summary(SERIES[0], 2), other])
        note = "New images came, but rule 'heads' allows no new version."
        change.studies.keep_answers(
            study_id,
            [
                RuleAnswer("feet", False, "BodyPartExamined is HEAD.", findings()[1:]),
                RuleAnswer("heads", True, "It asks for Series 2.", findings(), note),
            ],
        )
    assert execute(["study", "show", str(study_id)]) == EXIT_OK
    out = capsys.readouterr().out
    assert "  Series 2  MR  2 objects  'series no 2'" in out
    assert "      176 sagittal slices of 256 x 240, 1 x 0.9 x 0.9 mm: sound" in out
    assert "      1 of them cannot be read" in out
    assert "      EchoNumbers 2: no volume (missing-slices): Slices are missing between" in out
    assert "  Rule 'heads' wants it. It asks for Series 2.\n    New images came" in out
    assert "    yes  Series 2\n    no   Series 3:\n           PatientAge is 12" in out
    assert "  Rule 'feet' does not want it. BodyPartExamined is HEAD." in out
    assert "Modality is 'MR'" not in out
    assert execute(["study", "show", str(study_id), "--json"]) == EXIT_OK
    story = json.loads(capsys.readouterr().out)
    heads = next(one for one in story["rules"] if one["rule"] == "heads")
    assert (heads["wanted"], heads["note"]) == (True, note)
    assert [one["number"] for one in heads["series"]] == [2, 3]
    assert [one["holds"] for one in heads["series"][1]["conditions"]] == [True, False, False]
    assert story["series"][1]["parts"][1]["outcome"] == "missing-slices"


def test_a_rule_that_was_not_asked_is_named(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_id = receive(ledger, STUDY_UID, time.time())
    (tmp_path / "secondread.toml").write_text(CONFIGURATION)
    assert execute(["study", "show", str(study_id)]) == EXIT_OK
    assert "  Rule 'heads' has not been asked.\n" in capsys.readouterr().out
    reason = "Not analysed: not complete 60 s after its first object."
    with ledger.begin() as change:
        detail = {"completeness": {"heads": {"verdict": "drop", "reason": reason}}}
        study = change.studies.get(study_id)
        change.studies.move(study, StudyState.ASSEMBLING, time.time(), "Ready.", detail=detail)
    assert execute(["study", "show", str(study_id)]) == EXIT_OK
    assert f"  Rule 'heads' has not been asked. {reason}\n" in capsys.readouterr().out
    assert execute(["study", "show", str(study_id), "--json"]) == EXIT_OK
    story = json.loads(capsys.readouterr().out)
    assert story["rules"] == [{"rule": "heads", "asked": False, "reason": reason}]


def test_versions_and_shadow_are_told(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    study_id = receive(ledger, STUDY_UID, 1_700_000_000.0)
    planned = PlannedJob("heads", "brain_mr", "0.1.0", SERIES[0], "a", 0, "", (), "EchoNumbers 2")
    with ledger.begin() as change:
        change.series.replace(study_id, [summary(SERIES[0], 2)])
        change.jobs.add(study_id, planned, ["1", "2"], 1_700_000_100.0)
        change.jobs.add(
            study_id,
            replace(planned, input_digest="b"),
            ["1", "2", "3"],
            1_700_000_200.0,
            Terms(shadow=True),
        )
    assert execute(["study", "show", str(study_id)]) == EXIT_OK
    out = capsys.readouterr().out
    assert "by rule 'heads'\n  Superseded.\n" in out
    assert "by rule 'heads', version 2\n  Queued, in shadow: nothing is sent.\n" in out
    assert "  It is about 3 objects of Series 2, part 'EchoNumbers 2'." in out
    assert execute(["study", "show", str(study_id), "--json"]) == EXIT_OK
    first, second = json.loads(capsys.readouterr().out)["jobs"]
    assert (second["version"], second["predecessor_id"], second["shadow"]) == (2, first["id"], True)
    assert (first["state"], first["objects"], second["objects"]) == ("superseded", 2, 3)
