"""What intake says: log lines at once, audit rows in groups, numbers for the metrics.

The reactor must not wait for the disk because of a stranger, so refusals are gathered in memory
and written by ``flush``, which a timer calls. What is gathered is bounded; the rest is counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import structlog

from secondread.access.peers import Caller, Refusal
from secondread.access.refusals import RefusalBook
from secondread.domain.clock import Clock
from secondread.errors import SecondReadError
from secondread.observe.keys import study_key
from secondread.observe.metrics import Metrics
from secondread.store import Ledger

log = structlog.stdlib.get_logger(__name__)

_ROWS_MAX = 1000


class Journal:
    """The voice of intake; safe to use from several threads."""

    def __init__(
        self,
        ledger: Ledger,
        refusals: RefusalBook,
        metrics: Metrics,
        clock: Clock,
        secret: bytes,
    ) -> None:
        self._ledger = ledger
        self._refusals = refusals
        self.metrics = metrics
        self._clock = clock
        self._secret = secret
        self._lock = threading.Lock()
        self._rows: deque[tuple[float, str, str, Mapping[str, Any]]] = deque()
        self._dropped = 0
        # Asking structlog costs as much as a tenth of an object.
        self._debug = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)

    def refused(self, refusal: Refusal, caller: Caller, peer: str = "") -> None:
        """An association was refused; the book logs it."""
        self.metrics.association(f"refused-{refusal.code}", peer)
        self._refusals.note(refusal, caller, peer)

    def opened(self, peer: str, address: str) -> None:
        """An association was accepted."""
        self.metrics.association("accepted", peer)
        log.info("association opened", peer=peer, address=address)

    def broken(self, peer: str, address: str, code: str, reason: str) -> None:
        """A connection ended otherwise than by a release; ``peer`` '' where nobody was admitted."""
        self.metrics.association(f"broken-{code}", peer)
        log.warning("connection ended", peer=peer, address=address, code=code, reason=reason)

    def echoed(self, peer: str) -> None:
        """A C-ECHO was answered."""
        if self._debug:
            log.debug("echo", peer=peer)

    def stored(self, peer: str, sop_instance_uid: str, size_bytes: int, new: bool) -> None:
        """An object was stored, or was here already."""
        self.metrics.object(peer, "stored" if new else "repeated", size_bytes)
        if self._debug:
            log.debug("stored", peer=peer, object=self.key(sop_instance_uid), new=new)

    def object_refused(self, peer: str, sop_instance_uid: str, error: SecondReadError) -> None:
        """An object was not stored."""
        self.metrics.object(peer, error.audit_code, 0)
        key, status = self.key(sop_instance_uid), error.dimse_status
        log.warning(
            "object refused",
            peer=peer,
            object=key,
            code=error.audit_code,
            reason=str(error),
            status=f"0x{status:04X}",
        )
        self.audit(
            "object-refused",
            f"From peer '{peer}': {error}",
            {"code": error.audit_code, "status": status, "object": key},
        )

    def request_refused(self, peer: str, command: int, status: int, reason: str) -> None:
        """A request other than C-STORE was answered with a failure."""
        log.warning(
            "request refused",
            peer=peer,
            command=f"0x{command:04X}",
            status=f"0x{status:04X}",
            reason=reason,
        )

    def alert(self, event: str, sentence: str) -> None:
        """Somebody has to do something."""
        log.error(event, reason=sentence)
        self.audit(event, sentence, {})

    def key(self, uid: str) -> str:
        """What stands for a UID in logs."""
        return study_key(uid, self._secret)

    def audit(self, event: str, text: str, detail: Mapping[str, Any]) -> None:
        """Leave a row in the trail at the next ``flush``."""
        with self._lock:
            if len(self._rows) >= _ROWS_MAX:
                self._dropped += 1
                return
            self._rows.append((self._clock.now(), event, text, detail))

    def flush(self) -> None:
        """Write the rows that were gathered; keeps them where the ledger cannot be written."""
        self._refusals.flush()
        with self._lock:
            rows, self._rows = self._rows, deque()
            dropped, self._dropped = self._dropped, 0
        if not rows:
            return
        if dropped:
            text = f"{dropped} more refusals came at the same time; the log has them."
            rows.append((self._clock.now(), "object-refused", text, {"code": "too-many"}))
        try:
            with self._ledger.begin() as change:
                for at, event, text, detail in rows:
                    change.trail.append(at, event, text, detail=detail)
        except SecondReadError as error:
            # With a full disk there is no audit row yet; the log lines are what remains.
            log.error("audit rows could not be written", rows=len(rows), reason=str(error))
            with self._lock:
                rows.extend(self._rows)
                while len(rows) > _ROWS_MAX:
                    rows.popleft()
                    self._dropped += 1
                self._rows = rows
