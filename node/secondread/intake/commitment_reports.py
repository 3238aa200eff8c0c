"""Storage Commitment Push Model SCU, the listening half: what archives report to the node's port.

An archive that the node has asked for commitment (``delivery.commitment_scu``) may answer on an
association that it opens itself, hours later (PS3.4 J.3.3.1.3). It calls as SCP of the service and
says so with the role selection (PS3.7 D.3.3.4), which is accepted. Many products leave that item
out; their reports are taken all the same, for what a report is worth is asked of its transaction.

The archive has to be one of the ``[[peers]]`` that may use the service 'commitment', like any other
caller. A report is a claim, not a command: it is handed on as it was said, and counts only for what
the node has asked that archive about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from secondread.dicom.commitment_report import (
    ALL_COMMITTED,
    FAILURES_EXIST,
    STORAGE_COMMITMENT_PUSH,
    WELL_KNOWN_INSTANCE,
    Report,
    read_report,
    to_heard,
)
from secondread.domain.network import Service
from secondread.intake.dimse import (
    INVALID_ARGUMENT,
    N_EVENT_REPORT_RQ,
    NO_SUCH_EVENT_TYPE,
    NO_SUCH_SOP_INSTANCE,
    SUCCESS,
    Answer,
    Caller,
    Handler,
    Reply,
    Request,
)
from secondread.intake.guard import PeerLookup, guarded, refused
from secondread.store import Ledger

log = structlog.stdlib.get_logger(__name__)

CONTEXTS = (STORAGE_COMMITMENT_PUSH,)
"""The abstract syntaxes of which callers may be the SCP."""

Recorder = Callable[[Caller, Report], bool]
"""Writes down what an archive reported, durably, before it returns.

True where the node has asked the archive of that AE title in this transaction, be it long ago or
answered before; False where it never did, and nothing was written. A ``LedgerError`` makes the
archive report again.
"""


def recorder(ledger: Ledger) -> Recorder:
    """Writes reports down where the delivery role judges them; commits must be synced."""

    def record(caller: Caller, report: Report) -> bool:
        with ledger.begin() as change:
            return change.enquiries.hear(report.transaction_uid, caller.ae_title, to_heard(report))

    return record


@dataclass(frozen=True, slots=True)
class ReportTaker:
    """Takes reports.

    Attributes:
        peer_of: finds the caller by its name.
        record: writes a report down.
        refuse: told the sentence about a report that nobody waits for.
    """

    peer_of: PeerLookup
    record: Recorder
    refuse: Callable[[str, Caller], None] = lambda sentence, caller: None

    def hear(self, caller: Caller, request: Request) -> Reply:
        """N-EVENT-REPORT: read it, have it written down, and only then say Success."""
        if request.sop_instance_uid != WELL_KNOWN_INSTANCE:
            return refused(NO_SUCH_SOP_INSTANCE, "Only the well-known SOP instance is here.")
        if request.type_id not in {ALL_COMMITTED, FAILURES_EXIST}:
            return refused(NO_SUCH_EVENT_TYPE, "The events are 1 and 2 (PS3.4 table J.3-2).")
        report = read_report(request.data or b"", request.context.transfer_syntax, request.type_id)
        known = self.record(caller, report)
        log.info(
            "commitment report",
            peer=caller.peer,
            known=known,
            committed=len(report.committed),
            failed=len(report.failed),
        )
        if not known:
            self.refuse(
                f"Peer '{caller.peer}' reported on a commitment request that the node never made "
                "to it; nothing of it was believed.",
                caller,
            )
            return refused(INVALID_ARGUMENT, "The node has not asked you in this transaction.")
        return Reply((Answer(SUCCESS),))


def handlers(taker: ReportTaker) -> dict[tuple[str, int], Handler]:
    """The service, for the table of services."""
    hear = guarded(Service.COMMITMENT, taker.peer_of, taker.hear, INVALID_ARGUMENT)
    return {(STORAGE_COMMITMENT_PUSH, N_EVENT_REPORT_RQ): hear}
