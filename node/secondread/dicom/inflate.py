"""Inflating a deflated data set as it arrives, in pieces, and never more than was agreed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from secondread.errors import CannotUnderstandError, OutOfResourcesError

# Input goes in small portions, because zlib copies what it has not consumed yet.
_INPUT_BYTES, _PIECE_BYTES = 1 << 14, 1 << 18
# PS3.5 A.5 pads a stream of odd length with one byte. Some writers also leave the eight bytes there
# that end a gzip file (RFC 1952 2.3.1), and readers have always passed over them.
_SURPLUS_MAX = 9


class Inflater:
    """Inflates one raw deflate stream (PS3.5 A.5); holds one piece of 256 KiB at most.

    Args:
        inflated_max: how many bytes may come out in all.
    """

    def __init__(self, inflated_max: int) -> None:
        self._machine = zlib.decompressobj(-zlib.MAX_WBITS)
        self._inflated_max = inflated_max
        self._inflated = 0
        self._surplus = 0

    @property
    def is_complete(self) -> bool:
        """Whether the end of the stream has come."""
        return self._machine.eof

    def inflate(self, data: memoryview) -> Iterator[bytes]:
        """The pieces that the next bytes of the stream become.

        Raises:
            CannotUnderstandError: it is not a deflate stream, or other bytes follow it.
            OutOfResourcesError: it becomes larger than ``inflated_max``.
        """
        for at in range(0, len(data), _INPUT_BYTES):
            portion: memoryview | bytes = data[at : at + _INPUT_BYTES]
            if self._machine.eof:
                self._pass_over(len(portion))
                continue
            while True:
                piece = self._next_piece(portion)
                yield piece
                portion = self._machine.unconsumed_tail
                # A full piece may leave something in the machine although all input is consumed.
                if self._machine.eof or not (portion or len(piece) == _PIECE_BYTES):
                    break
            self._pass_over(len(self._machine.unused_data))

    def _next_piece(self, portion: memoryview | bytes) -> bytes:
        try:
            piece = self._machine.decompress(portion, _PIECE_BYTES)
        except zlib.error as error:
            raise CannotUnderstandError(f"The deflated data set is damaged: {error}.") from None
        self._inflated += len(piece)
        if self._inflated > self._inflated_max:
            raise OutOfResourcesError(
                f"The deflated data set is larger than {self._inflated_max} bytes when inflated."
            )
        return piece

    def _pass_over(self, count: int) -> None:
        self._surplus += count
        if self._surplus > _SURPLUS_MAX:
            raise CannotUnderstandError("The deflated data set is followed by other bytes.")
