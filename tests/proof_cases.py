"""A node with results in its outbox, and a prover that is driven by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.uid import MRImageStorage

from secondread.delivery.address import Address
from secondread.delivery.object_file import kinds_of
from secondread.delivery.prover import Prover
from secondread.delivery.sender import Sender
from secondread.delivery.settling import settle
from secondread.domain.destination import Destination, ProofTerms
from secondread.domain.instance import Instance
from secondread.domain.job import Job, PlannedJob
from secondread.domain.result import OutboxItem, ResultObject
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.domain.study import Study
from secondread.store import Ledger, Spool
from secondread.store.outbox import Stored
from tests.lying_pacs import LyingPacs
from tests.sender_peers import write_object
from tests.service_cases import Clock

NODE = "SECONDREAD"
READY, SENT, SAFE, DEAD = (
    DeliveryState.READY,
    DeliveryState.SENT,
    DeliveryState.SAFE,
    DeliveryState.DEAD,
)


@dataclass
class Node:
    """A ledger, files, destinations, a clock that the test moves, and the prover."""

    folder: Path
    ledger: Ledger
    spool: Spool
    clock: Clock = field(default_factory=Clock)
    places: dict[str, Destination] = field(default_factory=dict)
    jobs: int = 0

    def __post_init__(self) -> None:
        self.prover = self.new_prover()

    def new_prover(self) -> Prover:
        """A prover that remembers nothing, as after a restart."""
        return Prover(self.ledger, self.spool, lambda: self.places, self.clock)

    def add_pacs(self, port: int, name: str = "pacs", **terms: Any) -> Destination:
        """A DICOM destination at a loopback port."""
        ae_title = terms.pop("ae_title", "PACS")
        place = Destination(
            name=name,
            ae_title=ae_title,
            host="127.0.0.1",
            port=port,
            calling_ae_title=NODE,
            timeout_s=terms.pop("timeout_s", 10.0),
            terms=ProofTerms(**{"wait_s": 5.0, **terms}),
        )
        self.places[name] = place
        return place

    def add_job(self, paths: Sequence[Path], *places: str) -> Job:
        """A job whose results, these files, are to go to these destinations."""
        self.jobs += 1
        n = self.jobs
        objects = []
        for path in paths:
            kind = kinds_of([path])[0]
            uid = path.stem
            objects.append(
                ResultObject("sr", uid, kind.sop_class_uid, str(path.relative_to(self.folder)))
            )
        with self.ledger.begin() as change:
            seen = Instance(
                f"2.25.5{n}", "1.1", f"2.25.1{n}", "2.25.2", "1.2", "x", 1, "a", "ct", 1.0
            )
            change.instances.add([seen])
            change.studies.add_instances([seen], lambda _: 5.0)
            study = change.studies.find(f"2.25.1{n}")
            for after in (StudyState.ASSEMBLING, StudyState.ANALYSING):
                change.studies.move(change.studies.get(study.id), after, 1.0, "Moved.")
            planned = PlannedJob("heads", "brain", "1", "2.25.2", f"digest{n}", 0, "", ())
            job = change.jobs.add(study.id, planned, [], 100.0)
            assert job is not None
            for state in (JobState.PREPARED, JobState.INFERRED, JobState.WRITTEN):
                change.jobs.move(change.jobs.get(job.id), state, 100.0, "Moved.")
            for place in places or ("pacs",):
                change.outbox.add(job.id, place, objects, 100.0)
        return job

    def add_objects(self, count: int, *places: str) -> list[str]:
        """A job with so many made-up objects; their UIDs."""
        uids = [f"1.2.{self.jobs + 1}.{number}" for number in range(count)]
        for uid in uids:
            write_object(self.folder / f"{uid}.dcm", uid, 200, sop_class=MRImageStorage)
        self.add_job([self.folder / f"{uid}.dcm" for uid in uids], *places)
        return uids

    def deliver(self, name: str = "pacs") -> None:
        """Send what is due there, as the courier would."""
        place = self.places[name]
        with self.ledger.begin() as change:
            claimed = change.lines.claim(name, "deliver", self.clock.now(), 60.0, 1000)
        items = [one.item for one in claimed]
        paths = [self.spool.absolute(item.path) for item in items]
        if not paths:
            return
        address = Address(place.host, place.port, place.ae_title, NODE, 20.0)
        with Sender(address, kinds_of(paths)) as sender:
            answers = [sender.send(path) for path in paths]
        self.mark_sent(items, [answer.status for answer in answers])

    def mark_sent(self, items: Sequence[OutboxItem], statuses: Sequence[int] = ()) -> None:
        """Objects have been stored."""
        with self.ledger.begin() as change:
            now = self.clock.now()
            for item, status in zip(items, statuses or [0] * len(items), strict=True):
                prove_at = now + self.places[item.destination].terms.delay_s
                change.outbox.keep_sent(item, Stored(status, "", prove_at), now)
            for job_id in {item.job_id for item in items}:
                settle(change, job_id, now)

    def prove(self, after_s: float = 10.0) -> bool:
        """Let time pass, and do what is due then."""
        self.clock.at += after_s
        return self.prover.step()

    def items(self, name: str = "pacs") -> list[OutboxItem]:
        """What is in the outbox for a destination."""
        with self.ledger.read() as view:
            found = [item for n in range(1, self.jobs + 1) for item in view.outbox.of_job(n)]
        return [item for item in found if item.destination == name]

    def states(self, name: str = "pacs") -> dict[DeliveryState, int]:
        """How many objects of a destination are in which state."""
        return dict(Counter(item.state for item in self.items(name)))

    def job(self, number: int = 1) -> Job:
        """A job."""
        with self.ledger.read() as view:
            return view.jobs.get(number)

    def study(self, number: int = 1) -> Study:
        """A study."""
        with self.ledger.read() as view:
            return view.studies.get(number)

    def said(self) -> list[str]:
        """The sentences of the trail, oldest first."""
        with self.ledger.read() as view:
            return [row.text for n in range(1, self.jobs + 1) for row in view.trail.of_study(n)]


@contextmanager
def open_node(folder: Path) -> Iterator[Node]:
    """A node with an empty ledger below this folder."""
    ledger, spool = Ledger.open(folder), Spool(folder)
    spool.prepare()
    try:
        yield Node(folder, ledger, spool)
    finally:
        ledger.close()


def delivered(node: Node, pacs: LyingPacs, count: int = 4, **terms: Any) -> list[str]:
    """So many objects are with the PACS, and wait for proof."""
    node.add_pacs(pacs.port, **terms)
    uids = node.add_objects(count)
    node.deliver()
    assert node.states() == {SENT: count}
    assert node.job().state is JobState.DELIVERED
    return uids
