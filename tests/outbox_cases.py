"""A ledger whose outbox is full of small objects, for what the courier's tests and bench send."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secondread.delivery.courier import Courier
from secondread.delivery.object_file import open_object
from secondread.domain.clock import Clock, SystemClock
from secondread.domain.destination import Destination
from secondread.domain.instance import Instance
from secondread.domain.job import PlannedJob
from secondread.domain.line import Line
from secondread.domain.result import OutboxItem, ResultObject
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.store import Ledger, Spool, Transaction
from tests.lying_pacs import LyingPacs
from tests.sender_peers import CT, write_object

LIVENESS_S = 30.0


@dataclass(frozen=True)
class Made:
    """The results of a job."""

    objects: int = 3
    sop_classes: Sequence[str] = (CT,)
    size: int = 1_000
    kind: str = "sr"


class Outbox:
    """Ledger and spool of a node that has nothing to do but to deliver."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.spool = Spool(folder)
        self.spool.prepare()
        self.ledger = Ledger.open(folder)
        self.destinations: dict[str, Destination] = {}
        self._jobs = 0
        self._couriers: list[Courier] = []

    def courier(self, *destinations: Destination) -> Courier:
        """Who delivers to these; ``destinations`` may be changed afterwards."""
        self.destinations = {one.name: one for one in destinations}
        made = Courier(
            self.ledger, self.spool, lambda: self.destinations, self.clock, "deliver:test"
        )
        self._couriers.append(made)
        return made

    def fill(self, *names: str, jobs: int = 1, **made: Any) -> list[str]:
        """Jobs with results (``Made``), for each of these destinations; their UIDs in order."""
        uids: list[str] = []
        with self.ledger.begin() as change:
            for _ in range(jobs):
                job_id = self.plan(change)
                results = self._write(job_id, Made(**made))
                for name in names:
                    change.outbox.add(job_id, name, results, self.clock.now())
                uids += [one.sop_instance_uid for one in results]
        return uids

    def add_files(self, name: str, paths: Sequence[Path], at_a_time: int) -> None:
        """Have these files sent to a destination, so many of them as the results of one job."""
        with self.ledger.begin() as change:
            for at in range(0, len(paths), at_a_time):
                results = []
                for path in paths[at : at + at_a_time]:
                    with open_object(path) as found:
                        kind = found.kind.sop_class_uid
                        results.append(ResultObject("sr", found.sop_instance_uid, kind, str(path)))
                change.outbox.add(self.plan(change), name, results, self.clock.now())

    def is_due(self) -> bool:
        """Whether anything waits to be sent."""
        with self.ledger.read() as view:
            return bool(view.lines.next_due())

    def plan(self, change: Transaction) -> int:
        """A study with a job that waits for what is to be delivered; the job's row id."""
        self._jobs += 1
        study, now = f"2.25.{self._jobs}", self.clock.now()
        seen = Instance(f"{study}.1", "1.1", study, f"{study}.2", "1.2", "x", 1, "a", "ct", now)
        change.instances.add([seen])
        change.studies.add_instances([seen], lambda _: 0.0)
        found = change.studies.find(study)
        change.studies.move(found, StudyState.ASSEMBLING, now, "Complete.")
        found = change.studies.find(study)
        change.studies.move(found, StudyState.ANALYSING, now, "Planned.")
        planned = PlannedJob("heads", "brain", "1", f"{study}.2", "digest", 0, "", ())
        job = change.jobs.add(found.id, planned, [], now)
        assert job is not None
        for state in (JobState.PREPARED, JobState.INFERRED, JobState.WRITTEN):
            change.jobs.move(change.jobs.get(job.id), state, now, "Moved.")
        return job.id

    def _write(self, job_id: int, made: Made) -> list[ResultObject]:
        folder = self.spool.results / str(job_id)
        folder.mkdir(parents=True)
        results = []
        for at in range(made.objects):
            kind = made.sop_classes[at % len(made.sop_classes)]
            uid, path = f"2.25.{job_id}.3.{at}", folder / f"{at}.dcm"
            write_object(path, uid, made.size, sop_class=kind, study=f"2.25.{job_id}")
            results.append(ResultObject(made.kind, uid, kind, self.spool.relative(path)))
        return results

    def items(self, name: str | None = None) -> list[OutboxItem]:
        """The outbox, in the order in which it was filled."""
        with self.ledger.read() as view:
            found = [item for at in range(self._jobs) for item in view.outbox.of_job(at + 1)]
        return [item for item in found if name in {None, item.destination}]

    def states(self, name: str | None = None) -> list[str]:
        """The states of the objects, in the order in which they were to be sent."""
        return [item.state.value for item in self.items(name)]

    def counts(self) -> Mapping[str, Mapping[DeliveryState, int]]:
        """How many objects there are by destination and state."""
        with self.ledger.read() as view:
            return view.lines.waiting()

    def wait_until(
        self,
        happened: Callable[[], bool],
        within_s: float = LIVENESS_S,
        look_every_s: float = 0.02,
    ) -> None:
        """Wait for something that must happen."""
        until = time.monotonic() + within_s
        while not happened():
            assert time.monotonic() < until, f"It did not happen: {self.counts()}"
            time.sleep(look_every_s)

    def close(self) -> None:
        """Let go of everything."""
        for courier in self._couriers:
            courier.close()
        self.ledger.close()


@contextmanager
def running(courier: Courier) -> Iterator[None]:
    """The courier at work in a thread of its own, as in the node."""
    stop = threading.Event()
    thread = threading.Thread(target=courier.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LIVENESS_S)
        assert not thread.is_alive()


def to(pacs: LyingPacs, **fields: object) -> Destination:
    """That PACS as a destination."""
    known = {
        "name": "pacs",
        "ae_title": pacs.ae_title,
        "host": pacs.host,
        "port": pacs.port,
        "calling_ae_title": "SECONDREAD",
        "timeout_s": 2.0,
        **fields,
    }
    return Destination(**known)  # type: ignore[arg-type]


def line_of(outbox: Outbox, name: str = "pacs") -> Line:
    """The line to a destination, as the ledger has it."""
    with outbox.ledger.read() as view:
        return view.lines.get(name)


def work_off(courier: Courier, name: str = "pacs", times: int = 100) -> int:
    """Steps until there is nothing to do; how many."""
    for count in range(times):
        if not courier.step(name):
            return count
    raise AssertionError("It does not come to an end.")
