"""Sending files and asking whether somebody is there, in one call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from secondread.delivery.address import Address, shown
from secondread.delivery.association import CONTEXTS_MAX
from secondread.delivery.object_file import kinds_of
from secondread.delivery.sender import Sender
from secondread.delivery.statuses import (
    CONTEXT_REFUSED,
    NOT_DICOM,
    SUCCESS,
    WARNINGS,
    meaning_of,
)
from secondread.errors import (
    DeliveryError,
    KindRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
)


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


def send_files(files: Sequence[Path], address: Address) -> Iterator[SendResult]:
    """Send files over one association and tell what became of each, in order.

    Raises:
        PeerUnreachableError: there is no association, or it broke; what was not yielded was not
            stored.
        PeerRefusedError: the peer will not talk to this calling AE title.
    """
    kinds = kinds_of(files)[:CONTEXTS_MAX]
    if not kinds:
        yield from (SendResult(path, NOT_DICOM, meaning_of(NOT_DICOM)) for path in files)
        return
    with Sender(address, kinds) as sender:
        for path in files:
            yield _send(sender, path)


def _send(sender: Sender, path: Path) -> SendResult:
    if not set(kinds_of([path])).issubset(sender.kinds):
        return SendResult(path, CONTEXT_REFUSED, meaning_of(CONTEXT_REFUSED))
    try:
        answer = sender.store(path)
    except KindRefusedError:
        return SendResult(path, CONTEXT_REFUSED, meaning_of(CONTEXT_REFUSED))
    except (PeerUnreachableError, PeerRefusedError):
        raise
    except DeliveryError:
        return SendResult(path, NOT_DICOM, meaning_of(NOT_DICOM))
    return SendResult(path, answer.status, meaning_of(answer.status), answer.comment)


def send_one(path: Path, address: Address) -> str:
    """Send one file; returns the peer's remark where it stored the object with a warning.

    Raises:
        PeerUnreachableError: try again later.
        KindRefusedError: the peer takes no objects of this kind, or cannot read them.
        PeerRefusedError: the peer will not take this object.
        DeliveryError: the file cannot be sent.
    """
    with Sender(address, kinds_of([path])) as sender:
        return sender.send(path).remark


def echo(address: Address) -> EchoResult:
    """Ask whether somebody is there (C-ECHO), and say in words what failed if not."""
    started = time.monotonic()
    try:
        with Sender(address) as sender:
            sender.echo()
    except DeliveryError as error:
        return EchoResult(False, str(error), time.monotonic() - started)
    seconds = time.monotonic() - started
    return EchoResult(True, f"{shown(address)} answered in {seconds * 1000:.0f} ms.", seconds)
