"""A model that means harm is contained each time, named in the trail, and the node goes on.

Each misdeed goes the whole way: a prepared job, the engine, a contained process, the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from secondread.bundles.manifest import Manifest, read_manifest
from secondread.domain.states import JobState
from secondread.inference.answer import ANSWER_NAME, MAPS_NAME, PROBABILITIES_NAME
from secondread.inference.containment.survey import Strength
from secondread.inference.engines.local import LocalEngine
from secondread.pipeline.infer import LABELS_NAME, Infer
from secondread.pipeline.prepare import Prepare
from tests.containing import WAYS, contained_by, family, gone
from tests.house import House, StillClock

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

HOSTILE = Path(__file__).resolve().parents[1] / "models" / "hostile"

# misdeed: the audit codes with bubblewrap and without it
FORBIDDEN = ("forbidden-act", "forbidden-act")
INVALID = ("invalid-prediction", "invalid-prediction")
LOST = ("worker-lost", "worker-lost")
NAMED = {
    "connect": FORBIDDEN,
    "resolve": FORBIDDEN,
    "send_datagram": FORBIDDEN,
    "listen": FORBIDDEN,
    "open_abstract_socket": FORBIDDEN,
    "fork": FORBIDDEN,
    "fork_twice": FORBIDDEN,
    "start_program": FORBIDDEN,
    "become_program": FORBIDDEN,
    "kill_parent": FORBIDDEN,
    # In a file tree of one's own there is no such file; in the machine's it may not be opened.
    "write_ten_gigabytes": ("limit-exceeded", "forbidden-act"),
    "fill_temporary_folder": ("limit-exceeded", "forbidden-act"),
    "take_memory_at_once": ("limit-exceeded", "limit-exceeded"),
    "take_memory_bit_by_bit": ("limit-exceeded", "limit-exceeded"),
    "sleep": ("deadline-exceeded", "deadline-exceeded"),
    "spin_and_ignore_signals": ("deadline-exceeded", "deadline-exceeded"),
    "say_garbage": INVALID,
    "say_what_is_too_deep": INVALID,
    "say_without_end": INVALID,
    "answer_for_another": INVALID,
    "answer_with_nan": INVALID,
    "labels_of_nan": INVALID,
    "labels_of_another_type": INVALID,
    "labels_of_another_shape": INVALID,
    "labels_without_end": INVALID,
    "labels_not_declared": INVALID,
    "refuse_and_answer": INVALID,
    "probabilities_of_another_shape": INVALID,
    "probabilities_of_another_type": INVALID,
    "probabilities_without_end": INVALID,
    "probabilities_that_are_none": INVALID,
    "map_of_infinity": INVALID,
    "map_of_infinity_past_the_check": INVALID,
    "map_of_another_shape": INVALID,
    "map_not_declared": INVALID,
    "map_that_is_none": INVALID,
    "number_not_declared": INVALID,
    "number_of_nan": INVALID,
    "number_twice": INVALID,
    "finding_not_declared": INVALID,
    "finding_of_another_value": INVALID,
    "finding_more_than_certain": INVALID,
    "findings_without_end": INVALID,
    "place_elsewhere": INVALID,
    "places_without_end": INVALID,
    "crash": LOST,
    "leave": LOST,
}


@dataclass
class Ward:
    """A node with one job and an engine that starts hostile workers."""

    house: House
    engine: LocalEngine
    folder: Path
    way: int

    def model(self, misdeed: str, target: str = "/", deadline_s: float = 30) -> Manifest:
        """A package that does one misdeed."""
        folder = self.folder / misdeed
        folder.mkdir()
        text = (HOSTILE / "model.toml").read_text()
        for old, new in (
            ('misdeed = "none"', f'misdeed = "{misdeed}"'),
            ('target = "/"', f'target = "{target}"'),
            ("deadline_s = 30", f"deadline_s = {deadline_s}"),
        ):
            assert old in text
            text = text.replace(old, new)
        (folder / "model.toml").write_text(text)
        return read_manifest(folder)

    def run(self, manifest: Manifest) -> tuple[Any, list[int]]:
        """The job after a model has had it, and the processes of the worker that ran it."""
        place = replace(self.house.place, manifests=MappingProxyType({manifest.id: manifest}))
        infer = Infer(place, self.engine)
        pids: list[int] = []
        until = time.monotonic() + 60
        while self.house.job.state is JobState.PREPARED:
            assert time.monotonic() < until
            infer.step()
            worker = self.engine._places[0].worker
            if worker is not None:
                pids += family(worker.process.pid)
            infer.collect(0.2)
        return self.house.job, pids

    @property
    def work(self) -> Path:
        """The job's folder."""
        return self.house.place.spool.work / self.house.job.key

    def codes(self) -> list[tuple[str, str]]:
        """(code, sentence) of each failure in the trail."""
        with self.house.place.ledger.read() as view:
            rows = view.trail.of_study(1)
        return [(row.detail["code"], row.text) for row in rows if "code" in (row.detail or {})]


@pytest.fixture(scope="module", params=WAYS)
def engine(request: pytest.FixtureRequest) -> Iterator[LocalEngine]:
    """One slot for hostile models, which all of these tests use one after another."""
    containment = contained_by(request.param)
    program = (str(HOSTILE / "worker.py"),)
    with_one_slot = LocalEngine(1, "cpu", 1, containment, program)
    yield with_one_slot
    with_one_slot.close()


@pytest.fixture
def ward(engine: LocalEngine, tmp_path: Path, head_series: Callable[..., Any]) -> Ward:
    """One study, prepared."""
    house = House(tmp_path / "data", StillClock())
    house.receive(head_series("axial").paths)
    house.assemble()
    assert Prepare(house.place).step()
    complete = engine._containment.strength is Strength.COMPLETE
    return Ward(house, engine, tmp_path, 0 if complete else 1)


def test_a_model_that_means_no_harm(ward: Ward) -> None:
    job, _ = ward.run(ward.model("none"))
    assert job.state is JobState.INFERRED
    assert ward.codes() == []
    names = {path.name for path in ward.work.iterdir()}
    assert {LABELS_NAME, PROBABILITIES_NAME, MAPS_NAME, ANSWER_NAME} <= names
    assert not any(name.endswith(".partial") for name in names)


@pytest.mark.parametrize("misdeed", NAMED)
def test_harm_is_contained_and_named(misdeed: str, ward: Ward) -> None:
    before = {path.name for path in ward.work.iterdir()}
    volume = (ward.work / "volume.npy").read_bytes()
    deadline_s = 4 if misdeed in {"sleep", "spin_and_ignore_signals"} else 30
    job, pids = ward.run(ward.model(misdeed, deadline_s=deadline_s))
    assert job.state is JobState.FAILED
    ((code, sentence),) = ward.codes()
    assert code == NAMED[misdeed][ward.way]
    assert sentence.endswith(".") and sentence == job.reason

    # Nothing is left of it, and the same slot goes on.
    assert {path.name for path in ward.work.iterdir()} == before
    assert (ward.work / "volume.npy").read_bytes() == volume
    for place in (Path("/tmp"), Path("/dev/shm")):
        assert not list(place.glob("hostile-*"))
    with ward.house.place.ledger.begin() as change:
        change.jobs.move(job, JobState.QUEUED, ward.house.clock.now(), "Once more.")
    assert Prepare(ward.house.place).step()
    job, _ = ward.run(ward.model("none"))
    assert job.state is JobState.INFERRED
    assert gone(pids)


def test_a_second_answer_ends_the_worker(ward: Ward) -> None:
    """The first may have been taken before the second comes; no more than that can be had."""
    model = ward.model("answer_twice")
    job, pids = ward.run(model)
    assert job.state is JobState.INFERRED or ward.codes()[0][0] == "invalid-prediction"
    until = time.monotonic() + 20
    while not gone(pids, 0.1) and time.monotonic() < until:
        assert ward.engine.collect(0.1) == []
    assert gone(pids)


@pytest.mark.parametrize("place", ["ledger.sqlite", "work", "secret"])
def test_no_file_of_the_node_can_be_read(place: str, ward: Ward) -> None:
    root = ward.house.place.spool.root
    (ward.house.place.spool.work / "another").mkdir()
    (root / "secret").write_bytes(b"secret")
    misdeed = "list_folder" if place == "work" else "read_file"
    job, _ = ward.run(ward.model(misdeed, str(root / place)))
    assert job.state is JobState.FAILED
    ((code, sentence),) = ward.codes()
    assert code == ("model", "forbidden-act")[ward.way]
    assert ("FileNotFoundError", "PermissionError")[ward.way] in sentence


def test_no_other_process_can_be_seen(ward: Ward) -> None:
    job, _ = ward.run(ward.model("read_processes"))
    if ward.way:
        assert job.state is JobState.FAILED
        assert [code for code, _ in ward.codes()] == ["forbidden-act"]
    else:
        assert job.reason == "Seen: cpuinfo"


def test_environment_and_arguments_tell_nothing(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATIENT_OF_THE_DAY", "Doe^Jane")
    job, _ = ward.run(ward.model("read_environment"))
    assert job.state is JobState.REFUSED
    assert "OMP_NUM_THREADS" in job.reason
    for hidden in ("PATIENT", str(ward.work), job.key):
        assert hidden not in job.reason


def test_the_volume_cannot_be_changed(ward: Ward) -> None:
    volume = (ward.work / "volume.npy").read_bytes()
    job, _ = ward.run(ward.model("write_into_everything"))
    assert job.state is JobState.INFERRED
    assert (ward.work / "volume.npy").read_bytes() == volume
    assert (ward.work / LABELS_NAME).stat().st_size < 2 * len(volume)


def test_a_flood_of_words_is_cut_off(ward: Ward, capfd: pytest.CaptureFixture[str]) -> None:
    job, _ = ward.run(ward.model("print_megabytes"))
    assert job.state is JobState.INFERRED
    # The thread that reads them is behind the answer.
    said, until = "", time.monotonic() + 10
    while "the rest is dropped" not in said and time.monotonic() < until:
        time.sleep(0.1)
        said += "".join(capfd.readouterr())
    assert "the rest is dropped" in said
    assert len(said) < 200_000
