"""Patients in flight at once: in whatever order, nobody gets another's result.

The stages are those of the node, driven in one process in an order that a seed decides. A model
that thresholds stands in for the worker, because what it saw decides what it answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset, dcmread

from secondread.domain.engine import Finished, Task, Ticket
from secondread.domain.job import Job
from secondread.domain.states import JobState
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.write import Write
from secondread.results.reading.segmentation import read_segmentation
from secondread.store.door import held_open
from tests.house import House, StillClock
from tests.slices import decimal_strings, make_slice, store

pytestmark = pytest.mark.acceptance

SHAPE = (6, 12, 12)
TURNS_MAX = 5000
SPACING_MM = 10.0
BATCH = 10
"""How many interleavings go through one ledger, which so holds the patients of all of them."""
NAMES = (
    ("ISO_IR 100", "Müller^Jürgen^^Dr"),
    ("ISO_IR 192", "Θεοδωράκης^Μίκης"),
    ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("GB18030", "Zhang^XiaoDong=张^小东"),
    ("ISO_IR 144", "Люкceмбypг^Роза"),
)
# PS3.3 C.7.1.1, as far as scanners fill it in.
PATIENT_MODULE = (
    *(0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00100032, 0x00100040),
    *(0x00101000, 0x00101001, 0x00102160, 0x00104000),
)
CHARACTER_SET = 0x00080005


@dataclass(frozen=True)
class Patient:
    """Somebody with a head of their own."""

    number: int
    paths: tuple[Path, ...]
    labels: npt.NDArray[np.uint8]
    study_uid: str
    source: Dataset


def make_patient(number: int, folder: Path, chance: random.Random) -> Patient:
    """A series whose bright box, name and numbers nobody else has."""
    labels = np.zeros(SHAPE, np.uint8)
    low = [chance.randrange(0, size // 2) for size in SHAPE]
    high = [start + chance.randrange(2, size // 2) for start, size in zip(low, SHAPE, strict=True)]
    labels[tuple(map(slice, low, high))] = 1
    labels[tuple(low)] = 2
    voxels = np.choose(labels, (10, 500, 800)).astype(np.int16)
    character_set, name = NAMES[number % len(NAMES)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [
        store(
            make_slice(
                voxels[at],
                (0, 0, SPACING_MM * at),
                at + 1,
                SpecificCharacterSet=character_set.split("\\"),
                SOPInstanceUID=f"2.25.7{number:05}{at:02}",
                StudyInstanceUID=f"2.25.8{number:05}",
                SeriesInstanceUID=f"2.25.9{number:05}",
                FrameOfReferenceUID=f"2.25.6{number:05}",
                StudyDate=f"2024{1 + number % 12:02}{1 + number % 28:02}",
                StudyTime="101500",
                AccessionNumber=f"A{number}",
                StudyID=str(number),
                BodyPartExamined="HEAD",
                PixelSpacing=decimal_strings((SPACING_MM, SPACING_MM)),
                PatientName=name,
                PatientID=f" P {number}  ",
                IssuerOfPatientID=f"ward {number % 7}",
                PatientBirthDate=f"19{10 + number % 80}0102",
                PatientSex="FMO"[number % 3],
                OtherPatientNames=name,
                EthnicGroup=f"group {number}",
                PatientComments=f"{name.replace('^', ' ')} said {number}",
                ReferringPhysicianName=name,
                Manufacturer="Example",
            ),
            folder,
        )
        for at in range(SHAPE[0])
    ]
    source = dcmread(paths[0], stop_before_pixels=True)
    return Patient(number, tuple(paths), labels, str(source.StudyInstanceUID), source)


class Traffic:
    """Objects and steps of several patients, each next one by chance."""

    def __init__(self, house: House, patients: list[Patient], chance: random.Random) -> None:
        self._house, self._chance = house, chance
        self._queues = [list(patient.paths) for patient in patients]
        self._studies = {patient.study_uid for patient in patients}
        self._asked: list[Task] = []
        self.steps: list[str] = []

    def run(self) -> None:
        """Until every job is written."""
        for queue in self._queues:
            self._chance.shuffle(queue)
        turns = 0
        while any(self._queues) or not self._is_written():
            turns += 1
            assert turns < TURNS_MAX, "a job does not come to its end"
            choices = [self._receive] * (3 * any(self._queues)) + [
                self._complete,
                self._assemble,
                self._prepare,
                self._ask,
                self._answer,
                self._write,
            ]
            self._chance.choice(choices)()

    def _note(self, step: str, did: object) -> None:
        if did:
            self.steps.append(step)

    def _receive(self) -> None:
        queue = self._chance.choice([queue for queue in self._queues if queue])
        self._house.receive([queue.pop()])
        self._note("receive", True)

    def _complete(self) -> None:
        # Long enough for one that is whole, and at times for one that is not.
        if any(self._queues) and self._chance.random() < 0.9:
            return
        self._house.clock.time += 10
        with held_open(self._house.place.spool.root):
            self._note("complete", self._house.complete.step())

    def _assemble(self) -> None:
        self._note("assemble", Assemble(self._house.place).step())

    def _prepare(self) -> None:
        self._note("prepare", Prepare(self._house.place).step())

    def _ask(self) -> None:
        engine = self._house.engine
        before = len(engine.tasks)
        self._note("ask", self._house.infer.step())
        self._asked += engine.tasks[before:]

    def _answer(self) -> None:
        if not self._asked:
            return
        task = self._asked.pop(self._chance.randrange(len(self._asked)))
        voxels = np.load(self._volume_of(task))
        labels = np.where(voxels >= 700, 2, np.where(voxels >= 400, 1, 0)).astype(np.uint8)
        np.save(task.labels_path, labels)
        ticket = Ticket(task.job_key, task.attempt)
        self._house.engine.outcomes.append(Finished(ticket, "", (), 0.1))
        self._note("answer", self._house.infer.collect(0))

    def _volume_of(self, task: Task) -> str:
        return task.volume_path

    def _write(self) -> None:
        self._house.clock.time += 3
        self._note("write", Write(self._house.place).step())

    def _is_written(self) -> bool:
        jobs = dict(newest_jobs(self._house))
        return self._studies <= set(jobs) and all(
            jobs[uid].state is JobState.WRITTEN and jobs[uid].outcome == "analysed"
            for uid in self._studies
        )


class MixedUp(Traffic):
    """Traffic whose model sees, for everybody, the volume that was prepared first."""

    def _volume_of(self, task: Task) -> str:
        return self._house.engine.tasks[0].volume_path


def newest_jobs(house: House) -> Iterator[tuple[str, Job]]:
    """The last version of each study's job, by Study Instance UID."""
    with house.place.ledger.read() as view:
        for study in view.studies.list():
            if jobs := view.jobs.of_study(study.id):
                yield study.study_instance_uid, jobs[-1]


def raw(dataset: Dataset, tag: int) -> bytes | None:
    """The bytes of a value as they stand in the file; None where there is none."""
    return dataset.get_item(tag).value if tag in dataset else None


def check(house: House, patient: Patient) -> None:
    """The results are this patient's and nobody else's."""
    job = dict(newest_jobs(house))[patient.study_uid]
    folder = house.place.spool.results / job.key
    sources = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in patient.paths}
    own = own_results(house, patient)
    for path in sorted(folder.glob("*.dcm")):
        result = dcmread(path)
        assert str(result.StudyInstanceUID) == patient.study_uid
        for tag in (CHARACTER_SET, *PATIENT_MODULE):
            assert raw(result, tag) == raw(patient.source, tag), f"{path.name} {tag:08X}"
        assert references(result) <= sources | own
        assert references(result) & sources
    found = read_segmentation(folder / "seg.dcm")
    # Slices without a label are not in it.
    start = round(found.affine_lps[2, 3] / SPACING_MM)
    labels = np.zeros(SHAPE, np.uint8)
    labels[start : start + len(found.labels)] = found.labels
    assert np.array_equal(labels, patient.labels)


def references(dataset: Dataset) -> set[str]:
    """Every SOP Instance UID that an object refers to."""
    return {str(e.value) for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}


def own_results(house: House, patient: Patient) -> set[str]:
    """The UIDs of all results of a patient; a report names the one that it replaces."""
    with house.place.ledger.read() as view:
        (study,) = [
            one for one in view.studies.list() if one.study_instance_uid == patient.study_uid
        ]
        keys = [job.key for job in view.jobs.of_study(study.id)]
    return {
        str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        for key in keys
        for path in (house.place.spool.results / key).glob("*.dcm")
    }


def interleave(folder: Path, seeds: range, count: Callable[[random.Random], int]) -> set[str]:
    """Run the interleavings of these seeds, and check each; the orders of steps that occurred."""
    house = House(folder / "data", StillClock())
    seen = set()
    for seed in seeds:
        chance = random.Random(seed)
        patients = [
            make_patient(4 * seed + at, folder / str(seed), chance) for at in range(count(chance))
        ]
        traffic = Traffic(house, patients, chance)
        traffic.run()
        seen.add(" ".join(traffic.steps))
        for patient in patients:
            check(house, patient)
    house.place.ledger.close()
    return seen


def two_or_three(chance: random.Random) -> int:
    """How many patients are in flight."""
    return 2 if chance.random() < 0.8 else 3


def test_twenty_interleavings_mix_nobody_up(tmp_path: Path) -> None:
    seen = interleave(tmp_path, range(20), two_or_three)
    assert len(seen) == 20, "each was another order"


def test_a_volume_that_is_mixed_up_is_noticed(tmp_path: Path) -> None:
    house, chance = House(tmp_path / "data", StillClock()), random.Random(7)
    patients = [make_patient(at, tmp_path / "sent", chance) for at in range(2)]
    MixedUp(house, patients, chance).run()
    with pytest.raises(AssertionError):
        for patient in patients:
            check(house, patient)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("batch", range(500 // BATCH))
def test_five_hundred_interleavings_mix_nobody_up(batch: int, tmp_path: Path) -> None:
    interleave(tmp_path, range(1000 + batch * BATCH, 1000 + (batch + 1) * BATCH), two_or_three)
