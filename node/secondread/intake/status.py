"""Study Root C-FIND SCP, at study level and by Study Instance UID only: what has arrived?

It is for a sender that wants to know whether its study is here, not for browsing: who does not know
the Study Instance UID learns nothing, and who knows it learns two numbers and nothing of the
patient. So every other key, level or wildcard is refused with 0xA900 (PS3.4 C.4.1.1.4), and keys
without a value, by which a client asks for what the node does not tell, are left out of the
answer, as PS3.4 C.4.1.1.3.2 allows for keys that are not supported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from secondread.dicom.messages import Element, Item, is_uid, read_message, write_message
from secondread.domain.network import Service
from secondread.intake.dimse import (
    C_FIND_RQ,
    PENDING,
    SUCCESS,
    Answer,
    Caller,
    Handler,
    Reply,
    Request,
)
from secondread.intake.guard import PeerLookup, guarded, refused
from secondread.store import Ledger

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
CONTEXTS = (STUDY_ROOT_FIND,)
"""The abstract syntaxes of this service."""

IDENTIFIER_DOES_NOT_MATCH = 0xA900
"""PS3.4 table C.4-1."""
STUDIES_MAX = 100
"""Studies that may be asked about at once."""

_LEVEL, _STUDY = 0x00080052, 0x0020000D
_RETRIEVE_AE_TITLE, _AVAILABILITY = 0x00080054, 0x00080056
_SERIES_COUNT, _INSTANCE_COUNT = 0x00201206, 0x00201208
# Specific Character Set and Timezone Offset say how to read the others (PS3.4 C.4.1.1.3.1).
_NOT_KEYS = frozenset({0x00080005, 0x00080201})


@dataclass(frozen=True, slots=True)
class StatusProvider:
    """Answers questions after studies."""

    ledger: Ledger
    peer_of: PeerLookup

    def find(self, caller: Caller, request: Request) -> Reply:
        """C-FIND: one pending answer for each study of which there is anything, then Success."""
        syntax = request.context.transfer_syntax
        query = read_message(request.data or b"", syntax, ())
        if query.text(_LEVEL) != "STUDY":
            return refused(IDENTIFIER_DOES_NOT_MATCH, "Only level STUDY is answered.")
        if any(_other_keys(query)):
            return refused(IDENTIFIER_DOES_NOT_MATCH, "Only Study Instance UID may have a value.")
        uids = query.texts(_STUDY)
        if not uids or len(uids) > STUDIES_MAX or not all(is_uid(uid) for uid in uids):
            return refused(
                IDENTIFIER_DOES_NOT_MATCH, f"1 to {STUDIES_MAX} Study Instance UIDs are needed."
            )
        with self.ledger.read() as view:
            extents = view.holdings.extents(uids)
        answers = []
        for uid, extent in sorted(extents.items()):
            elements: tuple[Element, ...] = (
                (_LEVEL, "CS", "STUDY"),
                (_RETRIEVE_AE_TITLE, "AE", ""),
                (_AVAILABILITY, "CS", "ONLINE"),
                (_STUDY, "UI", uid),
                (_SERIES_COUNT, "IS", str(extent.series)),
                (_INSTANCE_COUNT, "IS", str(extent.instances)),
            )
            answers.append(Answer(PENDING, data=write_message(elements, syntax)))
        return Reply((*answers, Answer(SUCCESS)))


def handlers(provider: StatusProvider) -> dict[tuple[str, int], Handler]:
    """The service, for the table of services."""
    find = guarded(Service.STATUS, provider.peer_of, provider.find, IDENTIFIER_DOES_NOT_MATCH)
    return {(STUDY_ROOT_FIND, C_FIND_RQ): find}


def _other_keys(query: Item) -> Iterator[bool]:
    """Of each element that is neither the level nor the study: does it have a value?"""
    for tag, value in query.values.items():
        group_length = tag & 0xFFFF == 0
        if tag not in {_LEVEL, _STUDY, *_NOT_KEYS} and not group_length:
            yield bool(value.strip(b" \0"))
