"""A worklist that is reached by DIMSE: UPS Pull SCU (PS3.4 CC.2, CC.3).

Every item is an instance of UPS Push, whichever class was negotiated, so that a request names that
one (PS3.4 CC.3.1.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from secondread.delivery.address import Address, shown
from secondread.delivery.dialogue import (
    ACTION_TYPE,
    N_ACTION_RQ,
    REQUESTED_CLASS,
    REQUESTED_INSTANCE,
)
from secondread.delivery.dicom_web import DataSet
from secondread.delivery.reach import Security
from secondread.delivery.telling.session import N_SET_RQ, Service, Session, converse
from secondread.delivery.telling.statuses import SUCCESS, describe_refusal, is_done, meaning_of
from secondread.delivery.telling.worklist.channel import GoneError, TakenError
from secondread.delivery.telling.worklist.content import DataElements, encode, state_change
from secondread.delivery.telling.worklist.found import decode
from secondread.delivery.telling.worklist.workitem import Claim, State
from secondread.dicom.messages import Element
from secondread.errors import CannotUnderstandError, DeliveryError, PeerUnreachableError

UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
UPS_PULL = Service("1.2.840.10008.5.1.4.34.6.3", "Unified Procedure Step - Pull")

_CHANGE_STATE = 1
# PS3.4 tables CC.2.1-2 to CC.2.6-2.
_MEANINGS = {
    0xC300: "the work item is completed or cancelled, and may not be changed any more",
    0xC301: "another performer has claimed the work item: our Transaction UID is not the right one",
    0xC302: "the work item is in progress already",
    0xC303: "a work item is scheduled when it is made, and never again",
    0xC304: "the work item lacks what its final state must say",
    0xC307: "the work item is not there, or is not one of this worklist",
    0xC308: "it does not know the AE title that is to be told",
    0xC309: "a work item starts as SCHEDULED",
    0xC310: "nobody has claimed the work item yet",
    0xC311: "the work item is completed",
    0xC312: "the performer of the work item cannot be reached",
    0xC313: "the performer of the work item chooses not to cancel it",
    0xC314: "this cannot be done with this work item",
    0xC315: "it does not report events",
    0xB304: "the work item is cancelled already",
    0xB306: "the work item is completed already",
    # PS3.4 table CC.2.8-2, of a search.
    0xA900: "the keys of the search do not match the SOP class",
    0xC000: "it cannot process the search",
}
_TAKEN = frozenset({0xC301, 0xC302})
# Warnings that an item is in its final state already: well where it is the one that was asked for.
_ENDED = {0xB304: State.CANCELED, 0xB306: State.COMPLETED}
_GONE = frozenset({0xC300, 0xC307, 0xC311, 0x0112, *_ENDED})


@dataclass(frozen=True, slots=True)
class DimseWorklist:
    """A manager at an address; ``security`` is TLS, None is plain DICOM."""

    address: Address
    security: Security | None = None

    @contextmanager
    def open(self) -> Iterator[DimseChannel]:
        """An association; see ``session.converse`` for what it raises."""
        with converse(self.address, UPS_PULL, self.security) as session:
            yield DimseChannel(self.address, session)


@dataclass(frozen=True, slots=True)
class DimseChannel:
    """Asks over one association."""

    address: Address
    session: Session

    def search(self, keys: DataElements, limit: int) -> list[DataSet]:
        """C-FIND (PS3.4 CC.2.8)."""
        syntax = self.session.transfer_syntax_uid
        found = self.session.find(UPS_PULL.sop_class_uid, encode(keys, syntax), limit)
        if found.status != SUCCESS:
            raise describe_refusal(
                shown(self.address), "the search for work", found.status, _MEANINGS
            )
        try:
            return [decode(identifier, syntax) for identifier in found.identifiers]
        except CannotUnderstandError:
            raise PeerUnreachableError(
                f"{shown(self.address)} answered the search for work with something that cannot "
                "be read; see its log."
            ) from None

    def update(self, claim: Claim, changes: DataElements) -> None:
        """N-SET (PS3.4 CC.2.6)."""
        status = self._ask(N_SET_RQ, _names(claim), changes)
        if not is_done(status):
            raise self._refusal("the change of a work item", status)

    def change_state(self, claim: Claim, state: State) -> None:
        """N-ACTION (PS3.4 CC.2.1)."""
        command = (*_names(claim), (ACTION_TYPE, "US", _CHANGE_STATE))
        status = self._ask(N_ACTION_RQ, command, state_change(claim, state))
        ended = _ENDED.get(status, state)
        if ended is not state or not is_done(status):
            raise self._refusal(f"the change of a work item to {state}", status)

    def _ask(self, kind: int, command: Sequence[Element], content: DataElements) -> int:
        return self.session.ask(kind, command, encode(content, self.session.transfer_syntax_uid))

    def _refusal(self, what: str, status: int) -> DeliveryError:
        sentence = (
            f"{shown(self.address)} answered {what} with 0x{status:04X}: "
            f"{meaning_of(status, _MEANINGS)}."
        )
        if status in _TAKEN:
            return TakenError(sentence)
        if status in _GONE:
            return GoneError(sentence)
        return describe_refusal(shown(self.address), what, status, _MEANINGS)


def _names(claim: Claim) -> tuple[Element, ...]:
    return (
        (REQUESTED_CLASS, "UI", UPS_PUSH),
        (REQUESTED_INSTANCE, "UI", claim.workitem_uid),
    )
