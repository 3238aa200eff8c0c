"""Storage Commitment Push Model SCP (PS3.4 J): is what I stored safe with you?

The answer comes from the ledger and the spool, never from the ledger alone: an object is committed
if its row is there, its SOP class is the one asked about, and its file has its whole length.

A peer may ask about any object that the node holds, whoever sent it. An archive that forwards, or
the second port of a scanner, asks about what others sent; the answer tells only whether a UID that
the peer knows is here, which any peer that may store learns anyway when it sends the object.

Request and result are in the ledger before the request is answered. The result is reported on the
same association first (PS3.4 J.3.3.1.2 note 1), and by ``CommitmentReporter`` where that fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from secondread.dicom.commitment_report import (
    REFERENCED_CLASS,
    REFERENCED_INSTANCE,
    REFERENCED_SOPS,
    REQUEST_STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_PUSH,
    TRANSACTION_UID,
    WELL_KNOWN_INSTANCE,
    event_information,
    event_type,
)
from secondread.dicom.contexts import STORAGE_SOP_CLASSES
from secondread.dicom.messages import is_uid, read_message
from secondread.domain.clock import Clock
from secondread.domain.commitment import (
    Commitment,
    CommitmentState,
    Failure,
    FailureReason,
    Reference,
    Result,
)
from secondread.domain.network import Peer, Service
from secondread.errors import CannotUnderstandError, LedgerError
from secondread.intake.dimse import (
    INVALID_ARGUMENT,
    N_ACTION_RQ,
    N_EVENT_REPORT_RQ,
    NO_SUCH_ACTION,
    NO_SUCH_SOP_INSTANCE,
    NOT_AUTHORISED,
    RESOURCE_LIMITATION,
    SUCCESS,
    Answer,
    Caller,
    Handler,
    Reply,
    Report,
    Request,
)
from secondread.intake.file_header import read_file_header
from secondread.intake.guard import PeerLookup, guarded, refused
from secondread.store import Ledger, Spool
from secondread.store.holdings import Holding

log = structlog.stdlib.get_logger(__name__)

CONTEXTS = (STORAGE_COMMITMENT_PUSH,)
"""The abstract syntaxes of this service."""

OPEN_MAX = 1000
"""Results that one peer may leave untold; more are not taken on."""
SAME_ASSOCIATION_S = 120.0
"""How long the report on the same association has before a new one is opened."""


@dataclass(frozen=True, slots=True)
class CommitmentProvider:
    """Answers requests.

    Attributes:
        ledger: where objects are looked up and requests are written down; commits must be synced.
        spool: where the files are.
        peer_of: finds the caller by its name.
        clock: tells the time.
        sop_classes: those of which the node stores objects.
    """

    ledger: Ledger
    spool: Spool
    peer_of: PeerLookup
    clock: Clock
    sop_classes: frozenset[str] = frozenset(item.uid for item in STORAGE_SOP_CLASSES)

    def act(self, caller: Caller, request: Request) -> Reply:
        """N-ACTION: look at every object, write down what was found, answer, report."""
        if request.sop_instance_uid != WELL_KNOWN_INSTANCE:
            return refused(NO_SUCH_SOP_INSTANCE, "Only the well-known SOP instance is here.")
        if request.type_id != REQUEST_STORAGE_COMMITMENT:
            return refused(NO_SUCH_ACTION, "The only action is 1, Request Storage Commitment.")
        if (peer := self.peer_of(caller.peer)) is None:
            return refused(NOT_AUTHORISED, "This peer is not on the list any more.")
        transaction_uid, references = _read_action(request)
        if not references or not is_uid(transaction_uid):
            return refused(INVALID_ARGUMENT, "Transaction UID or Referenced SOPs are missing.")
        uids = [reference.sop_instance_uid for reference in references]
        with self.ledger.read() as view:
            before = view.commitments.find(transaction_uid, peer.name)
            waiting = view.commitments.open_of_peer(peer.name)
            held = view.holdings.find(uids)
        if before is None and waiting >= OPEN_MAX:
            return refused(RESOURCE_LIMITATION, "Too many results wait to be reported.")
        if (
            before is not None
            and before.state is CommitmentState.ANSWERED
            and before.result.references != frozenset(references)
        ):
            # The row belongs to the first request. This one gets its answer here or asks again.
            return self._reply(_duplicate(transaction_uid, references), request, None, peer)
        result = self._assess(transaction_uid, references, held)
        studies = {holding.study_instance_uid for holding in held.values()}
        with self.ledger.begin() as change:
            row_id = change.commitments.record(self._row(caller, peer, result), studies)
        log.info(
            "commitment asked",
            peer=peer.name,
            committed=len(result.committed),
            failed=len(result.failed),
        )
        return self._reply(result, request, row_id, peer)

    def _assess(
        self,
        transaction_uid: str,
        references: tuple[Reference, ...],
        held: Mapping[str, Holding],
    ) -> Result:
        committed: list[Reference] = []
        failed: list[Failure] = []
        for reference in references:
            reason = self._reason_against(reference, held.get(reference.sop_instance_uid))
            if reason is None:
                committed.append(reference)
            else:
                failed.append(Failure(reference, reason))
        return Result(transaction_uid, tuple(committed), tuple(failed))

    def _reason_against(
        self, reference: Reference, holding: Holding | None
    ) -> FailureReason | None:
        if holding is None:
            known = reference.sop_class_uid in self.sop_classes
            return FailureReason.NO_SUCH_INSTANCE if known else FailureReason.CLASS_NOT_SUPPORTED
        if holding.sop_class_uid != reference.sop_class_uid:
            return FailureReason.CLASS_CONFLICT
        path = self.spool.absolute(holding.path)
        try:
            offset = holding.data_offset or read_file_header(path).data_offset
            size = path.stat().st_size
        except (FileNotFoundError, CannotUnderstandError):
            size = offset = 0
        except OSError as error:
            log.error("a stored file cannot be looked at", reason=error.strerror, path=holding.path)
            return FailureReason.PROCESSING_FAILURE
        if size != offset + holding.size_bytes:
            log.error("a stored file is not whole", path=holding.path)
            return FailureReason.NO_SUCH_INSTANCE
        return None

    def _row(self, caller: Caller, peer: Peer, result: Result) -> Commitment:
        now = self.clock.now()
        return Commitment(
            id=0,
            peer=peer.name,
            called_ae_title=caller.called,
            host=peer.host or caller.address,
            port=peer.port,
            state=CommitmentState.ANSWERED,
            asked_at=now,
            next_at=now + SAME_ASSOCIATION_S,
            attempts=0,
            result=result,
            reason="The result is being reported on the association of the request.",
        )

    def _reply(self, result: Result, request: Request, row_id: int | None, peer: Peer) -> Reply:
        report = Report(
            command=N_EVENT_REPORT_RQ,
            sop_class_uid=STORAGE_COMMITMENT_PUSH,
            sop_instance_uid=WELL_KNOWN_INSTANCE,
            type_id=event_type(result),
            data=event_information(result, request.context.transfer_syntax),
            on_answer=partial(self._settle, row_id, peer.name),
        )
        return Reply((Answer(SUCCESS),), report)

    def _settle(self, row_id: int | None, peer: str, status: int | None) -> None:
        """Note what became of the report on the same association."""
        if row_id is None:
            return
        now = self.clock.now()
        try:
            with self.ledger.begin() as change:
                if status == SUCCESS:
                    told = f"Peer '{peer}' was told on the association of its request."
                    change.commitments.move(row_id, CommitmentState.REPORTED, now, told)
                    return
                answer = "it was not answered" if status is None else f"answer 0x{status:04X}"
                change.commitments.postpone(
                    row_id,
                    now,
                    f"Could not be reported on the association of the request: {answer}.",
                    attempts=0,
                )
        except LedgerError as error:
            # The row still waits, so the peer is told again: twice is better than never.
            log.error("the end of a commitment report could not be written", reason=str(error))


def handlers(provider: CommitmentProvider) -> dict[tuple[str, int], Handler]:
    """The service, for the table of services."""
    act = guarded(Service.COMMITMENT, provider.peer_of, provider.act, INVALID_ARGUMENT)
    return {(STORAGE_COMMITMENT_PUSH, N_ACTION_RQ): act}


def _read_action(request: Request) -> tuple[str, tuple[Reference, ...]]:
    """Transaction UID and references, each once; no references where one of them is unsound.

    Raises:
        CannotUnderstandError: the data set cannot be read.
    """
    content = read_message(request.data or b"", request.context.transfer_syntax, {REFERENCED_SOPS})
    found = dict.fromkeys(
        Reference(item.text(REFERENCED_CLASS), item.text(REFERENCED_INSTANCE))
        for item in content.items(REFERENCED_SOPS)
    )
    sound = all(is_uid(ref.sop_class_uid) and is_uid(ref.sop_instance_uid) for ref in found)
    return content.text(TRANSACTION_UID), tuple(found) if sound else ()


def _duplicate(transaction_uid: str, references: tuple[Reference, ...]) -> Result:
    reason = FailureReason.DUPLICATE_TRANSACTION
    return Result(
        transaction_uid, (), tuple(Failure(reference, reason) for reference in references)
    )
