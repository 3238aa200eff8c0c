"""A node that fetches: its stages are driven by hand, its intake runs, and the archive is real."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom import dcmread

from deploy.demo import pacs as demo_pacs
from secondread.app.intake import run_intake
from secondread.config.settings import Settings
from secondread.delivery.archive import Dock
from secondread.delivery.fetcher import Fetcher, FetcherTerms
from secondread.domain.destination import Destination
from secondread.domain.engine import Finished
from secondread.domain.fetch import Fetch, FetchKind, FetchTerms
from secondread.domain.network import Peer
from secondread.domain.states import DeliveryState, JobState
from secondread.domain.study import Study
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.write import Write
from secondread.store.handed import Handed
from tests.house import House, StillClock

PATIENCE_S = 60.0
QUIET_S = 0.5


class MovingClock(StillClock):
    """The clock on the wall."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()


class MovingOrthanc(demo_pacs.OrthancPacs):
    """An Orthanc that knows at which port the node listens."""

    destination_port = 0

    def _configuration(self, folder: Path, callers: tuple[str, ...]) -> dict[str, Any]:
        found = super()._configuration(folder, callers)
        found["DicomModalities"] = {
            title: [title, demo_pacs.LOOPBACK, self.destination_port] for title in callers
        }
        return found


@dataclass(frozen=True)
class Node:
    """The node; ``house`` has its ledger, spool and stages."""

    house: House
    port: int
    peers: tuple[Peer, ...]
    fetcher: Fetcher

    @contextmanager
    def intake(self) -> Iterator[None]:
        """Its intake, which takes what archives send."""
        place = self.house.place
        settings = Settings(
            data_dir=place.spool.root,
            host="127.0.0.1",
            port=self.port,
            minimum_free_bytes=0,
            peers=self.peers,
        )
        stop = threading.Event()
        thread = threading.Thread(
            target=run_intake, args=(settings, place.ledger, place.spool, stop)
        )
        thread.start()
        try:
            self.until(lambda: not socket.socket().connect_ex(("127.0.0.1", self.port)))
            yield
        finally:
            stop.set()
            thread.join()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds, but not for ever."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.05)

    def work(self, holds: Callable[[], bool]) -> None:
        """Have every stage do what it can, results delivered at once, until it holds."""

        def turn() -> bool:
            self.fetcher.step()
            self.house.complete.step()
            Assemble(self.house.place).step()
            Prepare(self.house.place).step()
            if self.house.infer.step():
                self.house.engine.outcomes.append(Finished(self.house.answer(), "", (), 0.1))
                self.house.infer.collect(0)
            Write(self.house.place).step()
            self._deliver()
            return holds()

        self.until(turn)

    def _deliver(self) -> None:
        """As if everybody had taken all results."""
        now = self.house.clock.now()
        with self.house.place.ledger.begin() as change:
            for study in change.studies.list():
                for job in change.jobs.of_study(study.id):
                    if job.state is not JobState.WRITTEN:
                        continue
                    for item in change.outbox.of_job(job.id):
                        if item.state is DeliveryState.READY:
                            change.outbox.move(item, DeliveryState.SENT, now, "Sent.")
                    change.jobs.move(job, JobState.DELIVERED, now, "Sent.")
                    change.studies.close_if_finished(study.id, now)

    def want(self, **terms: Any) -> None:
        """What its rule wants to have fetched from 'pacs'."""
        self.house.set_rule(fetch=FetchTerms("pacs", **terms))
        (rule,) = self.house.place.rules
        self.fetcher._terms = replace(self.fetcher._terms, rules=(rule,))

    @property
    def studies(self) -> Mapping[str, Study]:
        """What is here, by Study Instance UID."""
        with self.house.place.ledger.read() as view:
            return {one.study_instance_uid: one for one in view.studies.list()}

    def count(self, study_uid: str) -> int:
        """How many objects of a study are here."""
        with self.house.place.ledger.read() as view:
            return len(view.instances.of_study(study_uid))

    def rows(self, study_id: int = 1) -> Sequence[Fetch]:
        """What was to be fetched for a study."""
        with self.house.place.ledger.read() as view:
            return view.fetches.of_study(study_id)

    def ask(self, kind: FetchKind, study_uid: str) -> None:
        """Have something fetched for the first study."""
        with self.house.place.ledger.begin() as change:
            now = self.house.clock.now()
            assert change.fetches.ask(1, "pacs", kind, study_uid, now)

    def said(self, study_id: int = 1) -> Sequence[str]:
        """What the trail says of what was fetched for a study."""
        with self.house.place.ledger.read() as view:
            return [row.text for row in view.trail.of_study(study_id) if row.event == "fetch"]


def make_node(folder: Path, port: int, archive: Destination, *titles: str) -> Node:
    """A node whose archive is called 'pacs' and stores under these AE titles."""
    house = House(folder, MovingClock())
    house.place = replace(house.place, destinations={"pacs": archive})
    peers = tuple(Peer(title.lower(), title, ("127.0.0.0/8",), QUIET_S) for title in titles)
    house.place = replace(house.place, peers={peer.name: peer for peer in peers})
    house.set_rule()
    place = house.place
    terms = FetcherTerms(Dock("SECONDREAD", Handed(folder), 1 << 30, 0), place.rules, "deliver:1")
    fetcher = Fetcher(place.ledger, place.spool, lambda: {"pacs": archive}, house.clock, terms)
    return Node(house, port, peers, fetcher)


def study_of(series: Any) -> str:
    """The Study Instance UID of a series that was written."""
    return str(dcmread(series.paths[0], stop_before_pixels=True).StudyInstanceUID)
