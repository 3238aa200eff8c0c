"""An echo that says where it fails: name, TCP, TLS, association, contexts and answer, in words.

Every step takes ``timeout_s`` at the most, whatever the other side does. A step after one that
failed is skipped. A second connection is opened only to find out what else is spoken there.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from secondread.access.tls import client_context
from secondread.delivery.address import Address
from secondread.delivery.association import Offer, request_pdu
from secondread.delivery.conversation import ECHO_SYNTAXES, Accepted, Conversation
from secondread.delivery.handshake import (
    NotTlsError,
    alert_sentence,
    mistrust,
    peek_certificate,
    read_shown,
    shake_hands,
    speaks_tls,
)
from secondread.delivery.link import ABORT_PDU, ConversationError, Ending
from secondread.delivery.reach import Place, connect, look_up, open_connection
from secondread.delivery.statuses import SUCCESS, meaning_of
from secondread.delivery.wording import NOT_DICOM_SPOKEN, TLS_PORT, WEB_SERVER, abortion, rejection
from secondread.dicom.contexts import VERIFICATION
from secondread.domain.network import TlsSettings
from secondread.errors import DeliveryError, PeerRefusedError, PeerUnreachableError

_PROBE_S = 3.0
RESULT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR",
}
"""What the node's results are."""
_OTHER_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.1.20.1": "Storage Commitment",
}


class Outcome(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a diagnosis.

    Attributes:
        name: ``name``, ``tcp``, ``tls``, ``association``, ``contexts``, ``storage`` or ``echo``.
        outcome: how it ended; ``storage`` is a note.
        sentence: what was found, and what to do where it failed.
        milliseconds: how long it took.
    """

    name: str
    outcome: Outcome
    sentence: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """Whom to call, and how.

    Attributes:
        address: host, port and titles; its time-out holds for each step.
        tls: the files for TLS, or None for plain DICOM.
        ca: the CA of the other side's certificate, where it is not the one in ``tls``.
        certificate_sha256: fingerprint of the certificate that is known of it; its names are not
            looked at then.
        takes_results: whether results are to go there.
    """

    address: Address
    tls: TlsSettings | None = None
    ca: Path | None = None
    certificate_sha256: str = ""
    takes_results: bool = False


def diagnose(call: Call) -> Iterator[Step]:
    """Take step after step, and tell what each found; never raises for what the peer does.

    Raises:
        ConfigurationError: the files for TLS cannot be used.
    """
    context = _client_context(call)
    with ExitStack() as stack:
        visit = _Visit(call, stack, context)
        failed = False
        for name, take in visit.steps():
            if failed:
                yield Step(name, Outcome.SKIPPED, "Not reached.", 0.0)
                continue
            started = time.monotonic()
            try:
                outcome, sentence = take()
            except DeliveryError as error:
                outcome, sentence = Outcome.FAILED, str(error)
            yield Step(name, outcome, sentence, (time.monotonic() - started) * 1000)
            failed = outcome is Outcome.FAILED


def conclude(call: Call, steps: Sequence[Step]) -> str:
    """The whole diagnosis in one sentence."""
    shown = f"'{call.address.called}' at {call.address.host}:{call.address.port}"
    for step in steps:
        if step.outcome is Outcome.FAILED:
            return f"{shown}: {step.sentence[:1].lower()}{step.sentence[1:]}"
    spent = sum(step.milliseconds for step in steps)
    storage = next((step for step in steps if step.name == "storage"), None)
    if call.takes_results and storage is not None and _REFUSED in storage.sentence:
        return (
            f"{shown} answered in {spent:.0f} ms, but results cannot be stored there: it refuses "
            f"{storage.sentence.partition(_REFUSED)[2]}"
        )
    return f"{shown} answered in {spent:.0f} ms."


def is_sound(steps: Sequence[Step]) -> bool:
    """Whether the echo was answered."""
    return bool(steps) and all(step.outcome is not Outcome.FAILED for step in steps)


_REFUSED = "It refuses "
Found = tuple[Outcome, str]
Take = Callable[[], Found]


def _client_context(call: Call) -> ssl.SSLContext | None:
    if call.tls is None:
        return None
    return client_context(call.tls, ca=call.ca, check_hostname=not call.certificate_sha256)


@dataclass(slots=True)
class _Visit:
    """The state from step to step."""

    call: Call
    stack: ExitStack
    context: ssl.SSLContext | None
    places: list[Place] = field(default_factory=list)
    place: Place = (socket.AF_INET, "")
    connection: socket.socket | None = None
    conversation: Conversation | None = None
    accepted: Accepted | None = None

    def steps(self) -> Iterator[tuple[str, Take]]:
        yield "name", self.resolve
        yield "tcp", self.connect
        yield "tls", self.secure
        yield "association", self.associate
        yield "contexts", self.look_at_contexts
        yield "storage", self.look_at_storage
        yield "echo", self.echo

    def resolve(self) -> Found:
        """Ask for the addresses of the name."""
        host = self.call.address.host
        self.places = look_up(host, self.call.address.port, self.call.address.timeout_s)
        found = ", ".join(address for _, address in self.places)
        if found == host:
            return Outcome.OK, f"{host} is an address, no name."
        return Outcome.OK, f"'{host}' is {found}."

    def connect(self) -> Found:
        """Open a TCP connection to the first address that takes one."""
        address = self.call.address
        reached = connect(self.places, address.port, address.timeout_s)
        self.connection, self.place = reached.connection, reached.place
        self.stack.enter_context(closing(reached.connection))
        others = f" Before that: {' '.join(reached.troubles)}" if reached.troubles else ""
        return Outcome.OK, f"{self.place[1]}:{address.port} takes connections.{others}"

    def secure(self) -> Found:
        """Put TLS on the connection."""
        if self.context is None or self.call.tls is None:
            return Outcome.SKIPPED, "Plain DICOM was asked for."
        assert self.connection is not None
        host = self.call.address.host
        has_certificate = self.call.tls.certificate != Path()
        try:
            secure = shake_hands(self.connection, self.context, host, has_certificate)
        except ssl.SSLCertVerificationError as error:
            with closing(self.probe()) as again:
                shown = peek_certificate(again)
            raise PeerRefusedError(mistrust(error, host, shown)) from None
        except NotTlsError:
            raise PeerRefusedError(self.not_tls()) from None
        self.stack.enter_context(closing(secure))
        self.connection = secure
        cipher = secure.cipher()
        certificate = read_shown(secure)
        assert certificate is not None
        known = self.call.certificate_sha256
        other = (
            " That is not the certificate which certificate_sha256 of this peer names."
            if known and known != certificate.sha256
            else ""
        )
        named = cipher[0] if cipher else "no cipher"
        return Outcome.OK, f"{secure.version()}, {named}. {certificate.sentence}{other}"

    def not_tls(self) -> str:
        """What is spoken where TLS is not."""
        request = request_pdu(self.call.address, [Offer(VERIFICATION.uid, ECHO_SYNTAXES)])
        try:
            with closing(self.probe()) as again:
                again.sendall(request)
                start = again.recv(6)
                again.sendall(ABORT_PDU)
        except OSError:
            start = b""
        if start[:1] in (b"\x02", b"\x03", b"\x07") and start[1:2] == b"\x00":
            return (
                "It speaks plain DICOM on this port: call its TLS port, or switch TLS on there "
                "(or call without --tls, where that is safe)."
            )
        if start.startswith(b"HTTP"):
            return WEB_SERVER
        return (
            "It broke off at the first TLS message: it does not speak TLS on this port, or refuses "
            "our versions and ciphers."
        )

    def probe(self) -> socket.socket:
        """A second connection to the same address."""
        address = self.call.address
        patience_s = min(_PROBE_S, address.timeout_s)
        return open_connection(self.place, address.port, patience_s, address.timeout_s)

    def associate(self) -> Found:
        """Ask for the association, with the contexts that are of interest."""
        assert self.connection is not None
        address = self.call.address
        self.conversation = Conversation(self.connection, address.timeout_s)
        classes = [VERIFICATION.uid, *RESULT_CLASSES, *_OTHER_CLASSES]
        try:
            self.accepted = self.conversation.associate(address, classes)
        except ConversationError as error:
            raise self.trouble(error) from None
        return Outcome.OK, f"'{address.called}' accepts '{address.calling}'."

    def look_at_contexts(self) -> Found:
        """Whether an echo is possible at all."""
        assert self.accepted is not None and self.conversation is not None
        if VERIFICATION.uid in self.accepted.contexts:
            return Outcome.OK, "It accepts Verification."
        self.conversation.release()
        raise PeerRefusedError(
            "It accepts the association but not the Verification service, so it cannot be echoed; "
            "switch Verification (C-ECHO) on there, or allow it to this caller."
        )

    def look_at_storage(self) -> Found:
        """What else it accepts; nothing is sent."""
        assert self.accepted is not None
        names = {**_OTHER_CLASSES, **RESULT_CLASSES}
        taken = [name for uid, name in names.items() if uid in self.accepted.contexts]
        refused = [name for uid, name in names.items() if uid not in self.accepted.contexts]
        parts = [f"It accepts {_listed(taken)} too."] if taken else []
        lacking = [name for name in refused if name in RESULT_CLASSES.values()]
        if self.call.takes_results:
            refused = [name for name in refused if name not in lacking]
        if refused:
            parts.append(f"It does not accept {_listed(refused)}.")
        if self.call.takes_results and lacking:
            parts.append(f"{_REFUSED}{_listed(lacking)}, which results are: switch it on there.")
        return Outcome.NOTE, " ".join(parts)

    def echo(self) -> Found:
        """The echo itself, and the release."""
        assert self.accepted is not None and self.conversation is not None
        try:
            status = self.conversation.echo(self.accepted, VERIFICATION.uid)
        except ConversationError as error:
            raise self.trouble(error) from None
        self.conversation.release()
        if status != SUCCESS:
            raise PeerRefusedError(
                f"It answered C-ECHO with 0x{status:04X} ({meaning_of(status)}); its log says why."
            )
        return Outcome.OK, "C-ECHO was answered with 0x0000 (Success)."

    def trouble(self, error: ConversationError) -> DeliveryError:
        """What to tell a person when the talking failed."""
        address = self.call.address
        match error.ending:
            case Ending.SILENT | Ending.CLOSED if self.is_tls_port():
                return PeerRefusedError(TLS_PORT)
            case Ending.SILENT | Ending.STALLED:
                return PeerUnreachableError(
                    f"It took the connection and then was silent for {address.timeout_s:g} s: its "
                    "service may hang or be busy, or this is no DICOM port."
                )
            case Ending.CLOSED:
                return PeerUnreachableError(
                    "It closed the connection without an answer: many do so with a caller that is "
                    f"not entered; enter '{address.calling}' with this machine's address there."
                )
            case Ending.TLS_SPOKEN:
                return PeerRefusedError(TLS_PORT)
            case Ending.TLS_ALERT:
                held = self.call.tls is not None and self.call.tls.certificate != Path()
                return PeerRefusedError(alert_sentence(str(error.detail[0]), held))
            case Ending.HTTP:
                return PeerRefusedError(WEB_SERVER)
            case Ending.REJECTED:
                return rejection(address, *error.detail)
            case Ending.ABORTED:
                return abortion(*error.detail)
            case Ending.GARBAGE | Ending.RELEASED:
                return PeerRefusedError(NOT_DICOM_SPOKEN)

    def is_tls_port(self) -> bool:
        """Whether it says nothing to plain DICOM because it speaks TLS."""
        if self.context is not None:
            return False
        try:
            connection = self.probe()
        except OSError:
            return False
        with closing(connection):
            return speaks_tls(connection)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
