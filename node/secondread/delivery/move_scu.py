"""The C-MOVE SCU: has an archive send objects to the node's own AE title (PS3.4 C.4.2).

What is moved comes to intake, as from any peer, over associations that the archive opens. So the
archive has to be a peer that may store here, and the node's AE title, address and port have to be
entered there. What came before a fault has come.
"""

from __future__ import annotations

from dataclasses import dataclass

from secondread.delivery.address import Address, shown
from secondread.delivery.association import Identity
from secondread.delivery.dialogue import C_MOVE_RQ, MOVE_DESTINATION
from secondread.delivery.query import STUDY_ROOT_MOVE, Caller, Inquiry, Patience, inquire
from secondread.delivery.query_status import (
    DESTINATION_UNKNOWN,
    SOME_FAILED,
    SUCCESS,
    Progress,
    Retrieved,
    Tell,
    describe_refusal,
    describe_result,
    read_failed_uids,
    read_progress,
)
from secondread.delivery.reach import Security
from secondread.delivery.wanted import Wanted
from secondread.errors import DeliveryError, PeerRefusedError

_PATIENCE = Patience(silence_s=600.0, whole_s=6 * 3600.0)
_AE_TITLE_MAX = 16


@dataclass(frozen=True, slots=True)
class MoveOrder:
    """What is moved, and where to.

    Attributes:
        wanted: a study, a series or objects.
        destination: the AE title that the archive sends to; it knows address and port.
        tell: told of each pending response how far it has come.
        patience: an archive need not say anything until it has sent all (PS3.4 C.4.2.3.2), so it
            gets longer than for an answer.

    Raises:
        ValueError: the destination is no AE title.
    """

    wanted: Wanted
    destination: str
    tell: Tell | None = None
    patience: Patience = _PATIENCE

    def __post_init__(self) -> None:
        """Check the AE title (PS3.5 6.2)."""
        title = self.destination
        if not title.strip() or len(title) > _AE_TITLE_MAX or not title.isprintable():
            raise ValueError("A destination is an AE title of 1 to 16 characters.")
        if not title.isascii() or "\\" in title:
            raise ValueError("An AE title is in ASCII and has no backslash.")


def move(
    address: Address,
    order: MoveOrder,
    security: Security | None = None,
    identity: Identity | None = None,
) -> Retrieved:
    """Have objects sent to a destination, and wait until the archive says that it has done so.

    Args:
        address: the archive.
        order: what goes where.
        security: TLS; None is plain DICOM.
        identity: a user's name and passcode for archives that ask for one.

    Returns:
        How it ended: all sent, some of them, or nothing that matches.

    Raises:
        PeerUnreachableError: it does not answer, breaks off or is out of resources; objects may
            have been sent all the same.
        PeerRefusedError: it does not do it, or not for this caller; ``ServiceMissingError`` where
            it has no C-MOVE at all.
    """
    with inquire(address, STUDY_ROOT_MOVE, Caller(security, identity)) as inquiry:
        return _move(inquiry, order)


def _move(inquiry: Inquiry, order: MoveOrder) -> Retrieved:
    to = (MOVE_DESTINATION, "AE", order.destination)
    inquiry.ask(C_MOVE_RQ, order.wanted.keys, order.patience, to)
    progress = Progress()
    while True:
        response = inquiry.read_response(inquiry.hear(), C_MOVE_RQ)
        progress = read_progress(response.command, progress)
        if response.is_pending:
            if order.tell is not None:
                order.tell(progress)
            continue
        if response.status not in (SUCCESS, SOME_FAILED):
            raise _refusal(inquiry, order, response.status)
        sentence = describe_result(inquiry.address, response.status, progress)
        failed = read_failed_uids(response.identifier)
        return Retrieved(sentence, progress, failed_uids=failed)


def _refusal(inquiry: Inquiry, order: MoveOrder, status: int) -> DeliveryError:
    """A final status as an error: what is mostly wrong is that the node is not entered there."""
    answered = f"{shown(inquiry.address)} answered C-MOVE with 0x{status:04X}"
    entry = f"enter '{order.destination}' there, with the address and the DICOM port of this node"
    if status == DESTINATION_UNKNOWN:
        return PeerRefusedError(f"{answered}: it does not know the move destination; {entry}.")
    if 0xC000 <= status <= 0xCFFF:
        # Orthanc answers so to a destination that it does not know.
        return PeerRefusedError(
            f"{answered}: it does not know the move destination, has not got what was asked for, "
            f"or cannot process it. Unless that is done, {entry}; else its log says why."
        )
    return describe_refusal(inquiry.address, inquiry.name, status)
