"""The storage and verification SCU."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config
from pynetdicom.presentation import PresentationContext, build_context

from secondread.dicom.contexts import VERIFICATION
from secondread.dicom.rejections import why_rejected
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.errors import (
    DeliveryError,
    KindRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
)

SUCCESS = 0x0000
# PS3.4 B.2.3: stored, with a remark.
WARNINGS = frozenset({0xB000, 0xB006, 0xB007})
_CONTEXTS_MAX = 128
_MAXIMUM_PDU_BYTES = 131072
NO_ANSWER = -1
CONTEXT_REFUSED = -2
NOT_DICOM = -3

_MEANINGS = {
    SUCCESS: "stored",
    0x0110: "processing failure",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xB000: "stored, with coercion of data elements",
    0xB006: "stored, elements discarded",
    0xB007: "stored, although the data set does not match the SOP class",
    NO_ANSWER: "the peer did not answer",
    CONTEXT_REFUSED: "the peer does not take this SOP class in this transfer syntax",
    NOT_DICOM: "not a DICOM file",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Whom to call, and as whom; the time-out is in seconds."""

    host: str
    port: int
    called: str
    calling: str
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one file; a negative status never came from the peer.

    ``comment`` is the peer's own (0000,0902). It may quote the object, so that it is for whoever
    sends by hand, never for a log or the trail.
    """

    path: Path
    status: int
    meaning: str
    comment: str = ""

    @property
    def stored(self) -> bool:
        """Whether the peer has it."""
        return self.status == SUCCESS or self.status in WARNINGS

    @property
    def told(self) -> str:
        """The meaning, and what the peer says besides."""
        return f"{self.meaning}: {self.comment}" if self.comment else self.meaning


@dataclass(frozen=True, slots=True)
class EchoResult:
    """Whether a C-ECHO was answered, in one sentence, and after how many seconds."""

    ok: bool
    sentence: str
    seconds: float


def meaning_of(status: int) -> str:
    """A C-STORE status in words (PS3.4 B.2.3, PS3.7 C)."""
    if status in _MEANINGS:
        return _MEANINGS[status]
    if 0xA700 <= status <= 0xA7FF:
        return "the peer is out of resources"
    if 0xA900 <= status <= 0xA9FF:
        return "the data set does not match the SOP class"
    if 0xC000 <= status <= 0xCFFF:
        return "the peer cannot understand the data set"
    return "refused"


def is_refusal_of_kind(status: int) -> bool:
    """Whether a C-STORE status speaks of what the object is, not of the peer or the moment.

    PS3.4 table B.2-1: the data set does not match the SOP class (0xA9xx), it cannot be understood
    (0xCxxx); PS3.7 C.5.6: the SOP class is not supported (0x0122). 'Out of resources' (0xA7xx) and
    'processing failure' (0x0110) pass, and 'not authorised' (0x0124) is for a person to settle.
    """
    return status == 0x0122 or 0xA900 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF


def send_files(files: Sequence[Path], address: Address) -> Iterator[SendResult]:
    """Send files over one association and tell what became of each, in order.

    Raises:
        PeerUnreachableError: there is no association, or it broke; what was not yielded was not
            stored.
        PeerRefusedError: the peer will not talk to this calling AE title.
    """
    contexts, readable = _contexts(files)
    if not contexts:
        yield from (SendResult(path, NOT_DICOM, meaning_of(NOT_DICOM)) for path in files)
        return
    association = associate(address, contexts)
    try:
        for path in files:
            if path not in readable:
                yield SendResult(path, NOT_DICOM, meaning_of(NOT_DICOM))
                continue
            result = _send(association, path)
            if result.status == NO_ANSWER:
                # The association may still count as established, and the next request on it, or
                # its release, would wait for the whole time-out again.
                association.abort()
                raise PeerUnreachableError(
                    f"{shown(address)} did not answer: the connection broke."
                )
            yield result
    finally:
        if association.is_established:
            association.release()


def send_one(path: Path, address: Address) -> str:
    """Send one file; returns the peer's remark where it stored the object with a warning.

    Raises:
        PeerUnreachableError: try again later.
        KindRefusedError: the peer takes no objects of this kind, or cannot read them.
        PeerRefusedError: the peer will not take this object.
    """
    for result in send_files([path], address):
        if result.stored:
            return "" if result.status == SUCCESS else result.meaning
        said = f"{shown(address)} answered 0x{result.status:04X}: {result.meaning}."
        if result.status == CONTEXT_REFUSED:
            raise KindRefusedError(f"{shown(address)}: {result.meaning}.")
        if 0xA700 <= result.status <= 0xA7FF or result.status in {0x0213, 0x0110}:
            raise PeerUnreachableError(said)
        if is_refusal_of_kind(result.status):
            raise KindRefusedError(said)
        raise PeerRefusedError(said)
    raise DeliveryError("Nothing was sent.")


def echo(address: Address) -> EchoResult:
    """Ask whether somebody is there (C-ECHO), and say in words what failed if not."""
    started = time.monotonic()
    try:
        association = associate(address, [build_context(VERIFICATION.uid)])
    except DeliveryError as error:
        return EchoResult(False, str(error), time.monotonic() - started)
    try:
        answer = association.send_c_echo()
    except ValueError:
        return EchoResult(
            False,
            f"{shown(address)} accepts the association but not the Verification service.",
            time.monotonic() - started,
        )
    finally:
        if association.is_established:
            association.release()
    seconds = time.monotonic() - started
    status = getattr(answer, "Status", None)
    if status == SUCCESS:
        return EchoResult(True, f"{shown(address)} answered in {seconds * 1000:.0f} ms.", seconds)
    return EchoResult(False, f"{shown(address)} did not answer C-ECHO with Success.", seconds)


def _contexts(files: Sequence[Path]) -> tuple[list[PresentationContext], frozenset[Path]]:
    """A context for each (SOP class, transfer syntax) that is really there."""
    pairs: dict[tuple[str, str], None] = {}
    readable = set()
    for path in files:
        try:
            meta = read_file_meta_info(path)
            pair = (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        except (InvalidDicomError, AttributeError, OSError, EOFError, ValueError):
            continue
        readable.add(path)
        pairs[pair] = None
    contexts = [build_context(*pair) for pair in list(pairs)[:_CONTEXTS_MAX]]
    return contexts, frozenset(readable)


def _send(association: Any, path: Path) -> SendResult:
    try:
        answer = association.send_c_store(path)
    except (ValueError, AttributeError, RuntimeError):
        return SendResult(path, CONTEXT_REFUSED, meaning_of(CONTEXT_REFUSED))
    status = getattr(answer, "Status", None)
    if status is None:
        return SendResult(path, NO_ANSWER, meaning_of(NO_ANSWER))
    comment = str(getattr(answer, "ErrorComment", "") or "")
    return SendResult(path, int(status), meaning_of(int(status)), comment)


def associate(address: Address, contexts: list[PresentationContext]) -> Any:
    """Open an association; pynetdicom's.

    Raises:
        PeerUnreachableError: try again later.
        PeerRefusedError: the peer will not talk to this calling AE title.
    """
    _config.STORE_SEND_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"
    try:
        socket.create_connection((address.host, address.port), timeout=address.timeout_s).close()
    except socket.gaierror:
        raise PeerUnreachableError(
            f"The name '{address.host}' is not known; correct the host."
        ) from None
    except TimeoutError:
        raise PeerUnreachableError(
            f"{address.host}:{address.port} does not answer; is a firewall between?"
        ) from None
    except OSError as error:
        raise PeerUnreachableError(
            f"Nobody listens at {address.host}:{address.port} ({error.strerror})."
        ) from None
    entity = AE(address.calling)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.acse_timeout = entity.dimse_timeout = address.timeout_s
    entity.connection_timeout = entity.network_timeout = address.timeout_s
    association = entity.associate(
        address.host,
        address.port,
        contexts=contexts,
        ae_title=address.called,
        max_pdu=_MAXIMUM_PDU_BYTES,
    )
    if association.is_established:
        return association
    if association.is_rejected:
        answer: Any = association.acceptor.primitive
        why = why_rejected(answer.result_source, answer.diagnostic)
        sentence = f"{shown(address)} rejected the association {why}."
        raise PeerRefusedError(sentence) if answer.result == 1 else PeerUnreachableError(sentence)
    if not getattr(association, "accepted_contexts", None) and association.is_aborted:
        rejected = getattr(association, "rejected_contexts", None)
        if rejected:
            raise KindRefusedError(f"{shown(address)} accepted none of the SOP classes offered.")
    raise PeerUnreachableError(f"{shown(address)} broke off the association.")


def shown(address: Address) -> str:
    """A peer, for sentences."""
    return f"'{address.called}' at {address.host}:{address.port}"
