"""An echo that says where it fails: name, TCP, TLS, association, contexts and answer, in words.

Every step takes ``timeout_s`` at the most, whatever the other side does. A step after one that
failed is skipped. A second connection is opened only to find out what else is spoken there.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from secondread.access.tls import client_context
from secondread.delivery.address import Address, shown
from secondread.delivery.association import Identity, Offer, request_pdu
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
from secondread.delivery.steps import Found, Outcome, Step, Take, summarise, take_steps
from secondread.delivery.wording import NOT_DICOM_SPOKEN, TLS_PORT, WEB_SERVER, abortion, rejection
from secondread.dicom.contexts import VERIFICATION
from secondread.domain.destination import Proof
from secondread.domain.form import Form, SegmentationKind
from secondread.domain.network import TlsSettings
from secondread.errors import DeliveryError, PeerRefusedError, PeerUnreachableError

_PROBE_S = 3.0
_REPORT = {"1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR"}
_BINARY = {"1.2.840.10008.5.1.4.1.1.66.4": "Segmentation"}
_LABELMAP = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation"}
RESULT_CLASSES: Mapping[str, str] = MappingProxyType({**_BINARY, **_REPORT})
"""What the node's usual results are, by SOP Class UID."""
COMMITS = "It offers Storage Commitment, which is the proof."
"""What the step ``proof`` says of a destination that will be asked to commit."""
_COMMITMENT = "1.2.840.10008.1.20.1"
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_OTHER_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    _COMMITMENT: "Storage Commitment",
    _FIND: "C-FIND",
}


@dataclass(frozen=True, slots=True)
class Call:
    """Whom to call, and how.

    Attributes:
        address: host, port and titles; its time-out holds for each step.
        tls: the files for TLS, or None for plain DICOM.
        ca: the CA of the other side's certificate, where it is not the one in ``tls``.
        certificate_sha256: fingerprint of the certificate that is known of it; its names are not
            looked at then.
        checks_host: whether its certificate must name the host; not with a fingerprint.
        identity: the user that the node is there, or None.
        results: the names of the results that are to go there, by SOP Class UID; none go to a
            peer that only sends.
        proof: how it is to prove that it has what it was sent; None where nothing goes there.
    """

    address: Address
    tls: TlsSettings | None = None
    ca: Path | None = None
    certificate_sha256: str = ""
    checks_host: bool = True
    identity: Identity | None = None
    results: Mapping[str, str] = field(default_factory=dict)
    proof: Proof | None = None


def results_of(form: Form) -> Mapping[str, str]:
    """The main results in a form, by SOP Class UID: what a destination must take at the least."""
    match form.segmentation:
        case SegmentationKind.NONE:
            return _REPORT
        case SegmentationKind.LABELMAP:
            return {**_LABELMAP, **_REPORT}
        case _:
            return RESULT_CLASSES


def diagnose(call: Call) -> Iterator[Step]:
    """Take step after step, and tell what each found; never raises for what the peer does.

    Raises:
        ConfigurationError: the files for TLS cannot be used.
    """
    context = _client_context(call)
    with ExitStack() as stack:
        yield from take_steps(_Visit(call, stack, context).steps())


def conclude(call: Call, steps: Sequence[Step]) -> str:
    """The whole diagnosis in one sentence."""
    return summarise(shown(call.address), steps)


def _client_context(call: Call) -> ssl.SSLContext | None:
    if call.tls is None:
        return None
    checks_host = call.checks_host and not call.certificate_sha256
    return client_context(call.tls, ca=call.ca, check_hostname=checks_host)


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
        if self.call.proof is not None:
            yield "proof", self.look_at_proof
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
        other = ""
        if known and known != certificate.sha256:
            other = " That is not the certificate which certificate_sha256 names."
            if self.call.results:
                raise PeerRefusedError(
                    f"{certificate.sentence}{other} If it has a new one, ask its owner for the "
                    "fingerprint and enter that."
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
        classes = [VERIFICATION.uid, *self._results(), *_OTHER_CLASSES]
        try:
            self.accepted = self.conversation.associate(address, classes, self.call.identity)
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
        names = {**_OTHER_CLASSES, **self._results()}
        lacking = [
            name for uid, name in self.call.results.items() if uid not in self.accepted.contexts
        ]
        taken = [name for uid, name in names.items() if uid in self.accepted.contexts]
        refused = [
            name
            for uid, name in names.items()
            if uid not in self.accepted.contexts and name not in lacking
        ]
        parts = [f"It accepts {_listed(taken)} too."] if taken else []
        if refused:
            parts.append(f"It does not accept {_listed(refused, 'or')}.")
        if not lacking:
            return Outcome.NOTE, " ".join(parts)
        trouble = (
            f"Results cannot be stored there: it refuses {_listed(lacking)}, which results are: "
            "switch it on there, or choose another form in [destinations.results]."
        )
        return Outcome.WARNING, " ".join([trouble, *parts])

    def _results(self) -> Mapping[str, str]:
        """What is asked for as a sample of results, where nothing is to go there, too."""
        return self.call.results or RESULT_CLASSES

    def look_at_proof(self) -> Found:
        """Whether it offers what is to prove that it has what it was sent; nothing is asked."""
        assert self.accepted is not None
        commits, finds = (uid in self.accepted.contexts for uid in (_COMMITMENT, _FIND))
        match self.call.proof:
            case Proof.NONE:
                return Outcome.NOTE, "Nothing is asked for as proof, as the configuration says."
            case Proof.AUTO | Proof.COMMITMENT if commits:
                return Outcome.NOTE, COMMITS
            case Proof.AUTO | Proof.READ_BACK if finds:
                return Outcome.NOTE, "What it has will be read back by C-FIND, which is the proof."
            case Proof.COMMITMENT:
                lacks, other = "Storage Commitment", '"read-back"'
            case Proof.READ_BACK:
                lacks, other = "C-FIND", '"commitment"' if commits else '"none"'
            case _:
                lacks, other = "Storage Commitment or C-FIND", '"none"'
        return Outcome.WARNING, (
            f"It does not offer {lacks} to '{self.call.address.calling}', so nothing can prove "
            f"that it has what it was sent: switch it on there, or set kind = {other} in "
            "[destinations.proof]."
        )

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


def _listed(names: Sequence[str], word: str = "and") -> str:
    return f"{', '.join(names[:-1])} {word} {names[-1]}" if len(names) > 1 else "".join(names)
