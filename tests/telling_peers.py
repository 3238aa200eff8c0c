"""Peers that are told: a worklist manager, receivers of notices, and what a receiver checks.

The manager keeps its items strictly by PS3.4 CC; over DIMSE it speaks through pynetdicom, over the
web through ``http.server``, and it reads and writes data sets with pydicom alone.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
)

from secondread.delivery.address import Address
from secondread.delivery.telling.worklist.channel import Worklist
from secondread.delivery.telling.worklist.performer import find_work
from secondread.delivery.telling.worklist.workitem import (
    Cancellation,
    Criteria,
    Discontinuation,
    Output,
    Performed,
    claim_of,
)
from secondread.domain.code import Code
from secondread.domain.commitment import Reference
from tests.acceptance.wire import P_DATA, command_set, us
from tests.echo_peers import tcp_server
from tests.lying_wire import GoneError as WireGoneError
from tests.lying_wire import Heard, Line, acceptance, read_association
from tests.service_cases import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tests.web_peers import Asked, Conversation, WebPeer, web_peer

NODE = "SECONDREAD"
SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
DICOM_JSON = "application/dicom+json"
IN_PROGRESS, COMPLETED, CANCELED = "IN PROGRESS", "COMPLETED", "CANCELED"

SEGMENT, OTHER_WORK = Code("segment", "99TEST", ""), Code("measure", "99TEST", "")
STATION = Code("SECONDREAD", "99TEST", "SecondRead")
ITEM = "1.2.77"
OURS = claim_of(ITEM, b"secret" * 6)
THEIRS = claim_of(ITEM, b"another secret" * 3)
DONE = Performed(
    Code("segment", "99TEST", "Segmentação"),
    STATION,
    1_700_000_000.0,
    1_700_000_060.5,
    (Output("1.2.3", "1.2.3.9", (Reference(SegmentationStorage, "1.2.3.9.1"),), "ARCHIVE"),),
    "two lesions of the brain",
)
GIVEN_UP = Cancellation(1_700_000_000.0, Discontinuation.INCOMPLETE, "slices are missing")


def address(port: int, timeout_s: float = 5.0, called: str = "MANAGER") -> Address:
    return Address("127.0.0.1", port, called, NODE, timeout_s)


def coded(value: str, scheme: str = "99TEST", meaning: str = "a thing") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def scheduled(uid: str, code: str = "segment", **values: Any) -> Dataset:
    """An item as a scheduler makes it; '' as a code is none."""
    item = Dataset()
    item.SOPClassUID, item.SOPInstanceUID = UnifiedProcedureStepPush, uid
    item.PatientName, item.PatientID = "Doe^Jane", "4711"
    item.ProcedureStepState = "SCHEDULED"
    item.InputReadinessState = "READY"
    item.ScheduledProcedureStepPriority = "MEDIUM"
    item.ScheduledProcedureStepStartDateTime = "20260101120000"
    item.ScheduledWorkitemCodeSequence = [coded(code)] if code else []
    item.ScheduledStationNameCodeSequence = []
    item.StudyInstanceUID = "1.2.3"
    item.InputInformationSequence = []
    for name, value in values.items():
        setattr(item, name, value)
    return item


@dataclass
class Manager:
    """The manager's book; statuses are those of PS3.4 CC.

    Attributes:
        items: by UID, with their Transaction UID where they are claimed.
        keys: what was searched for, in order.
        lose: this many answers to changes are lost after the change was made.
        heeds_keys: whether a search heeds its keys, as not every manager does.
        heeds_cancel: whether it ends a search when it is asked to.
        answer: what is answered in place of doing anything, by kind of request.
    """

    items: dict[str, Dataset] = field(default_factory=dict)
    keys: list[Dataset] = field(default_factory=list)
    lose: int = 0
    heeds_keys: bool = True
    heeds_cancel: bool = True
    answer: dict[str, int] = field(default_factory=dict)
    changed: list[tuple[str, str]] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def add(self, *items: Dataset) -> None:
        self.items |= {str(item.SOPInstanceUID): item for item in items}

    def state(self, uid: str) -> str:
        return str(self.items[uid].ProcedureStepState)

    def search(self, keys: Dataset) -> Iterator[Dataset]:
        self.keys.append(keys)
        for item in list(self.items.values()):
            if not self.heeds_keys or _matches(item, keys):
                yield _visible(item)

    def set(self, uid: str, changes: Dataset) -> int:
        """N-SET (PS3.4 CC.2.6.3)."""
        if "set" in self.answer:
            return self.answer["set"]
        with self.lock:
            item = self.items.get(uid)
            if item is None:
                return 0xC307
            if item.ProcedureStepState in (COMPLETED, CANCELED):
                return 0xC300
            if item.ProcedureStepState == "SCHEDULED":
                return 0xC310
            if changes.get("TransactionUID") != item.TransactionUID:
                return 0xC301
            if "ProcedureStepState" in changes:
                return 0xC303
            item.update(changes)
            self.changed.append(("set", uid))
            return 0x0000

    def change_state(self, uid: str, change: Dataset) -> int:
        """N-ACTION, Change UPS State (PS3.4 table CC.1.1-2)."""
        if "action" in self.answer:
            return self.answer["action"]
        with self.lock:
            item = self.items.get(uid)
            if item is None:
                return 0xC307
            transaction = change.get("TransactionUID")
            wanted, now = change.ProcedureStepState, item.ProcedureStepState
            known = item.get("TransactionUID")
            if not transaction or (known and transaction != known):
                return 0xC301
            status = _transition(item, str(now), str(wanted))
            if status == 0x0000:
                item.ProcedureStepState = wanted
                item.TransactionUID = transaction
                self.changed.append((str(wanted), uid))
            return status


def _transition(item: Dataset, now: str, wanted: str) -> int:
    final = {COMPLETED: 0xB306, CANCELED: 0xB304}
    if wanted == "SCHEDULED":
        return 0xC303
    if now in final:
        return final[now] if wanted == now else 0xC300
    if wanted == IN_PROGRESS:
        return 0x0000 if now == "SCHEDULED" else 0xC302
    if now == "SCHEDULED":
        return 0xC310
    return 0x0000 if _meets_final_state(item, wanted) else 0xC304


def _meets_final_state(item: Dataset, state: str) -> bool:
    """PS3.4 table CC.2.5-3: 'P' for COMPLETED, 'X' for CANCELED."""
    if state == CANCELED:
        said = (item.get("ProcedureStepProgressInformationSequence") or [Dataset()])[0]
        reasons = said.get("ProcedureStepDiscontinuationReasonCodeSequence")
        return bool(reasons and reasons[0].CodeMeaning and said.ProcedureStepCancellationDateTime)
    done = (item.get("UnifiedProcedureStepPerformedProcedureSequence") or [Dataset()])[0]
    return (
        all(
            done.get(name)
            for name in (
                "PerformedStationNameCodeSequence",
                "PerformedProcedureStepStartDateTime",
                "PerformedWorkitemCodeSequence",
                "PerformedProcedureStepEndDateTime",
            )
        )
        and "OutputInformationSequence" in done
        and all(
            output.TypeOfInstances == "DICOM"
            and output.StudyInstanceUID
            and output.SeriesInstanceUID
            and output.ReferencedSOPSequence
            and (output.get("DICOMRetrievalSequence") or output.get("WADORSRetrievalSequence"))
            for output in done.OutputInformationSequence
        )
    )


def _visible(item: Dataset) -> Dataset:
    """Without the lock, which is nobody's business (PS3.4 CC.2.7.3)."""
    found = Dataset()
    found.update({element.tag: element for element in item})
    if "TransactionUID" in found:
        del found.TransactionUID
    return found


def _matches(item: Dataset, keys: Dataset) -> bool:
    """Single value and sequence matching (PS3.4 C.2.2.2)."""
    for key in keys:
        if key.keyword in ("SpecificCharacterSet",) or not key.value:
            continue
        value = item.get(key.tag)
        if isinstance(key.value, Sequence):
            items = value.value if value is not None else []
            if any(_has_value(one) for one in key.value) and not any(
                _matches(one, key.value[0]) for one in items
            ):
                return False
        elif value is None or str(value.value) != str(key.value):
            return False
    return True


def _has_value(item: Dataset) -> bool:
    return any(element.value for element in item)


# --- over DIMSE ---


@contextmanager
def dimse_manager(
    manager: Manager,
    *,
    syntaxes: tuple[str, ...] = SYNTAXES,
    context: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """The manager as UPS Pull SCP; gives its port."""

    def done(event: Any, status: int) -> tuple[int, None]:
        if manager.lose:
            manager.lose -= 1
            event.assoc.abort()
        return status, None

    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        if "find" in manager.answer:
            yield manager.answer["find"], None
            return
        for match in manager.search(event.identifier):
            if manager.heeds_cancel and event.is_cancelled:
                yield 0xFE00, None
                return
            yield 0xFF00, match

    def act(event: Any) -> tuple[int, None]:
        request = event.request
        assert request.RequestedSOPClassUID == UnifiedProcedureStepPush
        assert event.action_type == 1
        status = manager.change_state(
            str(request.RequestedSOPInstanceUID), event.action_information
        )
        return done(event, status)

    def set_(event: Any) -> tuple[int, None]:
        request = event.request
        assert request.RequestedSOPClassUID == UnifiedProcedureStepPush
        return done(
            event, manager.set(str(request.RequestedSOPInstanceUID), event.modification_list)
        )

    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_N_ACTION, act), (evt.EVT_N_SET, set_)]
    with _server(UnifiedProcedureStepPull, handlers, syntaxes, context) as port:
        yield port


@contextmanager
def notice_taker(
    take: Callable[[str, Dataset], int],
    *,
    syntaxes: tuple[str, ...] = SYNTAXES,
    context: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """An SCP of Instance Availability Notification; ``take`` is told UID and content."""

    def create(event: Any) -> tuple[int, Dataset]:
        assert event.request.AffectedSOPClassUID == InstanceAvailabilityNotification
        content = event.attribute_list
        status = take(str(event.request.AffectedSOPInstanceUID), content)
        if status < 0:
            event.assoc.abort()
        return max(status, 0), content

    handlers = [(evt.EVT_N_CREATE, create)]
    with _server(InstanceAvailabilityNotification, handlers, syntaxes, context) as port:
        yield port


@contextmanager
def _server(
    sop_class: str, handlers: Any, syntaxes: tuple[str, ...], context: ssl.SSLContext | None
) -> Iterator[int]:
    entity = AE("MANAGER")
    entity.require_called_aet = True
    entity.require_calling_aet = [NODE]
    entity.add_supported_context(sop_class, list(syntaxes))
    server: Any = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=context
    )
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        entity.shutdown()


# --- over the web ---

# PS3.18 11.6.3.1 and 11.7.3.1 leave it to the server which of 400 and 409 it takes.
_HTTP = {0x0000: 200, 0xB304: 200, 0xB306: 200, 0xC307: 404, 0xC302: 409, 0xC304: 409}


@contextmanager
def web_manager(manager: Manager, *, context: ssl.SSLContext | None = None) -> Iterator[WebPeer]:
    """The manager as origin server of UPS-RS."""

    def respond(talk: Conversation, asked: Asked) -> None:
        parts = urlsplit(asked.path)
        kind, *names = parts.path.removeprefix("/dicom-web/").split("/")
        assert kind == "workitems"
        query = parse_qsl(parts.query)
        if asked.method == "GET" and not names:
            _search(manager, talk, query)
        elif asked.method == "GET":
            item = manager.items.get(names[0])
            _say(talk, 404, []) if item is None else _say(talk, 200, [_visible(item)])
        else:
            _change(manager, talk, asked, names)

    with web_peer(respond, context=context) as peer:
        yield peer


def _search(manager: Manager, talk: Conversation, query: list[tuple[str, str]]) -> None:
    keys, limit = Dataset(), 100
    for name, value in query:
        if name == "limit":
            limit = int(value)
        elif name != "includefield":
            _put(keys, name.split("."), value)
    found = list(manager.search(keys))[:limit]
    _say(talk, 200 if found else 204, found)


def _put(keys: Dataset, path: list[str], value: str) -> None:
    for step in path[:-1]:
        if int(step, 16) not in keys:
            keys.add_new(int(step, 16), "SQ", [Dataset()])
        keys = keys[int(step, 16)].value[0]
    keys.add_new(int(path[-1], 16), "LO", value)


def _change(manager: Manager, talk: Conversation, asked: Asked, names: list[str]) -> None:
    assert asked.headers["Content-Type"] == DICOM_JSON
    (content,) = json.loads(asked.body)
    dataset = Dataset.from_json(content)
    if asked.method == "PUT":
        assert names[1:] == ["state"]
        status = manager.change_state(names[0], dataset)
    else:
        assert asked.method == "POST"
        query = dict(parse_qsl(urlsplit(asked.path).query))
        assert query["transaction-uid"] == dataset.TransactionUID
        status = manager.set(names[0], dataset)
    if manager.lose:
        manager.lose -= 1
        talk.hang_up()
        return
    _say(talk, _HTTP.get(status, 400), [])


def _say(talk: Conversation, status: int, found: list[Dataset]) -> None:
    body = json.dumps([item.to_json_dict() for item in found]).encode() if found else b""
    talk.say(status, body, Content_Type=DICOM_JSON)


# --- what a performer finds ---


def uids(worklist: Worklist, criteria: Criteria) -> list[str]:
    return [item.sop_instance_uid for item in find_work(worklist, criteria)]


# --- one that answers at the level of messages ---


@contextmanager
def rude_peer(respond: Callable[[Line, Heard], None]) -> Iterator[int]:
    """An SCP of everything; ``respond`` writes what it likes to each request."""

    def serve(connection: Any) -> None:
        connection.settimeout(10)
        line = Line(connection)
        with suppress(WireGoneError):
            _, length = line.read_header()
            asked = read_association(line.read(length))
            line.send(acceptance(asked, {n: s[0] for n, (_, s) in asked.contexts.items()}))
            while (header := line.read_header())[0] == P_DATA:
                respond(line, line.read_message(*header, lambda *_: None))

    with tcp_server(serve) as port:
        yield port


def response_to(heard: Heard, **changed: bytes | None) -> bytes:
    """A sound response, but for the elements that are changed, named as ``e0900``; None is none."""
    elements: dict[int, bytes | None] = {
        0x0100: us(heard.number(0x0100) | 0x8000),
        0x0120: us(heard.number(0x0110)),
        0x0800: us(0x0101),
        0x0900: us(0x0000),
    }
    elements |= {int(name[1:], 16): value for name, value in changed.items()}
    return command_set({tag: value for tag, value in elements.items() if value is not None})
