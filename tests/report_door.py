"""The node's own port, in this process, with a book in which reports on commitment are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

from secondread.access.peers import AccessList
from secondread.access.quotas import QuotaBook
from secondread.access.refusals import RefusalBook
from secondread.dicom.commitment_report import Report
from secondread.domain.clock import SystemClock
from secondread.domain.network import Peer, Service
from secondread.intake import commitment_reports
from secondread.intake.association import Timeouts
from secondread.intake.commit import Committer
from secondread.intake.conversation import Desk
from secondread.intake.dimse import Caller, ServiceTable
from secondread.intake.journal import Journal
from secondread.intake.offers import make_offers
from secondread.intake.reactor import Reactor
from secondread.intake.reception import Limits
from secondread.intake.releases import Releases
from secondread.intake.server import Caps, Listening, StorageServer
from secondread.intake.space import Space
from secondread.intake.storing import ObjectStore
from secondread.observe.metrics import Metrics
from secondread.store import Ledger, Spool
from secondread.store.durability import Durability

NODE = "SECONDREAD"


@dataclass
class Door:
    """Where archives report; ``known`` are the transactions that the node has asked in.

    With ``recorder`` that says which are known.
    """

    port: int
    known: set[str] = field(default_factory=set)
    told: Queue[tuple[str, Report]] = field(default_factory=Queue)
    recorder: commitment_reports.Recorder | None = None

    def record(self, caller: Caller, report: Report) -> bool:
        known = report.transaction_uid in self.known
        if self.recorder is not None:
            known = self.recorder(caller, report)
        self.told.put((caller.ae_title, report))
        return known

    def next(self, within_s: float = 20.0) -> tuple[str, Report]:
        """AE title and report, in the order in which they came."""
        return self.told.get(timeout=within_s)


@contextmanager
def open_door(folder: Path, port: int, *titles: str) -> Iterator[Door]:
    """Listen; archives of these AE titles may report."""
    ledger, spool, clock, metrics = Ledger.open(folder), Spool(folder), SystemClock(), Metrics()
    spool.prepare()
    reactor, durability, door = Reactor(), Durability(spool.root), Door(port)
    peers = tuple(
        Peer(title.lower(), title, ("127.0.0.0/8",), 60.0, frozenset({Service.COMMITMENT}))
        for title in titles
    )
    access = AccessList(peers, NODE)
    taker = commitment_reports.ReportTaker(access.peer, door.record)
    limits = Limits(1 << 30, 1 << 30, 0)
    objects = ObjectStore(spool, durability, limits, clock, lambda *_: None)
    desk = Desk(
        journal=Journal(ledger, RefusalBook(ledger, clock), metrics, clock, b"0" * 32),
        committer=Committer(objects, reactor.post, metrics.commit_group),
        quotas=QuotaBook(),
        space=Space(spool.free_bytes, 0),
        limits=limits,
        storage=frozenset(),
        services=ServiceTable(commitment_reports.handlers(taker)),
        new_incoming=spool.new_incoming,
        overloaded=lambda: False,
        begin=durability.begin,
        releases=Releases(lambda _: None),
    )
    contexts = commitment_reports.CONTEXTS
    server = StorageServer(
        Listening("127.0.0.1", port),
        Caps(10, 20),
        Timeouts(10.0, 10.0, 30.0),
        access,
        desk.quotas,
        desk,
        make_offers([], {Service.COMMITMENT: contexts}, contexts),
        reactor,
    )
    server.start()
    desk.committer.start()
    try:
        yield door
    finally:
        server.stop()
        durability.close()
        ledger.close()
