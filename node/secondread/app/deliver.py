"""What the role ``deliver`` consists of: parts that each run in a thread until the node stops."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import structlog

from secondread.app.heap import keep_what_is_loaded
from secondread.app.live_peers import CHECK_S, LivePeers
from secondread.config.settings import Settings
from secondread.delivery.archive import Dock
from secondread.delivery.courier import Courier
from secondread.delivery.fetcher import Fetcher, FetcherTerms
from secondread.delivery.numbers import Reporter
from secondread.delivery.performer import Performer
from secondread.delivery.prover import Prover
from secondread.delivery.teller import Identity, Teller
from secondread.domain.clock import Clock, SystemClock
from secondread.domain.destination import Destination, reachable
from secondread.errors import SecondReadError
from secondread.observe.keys import read_secret
from secondread.store import Ledger, Spool
from secondread.store.handed import Handed

log = structlog.stdlib.get_logger(__name__)

_SWITCH_S = 0.0001
_FAREWELL_S = 45.0


class Part(NamedTuple):
    """Something that runs until it is told to stop."""

    name: str
    run: Callable[[threading.Event], None]


class PartEndedError(SecondReadError):
    """A part of a role ended before its time."""

    audit_code = "part-ended"


class LiveDestinations:
    """Every destination by its name in the outbox; peers are as the configuration has them now."""

    def __init__(self, settings: Settings) -> None:
        self._destinations = settings.destinations
        self._peers = LivePeers(settings)
        self._by_name = self._collect()

    @property
    def by_name(self) -> Mapping[str, Destination]:
        """Those that hold now."""
        return self._by_name

    def run(self, stop: threading.Event) -> None:
        """Look at the configuration of peers now and then."""
        while not stop.wait(CHECK_S):
            if self._peers.check():
                self._by_name = self._collect()

    def _collect(self) -> Mapping[str, Destination]:
        return reachable(self._destinations, self._peers.by_name.values())


def prepare_process() -> None:
    """Set the interpreter up for threads that send while others write down."""
    # A thread that computes must not keep those waiting that have an answer to read.
    sys.setswitchinterval(_SWITCH_S)
    keep_what_is_loaded()


def run_deliver(
    settings: Settings, ledger: Ledger, spool: Spool, stop: threading.Event, owner: str
) -> None:
    """Bring results to where they belong, and prove that they are there, until ``stop`` is set.

    Raises:
        PartEndedError: a part ended by itself.
    """
    with ledger.begin() as change:
        change.outbox.release_claims_of("deliver:")
        change.fetches.release_claims_of("deliver:")
    live = LiveDestinations(settings)
    clock = SystemClock()
    identity = Identity(settings.uid_root, read_secret(settings.data_dir))
    teller = Teller(ledger, spool, settings.listeners, lambda: live.by_name, clock, identity)
    dock = Dock(
        settings.ae_title,
        Handed(spool.root),
        settings.max_object_bytes,
        settings.minimum_free_bytes,
    )
    terms = FetcherTerms(dock, settings.rules, owner)
    fetcher = Fetcher(ledger, spool, lambda: live.by_name, clock, terms)
    performer = Performer(
        ledger, spool, settings.worklists, lambda: live.by_name, clock, identity.secret
    )
    others = (
        Part("teller", teller.run),
        Part("fetcher", fetcher.run),
        Part("performer", performer.run),
    )
    prepare_process()
    run_parts((*_parts(ledger, spool, live, clock, owner), *others), stop)


def _parts(
    ledger: Ledger, spool: Spool, live: LiveDestinations, clock: Clock, owner: str
) -> Sequence[Part]:
    def destinations() -> Mapping[str, Destination]:
        return live.by_name

    courier = Courier(ledger, spool, destinations, clock, owner)
    prover = Prover(ledger, spool, destinations, clock)
    return (
        Part("configuration", live.run),
        Part("courier", courier.run),
        Part("prover", prover.run),
        Part("numbers", Reporter(ledger, spool, destinations, clock).run),
    )


def run_parts(parts: Sequence[Part], stop: threading.Event) -> None:
    """Run each part in a thread until ``stop`` is set, or until one of them ends by itself.

    Raises:
        PartEndedError: one did, by an error or without one.
    """
    ended: list[str] = []
    over = threading.Event()

    def run(part: Part) -> None:
        told = "it came to its end"
        try:
            part.run(over)
        except Exception as error:
            kind = type(error).__name__
            log.exception("a part of the role has failed", part=part.name, error=kind)
            told = str(error) if isinstance(error, SecondReadError) else kind
        if not over.is_set():
            ended.append(f"'{part.name}': {told.rstrip('.')}")
            over.set()

    threads = [
        threading.Thread(target=run, args=(part,), name=part.name, daemon=True) for part in parts
    ]
    for thread in threads:
        thread.start()
    while not stop.is_set() and not over.wait(0.2):
        continue
    over.set()
    for thread in threads:
        thread.join(_FAREWELL_S)
    if ended:
        raise PartEndedError(
            f"A part of the delivery has ended: {'; '.join(ended)}. The role is started again."
        )
