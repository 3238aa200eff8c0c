"""Telling peers the results of commitment requests on associations that the node opens."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable

import structlog

from secondread.domain.clock import Clock
from secondread.domain.commitment import Commitment, CommitmentState
from secondread.domain.network import Peer
from secondread.errors import DeliveryError, PeerRefusedError
from secondread.intake.event_report import ReportAddress, send_event_report
from secondread.intake.guard import PeerLookup
from secondread.store import Ledger
from secondread.store.commitments import UNREPORTED

log = structlog.stdlib.get_logger(__name__)

GIVE_UP_AFTER_S = 24 * 3600.0
_FIRST_WAIT_S = 5.0
_LONGEST_WAIT_S = 900.0


class CommitmentReporter:
    """Reports what waits in the ledger, one result at a time; for one thread of one process.

    Host and port are those that the list of peers has now, so that a correction takes effect on
    what waits already.

    Args:
        ledger: where the results wait.
        peer_of: finds a peer by its name.
        clock: tells the time.
        client_tls: the context for calling a peer that may be called by TLS only; None where the
            node has no TLS.
    """

    def __init__(
        self,
        ledger: Ledger,
        peer_of: PeerLookup,
        clock: Clock,
        client_tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._peer_of = peer_of
        self._clock = clock
        self._client_tls = client_tls
        self._began_at = clock.now()
        self._recovered = False

    def step(self) -> bool:
        """Report the result that has waited longest of those that are due; False if none is."""
        if not self._recovered:
            self._recover()
        with self._ledger.read() as view:
            item = view.commitments.due(self._clock.now())
        if item is None:
            return False
        peer = self._peer_of(item.peer)
        if peer is None:
            self._give_up(item, f"Peer '{item.peer}' is not among the [[peers]] any more.")
            return True
        try:
            send_event_report(self._address(item, peer), item.result)
        except DeliveryError as error:
            self._postpone_or_give_up(item, peer, str(error))
            return True
        log.info("commitment reported", peer=item.peer, attempt=item.attempts + 1)
        told = f"Peer '{item.peer}' was told on a new association."
        with self._ledger.begin() as change:
            change.commitments.move(item.id, CommitmentState.REPORTED, self._clock.now(), told)
        return True

    def _recover(self) -> None:
        """Of what was asked before the node started, no association is left to report it on."""
        with self._ledger.begin() as change:
            left = change.commitments.hasten(self._began_at, self._clock.now())
        self._recovered = True
        if left:
            log.info("commitment reports left over", count=left)

    def _address(self, item: Commitment, peer: Peer) -> ReportAddress:
        if not peer.port:
            raise PeerRefusedError(
                f"Peer '{peer.name}' cannot be told the result of its commitment request: give the "
                "peer's port in [[peers]]."
            )
        tls = self._client_tls() if peer.tls else None
        if peer.tls and tls is None:
            raise PeerRefusedError(
                f"Peer '{peer.name}' may be called by TLS only, and the node has no certificate: "
                "set up [tls]."
            )
        return ReportAddress(
            host=peer.host or item.host,
            port=peer.port,
            called=peer.ae_title,
            calling=item.called_ae_title,
            tls=tls,
        )

    def _postpone_or_give_up(self, item: Commitment, peer: Peer, reason: str) -> None:
        now = self._clock.now()
        if now - item.asked_at >= GIVE_UP_AFTER_S:
            self._give_up(item, f"Given up after a day: {reason}")
            return
        wait_s = min(_FIRST_WAIT_S * 2.0 ** min(item.attempts, 16), _LONGEST_WAIT_S)
        wait_s *= random.uniform(0.8, 1.2)
        log.warning(
            "commitment report postponed",
            peer=item.peer,
            attempt=item.attempts + 1,
            wait_s=round(wait_s, 1),
            reason=reason,
        )
        with self._ledger.begin() as change:
            change.commitments.postpone(item.id, now + wait_s, reason, attempts=item.attempts + 1)
            if not peer.port and item.attempts == 0:
                change.trail.append(now, UNREPORTED, reason, detail={"commitment": item.id})

    def _give_up(self, item: Commitment, reason: str) -> None:
        log.error("commitment report given up", peer=item.peer, reason=reason)
        with self._ledger.begin() as change:
            change.commitments.move(item.id, CommitmentState.FAILED, self._clock.now(), reason)
