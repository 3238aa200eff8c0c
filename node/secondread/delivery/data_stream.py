"""A data set from its file onto a link: read straight into the places between PDU headers.

One buffer of a fixed size serves all objects of an association, however large they are. The file
is read into the gaps between the headers and the whole is sent with one call, so that the bytes are
never joined or cut in Python, with TLS or without. Mapping the file would save 4 ms of each 50 MB,
of which a receiver takes 80 and more; but a mapped file that is cut short meanwhile ends the whole
process by a signal, where here it is an error of one object.
"""

from __future__ import annotations

import os

from secondread.delivery.association import MAXIMUM_LENGTH_BYTES
from secondread.delivery.commands import (
    LAST,
    PDV_HEADER,
    PDV_OVERHEAD_BYTES,
    Request,
    encode_request,
)
from secondread.delivery.link import DATA, Link
from secondread.delivery.object_file import ObjectFile
from secondread.errors import DeliveryError

SMALLEST_LENGTH_BYTES = 1024
"""A peer that takes no longer PDUs would cut an object into crumbs; the command may need 300."""

_BUFFER_BYTES = 1 << 18
_COMMAND_ROOM_BYTES = 1024


class DataStream:
    """Writes objects to a peer that takes P-DATA-TF of ``maximum_length`` bytes; 0 is no limit.

    None is longer than what we would take ourselves: nothing is gained by more, and few are tested
    with it.
    """

    def __init__(self, maximum_length: int) -> None:
        most = min(maximum_length or MAXIMUM_LENGTH_BYTES, MAXIMUM_LENGTH_BYTES)
        # Fragments have an even length, as all else in DICOM; some receivers insist.
        self._fragment_bytes = (most - PDV_OVERHEAD_BYTES) & ~1
        self._slot_bytes = PDV_HEADER.size + self._fragment_bytes
        self._slots = max(_BUFFER_BYTES // self._slot_bytes, 1)
        self._buffer = memoryview(bytearray(_COMMAND_ROOM_BYTES + self._slots * self._slot_bytes))

    def write(self, link: Link, request: Request, source: ObjectFile) -> bool:
        """Send a C-STORE-RQ with its data set; False where the connection broke before its end.

        Each piece of 256 KiB may take the link's time-out.

        Raises:
            ConversationError: the peer does not read, or aborted meanwhile.
            DeliveryError: the file cannot be read, or became shorter.
        """
        command = encode_request(request)
        start = _COMMAND_ROOM_BYTES - len(command)
        self._buffer[start:_COMMAND_ROOM_BYTES] = command
        done, size = 0, source.size_bytes
        while done < size:
            span = min(size - done, self._slots * self._fragment_bytes)
            end = self._fill(source, done, span, request.context_id)
            link.begin()
            link.send(self._buffer[start:end])
            start = _COMMAND_ROOM_BYTES
            done += span
            if link.is_broken:
                return False
            if done < size:
                link.listen()
        return True

    def _fill(self, source: ObjectFile, done: int, span: int, context_id: int) -> int:
        """Put the next ``span`` bytes and their headers into the buffer; returns where they end."""
        places = []
        at, left = _COMMAND_ROOM_BYTES, span
        while left:
            length = min(left, self._fragment_bytes)
            left -= length
            is_last = not left and done + span == source.size_bytes
            PDV_HEADER.pack_into(
                self._buffer,
                at,
                DATA,
                length + PDV_OVERHEAD_BYTES,
                length + 2,
                context_id,
                LAST if is_last else 0,
            )
            at += PDV_HEADER.size
            places.append(self._buffer[at : at + length])
            at += length
        try:
            count = os.preadv(source.descriptor, places, source.offset + done)
        except OSError as error:
            raise DeliveryError(f"The file cannot be read ({error.strerror}).") from None
        if count != span:
            raise DeliveryError("The file became shorter while it was being sent.")
        return at
