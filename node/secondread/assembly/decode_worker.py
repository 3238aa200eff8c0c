"""The process that decodes compressed pixels: it has limits, and its parent can end it.

Standard input is the reading end of a pipe that nobody writes to: when the parent is gone, the
kernel sends this process SIGKILL, whatever a codec is doing and whether or not it lets Python run.
Requests come as JSON over a socket; the array to write to comes as a descriptor beside the first.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.dicom.decompress import Decompressor
from secondread.dicom.headers import PixelLayout
from secondread.dicom.stored_values import put_values
from secondread.errors import PixelDataError

MESSAGE_BYTES_MAX = 1 << 16
# What the JPEG library that GDCM uses says of data that are missing, or not what they should be.
_CORRUPT = (b"Corrupt JPEG data", b"Premature end of JPEG")
_INCOMPLETE = "The compressed pixels of an image are damaged: a part of them cannot be decoded."


def main(descriptor: int, memory_bytes: int) -> None:
    """Answer requests until the parent is gone."""
    _end_with_parent()
    control = socket.socket(fileno=descriptor)
    _import_codecs()
    _limit(memory_bytes)
    complaints = _listen()
    control.send(b"{}")
    decompressor = Decompressor()
    array: npt.NDArray[Any] | None = None
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 1)
        if not message:
            return
        request = json.loads(message)
        if descriptors:
            array = _attach(descriptors[0], request["shape"], request["kind"])
            # A new reading may find other content under a known path.
            decompressor = Decompressor()
        else:
            assert array is not None
            answer = _decode(decompressor, request, array)
            if _is_corrupt(_read_all(complaints)):
                answer = {"error": _INCOMPLETE, "outcome": "undecodable-pixels"}
            control.send(json.dumps(answer).encode())


def _end_with_parent() -> None:
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    # It may have gone before the kernel was asked.
    poll = select.poll()
    poll.register(0, select.POLLIN)
    if poll.poll(0):
        os._exit(1)
    # Ctrl-C and a service manager speak to the whole process group; the parent ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _import_codecs() -> None:
    """Now, so that the first image does not wait, and what they take is not counted."""
    import gdcm  # noqa: F401
    import jpeg_ls  # noqa: F401
    import openjpeg  # noqa: F401
    import rle  # noqa: F401


def _limit(memory_bytes: int) -> None:
    """What is private and can be written to may grow by so much, and nothing goes to disk."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    used = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    most = used * 1024 + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _listen() -> int:
    """Codecs speak on standard error; returns the other end of it, which never makes them wait."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    os.dup2(writer, 2)
    os.close(writer)
    return reader


def _read_all(reader: int) -> bytes:
    said = b""
    with suppress(BlockingIOError):
        while part := os.read(reader, 1 << 16):
            said += part
    return said


def _is_corrupt(said: bytes) -> bool:
    return any(sign in said for sign in _CORRUPT)


def _attach(descriptor: int, shape: list[int], kind: str) -> npt.NDArray[Any]:
    try:
        room = mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)
    return np.frombuffer(room, kind).reshape(shape)


def _decode(
    decompressor: Decompressor, request: dict[str, Any], array: npt.NDArray[Any]
) -> dict[str, Any]:
    lows, highs = [], []
    try:
        cells = decompressor.frames(
            Path(request["path"]), PixelLayout(**request["layout"]), request["frames"]
        )
        for at, (values, bits) in zip(request["slices"], cells, strict=True):
            low, high = put_values(values, bits, array[at])
            lows.append(low)
            highs.append(high)
    except PixelDataError as error:
        return {"error": str(error), "outcome": error.outcome}
    except MemoryError:
        return {
            "error": "Decoding an image takes more memory than is allowed.",
            "outcome": "decoder-memory",
        }
    return {"lows": lows, "highs": highs}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
