"""A node in one process, driven stage by stage; what its engine answers is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from secondread.bundles.manifest import read_manifest
from secondread.domain.engine import Finished, Outcome, Slot, Task, Ticket
from secondread.domain.instance import Instance
from secondread.domain.job import Job
from secondread.domain.network import ModelReference, Rule, Urgency
from secondread.intake.examine import Announcement
from secondread.intake.reception import Limits, Reception, Sender
from secondread.intake.storing import ObjectStore, Stored
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.complete import Complete
from secondread.pipeline.infer import Infer
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.workplace import Workplace
from secondread.store import Ledger, Spool
from secondread.store.door import held_open
from secondread.store.durability import Durability
from tests.storing import store_arrivals

MODEL = Path(__file__).resolve().parent / "models" / "bright_head"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"


class StillClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.time


class HandEngine:
    """An engine whose outcomes the test writes by hand."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.outcomes: list[Outcome] = []

    def slots(self) -> Sequence[Slot]:
        """One slot, never busy."""
        return (Slot("hand", "cpu", "", False),)

    def submit(self, task: Task) -> Ticket:
        """Remember the task."""
        self.tasks.append(task)
        return Ticket(task.job_key, task.attempt)

    def collect(self, wait_s: float) -> Sequence[Outcome]:
        """Hand over what the test has written."""
        found, self.outcomes = self.outcomes, []
        return found

    def cancel(self, ticket: Ticket) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""


class House:
    """Ledger, spool and stages of one node, driven step by step."""

    def __init__(self, folder: Path, clock: StillClock) -> None:
        self.clock = clock
        manifest = read_manifest(MODEL)
        spool = Spool(folder)
        spool.prepare()
        self.place = Workplace(
            ledger=Ledger.open(folder),
            spool=spool,
            clock=clock,
            owner="pipeline:test",
            ae_title="SECONDREAD",
            uid_root="",
            device_serial="1",
            rules=(Rule(name="heads", model=manifest.id, destinations=("pacs",)),),
            models=MappingProxyType(
                {manifest.id: ModelReference(manifest.id, str(MODEL), "RESEARCH")}
            ),
            manifests=MappingProxyType({manifest.id: manifest}),
        )
        self.engine = HandEngine()
        self.infer = Infer(self.place, self.engine)
        self.complete = Complete(self.place)

    def receive(self, paths: Sequence[Path], sop_class: str = MR) -> None:
        """Store files as intake does."""
        spool, sender = self.place.spool, Sender("ct", "CT1", 5.0)
        limits = Limits(1 << 30, 1 << 30, 0)
        durability = Durability(spool.root)
        objects = ObjectStore(spool, durability, limits, self.clock, self._enter)
        for path in paths:
            content = path.read_bytes()
            start = 144 + int.from_bytes(content[140:144], "little")
            data = content[start:]
            uid = data[data.index(b"\x08\x00\x18\x00UI") + 8 :].split(b"\x08\x00\x20\x00")[0]
            announced = Announcement(sop_class, uid.rstrip(b"\0").decode(), EXPLICIT)
            reception = Reception(
                announced, sender, Urgency.MEDIUM, spool.new_incoming(), limits, durability.begin
            )
            reception.feed(memoryview(data))
            store_arrivals(objects, [reception.complete()])
        durability.close()

    def _enter(self, to_record: Callable[[Stored], Instance], stored: Sequence[Stored]) -> None:
        records = [to_record(one) for one in stored]
        with self.place.ledger.begin() as change:
            change.instances.add(records)
            change.studies.add_instances(records, lambda _: 5.0)

    def assemble(self) -> None:
        """Let the quiet time pass and plan."""
        self.clock.time += 10
        with held_open(self.place.spool.root):
            assert self.complete.step() == 1
        assert Assemble(self.place).step()

    def set_rule(self, **changes: Any) -> None:
        """Configure the rule anew, as a restart with another file does."""
        rules = tuple(replace(rule, **changes) for rule in self.place.rules)
        self.place = replace(self.place, rules=rules)
        self.infer = Infer(self.place, self.engine)
        self.complete = Complete(self.place)

    def analyse(self) -> None:
        """Take the job that is waiting through all stages but the last."""
        assert Prepare(self.place).step()
        assert self.infer.step()
        self.engine.outcomes.append(Finished(self.answer(), "", (), 0.1))
        assert self.infer.collect(0)

    def answer(self) -> Ticket:
        """Write the answer that the model would have given to the last task."""
        task = self.engine.tasks[-1]
        voxels = np.load(task.volume_path)
        labels = np.where(voxels >= 700, 2, np.where(voxels >= 400, 1, 0)).astype(np.uint8)
        np.save(task.labels_path, labels)
        return Ticket(task.job_key, task.attempt)

    @property
    def job(self) -> Any:
        """The only job."""
        (job,) = self.jobs
        return job

    @property
    def jobs(self) -> Sequence[Job]:
        """The jobs of the only study, oldest first."""
        with self.place.ledger.read() as view:
            return view.jobs.of_study(1)

    @property
    def study(self) -> Any:
        """The only study."""
        with self.place.ledger.read() as view:
            return view.studies.get(1)
