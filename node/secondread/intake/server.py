"""The storage SCP: two doors, plain and TLS, and the reactor behind them."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from secondread.access.peers import (
    AccessList,
    Caller,
    Refusal,
    disk_low,
    over_limit,
)
from secondread.access.quotas import QuotaBook
from secondread.domain.network import Peer
from secondread.intake.association import Association, Phase, Surroundings, Timeouts
from secondread.intake.conversation import Desk
from secondread.intake.offers import Offers
from secondread.intake.reactor import READ, Reactor
from secondread.intake.transport import Transport

log = structlog.stdlib.get_logger(__name__)

_BACKLOG = 512
_BUFFER_BYTES = 1 << 20
_WORKERS = 4
# Few at a time, so that who has sent its request is served before the next wave comes.
_ACCEPTS_MAX = 4
_STOP_S = 10.0
_PAUSE_S = 0.5
_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@dataclass(frozen=True, slots=True)
class Caps:
    """How many connections may be there at a time.

    Attributes:
        associations: that were accepted; one more is told to try again.
        waiting: that have no association yet; one more drives out the oldest. A single address may
            have half of them.
    """

    associations: int
    waiting: int

    @property
    def waiting_per_address(self) -> int:
        """Waiting connections of a single address."""
        return max(1, self.waiting // 2)


class Door:
    """A listening socket."""

    def __init__(
        self,
        host: str,
        port: int,
        reactor: Reactor,
        accepted: Callable[[socket.socket, str, ssl.SSLContext | None], None],
        context: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sock = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._sock.setblocking(False)
        self.port: int = self._sock.getsockname()[1]
        self._reactor = reactor
        self._accepted = accepted
        self._context = context
        self._shut_until = 0.0
        reactor.add(self._sock, self, READ)

    def ready(self, _events: int) -> None:
        """Take in who is waiting."""
        for _ in range(_ACCEPTS_MAX):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    # Whoever waits is taken in when somebody has gone.
                    self._shut_until = time.monotonic() + _PAUSE_S
                    self._reactor.change(self._sock, self, 0)
                    log.error("no more connections can be opened", reason=error.strerror)
                return
            self._accepted(sock, address[0], self._context() if self._context else None)

    def sweep(self, now: float) -> None:
        """Open again after a pause."""
        if self._shut_until and now > self._shut_until:
            self._shut_until = 0.0
            self._reactor.change(self._sock, self, READ)

    def fail(self, error: Exception) -> None:
        """An exception nobody expected; the door stays open."""
        log.error("a connection could not be taken in", exc_info=error)

    def shut(self) -> None:
        """Take in nobody any more."""
        self._reactor.remove(self._sock)
        self._sock.close()


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen; port None is not at all, 0 is any. ``tls`` gives the context for now."""

    host: str
    port: int | None
    tls_port: int | None = None
    tls: Callable[[], ssl.SSLContext] | None = None


class StorageServer:
    """Lets in whom the allow-list knows and serves them, all in one thread."""

    def __init__(
        self,
        listening: Listening,
        caps: Caps,
        timeouts: Timeouts,
        access: AccessList,
        quotas: QuotaBook,
        desk: Desk,
        offers: Offers,
        reactor: Reactor,
    ) -> None:
        self._listening = listening
        self._caps = caps
        self._access = access
        self._quotas = quotas
        self._desk = desk
        self._reactor = reactor
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="service")
        self._thread = threading.Thread(target=reactor.run, name="reactor", daemon=True)
        self._doors: list[Door] = []
        # In the order in which they came.
        self._associations: dict[Association, None] = {}
        self._surroundings = Surroundings(
            reactor=reactor,
            journal=desk.journal,
            desk=desk,
            workers=self._workers,
            offers=offers,
            timeouts=timeouts,
            buffer=memoryview(bytearray(_BUFFER_BYTES)),
            admit=self._admit,
            left=self._left,
            closed=self._closed,
        )
        reactor.after_turn(self._hand_over)
        self._admitted = 0
        self.port = self.tls_port = 0

    def start(self) -> None:
        """Listen, and serve from now on; ``port`` and ``tls_port`` then say where.

        Raises:
            OSError: a port is taken or may not be used.
        """
        where = self._listening
        if where.port is not None:
            door = Door(where.host, where.port, self._reactor, self._take_in, None)
            self._doors.append(door)
            self.port = door.port
        if where.tls_port is not None:
            door = Door(where.host, where.tls_port, self._reactor, self._take_in, where.tls)
            self._doors.append(door)
            self.tls_port = door.port
        self._thread.start()
        log.info("listening", host=where.host, port=self.port, tls_port=self.tls_port)

    def stop(self) -> None:
        """Stop listening, end every association, and store what had arrived whole."""
        ended = threading.Event()

        def end() -> None:
            for door in self._doors:
                door.shut()
            for association in list(self._associations):
                association.end()
            ended.set()

        self._reactor.post(end)
        ended.wait(_STOP_S)
        self._desk.committer.stop()
        self._workers.shutdown()
        self._reactor.stop()
        self._thread.join(_STOP_S)

    def counts(self) -> tuple[int, int]:
        """(Associations, connections without one) at this moment, about."""
        return self._admitted, len(self._associations) - self._admitted

    def _hand_over(self) -> None:
        self._desk.committer.hand_over(alone=len(self._associations) == 1)

    def _take_in(self, sock: socket.socket, address: str, context: ssl.SSLContext | None) -> None:
        """A connection came; nothing has been asked of the allow-list yet."""
        self._make_room(address)
        try:
            transport = Transport(sock, address, context)
        except OSError:
            # Gone already, perhaps after bytes that were no TLS.
            sock.close()
            return
        self._associations[Association(self._surroundings, transport)] = None

    def _make_room(self, address: str) -> None:
        waiting = [one for one in self._associations if one.phase is not Phase.OPEN]
        if len(waiting) >= self._caps.waiting:
            # The oldest of the address that has most: a single honest caller is never the one.
            counts = Counter(one.address for one in waiting)
            most = max(counts.values())
            victim = next(one for one in waiting if counts[one.address] == most)
            waiting.remove(victim)
            victim.evict()
        from_there = [one for one in waiting if one.address == address]
        if len(from_there) >= self._caps.waiting_per_address:
            from_there[0].evict()

    def _admit(self, applicant: Caller) -> Peer | Refusal:
        if self._desk.space.low:
            return disk_low()
        if self._admitted >= self._caps.associations:
            return over_limit(self._caps.associations)
        decision = self._access.admit(applicant)
        if isinstance(decision, Refusal):
            return decision
        if refusal := self._quotas.open(decision):
            return refusal
        self._admitted += 1
        return decision

    def _left(self, peer: Peer) -> None:
        self._admitted -= 1
        self._quotas.close(peer.name)

    def _closed(self, association: Association) -> None:
        self._associations.pop(association, None)
