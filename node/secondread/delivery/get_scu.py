"""The C-GET SCU: fetches objects over the association on which they are asked for (PS3.4 C.4.3).

The archive needs to know no address of the node; it stores on the association that the node has
opened, on which the node is SCP of storage (role selection, PS3.7 D.3.3.4). Data sets go to disk
as they come, and an object is answered only when whoever receives it has kept it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secondread.delivery.address import Address, shown
from secondread.delivery.arrival import Arrival, Arrivals, Landing, Receive, file_start
from secondread.delivery.association import CONTEXTS_MAX, Identity, Offer
from secondread.delivery.dialogue import (
    AFFECTED_CLASS,
    AFFECTED_INSTANCE,
    C_GET_RQ,
    C_STORE_RQ,
    COMMAND_FIELD,
    MESSAGE_ID,
    RESPONDED_ID,
    RESPONSE,
    STATUS,
    Message,
    Take,
)
from secondread.delivery.link import garbage
from secondread.delivery.object_file import Kind
from secondread.delivery.query import (
    STUDY_ROOT_GET,
    Caller,
    Inquiry,
    Patience,
    inquire,
)
from secondread.delivery.query_status import (
    SOME_FAILED,
    SUCCESS,
    Progress,
    Retrieved,
    Tell,
    describe_refusal,
    describe_result,
    objects,
    read_failed_uids,
    read_progress,
)
from secondread.delivery.reach import Security
from secondread.delivery.wanted import Wanted
from secondread.dicom.messages import is_uid
from secondread.errors import (
    DataSetMismatchError,
    IntakeError,
    OutOfResourcesError,
    PeerUnreachableError,
    ServiceMissingError,
)

_PATIENCE = Patience(silence_s=300.0, whole_s=6 * 3600.0)

KINDS_MAX = CONTEXTS_MAX - 2
"""Two contexts are for C-GET itself."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SYNTAX = "1.2.840.10008.1.2"
# CR, DX, MG, CT, Enhanced CT, US, MR, Enhanced MR, Secondary Capture, NM, PET, Enhanced PET.
_IMAGES = ("1", "1.1", "1.2", "2", "2.1", "6.1", "4", "4.1", "7", "20", "128", "130")
# Segmentation, Enhanced, Comprehensive and Comprehensive 3D SR, Key Object Selection, presentation
# state, RT Structure Set, Encapsulated PDF.
_OTHERS = ("66.4", "88.22", "88.33", "88.34", "88.59", "11.1", "481.3", "104.1")
# Explicit and Implicit VR Little Endian; JPEG Baseline, Lossless; JPEG-LS Lossless; JPEG 2000
# Lossless and JPEG 2000; RLE.
_SYNTAXES = (".1", "", ".4.50", ".4.70", ".4.80", ".4.90", ".4.91", ".5")

USUAL_KINDS: tuple[Kind, ...] = tuple(
    Kind(f"{_STORAGE}{number}", f"{_SYNTAX}{syntax}")
    for numbers, syntaxes in ((_IMAGES, _SYNTAXES), (_OTHERS, _SYNTAXES[:2]))
    for number in numbers
    for syntax in syntaxes
)
"""What archives mostly hold; one association has no room for all that there is."""


@dataclass(frozen=True, slots=True)
class GetOrder:
    """What is fetched.

    Attributes:
        wanted: a study, a series or objects.
        landing: where to, and how much.
        kinds: SOP classes, each in a transfer syntax; what is of another kind the archive converts
            or counts as failed.
        tell: told of each pending response how far it has come.
        patience: for each PDU, and for all of it.

    Raises:
        ValueError: there are no kinds, or too many for one association.
    """

    wanted: Wanted
    landing: Landing
    kinds: tuple[Kind, ...] = USUAL_KINDS
    tell: Tell | None = None
    patience: Patience = _PATIENCE

    def __post_init__(self) -> None:
        """Check the number of kinds."""
        if not 0 < len(set(self.kinds)) <= KINDS_MAX:
            raise ValueError(f"One association has room for 1 to {KINDS_MAX} kinds of objects.")


def get(
    address: Address,
    order: GetOrder,
    receive: Receive,
    security: Security | None = None,
    identity: Identity | None = None,
) -> Retrieved:
    """Fetch objects; each is given to ``receive`` as it comes.

    ``security`` is TLS, or None for plain DICOM, and ``identity`` a user's name and passcode for
    archives that ask for one.

    Returns:
        How it ended: all sent, some of them, or nothing that matches.

    Raises:
        PeerUnreachableError: it does not answer, breaks off or is out of resources. What was taken
            before that stays taken, and the sentence says how many objects it was.
        PeerRefusedError: it does not do it, or not for this caller; ``ServiceMissingError`` where
            it has no C-GET, ``TooMuchError`` where more came than the landing takes.
        OutOfResourcesError: the disk is full, or ``receive`` says so.
    """
    kinds = dict.fromkeys(order.kinds)
    offers = {Offer(one.sop_class_uid, (one.transfer_syntax_uid,), True): one for one in kinds}
    arrivals = Arrivals(order.wanted, order.landing, receive)
    try:
        caller = Caller(security, identity)
        with inquire(address, STUDY_ROOT_GET, caller, list(offers)) as inquiry:
            contexts = {
                number: offers[offer]
                for offer, number in inquiry.agreement.contexts.items()
                if offer in offers
            }
            if not contexts:
                raise ServiceMissingError(
                    f"{shown(address)} does C-GET, but takes none of the kinds of objects that "
                    "were offered for it."
                )
            return _Getting(inquiry, contexts, arrivals).run(order)
    except PeerUnreachableError as error:
        if not arrivals.received:
            raise
        raise PeerUnreachableError(
            f"{error} Before that {objects(arrivals.received)} came and stayed."
        ) from None


@dataclass(slots=True)
class _Getting:
    """One retrieval; ``contexts`` are those on which objects may come."""

    inquiry: Inquiry
    contexts: Mapping[int, Kind]
    arrivals: Arrivals
    arrival: Arrival | None = None

    def run(self, order: GetOrder) -> Retrieved:
        """Ask, and take what comes until the final response."""
        self.inquiry.ask(C_GET_RQ, order.wanted.keys, order.patience)
        progress = Progress()
        while True:
            message = self._hear()
            if message.number(COMMAND_FIELD) == C_STORE_RQ:
                self._answer(message)
                continue
            response = self.inquiry.read_response(message, C_GET_RQ)
            progress = read_progress(response.command, progress)
            if response.is_pending:
                if order.tell is not None:
                    order.tell(progress)
                continue
            if response.status not in (SUCCESS, SOME_FAILED):
                raise describe_refusal(self.inquiry.address, self.inquiry.name, response.status)
            return Retrieved(
                describe_result(self.inquiry.address, response.status, progress),
                progress,
                self.arrivals.received,
                self.arrivals.refused,
                read_failed_uids(response.identifier),
            )

    def _hear(self) -> Message:
        """The next message; where it does not come whole, nothing of it stays on disk."""
        try:
            return self.inquiry.hear(self._divert)
        except BaseException:
            if self.arrival is not None:
                self.arrival.discard()
            raise

    def _divert(self, message: Message) -> Take | None:
        """Where the data set of a message goes: that of a sub-operation to a file."""
        self.arrival = None
        if message.number(COMMAND_FIELD) != C_STORE_RQ:
            return None
        kind = self.contexts.get(message.context_id)
        uid = message.text(AFFECTED_INSTANCE)
        if kind is None:
            raise garbage("an object on a presentation context that was not accepted for it")
        self.arrival = self.arrivals.begin()
        if message.text(AFFECTED_CLASS) == kind.sop_class_uid and is_uid(uid):
            self.arrival.write(file_start(kind, uid, self.inquiry.address.called))
        # Else there is no file meta information, and the data set will be found to be no file.
        return self.arrival.write

    def _answer(self, message: Message) -> None:
        """Have the object taken that has come, and answer its C-STORE (PS3.7 9.3.1.2)."""
        arrival, self.arrival = self.arrival, None
        status = SUCCESS
        try:
            if arrival is None:
                self.arrivals.refuse()
                raise DataSetMismatchError("A C-STORE without an object came.")
            self.arrivals.hand_over(arrival, message.text(AFFECTED_INSTANCE))
        except OutOfResourcesError:
            self.inquiry.abort()
            raise
        except IntakeError as error:
            status = error.dimse_status
        self.inquiry.say(
            message.context_id,
            (
                (AFFECTED_CLASS, "UI", message.text(AFFECTED_CLASS)),
                (COMMAND_FIELD, "US", C_STORE_RQ | RESPONSE),
                (RESPONDED_ID, "US", message.number(MESSAGE_ID)),
                (STATUS, "US", status),
                (AFFECTED_INSTANCE, "UI", message.text(AFFECTED_INSTANCE)),
            ),
        )
