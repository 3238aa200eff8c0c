"""A data folder with studies in it that may go or not: real files, a real ledger, real intake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from secondread.domain.job import Job, PlannedJob
from secondread.domain.network import Urgency
from secondread.domain.result import ResultObject
from secondread.domain.retention import DAY_S, Retention, SentIsSafe
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.intake.examine import Announcement
from secondread.intake.reception import Limits, Reception, Sender
from secondread.intake.registrar import Registrar
from secondread.intake.storing import ObjectStore, Outcome
from secondread.pipeline.purge import Purge
from secondread.pipeline.purge_quarantine import QuarantinePurge
from secondread.store import Ledger, Spool
from secondread.store.durability import Durability
from secondread.store.outbox import Stored
from secondread.store.studies import Waits
from secondread.store.versions import Terms
from tests.acceptance.wire import MR, MrObject
from tests.storing import store_arrivals

EXPLICIT = "1.2.840.10008.1.2.1"
SEG, REPORT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"
ROOT = "1.2.826.0.1.3680043.10.511.77"
START = 1_000_000.0
LIMITS = Limits(1 << 30, 1 << 30, 0)


def nobody(_: str) -> bool:
    """Every destination has to prove what it has."""
    return False


class MovedClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.time


def study_uid(number: int) -> str:
    """The Study Instance UID of a study of these tests."""
    return f"{ROOT}.{number}"


def image(study: int, number: int, fill: bytes = b"\x5a\xa5") -> MrObject:
    """One image; the same study and number give the same SOP Instance UID."""
    return MrObject(f"{study_uid(study)}.1.{number}", study_uid(study), fill=fill)


class KeptFiles:
    """A data folder, the part of intake that stores, and the part of the pipeline that removes."""

    def __init__(self, folder: Path) -> None:
        self.clock = MovedClock()
        self.spool = Spool(folder)
        self.spool.prepare()
        self.ledger = Ledger.open(folder)
        self.durability = Durability(folder)
        waits = Waits(lambda _: 5.0, lambda _: 5.0, lambda _: 60.0)
        self.registrar = Registrar(self.ledger, waits, lambda _: None)
        self.registrar.start()
        self.objects = ObjectStore(
            self.spool, self.durability, LIMITS, self.clock, self.registrar.enter
        )

    def close(self) -> None:
        """End the thread, and let the ledger go."""
        self.registrar.stop()
        self.ledger.close()
        self.durability.close()

    def store(self, *images: MrObject) -> Sequence[Outcome]:
        """Store images as intake does, and wait for their rows."""
        outcomes = self.store_only(*images)
        assert self.registrar.settle(10)
        return outcomes

    def store_only(self, *images: MrObject) -> Sequence[Outcome]:
        """Store images; their rows come some time."""
        arrivals = []
        for one in images:
            reception = Reception(
                Announcement(MR, one.uid, EXPLICIT),
                Sender("ct", "CT1", 5.0),
                Urgency.MEDIUM,
                self.spool.new_incoming(),
                LIMITS,
                self.durability.begin,
            )
            reception.feed(memoryview(one.encode()))
            arrivals.append(reception.complete())
        return store_arrivals(self.objects, arrivals)

    def study_id(self, number: int) -> int:
        """The row of a study."""
        with self.ledger.read() as view:
            return view.studies.find(study_uid(number)).id

    def end(self, study: int, state: StudyState = StudyState.DONE) -> None:
        """Take a study from receiving to its end."""
        now = self.clock.now()
        with self.ledger.begin() as change:
            found = change.studies.find(study_uid(study))
            for after in (StudyState.ASSEMBLING, StudyState.ANALYSING, state):
                change.studies.move(change.studies.get(found.id), after, now, "Moved.")

    def analyse(
        self,
        study: int,
        destinations: Sequence[str] = ("pacs",),
        *,
        shadow: bool = False,
        rule: str = "heads",
    ) -> Job:
        """A job of a study, with a segmentation and a report on disk, in the outbox."""
        now = self.clock.now()
        planned = PlannedJob(rule, "brain", "1", f"{study_uid(study)}.1", f"d{study}", 0, "", ())
        with self.ledger.begin() as change:
            found = change.studies.find(study_uid(study))
            job = change.jobs.add(found.id, planned, [], now, Terms(shadow=shadow))
            assert job is not None
            for state in (JobState.PREPARED, JobState.INFERRED, JobState.WRITTEN):
                change.jobs.move(change.jobs.get(job.id), state, now, "Moved.")
            self.spool.new_result_folder(job.key)
            made = []
            for name, uid in (("seg", SEG), ("sr", REPORT)):
                path = self.spool.results / job.key / f"{name}.dcm"
                path.write_bytes(b"x" * 1000)
                named = self.spool.relative(path)
                made.append(ResultObject(name, f"{ROOT}.9.{job.id}.{len(made)}", uid, named))
            for destination in () if shadow else destinations:
                change.outbox.add(job.id, destination, made, now)
        return job

    def deliver(self, job: Job, state: DeliveryState = DeliveryState.SAFE) -> None:
        """Bring every object of a job to a state, and the job to its end."""
        now = self.clock.now()
        with self.ledger.begin() as change:
            for item in change.outbox.of_job(job.id):
                change.outbox.keep_sent(item, Stored(0, "", now), now)
            for item in change.outbox.of_job(job.id):
                if state is DeliveryState.SAFE:
                    change.outbox.keep_safe(item, "commitment", now, "Committed.")
            change.jobs.move(change.jobs.get(job.id), JobState.DELIVERED, now, "Delivered.")

    def finished(self, study: int, images: int = 3) -> Job:
        """A study whose results are safe."""
        self.store(*(image(study, number) for number in range(images)))
        job = self.analyse(study)
        self.deliver(job)
        self.end(study)
        return job

    def pass_days(self, days: float) -> None:
        """Let time pass."""
        self.clock.time += days * DAY_S

    def purge(self, terms: Retention | None = None, is_safe: SentIsSafe = nobody) -> Purge:
        """What removes files."""
        return Purge(self.ledger, self.spool, self.clock, terms or Retention(), is_safe)

    def quarantine(self, terms: Retention | None = None) -> QuarantinePurge:
        """What removes files from the quarantines."""
        return QuarantinePurge(self.ledger, self.spool, self.clock, terms or Retention(), nobody)

    def images_on_disk(self, study: int, images: int = 3) -> int:
        """How many of the first images of a study have a file."""
        uids = (image(study, number).uid for number in range(images))
        return sum(self.spool.object_path(uid).is_file() for uid in uids)

    def results_on_disk(self, job: Job) -> set[str]:
        """Names of the files of a job."""
        return {path.name for path in (self.spool.results / job.key).rglob("*.dcm")}

    def purged_images(self, study: int) -> int:
        """How many images of a study are marked as removed."""
        with self.ledger.read() as view:
            return len(view.keeping.purged_of(study_uid(study)))

    def purge_rows(self) -> list[str]:
        """What the trail says about removed files."""
        with self.ledger.read() as view:
            return [row.text for row in view.trail.of_event("purge")]
