"""A PACS that lies on demand: what a node must survive without losing or doubling anything.

``pacs.behave(...)`` changes what it does from the next request on; ``pacs.behave()`` makes it
honest again. It keeps what it got by SOP Instance UID, counts how often each came, and writes down
what happened in the order in which it happened.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO

from pydicom.filereader import read_dataset
from pynetdicom import AE
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import build_context, build_role

from deploy.demo.pacs import free_port
from tests.acceptance.wire import (
    ASSOCIATE_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    COMMITMENT,
    EXPLICIT,
    HAS_DATA,
    IMPLICIT,
    N_ACTION_RQ,
    NO_DATA,
    P_DATA,
    RELEASE_RQ,
    command_set,
    element,
    message,
    uid_value,
    us,
)
from tests.lying_manners import (
    OTHER_TRANSACTION,
    STRANGER,
    Behaviour,
    Break,
    By,
    Commit,
    Event,
    Hang,
    Kept,
    Pair,
    Report,
)
from tests.lying_wire import (
    GoneError,
    Heard,
    Line,
    acceptance,
    read_association,
    rejection,
    release_response,
)

WELL_KNOWN = "1.2.840.10008.1.20.1.1"
_LIVENESS_S = 20.0
_N_EVENT_REPORT_RQ, _RESPONSE = 0x0100, 0x8000
C_FIND_RQ, PENDING = 0x0020, 0xFF00
SERIES = 0x0020000E


def series_of(data: bytes) -> str:
    """The Series Instance UID of a data set in Explicit VR Little Endian; "" where it has none."""
    if b"\x20\x00\x0e\x00UI" not in data:
        return ""
    found = read_dataset(
        BytesIO(data), False, True, stop_when=lambda tag, *_: tag > SERIES, specific_tags=[SERIES]
    )
    return str(found.get("SeriesInstanceUID", ""))


class LyingPacs:
    """The server; listens as soon as it is made, ends with ``close``.

    Args:
        ae_title: its own; any called title is answered.
        node: host, port and AE title of whoever is to be told reports on new associations.
        tls: makes it a TLS server.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        ae_title: str = "PACS",
        node: tuple[str, int, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.ae_title, self.node = ae_title, node
        self.port = free_port()
        self.kept: dict[str, Kept] = {}
        self.events: list[Event] = []
        self.owed: list[Report] = []
        self._calls: dict[str, Callable[[], None]] = {}
        self._tls = tls
        self._behaviour = Behaviour()
        self._stored = 0
        self._changed = threading.Condition(threading.RLock())
        self._ended = threading.Event()
        self._listener: socket.socket | None = None
        self._lines: list[Line] = []
        self._threads: list[threading.Thread] = []
        self.come_up()

    # --- what a test tells it ---

    def behave(self, **fields: object) -> None:
        """From now on do this, and otherwise be honest."""
        with self._changed:
            self._behaviour = Behaviour(**fields)  # type: ignore[arg-type]
            self._stored = 0

    def go_down(self) -> None:
        """Refuse connections, and reset those that there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._changed:
            lines, self._lines = self._lines, []
        for line in lines:
            line.wake()

    def come_up(self) -> None:
        """Listen, on the same port as before."""
        if self._listener is None:
            self._listener = socket.create_server((self.host, self.port), backlog=64)
            self._start(self._accept, self._listener)

    def at(self, kind: str, call: Callable[[], None]) -> None:
        """Have something called once, when the next event of a kind happens, before it goes on.

        Besides the events that are written down there are ``receiving``, when an object begins to
        come, ``answered``, when its answer has left, and ``acted``, the same for a request to
        commit.
        """
        with self._changed:
            self._calls[kind] = call

    def report_owed(self) -> list[int]:
        """Report all that is owed on new associations; the statuses, -1 where there was none."""
        with self._changed:
            owed, self.owed = self.owed, []
        return [self._report_anew(report) for report in owed]

    def close(self) -> None:
        """End it, and wait until it has ended; safe to call twice."""
        self._ended.set()
        self.go_down()
        for thread in self._threads:
            thread.join(_LIVENESS_S)

    # --- what a test asks it ---

    @property
    def doubled(self) -> dict[str, int]:
        """How often what came more than once came."""
        with self._changed:
            return {uid: kept.times for uid, kept in self.kept.items() if kept.times > 1}

    @property
    def conflicting(self) -> set[str]:
        """What came with different contents under one UID."""
        with self._changed:
            return {uid for uid, kept in self.kept.items() if len(kept.digests) > 1}

    def uids(self, kind: str) -> list[str]:
        """The UIDs of the events of a kind, in order."""
        with self._changed:
            return [event.uid for event in self.events if event.kind == kind]

    def count(self, kind: str) -> int:
        """How many events of a kind there were."""
        return len(self.uids(kind))

    def wait_for(self, kind: str, count: int = 1, within_s: float = _LIVENESS_S) -> None:
        """Wait until there were so many events of a kind."""
        with self._changed:
            found = self._changed.wait_for(lambda: self.count(kind) >= count, within_s)
        assert found, f"{count} × '{kind}' did not happen in {within_s:g} s: {self.events[-10:]}"

    # --- what it does ---

    def _note(self, kind: str, uid: str = "", status: int = 0) -> None:
        with self._changed:
            self.events.append(Event(kind, uid, status))
            self._changed.notify_all()
        self._reach(kind)

    def _reach(self, kind: str) -> None:
        """Do what is to be done at this moment, if anything is."""
        with self._changed:
            call = self._calls.pop(kind, None)
        if call is not None:
            call()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        if self._tls is not None:
            connection.settimeout(_LIVENESS_S)
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
            connection.settimeout(None)
        line = Line(connection, lambda: self._behaviour.bytes_per_s)
        with self._changed:
            self._lines.append(line)
        self._note("connected")
        try:
            if self._behaviour.hang is Hang.CONNECTION:
                self._ended.wait()
                return
            _Session(self, line).run()
        except GoneError:
            self._note("lost")
        finally:
            line.close()

    def _breaks(self, kind: Break) -> bool:
        """Whether it breaks now in this way; counts how often it did."""
        with self._changed:
            now = self._behaviour
            if now.breaks is not kind or now.breaks_left == 0:
                return False
            if now.breaks_left is not None:
                self._behaviour = replace(now, breaks_left=now.breaks_left - 1)
        self._note("broken")
        return True

    def _keep(self, sop_class: str, uid: str, data: bytes) -> int:
        """Take an object, or not; the status that it is answered with."""
        with self._changed:
            self._stored += 1
            now = self._behaviour
            status = uid in self.kept and now.again_status
            status = status or now.status_of.get(sop_class) or now.status(self._stored)
            if status and not 0xB000 <= status <= 0xBFFF:
                self._note("refused", uid, status)
                return status
            if self._stored in now.loses:
                self._note("forgotten", uid, status)
                return status
            kept = self.kept.setdefault(uid, Kept(sop_class, len(data), series_of(data)))
            kept.times += 1
            kept.digests.add(hashlib.sha256(data).hexdigest())
            self._note("stored", uid, status)
            return status

    def _report_for(self, transaction: str, pairs: Sequence[Pair]) -> Report | None:
        """What it says of these objects, if it says anything."""
        now = self._behaviour
        if now.commit is Commit.NEVER:
            return None
        with self._changed:
            held = {(kept.sop_class, uid) for uid, kept in self.kept.items()}
        if now.commit is Commit.EVERYTHING:
            held = set(pairs)
        failed = {pair: 0x0112 for pair in pairs if pair not in held}
        if now.commit in {Commit.NOTHING, Commit.HALF}:
            unwanted = pairs if now.commit is Commit.NOTHING else pairs[::2]
            failed |= dict.fromkeys(unwanted, now.failure_reason)
        committed = [pair for pair in pairs if pair not in failed]
        if now.commit is Commit.STRANGERS:
            committed.append(STRANGER)
        if now.commit is Commit.WRONG_TRANSACTION:
            transaction = OTHER_TRANSACTION
        return Report(transaction, tuple(committed), tuple(failed.items()))

    def _report_anew(self, report: Report) -> int:
        """Report on an association of its own, as SCP (PS3.7 D.3.3.4)."""
        assert self.node is not None, "nobody has said where the node listens"
        host, port, title = self.node
        entity = AE(self.ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _LIVENESS_S
        association = entity.associate(
            host,
            port,
            contexts=[build_context(COMMITMENT, [IMPLICIT, EXPLICIT])],
            ae_title=title,
            ext_neg=[build_role(COMMITMENT, scp_role=True)],
        )
        status = -1
        if association.is_established:
            answer, _ = association.send_n_event_report(
                report.data_set(), report.event_type, COMMITMENT, WELL_KNOWN
            )
            status = getattr(answer, "Status", -1)
            association.release()
        self._note("reported", report.transaction, status)
        return int(status)


class _Session:
    """One association."""

    def __init__(self, pacs: LyingPacs, line: Line) -> None:
        self._pacs, self._line = pacs, line
        self._syntaxes: dict[int, str] = {}

    @property
    def _now(self) -> Behaviour:
        return self._pacs._behaviour

    def run(self) -> None:
        if not self._associate():
            return
        while True:
            if self._now.hang is Hang.ASSOCIATION:
                self._pacs._note("hangs")
                self._pacs._ended.wait()
                return
            kind, length = self._line.read_header()
            if kind == RELEASE_RQ:
                self._line.read(length)
                self._line.send(release_response())
                self._pacs._note("released")
                return
            if kind != P_DATA:
                self._pacs._note("aborted")
                return
            if not self._answer(self._line.read_message(kind, length, self._look)):
                return

    def _associate(self) -> bool:
        kind, length = self._line.read_header()
        if kind != ASSOCIATE_RQ:
            return False
        asked = read_association(self._line.read(length))
        if self._now.rejects is not None:
            self._pacs._note("rejected")
            self._line.reject(rejection(*self._now.rejects))
            return False
        self._syntaxes = {
            number: syntaxes[0]
            for number, (abstract, syntaxes) in asked.contexts.items()
            if abstract not in self._now.refused
        }
        self._line.send(acceptance(asked, self._syntaxes))
        self._pacs._note("associated", asked.calling)
        return True

    def _look(self, elements: Mapping[int, bytes], length: int) -> None:
        """Where an object begins to come: perhaps that is enough of it."""
        if elements[0x100] != us(C_STORE_RQ):
            return
        self._pacs._reach("receiving")
        if self._pacs._breaks(Break.IN_OBJECT):
            self._line.read(length // 2)
            self._line.abort()
            raise GoneError

    def _answer(self, heard: Heard) -> bool:
        """Answer a message; False where the association is over."""
        command = heard.number(0x100)
        if command == C_STORE_RQ:
            return self._store(heard)
        if command == C_ECHO_RQ:
            self._pacs._note("echo")
            self._respond(heard, 0x0000)
        elif command == N_ACTION_RQ:
            self._commit(heard)
        elif command == C_FIND_RQ:
            self._find(heard)
        elif command == _N_EVENT_REPORT_RQ | _RESPONSE:
            self._pacs._note("confirmed", status=heard.number(0x900))
        else:
            self._respond(heard, 0x0211)
        return True

    def _store(self, heard: Heard) -> bool:
        pacs, line = self._pacs, self._line
        status = pacs._keep(heard.text(0x0002), heard.text(0x1000), heard.data)
        response = self._response(heard, status)
        if not status and pacs._breaks(Break.BEFORE_SUCCESS):
            line.reset()
            return False
        if not status and pacs._breaks(Break.IN_ANSWER):
            whole = message(heard.context_id, response)
            line.send(whole[: len(whole) // 2])
            line.reset()
            return False
        line.say(heard.context_id, response)
        pacs._reach("answered")
        if not status and pacs._breaks(Break.AFTER_SUCCESS):
            line.close()
            return False
        return True

    def _commit(self, heard: Heard) -> None:
        pacs = self._pacs
        implicit = self._syntaxes[heard.context_id] == IMPLICIT
        asked = decode(BytesIO(heard.data), implicit, True)
        pairs = [
            (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            for item in asked.ReferencedSOPSequence
        ]
        now, transaction = self._now, str(asked.TransactionUID)
        pacs._note("asked", transaction, now.action_status)
        report = None if now.action_status else pacs._report_for(transaction, pairs)
        if report is not None and now.by is By.SAME_FIRST:
            self._report(heard, report)
        self._respond(heard, now.action_status)
        pacs._reach("acted")
        if report is not None and now.by is By.SAME:
            self._report(heard, report)
        elif report is not None and now.by is By.NEW:
            pacs._start(pacs._report_anew, report)
        elif report is not None and now.by is By.LATER:
            with pacs._changed:
                pacs.owed.append(report)

    def _find(self, heard: Heard) -> None:
        """C-FIND: the objects of one series; nothing is known of patients and studies."""
        series = series_of(heard.data)
        with self._pacs._changed:
            kept = list(self._pacs.kept.items())
        for uid in [uid for uid, one in kept if series and one.series == series]:
            match = b"".join(
                (
                    element(0x00080018, "UI", uid),
                    element(0x00080052, "CS", "IMAGE"),
                    element(SERIES, "UI", series),
                )
            )
            self._line.say(heard.context_id, self._response(heard, PENDING, HAS_DATA), match)
        self._respond(heard, 0x0000)

    def _report(self, heard: Heard, report: Report) -> None:
        """Report on this association; the confirmation comes like any other message."""
        command = command_set(
            {
                0x0002: uid_value(COMMITMENT),
                0x0100: us(_N_EVENT_REPORT_RQ),
                0x0110: us(1),
                0x0800: us(HAS_DATA),
                0x1000: uid_value(WELL_KNOWN),
                0x1002: us(report.event_type),
            }
        )
        implicit = self._syntaxes[heard.context_id] == IMPLICIT
        data = encode(report.data_set(), implicit, True)
        self._line.say(heard.context_id, command, data)
        self._pacs._note("reported", report.transaction)

    def _respond(self, heard: Heard, status: int) -> None:
        self._line.say(heard.context_id, self._response(heard, status))

    def _response(self, heard: Heard, status: int, has_data: int = NO_DATA) -> bytes:
        """The response to a request (PS3.7 9.3, 10.3)."""
        elements = {
            0x0002: heard.elements.get(0x0002) or heard.elements[0x0003],
            0x0100: us(heard.number(0x0100) | _RESPONSE),
            0x0120: us(heard.number(0x0110)),
            0x0800: us(has_data),
            0x0900: us(status),
        }
        if named := heard.elements.get(0x1000) or heard.elements.get(0x1001):
            elements[0x1000] = named
        if heard.number(0x0100) == N_ACTION_RQ:
            elements[0x1008] = us(heard.number(0x1008))
        return command_set(elements)


@contextmanager
def lying_pacs(**arguments: object) -> Iterator[LyingPacs]:
    """A lying PACS that ends with the block."""
    pacs = LyingPacs(**arguments)  # type: ignore[arg-type]
    try:
        yield pacs
    finally:
        pacs.close()
