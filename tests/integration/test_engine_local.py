"""The local engine with real worker processes: answers, refusals, crashes, hangs and lies.

Each of them once with bubblewrap and once without.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secondread.bundles.manifest import Manifest, read_manifest
from secondread.domain.engine import Failed, Finished, Lost, Outcome, Task, Upstream
from secondread.errors import InvalidPredictionError, ModelError
from secondread.inference.answer import (
    ANSWER_NAME,
    MAPS_NAME,
    PROBABILITIES_NAME,
    load_answer,
    load_labels,
    load_maps,
    load_probabilities,
)
from secondread.inference.engines.local import LocalEngine
from tests.containing import WAYS, contained_by, family, gone, worker_pid

MODEL = Path(__file__).resolve().parents[1] / "models" / "bright_head"
RICH = MODEL.parent / "rich_head"
SHAPE = (24, 32, 32)


@pytest.fixture(params=WAYS)
def engine(request: pytest.FixtureRequest) -> Iterator[LocalEngine]:
    """One slot on the CPU, with the model of the tests loaded or about to be."""
    with_one_slot = LocalEngine(1, "cpu", 1, contained_by(request.param))
    model = read_manifest(MODEL)
    with_one_slot.warm(model.id, str(model.folder), model.digest)
    yield with_one_slot
    with_one_slot.close()


@pytest.fixture
def make_task(tmp_path: Path) -> Callable[..., Task]:
    """``make_task(voxels, manifest)`` is a task on a volume in a folder of its own."""
    made = 0

    def make(voxels: Any = None, manifest: Manifest | None = None, **fields: Any) -> Task:
        nonlocal made
        made += 1
        model = manifest or read_manifest(MODEL)
        folder = tmp_path / f"job{made}"
        folder.mkdir()
        np.save(folder / "volume.npy", head() if voxels is None else voxels)
        task = Task(
            job_key=f"key{made}",
            attempt=1,
            model_id=model.id,
            model_folder=str(model.folder),
            model_digest=model.digest,
            volume_path=str(folder / "volume.npy"),
            labels_path=str(folder / "labels.npy"),
            affine_lps=tuple(map(tuple, np.diag([5.0, 5.0, 5.0, 1.0]).tolist())),
            labels=(1, 2),
            deadline_s=60.0,
        )
        return replace(task, **fields)

    return make


def head() -> Any:
    """A block of brain with a block of thalamus."""
    voxels = np.zeros(SHAPE, np.int16)
    voxels[4:20, 6:26, 6:26] = 500
    voxels[8:12, 10:14, 10:14] = 900
    return voxels


def outcome_of(engine: LocalEngine, wait_s: float = 90.0) -> Outcome:
    """The next outcome."""
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if outcomes := engine.collect(1.0):
            assert len(outcomes) == 1
            return outcomes[0]
    raise AssertionError("The engine never answered.")


def test_answer_comes_back_on_the_grid_it_went_in(
    engine: LocalEngine, make_task: Callable[..., Task]
) -> None:
    task = make_task()
    ticket = engine.submit(task)
    assert [slot.busy for slot in engine.slots()] == [True]
    outcome = outcome_of(engine)
    assert isinstance(outcome, Finished)
    assert (outcome.ticket, outcome.refusal) == (ticket, "")
    labels = load_labels(Path(task.labels_path), SHAPE, task.labels)
    expected = np.where(head() >= 700, 2, np.where(head() >= 400, 1, 0))
    assert np.array_equal(labels, expected)
    assert [(slot.busy, slot.warm_model) for slot in engine.slots()] == [(False, "bright_head")]


def test_everything_that_a_model_declares_comes_back(
    engine: LocalEngine, make_task: Callable[..., Task]
) -> None:
    manifest = read_manifest(RICH)
    task = make_task(manifest=manifest, declared=manifest.declared)
    engine.submit(task)
    assert isinstance(outcome_of(engine), Finished)
    folder = Path(task.labels_path).parent
    labels = load_labels(folder / "labels.npy", SHAPE, task.labels)
    probabilities = load_probabilities(folder / PROBABILITIES_NAME, SHAPE, 2)
    assert probabilities is not None
    assert (probabilities[1] == 255)[labels == 2].all()
    maps = load_maps(folder / MAPS_NAME, SHAPE, manifest.declared.maps)
    assert 0 < maps["smooth"].max() <= 900
    answer = load_answer(folder / ANSWER_NAME, manifest.output, SHAPE)
    assert [number.value for number in answer.numbers] == [1.0, 20.0]
    assert [finding.value for finding in answer.findings] == ["present"]
    (place,) = answer.places
    (middle,) = place.points
    assert labels[tuple(map(int, middle))] == 2


def test_a_model_runs_after_those_that_it_builds_on(
    engine: LocalEngine, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    first = read_manifest(MODEL)
    folder = tmp_path / "second"
    folder.mkdir()
    text = (MODEL / "model.toml").read_text(encoding="utf-8").replace("bright_head", "second")
    pin = f'[[upstream]]\nid = "{first.id}"\nversion = "1.0.0"\nsha256 = "{first.digest}"\n'
    (folder / "model.toml").write_text(f"{text}\n{pin}", encoding="utf-8")
    # A worker may read that package too, even by way of a link.
    (tmp_path / "link").symlink_to(MODEL)
    upstream = (Upstream(first.id, str(tmp_path / "link"), first.digest),)
    engine.submit(make_task(manifest=read_manifest(folder), upstream=upstream))
    outcome = outcome_of(engine)
    assert isinstance(outcome, Finished), outcome
    names = [name for name, *_ in outcome.checks]
    assert names == ["bright_head: spread of values", "spread of values"]
    engine.submit(make_task(manifest=read_manifest(folder)))
    outcome = outcome_of(engine)
    assert isinstance(outcome, Failed)
    assert "'second' builds on 'bright_head'" in outcome.reason


def test_a_model_without_labels_answers_the_rest(
    engine: LocalEngine, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    text = (RICH / "model.toml").read_text(encoding="utf-8")
    kept = text[: text.index("[output]")]
    tables = text[text.index("[[output.maps]]") : text.index("[[labels]]")]
    for kind in ("structures", "numbers", "findings", "places"):
        kept = re.sub(rf"\[\[runtime\.options\.{kind}]]\n(.+\n)+", "", kept)
    (folder / "model.toml").write_text(kept + tables, encoding="utf-8")
    manifest = read_manifest(folder)
    assert manifest.labels == ()
    task = make_task(manifest=manifest, declared=manifest.declared, labels=())
    engine.submit(task)
    assert isinstance(outcome_of(engine), Finished)
    assert not load_labels(Path(task.labels_path), SHAPE, ()).any()
    path = Path(task.labels_path).with_name(MAPS_NAME)
    assert load_maps(path, SHAPE, ("smooth",))["smooth"].any()


def test_a_refusal_leaves_nothing_behind(
    engine: LocalEngine, make_task: Callable[..., Task]
) -> None:
    manifest = read_manifest(RICH)
    task = make_task(np.full(SHAPE, 7, np.int16), manifest, declared=manifest.declared)
    engine.submit(task)
    outcome = outcome_of(engine)
    assert isinstance(outcome, Finished) and outcome.refusal
    assert [path.name for path in Path(task.labels_path).parent.iterdir()] == ["volume.npy"]


def test_refusal_is_an_answer(engine: LocalEngine, make_task: Callable[..., Task]) -> None:
    task = make_task(np.full(SHAPE, 7, np.int16))
    engine.submit(task)
    outcome = outcome_of(engine)
    assert isinstance(outcome, Finished)
    assert "same value" in outcome.refusal
    assert not Path(task.labels_path).exists()


def test_no_second_task_in_a_busy_slot(engine: LocalEngine, make_task: Callable[..., Task]) -> None:
    engine.submit(make_task())
    with pytest.raises(ModelError, match="busy"):
        engine.submit(make_task())


def test_killed_worker_is_a_loss_and_is_replaced(
    engine: LocalEngine, make_task: Callable[..., Task]
) -> None:
    os.kill(worker_pid(engine), signal.SIGSTOP)
    first = engine.submit(make_task())
    os.kill(worker_pid(engine), signal.SIGKILL)
    outcome = outcome_of(engine)
    assert isinstance(outcome, Lost)
    assert outcome.ticket == first
    engine.submit(make_task())
    assert isinstance(outcome_of(engine), Finished)


def test_hung_model_is_killed_at_its_deadline(
    engine: LocalEngine, make_task: Callable[..., Task]
) -> None:
    hung = worker_pid(engine)
    os.kill(hung, signal.SIGSTOP)
    engine.submit(make_task(deadline_s=0.5))
    outcome = outcome_of(engine)
    assert isinstance(outcome, Failed)
    assert "deadline of 0.5 s" in outcome.reason
    assert gone([hung])
    engine.submit(make_task())
    assert isinstance(outcome_of(engine), Finished)


def test_cancelled_task_is_never_heard_of(
    engine: LocalEngine, make_task: Callable[..., Task]
) -> None:
    os.kill(worker_pid(engine), signal.SIGSTOP)
    engine.cancel(engine.submit(make_task()))
    later = make_task()
    ticket = engine.submit(later)
    assert outcome_of(engine).ticket == ticket


@pytest.mark.parametrize("spoiled", ["weights.bin", "model.toml"])
def test_changed_byte_is_a_refusal_to_run(
    spoiled: str, engine: LocalEngine, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    (folder / "weights.bin").write_bytes(b"weights")
    text = (folder / "model.toml").read_text()
    digest = "9ce0f2c5ae0d2ea2bb32b1a8ed4ba6b4d7c7b3d0e0a1f2e3d4c5b6a798877665"
    (folder / "model.toml").write_text(
        text.replace("[files]", f'[files]\n"weights.bin" = "{digest}"')
    )
    manifest = read_manifest(folder)
    with (folder / spoiled).open("ab") as file:
        file.write(b"\n")
    engine.submit(make_task(manifest=manifest))
    outcome = outcome_of(engine)
    assert isinstance(outcome, Failed)
    assert outcome.audit_code == "manifest"
    assert "changed" in outcome.reason


def test_volume_that_is_not_there_is_refused_with_a_sentence(
    engine: LocalEngine, make_task: Callable[..., Task]
) -> None:
    with pytest.raises(ModelError, match="prepared volume cannot be read"):
        engine.submit(make_task(volume_path="/no/such/volume.npy"))
    engine.submit(make_task())
    assert isinstance(outcome_of(engine), Finished)


def test_worker_sees_an_emptied_environment_and_no_name_of_a_job(
    monkeypatch: pytest.MonkeyPatch, engine: LocalEngine, make_task: Callable[..., Task]
) -> None:
    monkeypatch.setenv("PATIENT_OF_THE_DAY", "Doe^Jane")
    task = make_task()
    engine.submit(task)
    assert isinstance(outcome_of(engine), Finished)
    process = Path(f"/proc/{worker_pid(engine)}")
    seen = (process / "environ").read_bytes()
    assert b"PATIENT" not in seen
    assert b"PATH=/usr/bin:/bin" in seen
    folder = str(Path(task.volume_path).parent)
    assert folder not in (process / "cmdline").read_text()
    open_files = [str(path.readlink()) for path in (process / "fd").iterdir()]
    assert not any(name.startswith(folder) for name in open_files)


def test_a_worker_runs_one_model_and_no_other(
    engine: LocalEngine, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    engine.submit(make_task())
    assert isinstance(outcome_of(engine), Finished)
    first = worker_pid(engine)
    folder = tmp_path / "other"
    shutil.copytree(MODEL, folder)
    path = folder / "model.toml"
    path.write_text(path.read_text().replace('"bright_head"', '"other_head"'))
    engine.submit(make_task(manifest=read_manifest(folder)))
    assert isinstance(outcome_of(engine), Finished)
    assert gone([first])
    assert [slot.warm_model for slot in engine.slots()] == ["other_head"]


def test_a_model_behind_a_link_is_found(
    engine: LocalEngine, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(MODEL)
    engine.submit(make_task(model_folder=str(tmp_path / "link")))
    assert isinstance(outcome_of(engine), Finished)


def test_worker_ends_with_its_engine(engine: LocalEngine) -> None:
    pids = [worker_pid(engine)]
    worker = engine._places[0].worker
    assert worker is not None
    pids += family(worker.process.pid)
    worker._channel.close()
    worker.process.wait(timeout=60)
    assert gone(pids)
    engine._places[0].worker = None


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (np.zeros((3, 3, 3), np.uint8), "shape"),
        (np.zeros(SHAPE, np.float32), "float32"),
        (np.full(SHAPE, 3, np.uint8), "does not declare: \\[3\\]"),
        (np.array([{}], dtype=object), "no readable"),
        (None, "no readable"),
    ],
    ids=["wrong shape", "wrong type", "undeclared label", "pickle", "nothing"],
)
def test_lying_answer_is_refused(answer: Any, match: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.npy"
    if answer is not None:
        np.save(path, answer, allow_pickle=True)
    with pytest.raises(InvalidPredictionError, match=match):
        load_labels(path, SHAPE, labels_of(2))


def labels_of(count: int) -> Sequence[int]:
    """Labels 1 to ``count``."""
    return tuple(range(1, count + 1))
