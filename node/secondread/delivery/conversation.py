"""One association for an echo, PDU by PDU on a socket of ours, so that every wait has an end.

pynetdicom builds and reads the PDUs; its own requestor would wait for ever for a peer that sends
half a header, and could not tell garbage from silence.
"""

from __future__ import annotations

import socket
import ssl
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from pynetdicom.dimse_messages import C_ECHO_RQ, C_ECHO_RSP
from pynetdicom.dimse_primitives import C_ECHO
from pynetdicom.pdu import (
    A_ABORT_RQ,
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    A_ASSOCIATE_RQ,
    A_RELEASE_RQ,
    P_DATA_TF,
)
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

# PS3.8 table 9-10: the types of PDU.
_ACCEPTED, _REJECTED, _DATA, _RELEASED, _ABORTED = 0x02, 0x03, 0x04, 0x06, 0x07
_PDU_TYPES = range(0x01, 0x08)
_HEADER_BYTES = 6
_PDU_MAX_BYTES = 1024**2
_MAXIMUM_LENGTH = 131072
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_ECHO_PDUS_MAX = 16
_TLS_RECORDS = range(0x14, 0x18)


class Ending(StrEnum):
    """How a conversation can fail."""

    SILENT = "silent"
    CLOSED = "closed"
    GARBAGE = "garbage"
    HTTP = "http"
    TLS_SPOKEN = "tls-spoken"
    TLS_ALERT = "tls-alert"
    REJECTED = "rejected"
    ABORTED = "aborted"


class ConversationError(Exception):
    """The other side did not answer as DICOM demands.

    Attributes:
        ending: in which way.
        detail: the numbers of a rejection (result, source, reason) or of an abort (source,
            reason); for a TLS alert, OpenSSL's name of it.
    """

    def __init__(self, ending: Ending, *detail: Any) -> None:
        super().__init__(ending)
        self.ending = ending
        self.detail = detail


class Titles(Protocol):
    """Who calls whom."""

    @property
    def called(self) -> str:
        """The AE title that is called."""

    @property
    def calling(self) -> str:
        """The AE title that calls."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An association: SOP Class UID to context id, for those that were accepted."""

    contexts: Mapping[str, int]
    maximum_length: int


class Conversation:
    """Talks over a connected socket; each call may take ``timeout_s`` from beginning to end."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._deadline = 0.0

    def associate(self, titles: Titles, sop_classes: Sequence[str]) -> Accepted:
        """Ask for an association with a context for each SOP class.

        Raises:
            ConversationError: there is none.
        """
        self._begin()
        self._send(request_pdu(titles, sop_classes))
        kind, content = self._receive()
        with _reading():
            if kind == _REJECTED:
                refusal = A_ASSOCIATE_RJ()
                refusal.decode(content)
                answer = (refusal.result, refusal.source, refusal.reason_diagnostic)
                raise ConversationError(Ending.REJECTED, *answer)
            if kind == _ACCEPTED:
                acceptance = A_ASSOCIATE_AC()
                acceptance.decode(content)
                return _read_acceptance(acceptance, sop_classes)
        raise ConversationError(Ending.GARBAGE)

    def echo(self, accepted: Accepted, verification: str) -> int:
        """Send a C-ECHO; returns its status (PS3.7 9.1.5).

        Raises:
            ConversationError: it was not answered.
        """
        self._begin()
        request = C_ECHO()
        request.MessageID = 1
        request.AffectedSOPClassUID = verification
        message = C_ECHO_RQ()
        message.primitive_to_message(request)
        for part in message.encode_msg(accepted.contexts[verification], accepted.maximum_length):
            pdu = P_DATA_TF()
            pdu.from_primitive(part)
            self._send(pdu.encode())
        answer = C_ECHO_RSP()
        for _ in range(_ECHO_PDUS_MAX):
            kind, content = self._receive()
            if kind != _DATA:
                break
            with _reading():
                data = P_DATA_TF()
                data.decode(content)
                if answer.decode_msg(data.to_primitive()):
                    return int(answer.command_set.Status)
        raise ConversationError(Ending.GARBAGE)

    def release(self) -> None:
        """End the association in order; whether the peer answers is not looked at for long."""
        self._begin(at_most_s=2.0)
        try:
            self._send(A_RELEASE_RQ().encode())
            self._receive()
        except ConversationError:
            return

    def _begin(self, at_most_s: float | None = None) -> None:
        self._deadline = time.monotonic() + min(self._timeout_s, at_most_s or self._timeout_s)

    def _send(self, content: bytes) -> None:
        self._connection.settimeout(self._left())
        try:
            self._connection.sendall(content)
        except TimeoutError:
            raise ConversationError(Ending.SILENT) from None
        except ssl.SSLError as error:
            raise _tls_error(error) from None
        except OSError:
            # What it said before it closed, such as a rejection, may still be there to be read.
            return

    def _receive(self) -> tuple[int, bytes]:
        """The next PDU; an abort is raised."""
        header = self._read(_HEADER_BYTES, is_header=True)
        kind, length = header[0], int.from_bytes(header[2:], "big")
        if kind not in _PDU_TYPES or length > _PDU_MAX_BYTES:
            raise ConversationError(Ending.GARBAGE)
        content = header + self._read(length)
        if kind == _ABORTED:
            raise ConversationError(Ending.ABORTED, *_abort_numbers(content))
        return kind, content

    def _read(self, size_bytes: int, *, is_header: bool = False) -> bytes:
        content = b""
        while len(content) < size_bytes:
            self._connection.settimeout(self._left())
            try:
                part = self._connection.recv(size_bytes - len(content))
            except TimeoutError:
                raise ConversationError(Ending.SILENT) from None
            except ssl.SSLError as error:
                raise _tls_error(error) from None
            except OSError:
                part = b""
            if not part:
                raise ConversationError(Ending.CLOSED)
            content += part
            if is_header and (stranger := _recognised(content)):
                raise ConversationError(stranger)
        return content

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise ConversationError(Ending.SILENT)
        return left


def request_pdu(titles: Titles, sop_classes: Sequence[str]) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2) with a context for each SOP class; ids 1, 3 and on."""
    contexts = [
        build_context(uid, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]) for uid in sop_classes
    ]
    for index, context in enumerate(contexts):
        context.context_id = 2 * index + 1
    length = MaximumLengthNotification()
    length.maximum_length_received = _MAXIMUM_LENGTH
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    primitive = A_ASSOCIATE()
    primitive.application_context_name = _APPLICATION_CONTEXT
    primitive.calling_ae_title = titles.calling
    primitive.called_ae_title = titles.called
    primitive.presentation_context_definition_list = contexts
    primitive.user_information = [length, implementation, version]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def abort_pdu() -> bytes:
    """An A-ABORT of the service user (PS3.8 9.3.8)."""
    return b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"


def _read_acceptance(pdu: A_ASSOCIATE_AC, sop_classes: Sequence[str]) -> Accepted:
    asked = {2 * index + 1: uid for index, uid in enumerate(sop_classes)}
    contexts = {
        asked[item.context_id]: item.context_id
        for item in pdu.presentation_context
        if item.result == 0 and item.context_id in asked
    }
    if pdu.user_information is None:  # mandatory (PS3.8 9.3.3), so this is something else
        raise ConversationError(Ending.GARBAGE)
    return Accepted(contexts, pdu.user_information.maximum_length or _MAXIMUM_LENGTH)


def _abort_numbers(content: bytes) -> tuple[int, int]:
    pdu = A_ABORT_RQ()
    with _reading():
        pdu.decode(content)
    return pdu.source or 0, pdu.reason_diagnostic or 0


@contextmanager
def _reading() -> Iterator[None]:
    """Bytes that are not what they say are garbage, and nothing to warn the user's terminal of."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ConversationError:
        raise
    except Exception:  # what pynetdicom and pydicom raise over bad bytes has no common base
        raise ConversationError(Ending.GARBAGE) from None


def _recognised(start: bytes) -> Ending | None:
    """What else speaks here, from the first bytes of its answer."""
    if not start or start[0] in _PDU_TYPES:
        return None
    if b"HTTP/"[: len(start)] == start[:5]:
        # Too few bytes to be sure: wait for more.
        return Ending.HTTP if len(start) >= len("HTTP/") else None
    if start[0] in _TLS_RECORDS and start[1:2] in (b"", b"\x03"):
        return Ending.TLS_SPOKEN
    return Ending.GARBAGE


def _tls_error(error: ssl.SSLError) -> ConversationError:
    reason = error.reason or ""
    if "ALERT" in reason:
        return ConversationError(Ending.TLS_ALERT, reason)
    return ConversationError(Ending.CLOSED)
