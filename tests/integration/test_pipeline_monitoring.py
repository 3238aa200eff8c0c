"""From received studies to observations, drift, a pause and the way back from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from secondread.bundles.upstream import Pin
from secondread.domain.engine import Finished, Ticket, Upstream
from secondread.domain.monitoring import (
    BY_RULE,
    Drift,
    Feedback,
    ModelPause,
    Observation,
    Observed,
    Verdict,
)
from secondread.domain.monitoring_terms import Consequence, MonitoringTerms
from secondread.domain.network import LateImages
from secondread.domain.states import JobState, StudyState
from secondread.monitoring.drift import Windows
from secondread.monitoring.standing import Seen, of_model
from secondread.pipeline import observing, watching
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.retry import retry_paused, retry_study
from secondread.pipeline.watching import METRICS_FILE, ModelWatch, read_standing
from secondread.pipeline.write import Write
from secondread.store.model_pauses import ModelPauses
from secondread.store.tables import study
from tests.house import House, StillClock
from tests.watched import GROUP, draw

WHO = "anna"
TERMS = MonitoringTerms(reference=10, recent=8, minimum=8, reject_minimum=3)


@pytest.fixture
def house(tmp_path: Path, head_series: Callable[..., Any]) -> House:
    """A house with one study that has been planned."""
    house = House(tmp_path / "data", StillClock())
    house.receive(head_series("axial").paths)
    house.assemble()
    return house


def model_of(house: House) -> tuple[str, str]:
    (manifest,) = house.place.manifests.values()
    return manifest.id, manifest.version


def observation_of(house: House, job_id: int = 1) -> Observation | None:
    with house.place.ledger.read() as view:
        return view.observations.of_job(job_id)


def pause(house: House, set_by: str = WHO) -> None:
    with house.place.ledger.begin() as change:
        change.model_pauses.pause(
            ModelPause(*model_of(house), house.clock.time, "It looked odd.", set_by)
        )


def resume(house: House) -> None:
    with house.place.ledger.begin() as change:
        change.model_pauses.resume(*model_of(house), WHO, "It is well again.", house.clock.time)


def deliver(house: House) -> None:
    """As if the archive had taken all that waits."""
    with house.place.ledger.begin() as change:
        for job in change.jobs.of_study(1):
            if job.state is JobState.WRITTEN:
                change.jobs.move(job, JobState.DELIVERED, house.clock.time, "Taken.")
        change.studies.close_if_finished(1, house.clock.time)


def test_an_answer_leaves_one_row_with_the_numbers_of_the_study(
    house: House, head_series: Callable[..., Any]
) -> None:
    assert observation_of(house) is None
    house.analyse()
    found = observation_of(house)
    assert found is not None
    assert (found.model_id, found.model_version) == model_of(house)
    assert found.outcome is Observed.ANSWERED
    assert found.protocol.startswith("MR, ")
    measures = found.measures
    assert [measures[f"spacing_{axis}_mm"] for axis in ("slice", "row", "column")] == [5, 5.5, 6]
    assert [measures[axis] for axis in ("slices", "rows", "columns")] == [24, 32, 32]
    (manifest,) = house.place.manifests.values()
    volumes = [measures[f"volume_ml.{label.name}"] for label in manifest.labels]
    assert all(volume > 0 for volume in volumes)
    brighter = (head_series("axial").voxels >= 400).sum()
    assert sum(volumes) == pytest.approx(brighter * 5 * 5.5 * 6 / 1000)
    assert measures["intensity_mean"] > 0
    assert measures["checks_failed"] == 0


def test_a_refusal_leaves_a_row_with_the_checks_that_failed(house: House) -> None:
    Prepare(house.place).step()
    house.infer.step()
    task = house.engine.tasks[-1]
    check = ("likeness", 0.1, 0.5, 1.0, False)
    ticket = Ticket(task.job_key, task.attempt)
    house.engine.outcomes.append(Finished(ticket, "It is no head.", (check,), 0.1))
    house.infer.collect(0)
    found = observation_of(house)
    assert found is not None
    assert found.outcome is Observed.REFUSED
    assert (found.measures["check.likeness"], found.measures["checks_failed"]) == (0.1, 1.0)
    assert not any(name.startswith("volume_ml") for name in found.measures)
    with house.place.ledger.read() as view:
        assert view.jobs.checks(1) == (check,)


def test_a_job_that_runs_twice_has_one_row(house: House) -> None:
    house.analyse()
    with house.place.ledger.begin() as change:
        change.jobs.move(change.jobs.get(1), JobState.QUEUED, 1.0, "Again.")
    house.clock.time += 60
    house.analyse()
    found = observation_of(house)
    assert found is not None
    assert found.at == house.clock.time
    with house.place.ledger.read() as view:
        assert sum(view.observations.counts(*model_of(house)).values()) == 1


def test_a_volume_that_cannot_be_measured_costs_no_result(house: House) -> None:
    assert Prepare(house.place).step()
    assert house.infer.step()
    ticket = house.answer()
    (house.place.spool.work / house.job.key / "volume.npy").unlink()
    house.engine.outcomes.append(Finished(ticket, "", (), 0.1))
    house.infer.collect(0)
    assert house.job.state is JobState.INFERRED
    found = observation_of(house)
    assert found is not None
    assert found.measures["spacing_slice_mm"] == 5
    assert "intensity_mean" not in found.measures


def test_a_paused_model_says_so_in_a_report_and_looks_at_the_study_later(house: House) -> None:
    pause(house)
    assert Prepare(house.place).step()
    assert house.job.state is JobState.REFUSED
    assert "is paused since" in house.job.reason
    assert "It looked odd" not in house.job.reason
    assert observation_of(house) is None
    assert Write(house.place).step()
    deliver(house)
    assert house.study.state is StudyState.DONE
    with house.place.ledger.begin() as change:
        # As long as it is paused, nothing is gained by trying again.
        assert retry_study(change, change.studies.get(1), house.clock.time) == 0
    assert Assemble(house.place).step()
    assert len(house.jobs) == 1
    resume(house)
    with house.place.ledger.begin() as change:
        assert retry_study(change, change.studies.get(1), house.clock.time) == 1
    assert Assemble(house.place).step()
    first, second = house.jobs
    assert (second.version, second.predecessor_id) == (2, first.id)
    house.analyse()
    assert observation_of(house, second.id) is not None
    assert Write(house.place).step()
    results = house.place.spool.results
    reports = [dcmread(results / job.key / "sr.dcm") for job in house.jobs]
    (named,) = reports[1].PredecessorDocumentsSequence
    (series,) = named.ReferencedSeriesSequence
    (before,) = series.ReferencedSOPSequence
    assert before.ReferencedSOPInstanceUID == reports[0].SOPInstanceUID
    deliver(house)
    with house.place.ledger.begin() as change:
        assert retry_study(change, change.studies.get(1), house.clock.time) == 0
    assert Assemble(house.place).step()
    assert len(house.jobs) == 2


def test_all_that_came_while_a_model_was_paused_is_retried_at_once(house: House) -> None:
    pause(house)
    Prepare(house.place).step()
    Write(house.place).step()
    with house.place.ledger.begin() as change:
        (held,) = change.model_pauses.list()
    deliver(house)
    resume(house)
    with house.place.ledger.begin() as change:
        assert retry_paused(change, held, house.clock.time) == [1]
        assert change.studies.get(1).state is StudyState.ASSEMBLING
    assert Assemble(house.place).step()
    house.analyse()
    assert Write(house.place).step()
    deliver(house)
    with house.place.ledger.begin() as change:
        assert retry_paused(change, held, house.clock.time) == []


def test_images_that_came_late_during_a_pause_bar_no_retry(house: House) -> None:
    house.set_rule(late_images=LateImages.NEVER, versions_max=1)
    pause(house)
    Prepare(house.place).step()
    Write(house.place).step()
    deliver(house)
    resume(house)
    house.clock.time += 100
    with house.place.ledger.begin() as change:
        # As a scout that comes late does: it is of the study, and not of what is analysed.
        change.studies._connection.execute(study.update().values(last_at=house.clock.time))
        assert retry_study(change, change.studies.get(1), house.clock.time) == 1
    assert Assemble(house.place).step()
    assert [job.version for job in house.jobs] == [1, 2]


def test_a_pause_reaches_a_job_whose_volume_is_ready(house: House) -> None:
    assert Prepare(house.place).step()
    pause(house, BY_RULE)
    assert house.infer.step()
    assert house.engine.tasks == []
    assert house.job.state is JobState.REFUSED
    assert "by the node's monitoring" in house.job.reason


def test_a_model_looks_at_nothing_while_one_that_it_builds_on_is_paused(house: House) -> None:
    (manifest,) = house.place.manifests.values()
    above = replace(manifest, upstream=(Pin("base", "2", "0" * 64),))
    house.place = replace(house.place, manifests=MappingProxyType({manifest.id: above}))
    with house.place.ledger.begin() as change:
        change.model_pauses.pause(ModelPause("base", "1", 5.0, "Old.", WHO))
        change.model_pauses.pause(ModelPause("base", "2", 5.0, "New.", WHO))
    assert Prepare(house.place).step()
    assert house.job.state is JobState.REFUSED
    assert f"Model 'base' 2, which '{manifest.id}' builds on, is paused" in house.job.reason


def test_a_pause_reaches_what_a_model_builds_on_by_way_of_another(house: House) -> None:
    (manifest,) = house.place.manifests.values()
    below = (Upstream("base", "", "", "2"), Upstream("middle", "", "", "1"))
    above = replace(manifest, upstream=(Pin("middle", "1", "0" * 64),), builds_on=below)
    house.place = replace(house.place, manifests=MappingProxyType({manifest.id: above}))
    with house.place.ledger.begin() as change:
        change.model_pauses.pause(ModelPause("base", "2", 5.0, "New.", WHO))
    assert Prepare(house.place).step()
    assert "Model 'base' 2, which" in house.job.reason


def _end_below_a_pause(house: House) -> ModelPause:
    """A study whose model builds on a paused one has come to rest."""
    (manifest,) = house.place.manifests.values()
    above = replace(manifest, upstream=(Pin("base", "2", "0" * 64),))
    house.place = replace(house.place, manifests=MappingProxyType({manifest.id: above}))
    found = ModelPause("base", "2", 5.0, "New.", WHO)
    with house.place.ledger.begin() as change:
        change.model_pauses.pause(found)
    Prepare(house.place).step()
    Write(house.place).step()
    deliver(house)
    return found


def test_resuming_a_model_retries_the_studies_of_those_that_build_on_it(house: House) -> None:
    held = _end_below_a_pause(house)
    with house.place.ledger.begin() as change:
        # Still paused: nothing is gained by trying again.
        assert retry_study(change, change.studies.get(1), house.clock.time) == 0
    assert Assemble(house.place).step()
    with house.place.ledger.begin() as change:
        change.model_pauses.resume("base", "2", WHO, "Well.", house.clock.time)
        other = replace(held, model_version="2.1")
        assert retry_paused(change, other, house.clock.time) == []
        assert retry_paused(change, held, house.clock.time) == [1]


def test_resuming_a_model_leaves_studies_alone_whose_images_are_gone(house: House) -> None:
    held = _end_below_a_pause(house)
    with house.place.ledger.begin() as change:
        change.model_pauses.resume("base", "2", WHO, "Well.", house.clock.time)
        change.keeping.mark_images(house.study.study_instance_uid, house.clock.time)
        assert retry_paused(change, held, house.clock.time) == []
    assert house.study.state is StudyState.DONE


def test_a_fault_while_measuring_costs_no_result(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(observing, "code", break_down)
    house.analyse()
    assert house.job.state is JobState.INFERRED
    found = observation_of(house)
    assert found is not None
    assert found.scanner == "unknown scanner"


def test_drift_that_was_noted_and_could_not_pause_is_noted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path / "data", StillClock())
    terms = replace(TERMS, reference=20, recent=20, on_drift=Consequence.PAUSE)
    seen = [*draw(np.random.default_rng(1), 20), *draw(np.random.default_rng(2), 20, {"m00": 9.0})]
    standing = of_model(
        Seen(
            *model_of(house),
            counts={},
            windows={GROUP: Windows(tuple(seen[:20]), 0, tuple(seen[20:]))},
        ),
        terms,
    )
    monkeypatch.setattr(watching, "read_standing", lambda *_: standing)
    watch = ModelWatch(house.place, terms)
    with monkeypatch.context() as broken:
        broken.setattr(ModelPauses, "pause", lambda *_: 1 / 0)
        watch.look()
    with house.place.ledger.read() as view:
        assert view.observations.drift_rows(*model_of(house)) == ()
    watch.look()
    with house.place.ledger.read() as view:
        assert [one.set_by for one in view.model_pauses.list()] == [BY_RULE]


def test_pausing_and_resuming_are_in_the_trail(house: House) -> None:
    pause(house)
    resume(house)
    with house.place.ledger.read() as view:
        rows = view.trail.of_event("model-pause")
        assert view.model_pauses.list() == ()
        assert view.model_pauses.last_resumed(*model_of(house)) == house.clock.time
    assert [(row.before, row.after) for row in rows] == [
        ("running", "paused"),
        ("paused", "running"),
    ]
    assert rows[0].detail["why"] == "It looked odd."
    assert "odd" not in rows[0].text


def fill(house: House, head_series: Callable[..., Any], count: int, **series: Any) -> None:
    """Take so many studies of a scanner through the node."""
    for number in range(count):
        house.receive(head_series("axial", seed=f"{number} {series}", **series).paths)
        house.assemble()
        house.analyse()


def test_a_scanner_that_changes_is_found_and_told_once(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    watch = ModelWatch(house.place, TERMS)
    fill(house, head_series, 11, size=(6, 16, 16), spacing_mm=(10.0, 9.5, 9.0))
    watch.look()
    with house.place.ledger.read() as view:
        standing = read_standing(view, *model_of(house), TERMS)
        assert (standing.state, view.trail.of_event("model-drift")) == (Drift.FEW, ())
    # Finer pixels: the same slices, so that scanner and protocol are the same.
    fill(house, head_series, 8, size=(6, 20, 20), spacing_mm=(10.0, 8.0, 7.5))
    watch.look()
    watch.look()
    with house.place.ledger.read() as view:
        standing = read_standing(view, *model_of(house), TERMS)
        (row,) = view.trail.of_event("model-drift")
    assert standing.state is Drift.DRIFT
    assert standing.pause is None
    drifted = {one.measure for one in standing.groups[0].found.shifts if one.state is Drift.DRIFT}
    assert {"rows", "columns", "spacing_row_mm", "spacing_column_mm"} <= drifted
    assert (row.before, row.after) == ("too few yet", "drift")
    assert standing.groups[0].scanner in row.text
    metrics = (house.place.spool.root / METRICS_FILE).read_text()
    labels = f'model="{model_of(house)[0]}"'
    assert any(
        line.startswith("secondread_model_drift{") and labels in line and line.endswith(" 2.0")
        for line in metrics.splitlines()
    )
    strict = replace(watch, terms=replace(TERMS, on_drift=Consequence.PAUSE))
    strict.look()
    with house.place.ledger.begin() as change:
        # It drifted before the operator asked for a pause: whoever did so knows it.
        assert change.model_pauses.list() == ()
        (found,) = change.observations.drift_rows(*model_of(house))
        change.observations.note_drift(replace(found, state=Drift.OK))
    strict.look()
    with house.place.ledger.read() as view:
        (paused,) = view.model_pauses.list()
    assert (paused.set_by, paused.reason) == (BY_RULE, row.text)


def test_rejected_results_pause_a_model_until_a_person_resumes_it(house: House) -> None:
    house.analyse()
    with house.place.ledger.begin() as change:
        for who in ("anna", "ben", "cleo"):
            change.feedbacks.add(Feedback(1, house.clock.time, Verdict.REJECT, who))
    watch = ModelWatch(house.place, TERMS)
    watch.look()
    with house.place.ledger.read() as view:
        assert view.model_pauses.list() == ()
    watch = replace(watch, terms=replace(TERMS, reject_minimum=1))
    watch.look()
    watch.look()
    with house.place.ledger.read() as view:
        (found,) = view.model_pauses.list()
        assert len(view.trail.of_event("model-pause")) == 1
    assert (found.set_by, found.reason) == (
        BY_RULE,
        "1 of the last 1 judged results were rejected.",
    )
    metrics = (house.place.spool.root / METRICS_FILE).read_text()
    assert 'verdict="reject"' in metrics
    house.clock.time += 60
    resume(house)
    watch.look()
    with house.place.ledger.read() as view:
        # What was rejected before is known to whoever resumed it.
        assert view.model_pauses.list() == ()
