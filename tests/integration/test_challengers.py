"""Two versions of one model on one study: one is sent, the other compared with it in shadow."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from secondread.app import _tidy
from secondread.domain.engine import Failed, Finished, Ticket
from secondread.domain.monitoring import Comparison, ModelPause
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.domain.states import JobState, StudyState
from secondread.domain.telling import Event
from secondread.pipeline import comparing
from secondread.pipeline.challengers import read_challenges
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.retry import retry_study
from secondread.pipeline.watching import METRICS_FILE, ModelWatch
from secondread.pipeline.write import Write
from tests.challenge_scene import CHALLENGER, CHAMPION, Ring


@pytest.fixture
def ring(tmp_path: Path, head_series: Callable[..., Any]) -> Ring:
    """A study that both models are to analyse."""
    ring = Ring(tmp_path)
    ring.house.receive(head_series("axial", (12, 20, 20), (9.0, 9.0, 9.0)).paths)
    ring.house.assemble()
    return ring


def test_one_study_gives_one_comparison_by_code_and_side(ring: Ring) -> None:
    ring.run_both()
    assert ring.compare() == 1
    assert ring.compare() == 0
    (found,) = ring.comparisons()
    champion, challenger = ring.house.jobs
    assert (found.champion_job_id, found.challenger_job_id) == (champion.id, challenger.id)
    assert (challenger.model_id, challenger.model_version) == ("bright_head_next", "1.1.0")
    measures = found.measures
    assert measures["champion.analysed"] == measures["challenger.analysed"] == 1.0
    assert measures["same_input"] == 1.0
    assert (measures["champion.seconds"], measures["challenger.seconds"]) == (0.5, 1.0)
    assert (measures["champion.unmatched"], measures["challenger.unmatched"]) == (0.0, 0.0)
    before = np.load(ring.house.place.spool.work / champion.key / "labels.npy") == 2
    after = np.load(ring.house.place.spool.work / challenger.key / "labels.npy") == 1
    assert 0 < after.sum() < before.sum()
    dice = 2 * (before & after).sum() / (before.sum() + after.sum())
    assert measures["dice.left_thalamus"] == pytest.approx(dice)
    # The voxels of this made-up head are 9 mm on every side.
    assert measures["champion.volume_ml.left_thalamus"] == pytest.approx(before.sum() * 0.729)
    assert measures["challenger.volume_ml.left_thalamus"] == pytest.approx(after.sum() * 0.729)


def test_nothing_of_the_challenger_leaves(ring: Ring) -> None:
    ring.run_both()
    ring.compare()
    champion, challenger = ring.house.jobs
    place = ring.house.place
    assert (challenger.state, challenger.outcome) == (JobState.DELIVERED, "analysed")
    with place.ledger.read() as view:
        assert len(view.outbox.of_job(champion.id)) == 3
        assert view.outbox.of_job(challenger.id) == ()
    kept = {path.name for path in (place.spool.results / challenger.key).rglob("*.dcm")}
    assert kept == {"seg.dcm", "sr.dcm"}
    assert challenger.id not in [job_id for _, job_id in ring.told()]


def test_a_refusal_of_the_challenger_is_compared_and_not_reported(ring: Ring) -> None:
    ring.start()
    ring.answer()
    Write(ring.house.place).step()
    ring.start()
    task = ring.house.engine.tasks[-1]
    ticket = Ticket(task.job_key, task.attempt)
    ring.house.engine.outcomes.append(Finished(ticket, "It is no head.", (), 0.1))
    ring.house.infer.collect(0)
    assert ring.compare() == 1
    Write(ring.house.place).step()
    (found,) = ring.comparisons()
    assert found.measures == {
        "champion.analysed": 1.0,
        "champion.seconds": 0.5,
        "challenger.analysed": 0.0,
    }
    with ring.house.place.ledger.read() as view:
        assert view.outbox.of_job(ring.house.jobs[1].id) == ()


def test_a_pause_of_the_challenger_is_no_refusal_of_its_own(ring: Ring) -> None:
    place = ring.house.place
    with place.ledger.begin() as change:
        change.model_pauses.pause(
            ModelPause("bright_head_next", "1.1.0", place.clock.now(), "a trial", "somebody")
        )
    ring.start()
    ring.answer()
    Write(place).step()
    Prepare(place).step()
    assert ring.house.jobs[1].state is JobState.REFUSED
    assert ring.compare() == 1
    (found,) = ring.comparisons()
    assert found.measures["challenger.paused"] == 1.0
    with place.ledger.read() as view:
        (summary,) = read_challenges(view, "bright_head", "1.0.0")
    assert summary.refusals.studies == 0


def test_a_challenger_that_breaks_holds_nobody_up(ring: Ring) -> None:
    ring.start()
    ring.answer()
    Write(ring.house.place).step()
    ring.start()
    task = ring.house.engine.tasks[-1]
    broken = Failed(Ticket(task.job_key, task.attempt), "The model broke.", "model")
    ring.house.engine.outcomes.append(broken)
    ring.house.infer.collect(0)
    place, (champion, challenger) = ring.house.place, ring.house.jobs
    assert challenger.state is JobState.FAILED
    assert ring.compare() == 0
    with place.ledger.begin() as change:
        change.jobs.move(champion, JobState.DELIVERED, place.clock.now(), "Sent.")
        change.studies.close_if_finished(1, place.clock.now())
    assert ring.house.study.state is StudyState.DONE
    assert "failed in shadow" in ring.house.study.reason
    events = ring.told()
    assert (Event.STUDY_DONE, None) in events
    assert {event for event, _ in events} <= {Event.STUDY_DONE, Event.JOB_DELIVERED}
    with place.ledger.begin() as change:
        assert retry_study(change, ring.house.study, place.clock.now()) == 1
    assert ring.house.jobs[1].state is JobState.QUEUED


def test_answers_stay_until_they_are_compared(ring: Ring) -> None:
    place = ring.house.place
    ring.start()
    ring.answer()
    Write(place).step()
    with place.ledger.begin() as change:
        change.jobs.move(ring.house.jobs[0], JobState.DELIVERED, place.clock.now(), "Sent.")
    folder = place.spool.work / ring.house.jobs[0].key
    _tidy(place)
    assert (folder / "labels.npy").is_file()
    ring.start()
    ring.answer()
    Write(place).step()
    _tidy(place)
    assert (folder / "labels.npy").is_file()
    assert ring.compare() == 1
    _tidy(place)
    assert not list(place.spool.work.iterdir())


def test_no_answer_stays_for_a_comparison_where_space_is_short(ring: Ring) -> None:
    place = ring.house.place
    ring.start()
    ring.answer()
    Write(place).step()
    with place.ledger.begin() as change:
        change.jobs.move(ring.house.jobs[0], JobState.DELIVERED, place.clock.now(), "Sent.")
    folder = place.spool.work / ring.house.jobs[0].key
    _tidy(place, place.spool.free_bytes() // 2)
    assert folder.is_dir()
    _tidy(place, 1 << 62)
    assert not folder.exists()


def test_answers_of_another_version_than_is_switched_on_are_not_read(ring: Ring) -> None:
    ring.run_both()
    place = ring.house.place
    newer = {
        name: replace(one, version="9.0.0" if name == "bright_head_next" else one.version)
        for name, one in place.manifests.items()
    }
    ring.house.place = replace(place, manifests=MappingProxyType(newer))
    assert ring.compare() == 1
    (found,) = ring.comparisons()
    assert found.measures["same_input"] == 0.0
    assert not [name for name in found.measures if name.startswith("dice.")]


def test_a_pair_that_the_node_fails_at_keeps_no_other_waiting(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring.run_both()
    monkeypatch.setattr(comparing, "match", lambda *_: 1 / 0)
    assert ring.compare() == 1
    (found,) = ring.comparisons()
    assert found.measures["same_input"] == 0.0
    assert ring.compare() == 0


def test_answers_that_are_gone_leave_the_outcomes(ring: Ring) -> None:
    ring.run_both()
    shutil.rmtree(ring.house.place.spool.work / ring.house.jobs[0].key)
    ring.compare()
    (found,) = ring.comparisons()
    assert found.measures["same_input"] == 0.0
    assert found.measures["challenger.analysed"] == 1.0
    assert not [name for name in found.measures if name.startswith("dice.")]


def test_a_comparison_that_is_made_twice_is_kept_once(ring: Ring) -> None:
    ring.run_both()
    ring.compare()
    first, second = ring.house.jobs
    with ring.house.place.ledger.begin() as change:
        change.comparisons.keep(Comparison(first.id, second.id, 1.0, {}))
    (found,) = ring.comparisons()
    assert found.measures


def test_a_monitoring_system_learns_of_the_challenger(ring: Ring) -> None:
    ring.run_both()
    ring.compare()
    place = ring.house.place
    ModelWatch(place, MonitoringTerms()).write_metrics()
    text = (place.spool.root / METRICS_FILE).read_text()
    pair = 'challenger="bright_head_next",challenger_version="1.1.0",model="bright_head"'
    count = f'secondread_model_compared{{{pair},refused="neither",version="1.0.0"}} 1.0'
    assert count in text
    assert f'secondread_model_compared_dice{{{pair},version="1.0.0"}} 0.' in text


def test_without_a_challenge_nothing_is_compared(ring: Ring) -> None:
    ring.run_both()
    ring.house.place = replace(
        ring.house.place, rules=(CHAMPION, replace(CHALLENGER, challenges=""))
    )
    assert ring.compare() == 0
