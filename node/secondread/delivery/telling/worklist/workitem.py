"""What there is to do, who does it, and what came of it, as records (PS3.3 C.30, PS3.4 CC.2.5).

Nothing here says who the patient is: work is found by codes, and its images by their UIDs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from secondread.dicom.messages import is_uid
from secondread.dicom.uids import derive_uid
from secondread.domain.code import Code
from secondread.domain.commitment import Reference

_PERCENT_MAX = 100.0
_TEXT_LENGTH_MAX = 64


class State(StrEnum):
    """Procedure Step State (PS3.4 table CC.1.1-1)."""

    SCHEDULED = "SCHEDULED"
    """To be done, by whoever claims it first."""
    IN_PROGRESS = "IN PROGRESS"
    """Claimed; only who knows the Transaction UID may change it."""
    COMPLETED = "COMPLETED"
    """Done, and never changed again."""
    CANCELED = "CANCELED"
    """Given up, and never changed again."""


class Discontinuation:
    """Why work was given up: of PS3.16 CID 9300 what can happen to a node."""

    UNSPECIFIED = Code("110513", "DCM", "Discontinued for unspecified reason")
    EQUIPMENT_FAILURE = Code("110501", "DCM", "Equipment failure")
    WRONG_ENTRY = Code("110514", "DCM", "Incorrect worklist entry selected")
    INCORRECTLY_FORMATTED = Code("110521", "DCM", "Objects incorrectly formatted")
    NOT_SUPPORTED = Code("110522", "DCM", "Object Types not supported")
    INCOMPLETE = Code("110523", "DCM", "Object Set incomplete")
    RESOURCE_INADEQUATE = Code("110527", "DCM", "Resource inadequate")


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which work is looked for; it is always SCHEDULED, with its input READY.

    Attributes:
        workitem_codes: the kinds of work, of which an item must be one; empty is any.
        station_codes: the performers that it may be meant for; empty is any. An item that is meant
            for nobody in particular is found without this only.
        limit: how many items at most, for each pair of these codes.

    Raises:
        ValueError: nothing would be found.
    """

    workitem_codes: tuple[Code, ...] = ()
    station_codes: tuple[Code, ...] = ()
    limit: int = 100

    def __post_init__(self) -> None:
        """Check it."""
        if self.limit < 1:
            raise ValueError("At least one item is looked for.")


@dataclass(frozen=True, slots=True)
class Input:
    """Objects to be worked on, and where they can be had (PS3.4 table CC.2.5-2c).

    Attributes:
        study_instance_uid: '' where the item does not say.
        series_instance_uid: '' where the item does not say.
        objects: none where the whole series or study is meant.
        ae_titles: of archives that have them.
        urls: where WADO-RS gives them.
    """

    study_instance_uid: str
    series_instance_uid: str
    objects: tuple[Reference, ...]
    ae_titles: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workitem:
    """A Unified Procedure Step as it was found.

    Attributes:
        sop_instance_uid: names it.
        state: a ``State``, or what the manager calls it.
        priority: HIGH, MEDIUM or LOW.
        starts: when it should start, a DICOM DT as it came; it may be in the future.
        workitem_codes: what is to be done; meanings that are not ASCII are left out.
        station_codes: whom it is meant for; none is anybody.
        study_instance_uid: of the results, as the scheduler would have it; '' where it says none.
        inputs: what is to be worked on.
    """

    sop_instance_uid: str
    state: str
    priority: str
    starts: str
    workitem_codes: tuple[Code, ...]
    station_codes: tuple[Code, ...]
    study_instance_uid: str
    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """An item and the Transaction UID that makes it ours (PS3.4 CC.1.1, the Locking UID).

    Whoever knows the Transaction UID can change the item, so that it is for no log.

    Raises:
        ValueError: one of them is no UID.
    """

    workitem_uid: str
    transaction_uid: str

    def __post_init__(self) -> None:
        """Check it."""
        if not (is_uid(self.workitem_uid) and is_uid(self.transaction_uid)):
            raise ValueError("A claim names item and transaction by UIDs.")


def claim_of(workitem_uid: str, secret: bytes) -> Claim:
    """The node's claim to an item: the same for ever, and nobody without the secret can tell it.

    A claim that is asked for again, because its answer was lost or the node was killed, is so the
    same claim. Each node needs a secret of its own (``observe.keys.read_secret``).
    """
    return Claim(workitem_uid, derive_uid("workitem transaction", workitem_uid, secret.hex()))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is: percent, and a few words without anybody's name.

    Raises:
        ValueError: it is not within 0 and 100, or the words are more than 64 characters.
    """

    percent: float
    description: str = ""

    def __post_init__(self) -> None:
        """Check it."""
        if not (math.isfinite(self.percent) and 0 <= self.percent <= _PERCENT_MAX):
            raise ValueError("Progress is 0 to 100 percent.")
        _check_text(self.description)


@dataclass(frozen=True, slots=True)
class Output:
    """Results of one series, and where they can be had: by an AE title, a URL or both.

    Raises:
        ValueError: there are no objects, a UID is none, or nobody has them.
    """

    study_instance_uid: str
    series_instance_uid: str
    objects: tuple[Reference, ...]
    retrieve_ae_title: str = ""
    retrieve_url: str = ""

    def __post_init__(self) -> None:
        """Check it."""
        uids = [uid for one in self.objects for uid in (one.sop_class_uid, one.sop_instance_uid)]
        if not uids or not all(map(is_uid, (self.study_instance_uid, *uids))):
            raise ValueError("Output names its study and one or more objects by UIDs.")
        if not is_uid(self.series_instance_uid):
            raise ValueError("Output names its series by a UID.")
        if not (self.retrieve_ae_title or self.retrieve_url):
            raise ValueError("Output says where it can be had.")


@dataclass(frozen=True, slots=True)
class Performed:
    """What a completed item must say (PS3.4 table CC.2.5-3, final state 'P').

    Attributes:
        workitem: what was done; mostly the code that was scheduled.
        station: who did it.
        started_at: seconds since the epoch, UTC.
        ended_at: likewise, and not before.
        outputs: none where the work led to no object.
        description: a few words without anybody's name; '' is none.

    Raises:
        ValueError: it ends before it starts, or the words are more than 64 characters.
    """

    workitem: Code
    station: Code
    started_at: float
    ended_at: float
    outputs: tuple[Output, ...]
    description: str = ""

    def __post_init__(self) -> None:
        """Check it."""
        if not self.started_at <= self.ended_at:
            raise ValueError("Work does not end before it starts.")
        _check_text(self.description)


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Why an item is given up (PS3.4 table CC.2.5-3, final state 'X').

    Attributes:
        at: when; seconds since the epoch, UTC.
        reason: one of ``Discontinuation``, or another of PS3.16 CID 9300.
        description: a few words without anybody's name; '' is none.

    Raises:
        ValueError: the words are more than 64 characters.
    """

    at: float
    reason: Code = Discontinuation.UNSPECIFIED
    description: str = ""

    def __post_init__(self) -> None:
        """Check it."""
        _check_text(self.description)


def _check_text(text: str) -> None:
    if len(text) > _TEXT_LENGTH_MAX or not (text.isprintable() and "\\" not in text):
        raise ValueError(f"A description has at most {_TEXT_LENGTH_MAX} characters, in one line.")
