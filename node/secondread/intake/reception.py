"""One object on its way in: fragments to a temporary file, hashed and walked as they come."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from secondread.dicom.walk import DEFLATED, Walker
from secondread.domain.network import Urgency
from secondread.errors import OutOfResourcesError, SecondReadError, WriteFailedError
from secondread.intake.examine import Announcement, Examined, examine
from secondread.intake.file_header import file_header, seal

_BUFFER_BYTES = 1 << 18
_DIRECT_BYTES = 1 << 16
_BEGUN_BYTES = 1 << 20
_AT_ONCE_BYTES = 1 << 19
# Well below what one writev takes (IOV_MAX).
_AT_ONCE = 500
_PIECE_BYTES = 1 << 16


Begin = Callable[[int, int, int], None]
"""Has a part of an open file written: descriptor, offset and size in bytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the node takes; in bytes.

    Attributes:
        object_bytes: a larger data set is refused.
        inflated_bytes: a deflated data set that becomes larger is refused.
        minimum_free_bytes: with less free space nothing is taken.
    """

    object_bytes: int
    inflated_bytes: int
    minimum_free_bytes: int


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the peer's name, its AE title, and the quiet time of its studies in seconds."""

    peer: str
    ae_title: str
    quiet_s: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A whole object in a temporary file that is not yet synced.

    ``data_offset`` is where its data set starts in the file; ``descriptor`` is open on the file and
    belongs to whoever has the arrival. ``sha256`` is empty where the object is so large that its
    sender should not wait for it.
    """

    examined: Examined
    announced: Announcement
    sender: Sender
    urgency: Urgency
    temporary: str
    descriptor: int
    data_offset: int
    size_bytes: int
    sha256: bytes

    def close(self) -> None:
        """Close the file, wherever it is by now."""
        os.close(self.descriptor)

    def discard(self) -> None:
        """Close and remove the temporary file."""
        os.close(self.descriptor)
        with suppress(FileNotFoundError):
            os.unlink(self.temporary)


class Reception:
    """The data set of one C-STORE request; its memory does not grow with the object.

    A fault that is found on the way does not end the message: DIMSE has no means to stop a sender
    in the middle of a data set, so the rest is read and thrown away, and the answer says why.

    A deflated data set can become a thousand times as long, so it is walked only when it is here
    (``walks_late``), and ``complete`` should then be called where nobody else waits for it.
    """

    def __init__(
        self,
        announced: Announcement,
        sender: Sender,
        urgency: Urgency,
        temporary: str,
        limits: Limits,
        begin: Begin,
    ) -> None:
        self._announced = announced
        self._sender = sender
        self._urgency = urgency
        self._temporary = temporary
        self._limits = limits
        self._walker = Walker(announced.transfer_syntax_uid, limits.inflated_bytes)
        self.walks_late = announced.transfer_syntax_uid == DEFLATED
        header = file_header(announced, sender.ae_title)
        self._data_offset = len(header)
        # What waits to be written: first what is ours, then what the caller lent.
        self._buffer = bytearray(header)
        self._lent: list[memoryview] = []
        self._lent_bytes = 0
        self._written = self._begun = 0
        self._begin = begin
        self._descriptor = -1
        self.size_bytes = 0
        self.failure: SecondReadError | None = None

    @property
    def due(self) -> int:
        """How many bytes at least are still to come: the rest of the value at hand."""
        return 0 if self.walks_late else self._walker.due

    def refuse(self, error: SecondReadError) -> None:
        """Take no more of it; the first reason stands."""
        if self.failure is None:
            self.failure = error
        self.abandon()

    def feed(self, data: memoryview) -> None:
        """Take a fragment, or part of one; it must not change before ``drain``."""
        self.size_bytes += len(data)
        if self.failure is not None:
            return
        try:
            if self.size_bytes > self._limits.object_bytes:
                raise OutOfResourcesError(
                    f"The object has more than {self._limits.object_bytes} bytes, "
                    "which is the most this node takes."
                )
            if not self.walks_late:
                self._walker.feed(data)
            self._lent.append(data)
            self._lent_bytes += len(data)
            if self._lent_bytes >= _AT_ONCE_BYTES or len(self._lent) >= _AT_ONCE:
                self._write()
        except SecondReadError as error:
            self.refuse(error)
        except OSError as error:
            self.refuse(write_failed(error))

    def drain(self) -> None:
        """Write or copy what was fed, so that the caller may use its memory again.

        A piece of a large object is written as it comes. A small object, and what comes in crumbs,
        is gathered.
        """
        if not self._lent or self.failure is not None:
            return
        try:
            large = self._written or self.size_bytes + self.due >= _BUFFER_BYTES
            least = _DIRECT_BYTES if large else _BUFFER_BYTES
            if len(self._buffer) + self._lent_bytes >= least:
                self._write()
                return
            for piece in self._lent:
                self._buffer += piece
            self._forget_lent()
        except OSError as error:
            self.refuse(write_failed(error))

    def complete(self) -> Arrival:
        """The whole object.

        Raises:
            IntakeError: it cannot be taken; nothing is left of it.
        """
        if self.failure is None:
            try:
                return self._arrival()
            except SecondReadError as error:
                self.refuse(error)
            except OSError as error:
                self.refuse(write_failed(error))
        assert self.failure is not None
        raise self.failure

    def abandon(self) -> None:
        """Remove what was written."""
        self._buffer.clear()
        self._forget_lent()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            os.unlink(self._temporary)

    def _arrival(self) -> Arrival:
        if self.walks_late:
            self._write()
            self._walk_file()
        examined = examine(self._walker.finish(), self._announced)
        digest = b""
        if self._written:
            os.pwrite(self._descriptor, seal(self.size_bytes, digest), 0)
        else:
            digest = self._digest()
            sealed = seal(self.size_bytes, digest)
            self._buffer[: len(sealed)] = sealed
        self._write()
        descriptor, self._descriptor = self._descriptor, -1
        return Arrival(
            examined=examined,
            announced=self._announced,
            sender=self._sender,
            urgency=self._urgency,
            temporary=self._temporary,
            descriptor=descriptor,
            data_offset=self._data_offset,
            size_bytes=self.size_bytes,
            sha256=digest,
        )

    def _walk_file(self) -> None:
        at = self._data_offset
        while piece := os.pread(self._descriptor, _PIECE_BYTES, at):
            self._walker.feed(memoryview(piece))
            at += len(piece)

    def _digest(self) -> bytes:
        """SHA-256 of a data set of which nothing is written yet."""
        with memoryview(self._buffer) as view:
            digest = hashlib.sha256(view[self._data_offset :])
        for piece in self._lent:
            digest.update(piece)
        return digest.digest()

    def _write(self) -> None:
        """Write everything that waits."""
        if self._descriptor < 0:
            self._descriptor = os.open(
                self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
        size = len(self._buffer) + self._lent_bytes
        done = os.writev(self._descriptor, [self._buffer, *self._lent]) if size else 0
        if done < size:
            _write_on(self._descriptor, b"".join((self._buffer, *self._lent)), done)
        self._buffer.clear()
        self._forget_lent()
        self._written += size
        # The last piece is about to be synced anyway.
        if self.due and self._written - self._begun >= _BEGUN_BYTES:
            self._begin(self._descriptor, self._begun, self._written - self._begun)
            self._begun = self._written

    def _forget_lent(self) -> None:
        self._lent.clear()
        self._lent_bytes = 0


def _write_on(descriptor: int, data: bytes, at: int) -> None:
    """Write the rest, where the first call has not written everything."""
    while at < len(data):
        at += os.write(descriptor, memoryview(data)[at:])


def write_failed(error: OSError) -> WriteFailedError:
    """What the sender of an object is told."""
    return WriteFailedError(f"The object could not be written: {error.strerror}.")
