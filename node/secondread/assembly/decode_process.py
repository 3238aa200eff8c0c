"""The parent's end of a decoding process, and the memory that both share."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.assembly.decode_worker import MESSAGE_BYTES_MAX
from secondread.dicom.stored_values import StoredPlane

START_S = 60.0
_DYING_S = 1.0


@dataclass(slots=True)
class Request:
    """Frames of one file, and the slices of the array that they become."""

    plane: StoredPlane
    frames: list[int]
    slices: list[int]
    allowed_s: float
    crashes: int = 0

    def message(self) -> bytes:
        """What the process is told."""
        return json.dumps(
            {
                "path": os.fspath(self.plane.path),
                "layout": asdict(self.plane.layout),
                "frames": self.frames,
                "slices": self.slices,
            }
        ).encode()


@dataclass(slots=True)
class SharedArray:
    """An array in memory that has a descriptor."""

    descriptor: int
    values: npt.NDArray[Any]

    @classmethod
    def make(cls, shape: tuple[int, int, int], kind: np.dtype[Any]) -> SharedArray:
        """Room that is not in any file system."""
        size = int(np.prod(shape)) * kind.itemsize
        descriptor = os.memfd_create("voxels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            # A worker that shortened it would take this process down with it.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            room = mmap.mmap(descriptor, size)
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor, np.frombuffer(room, kind).reshape(shape))


class DecodeProcess:
    """One process, the socket to it, and what it has been given."""

    def __init__(self, memory_bytes: int) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-m", "secondread.assembly.decode_worker"),
                    *(str(theirs.fileno()), str(memory_bytes)),
                ],
                stdin=subprocess.PIPE,
                # What codecs print is about a patient's image and tells nobody anything.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"},
                cwd="/",
            )
        self.is_ready = False
        self.given: deque[Request] = deque()
        self.until = time.monotonic() + START_S
        self._array: SharedArray | None = None

    def give(self, request: Request, array: SharedArray) -> bool:
        """Add a request to what the worker has to do; False where it is gone."""
        try:
            if self._array is not array:
                described = {"shape": array.values.shape, "kind": array.values.dtype.str}
                message = json.dumps(described).encode()
                socket.send_fds(self.socket, [message], [array.descriptor])
                self._array = array
            self.socket.send(request.message())
        except (BrokenPipeError, ConnectionResetError):
            return False
        if not self.given and self.is_ready:
            self.until = time.monotonic() + request.allowed_s
        self.given.append(request)
        return True

    def receive(self) -> dict[str, Any] | None:
        """Its next answer, or None where it is gone; empty when it has just become ready."""
        try:
            message = self.socket.recv(MESSAGE_BYTES_MAX)
            answer: dict[str, Any] | None = json.loads(message) if message else None
        except (ConnectionResetError, ValueError):
            return None
        return answer

    def start_clock(self) -> None:
        """The next request has its own time."""
        if self.given:
            self.until = time.monotonic() + self.given[0].allowed_s

    def forget(self) -> None:
        """The array that it was given is not in use any more."""
        self._array = None

    def end(self) -> int:
        """Wait for a process that is about to end, not for long; returns its exit status."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_DYING_S)
        return self.kill()

    def kill(self) -> int:
        """End it at once; returns its exit status."""
        self.process.kill()
        status = self.process.wait()
        self.socket.close()
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        return status
