"""What the answers to C-FIND, C-MOVE and C-GET mean, in words (PS3.4 C.4, PS3.7 C)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secondread.delivery.address import Address, shown
from secondread.delivery.dialogue import COMPLETED, FAILED, REMAINING, WITH_WARNING, Message
from secondread.delivery.link import ConversationError, Ending
from secondread.delivery.wording import abortion
from secondread.dicom.messages import Item, is_uid
from secondread.errors import DeliveryError, PeerRefusedError, PeerUnreachableError

PENDING = frozenset({0xFF00, 0xFF01})
SUCCESS, SOME_FAILED = 0x0000, 0xB000
DESTINATION_UNKNOWN = 0xA801

_FAILED_UIDS = 0x00080058
_CANCELLED = 0xFE00
_MEANINGS = {
    0x0110: "processing failure",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0211: "unrecognised operation",
    0x0213: "resource limitation",
    0xA700: "it is out of resources",
    0xA701: "it is out of resources and cannot count what matches",
    0xA702: "it is out of resources and cannot send the objects",
    DESTINATION_UNKNOWN: "it does not know the move destination",
    0xA900: "it does not understand the keys",
    _CANCELLED: "somebody cancelled it there",
}
# PS3.7 C.5.20 and C.4.1: these pass.
_PASSING = frozenset({0x0110, 0x0213, _CANCELLED})
_BREAKS = {
    Ending.SILENT: "did not answer {name} in time",
    Ending.STALLED: "stopped reading during {name}",
    Ending.CLOSED: "closed the connection during {name}",
    Ending.RELEASED: "asked to end the association instead of answering {name}",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a retrieval has come, as the peer counts; None where it does not say (PS3.7 C.3)."""

    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warned: int | None = None


Tell = Callable[[Progress], None]
"""Told how far a retrieval has come; what it raises ends the retrieval and goes to the caller."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """How a retrieval ended that the peer carried out, be it in part.

    Attributes:
        sentence: it in words.
        progress: the peer's last counts; it need not give any.
        received: objects that came here and were taken; 0 for C-MOVE, where they come to intake.
        refused: objects that came here and were not taken.
        failed_uids: SOP Instance UIDs that the peer says it could not send; it may name fewer than
            it counts.
    """

    sentence: str
    progress: Progress
    received: int = 0
    refused: int = 0
    failed_uids: frozenset[str] = frozenset()

    @property
    def is_complete(self) -> bool:
        """Whether the peer says that it has sent all, and all that came was taken."""
        return not self.progress.failed and not self.failed_uids and not self.refused


def meaning_of(status: int) -> str:
    """A status in words, for the end of a sentence."""
    if status in _MEANINGS:
        return _MEANINGS[status]
    if 0xA700 <= status <= 0xA7FF:
        return _MEANINGS[0xA700]
    if 0xC000 <= status <= 0xCFFF:
        # Orthanc answers so where there is no such study.
        return "it cannot process it, or has not got what was asked for; its log says why"
    return "refused"


def describe_refusal(address: Address, what: str, status: int) -> DeliveryError:
    """A final status that is no success as an error; ``what`` was answered with it."""
    said = f"{shown(address)} answered {what} with 0x{status:04X}: {meaning_of(status)}."
    if status in _PASSING or 0xA700 <= status <= 0xA7FF:
        return PeerUnreachableError(f"{said} It may be asked again later.")
    return PeerRefusedError(said)


def describe_break(error: ConversationError, address: Address, name: str) -> DeliveryError:
    """An association that broke while it was used for the service ``name``."""
    if error.ending is Ending.ABORTED:
        return PeerUnreachableError(f"{shown(address)}, during {name}: {abortion(*error.detail)}")
    what = error.detail[0] if error.detail else "something that is not DICOM"
    found = _BREAKS.get(error.ending, f"sent {what} during {{name}}").format(name=name)
    return PeerUnreachableError(f"{shown(address)} {found}. It may be asked again.")


def read_progress(message: Message, before: Progress) -> Progress:
    """The counts of a response; those that it leaves out stay as they were."""

    def count(element: int, known: int | None) -> int | None:
        return message.number(element) if message.says(element) else known

    return Progress(
        count(REMAINING, before.remaining),
        count(COMPLETED, before.completed),
        count(FAILED, before.failed),
        count(WITH_WARNING, before.warned),
    )


def read_failed_uids(identifier: Item | None) -> frozenset[str]:
    """Failed SOP Instance UID List of a final response (PS3.4 C.4.2.1.4.2)."""
    if identifier is None:
        return frozenset()
    return frozenset(filter(is_uid, identifier.texts(_FAILED_UIDS)))


def describe_result(address: Address, status: int, progress: Progress) -> str:
    """A retrieval that was carried out, be it in part."""
    sent, failed = progress.completed or 0, progress.failed or 0
    if progress.warned:
        # PS3.7 9.1.4.1.9 counts these apart; they were stored all the same.
        sent += progress.warned
    if status == SUCCESS and not failed:
        if progress.completed is None:
            return f"{shown(address)} has sent all that matches, and does not say how much."
        if not sent:
            return f"{shown(address)} has nothing that matches."
        return f"{shown(address)} has sent {objects(sent)}."
    return (
        f"{shown(address)} has sent {objects(sent)} and could not send "
        f"{failed or 'some'}: ask for those again, or see its log."
    )


def objects(count: int) -> str:
    """A number of objects in words."""
    return "1 object" if count == 1 else f"{count} objects"
