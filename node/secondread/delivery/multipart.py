"""A multipart/related body of DICOM files, cut into its parts as it comes (RFC 2046 5.1)."""

from __future__ import annotations

import re
from email.message import Message

from secondread.delivery.arrival import Arrival, Arrivals
from secondread.errors import IntakeError, OutOfResourcesError, PeerUnreachableError

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_HEAD_BYTES_MAX = 8192
_HEAD_END = b"\r\n\r\n"
_TYPE = re.compile(rb"(?:^|\r\n)content-type:[ \t]*application/dicom[ \t]*(?:;|\r\n|$)", re.I)
_HAS_TYPE = re.compile(rb"(?:^|\r\n)content-type:", re.I)


def read_boundary(content_type: str) -> str | None:
    """What stands between the parts of such a body; None where it is another."""
    field = Message()
    field["Content-Type"] = content_type
    boundary = field.get_boundary()
    if field.get_content_type() != "multipart/related" or boundary is None:
        return None
    return boundary if _BOUNDARY.fullmatch(boundary) else None


class PartReader:
    """Hands over the parts of a body; what is before the first and behind the last is nothing.

    A part of another media type than ``application/dicom``, or that is no sound object of those
    that were asked for, is counted as refused.
    """

    def __init__(self, boundary: str, arrivals: Arrivals) -> None:
        self.has_ended = False
        """Whether the end of the last part has come."""
        self._arrivals = arrivals
        self._mark = b"\r\n--" + boundary.encode("ascii")
        # The first boundary may stand at the very beginning, where no line ends before it.
        self._rest = bytearray(b"\r\n")
        self._in_head = False
        self._arrival: Arrival | None = None

    def feed(self, content: bytes) -> None:
        """Take what came next.

        Raises:
            PeerUnreachableError: what is between the parts is not as it should be.
            OutOfResourcesError: the disk is full, or the receiver says so.
            TooMuchError: more came than is taken.
        """
        self._rest += content
        while not self.has_ended and (self._read_head() if self._in_head else self._read_part()):
            pass
        if self.has_ended:
            self._rest.clear()

    def discard(self) -> None:
        """Remove the part that did not come whole."""
        if self._arrival is not None:
            self._arrival.discard()
            self._arrival = None

    def _read_head(self) -> bool:
        """What stands behind a boundary: the fields of a part, or the end; False to get more."""
        if self._rest.startswith(b"--"):
            self.has_ended = True
            return True
        end = self._rest.find(_HEAD_END)
        if end < 0:
            if len(self._rest) > _HEAD_BYTES_MAX:
                raise PeerUnreachableError(
                    "What came is no sound multipart body: the head of a part does not end."
                )
            return False
        head = bytes(self._rest[:end]) + b"\r\n"
        del self._rest[: end + len(_HEAD_END)]
        # A part without fields begins behind the blank line alone (RFC 2046 5.1).
        self._in_head = False
        if _TYPE.search(head) or not _HAS_TYPE.search(head):
            self._arrival = self._arrivals.begin()
        else:
            self._arrivals.refuse()
        return True

    def _read_part(self) -> bool:
        """The content up to the next boundary; False to get more."""
        at = self._rest.find(self._mark)
        whole = at >= 0
        # The beginning of a boundary may be the end of what has come.
        end = at if whole else max(len(self._rest) - len(self._mark) + 1, 0)
        if self._arrival is not None and end:
            self._arrival.write(memoryview(bytes(self._rest[:end])))
        del self._rest[: end + len(self._mark) if whole else end]
        if whole:
            self._end_part()
            self._in_head = True
        return whole

    def _end_part(self) -> None:
        arrival, self._arrival = self._arrival, None
        if arrival is None:
            return
        try:
            self._arrivals.hand_over(arrival)
        except OutOfResourcesError:
            raise
        except IntakeError:
            # Counted by whoever found it; the others may be sound.
            return
