"""DIMSE messages as plain records: what came in, what goes out (PS3.7 6.3, 9, 10, E)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

C_STORE_RQ = 0x0001
C_FIND_RQ = 0x0020
C_ECHO_RQ = 0x0030
N_EVENT_REPORT_RQ = 0x0100
N_SET_RQ = 0x0120
N_ACTION_RQ = 0x0130
N_CREATE_RQ = 0x0140
C_CANCEL_RQ = 0x0FFF
RESPONSE = 0x8000
"""Set in the Command Field of every response (PS3.7 E.1)."""

SUCCESS = 0x0000
PENDING = 0xFF00
PROCESSING_FAILURE = 0x0110
NO_SUCH_SOP_INSTANCE = 0x0112
NO_SUCH_EVENT_TYPE = 0x0113
DUPLICATE_SOP_INSTANCE = 0x0111
INVALID_ARGUMENT = 0x0115
INVALID_SOP_INSTANCE = 0x0117
CLASS_NOT_SUPPORTED = 0x0122
NO_SUCH_ACTION = 0x0123
NOT_AUTHORISED = 0x0124
DUPLICATE_INVOCATION = 0x0210
UNRECOGNISED_OPERATION = 0x0211
MISTYPED_ARGUMENT = 0x0212
RESOURCE_LIMITATION = 0x0213

NO_DATA_SET = 0x0101
"""Command Data Set Type of a message without a data set; any other value says there is one."""


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    id: int
    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of an association."""

    peer: str
    ae_title: str
    address: str
    called: str
    """The title it called the node by."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole data set; not for C-STORE, whose data set goes to disk.

    Attributes:
        command: the Command Field, such as ``N_ACTION_RQ``.
        message_id: to be repeated in the answer.
        sop_class_uid: Affected or Requested SOP Class UID, whichever the command has.
        sop_instance_uid: Affected or Requested SOP Instance UID; '' where there is none.
        type_id: Action Type ID or Event Type ID; 0 where there is none.
        context: the presentation context it came on.
        data: the encoded data set, or None.
    """

    command: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    type_id: int
    context: Context
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; command, message id and UIDs are filled in from the request.

    ``sop_instance_uid`` replaces that of the request where it is not empty (an N-CREATE whose
    instance UID the SCP chooses). ``data`` is a data set in the context's transfer syntax.
    ``error_id`` is sent where it is not 0 (PS3.7 E.1).
    """

    status: int
    comment: str = ""
    data: bytes | None = None
    sop_instance_uid: str = ""
    error_id: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """A request that the node itself makes on the same association after its answers.

    ``on_answer`` is called once, from a worker thread: with the status of the peer's response, or
    with None where the association ended, or too much time passed, before it came.
    """

    command: int
    sop_class_uid: str
    sop_instance_uid: str
    type_id: int
    data: bytes | None
    on_answer: Callable[[int | None], None]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service says to a request: its answers in order, then perhaps a request of its own."""

    answers: tuple[Answer, ...]
    report: Report | None = None


Handler = Callable[[Caller, Request], Reply]
"""A service: called in a worker thread; a ``SecondReadError`` it raises becomes the answer."""


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """Which handler serves which (SOP class, command); what is not in it is refused."""

    handlers: Mapping[tuple[str, int], Handler] = field(default_factory=dict)
