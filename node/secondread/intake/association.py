"""One connection from its first byte to its last: who is it, what does it want, what is it told."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

import structlog

from secondread.access.handshake import describe_failure
from secondread.access.peers import Caller as Applicant
from secondread.access.peers import Refusal
from secondread.domain.network import Peer
from secondread.intake.association_request import (
    AssociationRequest,
    MalformedRequestError,
    read_request,
)
from secondread.intake.conversation import Conversation, Desk
from secondread.intake.dimse import Caller
from secondread.intake.journal import Journal
from secondread.intake.negotiation import Offer, encode_accept, negotiate
from secondread.intake.reactor import READ, WRITE, Reactor
from secondread.intake.transport import Progress, Transport
from secondread.intake.upper_layer import ProtocolError, UpperLayer

log = structlog.stdlib.get_logger(__name__)

_READS_MAX = 32
_AHEAD_BYTES_MIN, _AHEAD_BYTES_MAX = 1 << 14, 5 << 15
_VALUE_BYTES_MAX = 1 << 19
_DEAR_S, _CHEAP_S = 0.01, 0.003
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_CLOSING_S = 3.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a peer may take; in seconds.

    Attributes:
        request_s: for the TLS handshake, and then for the association request.
        pdu_s: from a PDU's first byte to its last.
        silence_s: between two PDUs, and for reading the node's answers.
    """

    request_s: float
    pdu_s: float
    silence_s: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all associations of a node share.

    ``admit`` decides on a request; ``left`` is told that an admitted peer has gone. ``buffer`` is
    what bytes are read into: one will do, because nothing stays in it.
    """

    reactor: Reactor
    journal: Journal
    desk: Desk
    workers: Executor
    offers: Mapping[str, Offer]
    timeouts: Timeouts
    buffer: memoryview
    admit: Callable[[Applicant], Peer | Refusal]
    left: Callable[[Peer], None]
    closed: Callable[[Association], None]


class Phase(Enum):
    """How far a connection has come."""

    HANDSHAKE = "handshake"
    REQUEST = "request"
    OPEN = "open"
    CLOSING = "closing"


class Association:
    """A connection that the reactor serves."""

    def __init__(self, surroundings: Surroundings, transport: Transport) -> None:
        self._all = surroundings
        self._transport = transport
        self._upper = UpperLayer(transport, self)
        self._events = READ
        self._peer: Peer | None = None
        self._talk: Conversation | None = None
        self._reason: tuple[str, str] | None = None
        self._closed = self._released = False
        self._serving = False
        self._ahead_bytes = _AHEAD_BYTES_MIN
        self.phase = Phase.HANDSHAKE if transport.is_tls else Phase.REQUEST
        self.since = self._heard = time.monotonic()
        surroundings.reactor.add(transport.sock, self, READ)

    @property
    def address(self) -> str:
        """The caller's IP address."""
        return self._transport.address

    def ready(self, events: int) -> None:
        """The socket can be read or written."""
        self._serving = True
        try:
            if self.phase is Phase.HANDSHAKE:
                self._shake_hands()
            else:
                if events & WRITE:
                    self._flush()
                if events & READ:
                    self._read()
        except ProtocolError as error:
            self._break("protocol", str(error))
        except OSError as error:
            self._lose(str(error.strerror or error))
        finally:
            self._serving = False
        self._settle()

    def sweep(self, now: float) -> None:
        """End what takes too long."""
        times = self._all.timeouts
        if self.phase is Phase.CLOSING:
            if now - self.since > _CLOSING_S:
                self._finish()
        elif self.phase is Phase.HANDSHAKE or self.phase is Phase.REQUEST:
            if now - self.since > times.request_s:
                what = "TLS handshake" if self.phase is Phase.HANDSHAKE else "association request"
                self._stop(f"slow-{self.phase.value}", f"No {what} within {times.request_s:g} s.")
        elif self._upper.pdu_since is not None and now - self._upper.pdu_since > times.pdu_s:
            self._stop("slow-pdu", f"A PDU was not complete after {times.pdu_s:g} s.")
        elif now - self._heard > times.silence_s and not self._waits_for_node():
            self._stop("silent", f"Nothing came for {times.silence_s:g} s.")

    def _waits_for_node(self) -> bool:
        """Whether the peer may be silent because it has not got its answer yet."""
        if self._transport.wants_to_write:
            return False
        return self._talk is not None and self._talk.outstanding > 0

    def fail(self, error: Exception) -> None:
        """An exception nobody expected; end at once."""
        log.error("an association failed", exc_info=error, peer=self._name)
        self._stop("failed", "The node failed; its log says where.")

    def evict(self) -> None:
        """Make room for a newer connection."""
        self._stop("evicted", "Too many connections wait for an association; the oldest must go.")

    def end(self) -> None:
        """The node stops."""
        self._stop("stopped", "The node stops.")

    def _shake_hands(self) -> None:
        if self._transport.is_gone:
            # A health check, or a scan for open ports; nobody was refused.
            self._finish()
            return
        try:
            progress = self._transport.shake_hands()
        except (ssl.SSLError, OSError) as error:
            refusal = Refusal(
                1,
                2,
                1,
                "tls-handshake",
                f"The TLS handshake with {self.address} failed: {describe_failure(error)}.",
            )
            self._all.journal.refused(refusal, Applicant("", "", self.address))
            self._finish()
            return
        if progress is Progress.DONE:
            self.phase = Phase.REQUEST
            self.since = time.monotonic()
            self._events = READ
            self._all.reactor.change(self._transport.sock, self, READ)
            self._read()
        else:
            wanted = READ if progress is Progress.READ else WRITE
            self._all.reactor.change(self._transport.sock, self, wanted)

    def _read(self) -> None:
        for _ in range(_READS_MAX):
            buffer = self._all.buffer[: self._upper.fragment_left + self._ahead()]
            count = self._transport.receive(buffer)
            if count is None:
                return
            if not count:
                self._lose("The peer closed the connection.")
                return
            self._heard = time.monotonic()
            try:
                self._upper.receive(buffer[:count], self._heard)
            finally:
                # Before the disk has a part in it.
                self._pace(time.monotonic() - self._heard)
                if self._talk is not None:
                    self._talk.drain()
            if self._talk is None or self._talk.unfinished or self._upper.pdu_since is not None:
                self._transport.acknowledge()
            if not self._transport.is_tls or self._upper.finished or self._paused:
                return

    def _ahead(self) -> int:
        """How many bytes to read beyond the fragment at hand, at most.

        They may be many small requests, each of them dear; not where a value goes on, such as the
        pixels of an image.
        """
        ahead = self._ahead_bytes
        if ahead < _AHEAD_BYTES_MAX or self._talk is None:
            return ahead
        return max(ahead, min(self._talk.due, _VALUE_BYTES_MAX))

    def _pace(self, spent_s: float) -> None:
        """Read less at a time from whoever sends what is dear to look at, so that nobody waits."""
        if spent_s > _DEAR_S:
            self._ahead_bytes = _AHEAD_BYTES_MIN
        elif spent_s < _CHEAP_S and self._ahead_bytes < _AHEAD_BYTES_MAX:
            self._ahead_bytes = min(2 * self._ahead_bytes, _AHEAD_BYTES_MAX)

    @property
    def _paused(self) -> bool:
        return self._talk is not None and self._talk.full

    def _settle(self) -> None:
        """Send what is to be sent; wait for the right events, or not at all any more."""
        if self._closed:
            return
        if self._transport.waiting and not self._transport.wants_to_write:
            self._flush()
        if self._upper.finished:
            self._finish()
            return
        if self._upper.closing and self.phase is not Phase.CLOSING:
            self.phase = Phase.CLOSING
            self.since = time.monotonic()
            self._leave()
        if self.phase is Phase.HANDSHAKE:
            return
        wanted = 0 if self._paused else READ
        if self._transport.wants_to_write:
            wanted |= WRITE
        if wanted != self._events:
            self._events = wanted
            self._all.reactor.change(self._transport.sock, self, wanted)

    def requested(self, body: bytes) -> None:
        """Decide on an association request."""
        try:
            request = read_request(body)
        except MalformedRequestError as error:
            refusal = Refusal(1, 2, 1, error.audit_code, f"{error} It came from {self.address}.")
            self._all.journal.refused(refusal, Applicant("", "", self.address))
            raise ProtocolError(str(error)) from None
        applicant = Applicant(
            request.calling,
            request.called,
            self.address,
            self._transport.certificate(),
            request.identity,
        )
        decision = _unacceptable(request) or self._all.admit(applicant)
        if isinstance(decision, Refusal):
            self._all.journal.refused(decision, applicant, decision.peer)
            self._upper.reject(decision.result, decision.source, decision.diagnostic)
            return
        self._peer = decision
        self._accept(request, decision, applicant)

    def _accept(self, request: AssociationRequest, peer: Peer, applicant: Applicant) -> None:
        agreement = negotiate(request, peer, self._all.offers)
        self._talk = Conversation(
            self._all.desk,
            Caller(peer.name, peer.ae_title, self.address, request.called.strip(" ")),
            peer,
            agreement,
            request.maximum_length,
            self._send,
            self._work,
        )
        self._upper.accept(encode_accept(request, agreement), self._talk.fragment)
        self.phase = Phase.OPEN
        self._all.journal.opened(peer.name, self.address)
        if not agreement.contexts:
            reason = (
                f"Peer '{peer.name}' asked for nothing that it may do here or that this node does. "
                f"Look at may, sop_classes and transfer_syntaxes in [[peers]] '{peer.name}'."
            )
            self._all.journal.refused(Refusal(1, 1, 1, "no-service", reason), applicant, peer.name)

    def release_requested(self) -> None:
        """Say goodbye."""
        self._released = True
        self._upper.release()

    def ended(self, reason: str) -> None:
        """The peer aborted."""
        self._reason = ("aborted", reason)

    def _send(self, data: bytes) -> None:
        """Send an answer; called by the conversation, in the reactor's thread."""
        if not self._upper.established:
            return
        try:
            self._transport.send(data)
        except OSError as error:
            self._lose(str(error.strerror or error))
        if not self._serving:
            self._settle()

    def _flush(self) -> None:
        try:
            if self._transport.flush():
                self._heard = time.monotonic()
        except OSError as error:
            self._lose(str(error.strerror or error))

    def _work(self, function: Callable[[], Callable[[], None]]) -> None:
        """Run a function in a worker thread, and what it returns in the reactor's."""

        def run() -> None:
            self._all.reactor.post(function())

        self._all.workers.submit(run)

    @property
    def _name(self) -> str:
        return "" if self._peer is None else self._peer.name

    def _break(self, code: str, reason: str) -> None:
        """The upper layer has told the peer already."""
        if self._reason is None:
            self._reason = (code, reason)

    def _lose(self, reason: str) -> None:
        silent = self._heard == self.since
        if self._reason is None and not self._upper.closing and not silent:
            self._reason = ("lost", reason)
        self._upper.connection_lost()

    def _stop(self, code: str, reason: str) -> None:
        if self._closed:
            return
        self._break(code, reason)
        try:
            if self.phase is not Phase.HANDSHAKE:
                self._upper.abort()
        except OSError:
            self._upper.finished = True
        if self.phase is Phase.HANDSHAKE or code in {"evicted", "stopped"}:
            self._finish()
        self._settle()

    def _leave(self) -> None:
        """The association is over, though the connection may not be."""
        if self._talk is not None:
            self._talk.end(released=self._released and self._reason is None)
        if self._peer is not None:
            self._all.left(self._peer)
            if self._reason is None:
                log.info("association released", peer=self._peer.name)
        if self._reason is not None:
            self._all.journal.broken(self._name, self.address, *self._reason)
        self._talk = self._peer = self._reason = None

    def _finish(self) -> None:
        if self._closed:
            return
        self._closed = True
        with suppress(OSError):
            # The last word, where it still goes.
            self._transport.flush()
        self._leave()
        self._all.reactor.remove(self._transport.sock)
        self._transport.close()
        self._all.closed(self)


def _unacceptable(request: AssociationRequest) -> Refusal | None:
    """The refusal of a request that is no DICOM of today (PS3.8 table 9-21)."""
    if not request.protocol_version & 1:
        return Refusal(
            1, 2, 2, "wrong-version", "The caller does not speak version 1 of the protocol."
        )
    if request.application_context != _APPLICATION_CONTEXT:
        return Refusal(
            1, 1, 2, "wrong-application-context", "The caller wants another protocol than DICOM."
        )
    return None
