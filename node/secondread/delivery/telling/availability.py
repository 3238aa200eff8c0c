"""Instance Availability Notification SCU: where the results can be had (PS3.4 R).

One notice is about one study and one archive. Its UID is a function of what it says, so that a
retry names the same notice, and a peer that has it already says so (0111H) and counts as told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from secondread.delivery.address import Address, shown
from secondread.delivery.dialogue import AFFECTED_CLASS, AFFECTED_INSTANCE
from secondread.delivery.reach import Security
from secondread.delivery.telling.session import N_CREATE_RQ, Service, converse
from secondread.delivery.telling.statuses import SUCCESS, describe_refusal, is_done, meaning_of
from secondread.dicom.commitment_report import (
    REFERENCED_CLASS,
    REFERENCED_INSTANCE,
    REFERENCED_SOPS,
)
from secondread.dicom.messages import Element, is_uid, write_message
from secondread.dicom.uids import derive_uid
from secondread.domain import notice
from secondread.domain.commitment import Reference

INSTANCE_AVAILABILITY = Service("1.2.840.10008.5.1.4.33", "Instance Availability Notification")
OBJECTS_MAX = 5_000
"""Objects in one notice; more go into several."""

_REFERENCED_STEPS, _REFERENCED_SERIES = 0x00081111, 0x00081115
_RETRIEVE_AE_TITLE, _AVAILABILITY = 0x00080054, 0x00080056
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_DUPLICATE = 0x0111
_TITLE_LENGTH_MAX = 16


@dataclass(frozen=True, slots=True)
class Availability:
    """What is said: which objects of a study can be had, and from whom.

    Attributes:
        study_instance_uid: the study.
        series: the objects by their Series Instance UID; 1 to ``OBJECTS_MAX`` of them in all.
        retrieve_ae_title: of the archive that has them.
        state: how they can be had; the same for all.
        uid_root: the operator's UID root for the notice itself; '' is 2.25.
    """

    study_instance_uid: str
    series: Mapping[str, Sequence[Reference]]
    retrieve_ae_title: str
    state: notice.Availability = notice.Availability.ONLINE
    uid_root: str = ""

    def __post_init__(self) -> None:
        """Refuse what no peer could take.

        Raises:
            ValueError: there are no objects or too many, a UID is none, or a title is none.
        """
        objects = [reference for references in self.series.values() for reference in references]
        if not all(self.series.values()) or not 0 < len(objects) <= OBJECTS_MAX:
            raise ValueError(f"A notice is about 1 to {OBJECTS_MAX} objects, and no empty series.")
        uids = {self.study_instance_uid, *self.series}
        uids |= {uid for one in objects for uid in (one.sop_class_uid, one.sop_instance_uid)}
        if not all(map(is_uid, uids)):
            raise ValueError("A notice names study, series and objects by UIDs.")
        if not 0 < len(self.retrieve_ae_title.strip()) <= _TITLE_LENGTH_MAX:
            raise ValueError("An AE title has 1 to 16 characters.")

    @property
    def sop_instance_uid(self) -> str:
        """The UID of the notice; the same for the same content, in whatever order it comes."""
        objects = (
            f"{series}/{reference.sop_class_uid}/{reference.sop_instance_uid}"
            for series, references in self.series.items()
            for reference in references
        )
        said = (self.study_instance_uid, self.retrieve_ae_title, self.state, *sorted(objects))
        return derive_uid("instance availability", *said, root=self.uid_root)


def notify(address: Address, availability: Availability, security: Security | None = None) -> str:
    """Tell a peer what can be had (N-CREATE, PS3.4 R.3.2).

    Returns:
        Its remark, for the end of a sentence; '' where it has none.

    Raises:
        ServiceMissingError: the peer does not take such notices.
        PeerRefusedError: it refuses this caller or this notice.
        PeerUnreachableError: try again later, with the same content: it may have taken it.
    """
    command: Sequence[Element] = (
        (AFFECTED_CLASS, "UI", INSTANCE_AVAILABILITY.sop_class_uid),
        (AFFECTED_INSTANCE, "UI", availability.sop_instance_uid),
    )
    with converse(address, INSTANCE_AVAILABILITY, security) as session:
        data = encode(availability, session.transfer_syntax_uid)
        status = session.ask(N_CREATE_RQ, command, data)
        if status == SUCCESS:
            return ""
        if status == _DUPLICATE:
            return "it had the notice already"
        if is_done(status):
            return f"0x{status:04X}: {meaning_of(status)}"
        raise describe_refusal(shown(address), "the notice of availability", status)


def encode(availability: Availability, transfer_syntax_uid: str) -> bytes:
    """The data set of a notice (PS3.4 table R.3.2-1).

    Referenced Performed Procedure Step Sequence is empty (type 2): nobody has scheduled a step.
    """
    series = [
        (
            (REFERENCED_SOPS, "SQ", [_object(availability, one) for one in references]),
            (_SERIES, "UI", series_uid),
        )
        for series_uid, references in availability.series.items()
    ]
    elements: Sequence[Element] = (
        (_REFERENCED_STEPS, "SQ", ()),
        (_REFERENCED_SERIES, "SQ", series),
        (_STUDY, "UI", availability.study_instance_uid),
    )
    return write_message(elements, transfer_syntax_uid)


def _object(availability: Availability, reference: Reference) -> Sequence[Element]:
    return (
        (_RETRIEVE_AE_TITLE, "AE", availability.retrieve_ae_title),
        (_AVAILABILITY, "CS", str(availability.state)),
        (REFERENCED_CLASS, "UI", reference.sop_class_uid),
        (REFERENCED_INSTANCE, "UI", reference.sop_instance_uid),
    )
