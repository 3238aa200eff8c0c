"""The stages when something is in the way: no worker, no disk, no rule, no model, a late answer."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondread.domain.engine import Failed, Finished, Lost, Ticket
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.errors import UsageError
from secondread.pipeline import prepare as prepare_stage
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.infer import LABELS_NAME
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.retry import retry_study
from secondread.pipeline.workplace import ATTEMPTS_MAX
from secondread.pipeline.write import Write
from secondread.store.door import held_open
from secondread.store.ledger import LEDGER_NAME
from tests.house import House, StillClock


@pytest.fixture
def house(tmp_path: Path, head_series: Callable[..., Any]) -> House:
    """A house with one study that has been planned."""
    house = House(tmp_path / "data", StillClock())
    house.receive(head_series("axial").paths)
    house.assemble()
    return house


def test_quiet_time_stands_still_while_the_door_is_shut(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    house.receive(head_series("axial").paths)
    house.clock.time += 1000
    assert house.complete.step() == 0
    with house.place.ledger.begin() as change:
        assert change.studies.restart_quiet_time(house.clock.time) == 1
    with held_open(house.place.spool.root):
        assert house.complete.step() == 0
        house.clock.time += 5
        assert house.complete.step() == 1


def test_the_way_of_a_job(house: House) -> None:
    assert house.job.state is JobState.QUEUED
    assert Prepare(house.place).step()
    assert house.job.state is JobState.PREPARED
    assert house.infer.step()
    task = house.engine.tasks[-1]
    assert "1." not in task.job_key
    house.engine.outcomes.append(Finished(house.answer(), "", (), 0.1))
    assert house.infer.collect(0)
    assert house.job.state is JobState.INFERRED
    assert Write(house.place).step()
    assert (house.job.state, house.job.outcome) == (JobState.WRITTEN, "analysed")
    with house.place.ledger.read() as view:
        items = view.outbox.of_job(1)
        assert [(item.level, item.kind, item.state) for item in items] == [
            (0, "seg", DeliveryState.READY),
            (0, "sr", DeliveryState.READY),
            (1, "sr", DeliveryState.RESERVED),
        ]
        changes = [(row.before, row.after) for row in view.trail.of_study(1) if row.event == "job"]
    assert changes == [
        ("", "queued"),
        ("queued", "prepared"),
        ("prepared", "inferred"),
        ("inferred", "written"),
    ]


def test_doing_a_stage_twice_gives_the_same_bytes(house: House) -> None:
    Prepare(house.place).step()
    house.infer.step()
    house.engine.outcomes.append(Finished(house.answer(), "", (), 0.1))
    house.infer.collect(0)
    Write(house.place).step()
    folder = house.place.spool.results / house.job.key
    first = {path: path.read_bytes() for path in folder.rglob("*.dcm")}
    with house.place.ledger.begin() as change:
        change.jobs._connection.exec_driver_sql("UPDATE job SET state = 'inferred'")
    house.clock.time += 5000
    Write(house.place).step()
    assert {path: path.read_bytes() for path in folder.rglob("*.dcm")} == first
    with house.place.ledger.read() as view:
        assert len(view.outbox.of_job(1)) == len(first) == 3


def test_one_loss_is_tried_again_two_wait_for_a_person(house: House) -> None:
    Prepare(house.place).step()
    for state in (JobState.PREPARED, JobState.FAILED):
        assert house.infer.step()
        task = house.engine.tasks[-1]
        ticket = Ticket(task.job_key, task.attempt)
        house.engine.outcomes.append(Lost(ticket, "The worker process ended with status -9."))
        house.infer.collect(0)
        assert house.job.state is state
    assert house.study.state is StudyState.HELD
    assert "2 times" in house.study.reason


def test_answer_for_a_claim_that_was_lost_does_not_count(house: House) -> None:
    Prepare(house.place).step()
    house.infer.step()
    ticket = house.answer()
    with house.place.ledger.begin() as change:
        change.jobs.release_claims_of("pipeline:")
    house.engine.outcomes.append(Finished(ticket, "", (), 0.1))
    house.infer.collect(0)
    assert house.job.state is JobState.PREPARED


def test_model_that_breaks_is_a_dead_letter_and_can_be_retried(house: House) -> None:
    Prepare(house.place).step()
    house.infer.step()
    house.engine.outcomes.append(Failed(house.answer(), "The model broke.", "model"))
    house.infer.collect(0)
    assert house.job.state is JobState.FAILED
    assert house.study.state is StudyState.HELD
    with house.place.ledger.begin() as change:
        assert retry_study(change, change.studies.get(1), house.clock.time) == 1
        with pytest.raises(UsageError, match="assembling"):
            retry_study(change, change.studies.get(1), house.clock.time)
    assert house.job.state is JobState.QUEUED
    Assemble(house.place).step()
    assert house.study.state is StudyState.ANALYSING


def test_refusal_of_the_model_becomes_a_report(house: House) -> None:
    Prepare(house.place).step()
    house.infer.step()
    task = house.engine.tasks[-1]
    ticket = Ticket(task.job_key, task.attempt)
    check = ("likeness", 0.1, 0.5, math.inf, False)
    house.engine.outcomes.append(Finished(ticket, "It is no head.", (check,), 0.1))
    house.infer.collect(0)
    assert (house.job.state, house.job.reason) == (JobState.REFUSED, "It is no head.")
    # Whatever reads JSON can read the ledger.
    with closing(sqlite3.connect(house.place.spool.root / LEDGER_NAME)) as ledger:
        (kept,) = ledger.execute("select checks from job").fetchone()
    assert json.loads(kept, parse_constant=pytest.fail) == [["likeness", 0.1, 0.5, None, False]]
    Write(house.place).step()
    with house.place.ledger.read() as view:
        assert view.jobs.checks(1) == (check,)
        (item,) = view.outbox.of_job(1)
    assert item.path.endswith("sr.dcm")


def test_lost_work_files_are_made_again(house: House) -> None:
    Prepare(house.place).step()
    folder = house.place.spool.work / house.job.key
    (folder / "volume.npy").unlink()
    house.infer.step()
    assert house.job.state is JobState.QUEUED
    Prepare(house.place).step()
    house.infer.step()
    house.engine.outcomes.append(Finished(house.answer(), "", (), 0.1))
    house.infer.collect(0)
    (folder / LABELS_NAME).unlink()
    Write(house.place).step()
    assert house.job.state is JobState.QUEUED


def test_full_disk_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(prepare_stage, "prepare", full)
        for _ in range(3 * ATTEMPTS_MAX):
            house.clock.time += 60
            assert Prepare(house.place).step()
            assert house.job.state is JobState.QUEUED
    house.clock.time += 60
    Prepare(house.place).step()
    assert house.job.state is JobState.PREPARED


def test_job_that_takes_the_process_down_is_given_up(house: House) -> None:
    for _ in range(ATTEMPTS_MAX):
        with house.place.ledger.begin() as change:
            assert change.jobs.claim([JobState.QUEUED], "pipeline:dead", house.clock.time, 60)
            change.jobs.release_claims_of("pipeline:dead")
    assert not Prepare(house.place).step()
    assert house.job.state is JobState.FAILED
    assert house.study.state is StudyState.HELD


def test_rule_that_was_removed_is_said(house: House) -> None:
    Prepare(house.place).step()
    house.infer.step()
    house.engine.outcomes.append(Finished(house.answer(), "", (), 0.1))
    house.infer.collect(0)
    Write(replace(house.place, rules=())).step()
    assert house.job.state is JobState.FAILED
    assert "Rule 'heads' is not in the configuration" in house.job.reason


def test_the_trail_of_a_plan_holds_neither_uids_nor_descriptions(house: House) -> None:
    with house.place.ledger.read() as view:
        instances = view.instances.of_study(house.study.study_instance_uid)
        rows = [row for row in view.trail.of_study(1) if row.event in {"study", "job"}]
    text = " ".join(f"{row.text} {row.detail}" for row in rows)
    assert "'series_number': 2" in text
    assert instances[0].series_instance_uid not in text
    assert "mprage" not in text
