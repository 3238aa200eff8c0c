"""The messages of one association: put together, served, answered (PS3.7 chapters 6 to 10)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from secondread.access.quotas import QuotaBook
from secondread.dicom.contexts import VERIFICATION
from secondread.domain.network import Peer
from secondread.errors import (
    CannotUnderstandError,
    DataSetMismatchError,
    OutOfResourcesError,
    SecondReadError,
    SopClassNotSupportedError,
    WriteFailedError,
)
from secondread.intake.commands import (
    COMMAND_BYTES_MAX,
    Command,
    MalformedCommandError,
    encode_message,
    encode_request,
    encode_response,
    read_command,
)
from secondread.intake.commit import Committer
from secondread.intake.dimse import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    RESPONSE,
    SUCCESS,
    UNRECOGNISED_OPERATION,
    Answer,
    Caller,
    Context,
    Reply,
    Report,
    Request,
    ServiceTable,
)
from secondread.intake.examine import Announcement
from secondread.intake.journal import Journal
from secondread.intake.negotiation import WINDOW_MAX, Agreement
from secondread.intake.reception import Arrival, Begin, Limits, Reception, Sender
from secondread.intake.releases import Releases
from secondread.intake.space import Space
from secondread.intake.storing import Outcome
from secondread.intake.upper_layer import ProtocolError

log = structlog.stdlib.get_logger(__name__)

_DATA_BYTES_MAX = 4 << 20
_UID = re.compile(r"[0-9.]{1,64}")
_REPORT_ID = 1
_SUCCESS = Answer(SUCCESS)
_REPORTS_MAX = 16
_ENDLESS = 2
"""How many times the largest object may be thrown away before the association is ended."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What serves the messages of all associations.

    ``storage`` are the SOP classes it stores. ``overloaded`` says that the ledger does not keep up.
    ``begin`` has a part of a file written early. ``releases`` keeps account of who brings what.
    """

    journal: Journal
    committer: Committer
    quotas: QuotaBook
    space: Space
    limits: Limits
    storage: frozenset[str]
    services: ServiceTable
    new_incoming: Callable[[], str]
    overloaded: Callable[[], bool]
    begin: Begin
    releases: Releases


class Conversation:
    """Messages in, answers out; everything here happens in the reactor's thread.

    Args:
        desk: what serves the messages.
        caller: who is at the other end, as services are told.
        peer: the same, as the allow-list knows it.
        agreement: the accepted contexts.
        maximum_length: the largest P-DATA-TF that the caller takes.
        send: sends bytes; does nothing where the association is over.
        work: runs a function in a worker thread, and what it returns in the reactor's.
    """

    def __init__(
        self,
        desk: Desk,
        caller: Caller,
        peer: Peer,
        agreement: Agreement,
        maximum_length: int,
        send: Callable[[bytes], None],
        work: Callable[[Callable[[], Callable[[], None]]], None],
    ) -> None:
        self._desk = desk
        self._caller = caller
        self._peer = peer
        self._contexts = agreement.contexts
        self._maximum_length = maximum_length
        self._sender = Sender(peer.name, peer.ae_title, peer.quiet_s)
        self._send = send
        self._work = work
        self._command_bytes = bytearray()
        self._context: Context | None = None
        self._command: Command | None = None
        self._reception: Reception | None = None
        self._data = bytearray()
        self._data_too_large = False
        # The first has been sent; without a window the next one waits for its answer
        # (PS3.7 D.3.3.3.1).
        self._reports: deque[tuple[Context, Report]] = deque()
        self._over = False
        self._number = desk.releases.open()
        self.outstanding = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should be read before something is answered."""
        return self.outstanding >= WINDOW_MAX

    @property
    def unfinished(self) -> bool:
        """Whether more of a message is due."""
        return self._context is not None

    @property
    def due(self) -> int:
        """How many bytes at least are still to come of an object."""
        return 0 if self._reception is None else self._reception.due

    def fragment(self, context_id: int, data: memoryview, *, command: bool, last: bool) -> None:
        """Take a piece of a message.

        Raises:
            ProtocolError: it does not belong there.
        """
        context = self._context
        if context is None or context.id != context_id:
            if context is not None:
                raise ProtocolError("A message came on two presentation contexts.")
            context = self._contexts.get(context_id)
            if context is None:
                raise ProtocolError("A message came on a context that was not accepted.")
            self._context = context
        if command:
            if self._command is not None:
                raise ProtocolError("A command came where a data set was due.")
            if len(self._command_bytes) + len(data) > COMMAND_BYTES_MAX:
                raise ProtocolError(f"A command set of more than {COMMAND_BYTES_MAX} bytes.")
            self._command_bytes += data
            if last:
                self._begin(context)
            return
        if self._command is None:
            raise ProtocolError("A data set came without a command.")
        if self._reception is not None:
            self._reception.feed(data)
            if self._reception.size_bytes > _ENDLESS * self._desk.limits.object_bytes:
                raise ProtocolError("An object does not end.")
        elif len(self._data) + len(data) > _DATA_BYTES_MAX:
            self._data_too_large = True
            self._data.clear()
        elif not self._data_too_large:
            self._data += data
        if last:
            self._complete(context, self._command)

    def drain(self) -> None:
        """The memory of the fragments so far is used again from now on."""
        if self._reception is not None:
            self._reception.drain()

    def end(self, *, released: bool) -> None:
        """The association is over; what is half here is removed, what is whole goes on.

        ``released`` says that the peer ended it in order.
        """
        self._over = True
        self._desk.releases.end(self._number, released=released)
        if self._reception is not None:
            self._reception.abandon()
            self._reception = None
        while self._reports:
            self._tell(self._reports.popleft()[1], None)

    def _begin(self, context: Context) -> None:
        """A command set is complete."""
        try:
            command = read_command(self._command_bytes)
        except MalformedCommandError as error:
            raise ProtocolError(str(error)) from None
        finally:
            self._command_bytes.clear()
        self._command = command
        if command.field == C_STORE_RQ:
            self._reception = self._receive(context, command)
        if not command.has_data_set:
            self._complete(context, command)

    def _receive(self, context: Context, command: Command) -> Reception:
        announced = Announcement(
            command.sop_class_uid, command.sop_instance_uid, context.transfer_syntax
        )
        reception = Reception(
            announced,
            self._sender,
            min(command.urgency, self._peer.priority_max),
            self._desk.new_incoming(),
            self._desk.limits,
            self._desk.begin,
        )
        try:
            self._check_announcement(context, announced, has_data_set=command.has_data_set)
        except SecondReadError as error:
            reception.refuse(error)
        return reception

    def _check_announcement(
        self, context: Context, announced: Announcement, *, has_data_set: bool
    ) -> None:
        if context.abstract_syntax not in self._desk.storage:
            raise SopClassNotSupportedError("Nothing can be stored on this presentation context.")
        if announced.sop_class_uid != context.abstract_syntax:
            raise DataSetMismatchError(
                "The SOP Class UID in the C-STORE request is not that of its presentation context."
            )
        if not _UID.fullmatch(announced.sop_instance_uid):
            raise CannotUnderstandError("The SOP Instance UID in the C-STORE request is not a UID.")
        if not has_data_set:
            raise CannotUnderstandError("The C-STORE request has no data set.")
        if self._desk.space.low:
            raise OutOfResourcesError("Too little disk space is left to take the object.")
        if self._desk.overloaded():
            raise OutOfResourcesError("The ledger cannot be written at the moment.")
        if sentence := self._desk.quotas.exhausted(self._peer):
            raise OutOfResourcesError(sentence)

    def _complete(self, context: Context, command: Command) -> None:
        """A whole message is here."""
        self._command = self._context = None
        reception, self._reception = self._reception, None
        data = bytes(self._data) if command.has_data_set else None
        too_large, self._data_too_large = self._data_too_large, False
        self._data.clear()
        if reception is not None:
            self._store(context, command, reception)
        elif command.field & RESPONSE:
            self._answered(command)
        elif command.field == C_ECHO_RQ and context.abstract_syntax == VERIFICATION.uid:
            self._desk.journal.echoed(self._peer.name)
            self._answer(context, command, _SUCCESS)
        elif command.field == C_CANCEL_RQ:
            # Whatever it means has been answered already.
            return
        elif too_large:
            self._refuse(context, command, RESOURCE_LIMITATION, "The data set is too large.")
        else:
            self._serve(context, command, data)

    def _store(self, context: Context, command: Command, reception: Reception) -> None:
        if not reception.walks_late or reception.failure is not None:
            self._keep(context, command, _completed(reception))
            return
        self.outstanding += 1
        # The worker reads it later than the reactor's thread reads on.
        reception.drain()

        def run() -> Callable[[], None]:
            arrival = _completed(reception)

            def go_on() -> None:
                self.outstanding -= 1
                self._keep(context, command, arrival)

            return go_on

        self._work(run)

    def _keep(self, context: Context, command: Command, arrival: Arrival | SecondReadError) -> None:
        """Have a whole object stored."""
        if isinstance(arrival, SecondReadError):
            self._stored(context, command, 0, arrival)
            return
        if sentence := self._desk.quotas.take(self._peer, arrival.size_bytes):
            arrival.discard()
            self._stored(context, command, arrival.size_bytes, OutOfResourcesError(sentence))
            return
        self.outstanding += 1

        def done(outcome: Outcome) -> None:
            self.outstanding -= 1
            if not isinstance(outcome, SecondReadError):
                study = arrival.examined.identity.study_instance_uid
                self._desk.releases.bring(self._number, study)
            self._stored(context, command, arrival.size_bytes, outcome)

        self._desk.committer.submit(arrival, done)

    def _stored(
        self, context: Context, command: Command, size_bytes: int, outcome: Outcome
    ) -> None:
        uid = command.sop_instance_uid
        if isinstance(outcome, SecondReadError):
            if isinstance(outcome, WriteFailedError):
                self._desk.space.filled()
            self._desk.journal.object_refused(self._peer.name, uid, outcome)
            self._answer(context, command, Answer(outcome.dimse_status, str(outcome)))
            return
        self._answer(context, command, _SUCCESS)
        self._desk.journal.stored(self._peer.name, uid, size_bytes, outcome)

    def _serve(self, context: Context, command: Command, data: bytes | None) -> None:
        """Give a request to its service, in a worker thread."""
        handler = self._desk.services.handlers.get((context.abstract_syntax, command.field))
        if handler is None:
            self._refuse(
                context, command, UNRECOGNISED_OPERATION, "This node does not do that here."
            )
            return
        request = Request(
            command.field,
            command.message_id,
            command.sop_class_uid,
            command.sop_instance_uid,
            command.type_id,
            context,
            data,
        )
        self.outstanding += 1

        def run() -> Callable[[], None]:
            try:
                reply = handler(self._caller, request)
            except SecondReadError as error:
                reply = Reply((Answer(error.dimse_status, str(error)),))
            except Exception:
                # The peer must get an answer and the association must live on; the fault is ours.
                log.exception("a service failed", peer=self._peer.name, command=command.field)
                reply = Reply((Answer(PROCESSING_FAILURE, "The node failed; its log says why."),))
            return lambda: self._replied(context, command, reply)

        self._work(run)

    def _replied(self, context: Context, command: Command, reply: Reply) -> None:
        self.outstanding -= 1
        for answer in reply.answers:
            if answer.status not in {SUCCESS, 0xFF00, 0xFF01}:
                self._desk.journal.request_refused(
                    self._peer.name, command.field, answer.status, answer.comment
                )
            self._answer(context, command, answer)
        if reply.report is None:
            return
        if self._over or len(self._reports) >= _REPORTS_MAX:
            self._tell(reply.report, None)
            return
        self._reports.append((context, reply.report))
        if len(self._reports) == 1:
            self._send_report()

    def _send_report(self) -> None:
        context, report = self._reports[0]
        request = Request(
            report.command,
            _REPORT_ID,
            report.sop_class_uid,
            report.sop_instance_uid,
            report.type_id,
            context,
            report.data,
        )
        message = encode_message(
            context.id, encode_request(request), report.data, self._maximum_length
        )
        self._send(message)

    def _answered(self, command: Command) -> None:
        """The peer's response to the node's own request."""
        if not self._reports or command.responded_id != _REPORT_ID:
            raise ProtocolError("A response came that nobody asked for.")
        self._tell(self._reports.popleft()[1], command.status)
        if self._reports:
            self._send_report()

    def _tell(self, report: Report, status: int | None) -> None:
        def run() -> Callable[[], None]:
            report.on_answer(status)
            return lambda: None

        self._work(run)

    def _refuse(self, context: Context, command: Command, status: int, comment: str) -> None:
        self._desk.journal.request_refused(self._peer.name, command.field, status, comment)
        self._answer(context, command, Answer(status, comment))

    def _answer(self, context: Context, command: Command, answer: Answer) -> None:
        response = encode_response(command, answer)
        self._send(encode_message(context.id, response, answer.data, self._maximum_length))


def _completed(reception: Reception) -> Arrival | SecondReadError:
    try:
        return reception.complete()
    except SecondReadError as error:
        return error
