"""MPPS and Instance Availability Notification SCP: what a peer says it has done or has.

Notices are hints: they are written down with the UIDs they name, and nothing else of them, so that
no patient is in them. A scanner whose MPPS is refused may stop its worklist, so as little as can be
is refused:

- The state rules of PS3.4 F.7 hold. N-CREATE says IN PROGRESS (F.7.2.1.3, else 0x0106) and brings a
  new instance (else 0x0111); N-SET names an instance that this peer created (else 0x0112) and that
  is IN PROGRESS (F.7.2.2.3, else 0x0110 with the Error Comment of F.7.2.2.4).
- A notice of availability names its study (PS3.4 table R.3.2-1, else 0x0120); without it there is
  nothing that it could be a hint of.
- Whatever else the standard requires may be missing. A step without a status counts as IN PROGRESS,
  one without a study is kept by itself, and UIDs that are none are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import structlog

from secondread.dicom.messages import Item, is_uid, read_message
from secondread.dicom.uids import derive_uid
from secondread.domain.clock import Clock
from secondread.domain.network import Service
from secondread.domain.notice import UNKNOWN, Availability, Notice, NoticeKind, StepStatus
from secondread.intake.dimse import (
    DUPLICATE_SOP_INSTANCE,
    INVALID_SOP_INSTANCE,
    N_CREATE_RQ,
    N_SET_RQ,
    NO_SUCH_SOP_INSTANCE,
    PROCESSING_FAILURE,
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

MODALITY_PERFORMED_PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"
INSTANCE_AVAILABILITY = "1.2.840.10008.5.1.4.33"
CONTEXTS = (MODALITY_PERFORMED_PROCEDURE_STEP, INSTANCE_AVAILABILITY)
"""The abstract syntaxes of these services."""

# PS3.7 C.5.
INVALID_ATTRIBUTE_VALUE, MISSING_ATTRIBUTE = 0x0106, 0x0120
# PS3.4 table F.7.2-2: Error Comment and Error ID.
_NO_LONGER = "Performed Procedure Step Object may no longer be updated"
_NO_LONGER_ID = 0xA710

_STATUS = 0x00400252
_STUDY = 0x0020000D
_SCHEDULED_STEPS, _PERFORMED_SERIES = 0x00400270, 0x00400340
_IMAGES, _OTHER_OBJECTS = 0x00081140, 0x00400220
_REFERENCED_SERIES, _REFERENCED_SOPS = 0x00081115, 0x00081199
_INSTANCE, _AVAILABILITY = 0x00081155, 0x00080056
_SEQUENCES = (
    _SCHEDULED_STEPS,
    _PERFORMED_SERIES,
    _IMAGES,
    _OTHER_OBJECTS,
    _REFERENCED_SERIES,
    _REFERENCED_SOPS,
)


@dataclass(frozen=True, slots=True)
class NoticeProvider:
    """Takes notices down."""

    ledger: Ledger
    peer_of: PeerLookup
    clock: Clock

    def create_step(self, caller: Caller, request: Request) -> Reply:
        """N-CREATE of a performed procedure step."""
        content = _read(request)
        if content.text(_STATUS) not in {"", StepStatus.IN_PROGRESS}:
            return refused(INVALID_ATTRIBUTE_VALUE, "A step is created IN PROGRESS.")
        studies = [step.text(_STUDY) for step in content.items(_SCHEDULED_STEPS)]
        # Without a study the step can still be set, and a later message may name its objects.
        known = list(dict.fromkeys(uid for uid in studies if is_uid(uid))) or [""]
        first = Notice(
            kind=NoticeKind.MPPS,
            sop_instance_uid="",
            study_instance_uid="",
            peer=caller.peer,
            status=StepStatus.IN_PROGRESS,
            at=self.clock.now(),
            objects=_performed(content),
        )
        return self._create(request, first, known)

    def set_step(self, caller: Caller, request: Request) -> Reply:
        """N-SET of a performed procedure step."""
        content = _read(request)
        status = content.text(_STATUS) or StepStatus.IN_PROGRESS
        if status not in set(StepStatus):
            return refused(INVALID_ATTRIBUTE_VALUE, "Not a Performed Procedure Step Status.")
        with self.ledger.begin() as change:
            found = change.notices.find(NoticeKind.MPPS, request.sop_instance_uid)
            if not found or found[0].peer != caller.peer:
                return refused(NO_SUCH_SOP_INSTANCE, "This peer has created no such step.")
            if found[0].status != StepStatus.IN_PROGRESS:
                answer = Answer(PROCESSING_FAILURE, _NO_LONGER, error_id=_NO_LONGER_ID)
                return Reply((answer,))
            # PS3.7 10.1.3: an attribute that is set replaces the one before it as a whole.
            named = _PERFORMED_SERIES in content.sequences
            objects = _performed(content) if named else found[0].objects
            now = self.clock.now()
            change.notices.replace(
                [replace(said, status=str(status), at=now, objects=objects) for said in found]
            )
            change.looks.hurry([said.study_instance_uid for said in found], now)
        _log(found[0], str(status), len(objects))
        return Reply((Answer(SUCCESS),))

    def create_availability(self, caller: Caller, request: Request) -> Reply:
        """N-CREATE of an instance availability notification."""
        content = _read(request)
        study = content.text(_STUDY)
        if not is_uid(study):
            return refused(MISSING_ATTRIBUTE, "Study Instance UID is missing.")
        series = content.items(_REFERENCED_SERIES)
        items = [item for one in series for item in one.items(_REFERENCED_SOPS)]
        first = Notice(
            kind=NoticeKind.AVAILABILITY,
            sop_instance_uid="",
            study_instance_uid="",
            peer=caller.peer,
            status=_worst(item.text(_AVAILABILITY) for item in items),
            at=self.clock.now(),
            objects=_uids(items),
        )
        return self._create(request, first, [study])

    def _create(self, request: Request, said: Notice, studies: list[str]) -> Reply:
        """Write a new notice down for each of its studies, unless its UID is taken."""
        uid, chosen = request.sop_instance_uid, ""
        if not uid:
            # PS3.7 10.1.5: without one, the SCP gives it.
            chosen = uid = derive_uid("notice", said.peer, repr(said.at), str(request.message_id))
        if not is_uid(uid):
            return refused(INVALID_SOP_INSTANCE, "The SOP Instance UID is no UID.")
        with self.ledger.begin() as change:
            if change.notices.find(said.kind, uid):
                return refused(DUPLICATE_SOP_INSTANCE, "This notice is here already.")
            change.notices.replace(
                [replace(said, sop_instance_uid=uid, study_instance_uid=study) for study in studies]
            )
            change.looks.hurry(studies, said.at)
        _log(said, said.status, len(said.objects))
        return Reply((Answer(SUCCESS, sop_instance_uid=chosen),))


def handlers(provider: NoticeProvider) -> dict[tuple[str, int], Handler]:
    """The services, for the table of services."""
    table: dict[tuple[str, int], Handler] = {
        (MODALITY_PERFORMED_PROCEDURE_STEP, N_CREATE_RQ): provider.create_step,
        (MODALITY_PERFORMED_PROCEDURE_STEP, N_SET_RQ): provider.set_step,
        (INSTANCE_AVAILABILITY, N_CREATE_RQ): provider.create_availability,
    }
    return {
        key: guarded(Service.NOTICES, provider.peer_of, handler, PROCESSING_FAILURE)
        for key, handler in table.items()
    }


def _read(request: Request) -> Item:
    return read_message(request.data or b"", request.context.transfer_syntax, _SEQUENCES)


def _performed(content: Item) -> tuple[str, ...]:
    """The objects that a step names (PS3.3 C.4.15)."""
    return _uids(
        item
        for series in content.items(_PERFORMED_SERIES)
        for item in (*series.items(_IMAGES), *series.items(_OTHER_OBJECTS))
    )


def _uids(items: Iterable[Item]) -> tuple[str, ...]:
    found = dict.fromkeys(item.text(_INSTANCE) for item in items)
    return tuple(uid for uid in found if is_uid(uid))


def _worst(values: Iterable[str]) -> str:
    """The worst availability of all, so that ONLINE means that everything is."""
    order = [str(value) for value in Availability]
    found = set(values)
    if not found or not found <= set(order):
        return UNKNOWN
    return max(found, key=order.index)


def _log(said: Notice, status: str, objects: int) -> None:
    log.info("notice", kind=said.kind, peer=said.peer, status=status, objects=objects)
