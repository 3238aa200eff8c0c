"""Compressed pixels are decoded in processes of their own, which can be ended.

A codec is somebody else's C and its input came over the network: it may crash, hang, or take all
memory. Then one process ends, the object that it worked on is refused by name, and the next one
finds a new process. The values go straight into memory that both share.
"""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from secondread.assembly.decode_process import START_S, DecodeProcess, Request, SharedArray
from secondread.dicom.decompress import DEFLATED, group_by_file
from secondread.dicom.stored_values import StoredPlane, StoredVolume
from secondread.errors import PixelDataError, WorkerLostError

log = structlog.stdlib.get_logger(__name__)

# One to work on, and one more so that a worker need not wait for this process.
_AHEAD = 2
_FRAMES_MAX = 64
# A process may be ended by somebody else, such as the kernel when memory is short.
_CRASHES_MAX = 2
_MEGAPIXEL = 1_000_000


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """What a decoding process may take.

    Attributes:
        memory_bytes: beyond what the process has when it starts.
        deadline_floor_s: the time that any object has.
        deadline_s_per_megapixel: what large ones have on top of it.
    """

    memory_bytes: int = 2 << 30
    deadline_floor_s: float = 10.0
    deadline_s_per_megapixel: float = 2.0


class DecoderPool:
    """Decodes in a few processes, which start when they are needed (the ``Decoder`` protocol).

    Args:
        processes: 0 for as many as there are processors, at most 4.
        limits: what each of them may take.
    """

    def __init__(self, processes: int = 0, limits: DecodingLimits | None = None) -> None:
        self._count = processes or min(4, len(os.sched_getaffinity(0)))
        self._limits = limits or DecodingLimits()
        self._workers: list[DecodeProcess] = []
        self._lock = threading.Lock()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that are there now."""
        return tuple(worker.process.pid for worker in list(self._workers))

    def decode(self, planes: list[StoredPlane], kind: np.dtype[Any]) -> StoredVolume:
        """The stored values of planes of one size, in their order.

        Raises:
            PixelDataError: besides the outcomes of a damaged object, ``decoder-crashed``,
                ``decoder-timeout`` or ``decoder-memory``.
            WorkerLostError: no process can be started.
        """
        layout = planes[0].layout
        shape = (len(planes), layout.rows, layout.columns)
        with self._lock:
            array = SharedArray.make(shape, kind)
            volume = StoredVolume(array.values, np.zeros(shape[0]), np.zeros(shape[0]))
            try:
                self._run(volume, array, deque(self._requests(planes)))
            finally:
                os.close(array.descriptor)
                # After a failure, whoever still works for this volume works in vain.
                for worker in list(self._workers):
                    worker.forget()
                    if worker.given:
                        self._remove(worker)
        return volume

    def close(self) -> None:
        """End every process."""
        with self._lock:
            for worker in list(self._workers):
                self._remove(worker)

    def _requests(self, planes: Sequence[StoredPlane]) -> list[Request]:
        requests = []
        for group in group_by_file(planes):
            plane = planes[group[0]]
            layout = plane.layout
            whole = layout.transfer_syntax_uid == DEFLATED
            # A file of many frames is shared out; a deflated one is inflated as a whole.
            share = -(-len(group) // (2 * self._count))
            step = len(group) if whole else min(_FRAMES_MAX, share)
            for start in range(0, len(group), step):
                part = group[start : start + step]
                frames = layout.frames if whole else len(part)
                megapixels = frames * layout.rows * layout.columns / _MEGAPIXEL
                allowed_s = (
                    self._limits.deadline_floor_s
                    + self._limits.deadline_s_per_megapixel * megapixels
                )
                numbers = [planes[at].plane.frame - 1 for at in part]
                requests.append(Request(plane, numbers, part, allowed_s))
        return requests

    def _run(self, volume: StoredVolume, array: SharedArray, waiting: deque[Request]) -> None:
        while True:
            self._give(waiting, array)
            busy = [worker for worker in self._workers if worker.given]
            if not busy and not waiting:
                return
            for worker in self._ready(busy):
                self._take(worker, volume, waiting)
            for worker in busy:
                if worker.given and time.monotonic() >= worker.until:
                    self._give_up(worker)

    def _give(self, waiting: deque[Request], array: SharedArray) -> None:
        """First one to everybody, then the ones to have at hand."""
        while len(self._workers) < min(self._count, len(waiting)):
            self._workers.append(DecodeProcess(self._limits.memory_bytes))
        for depth in range(1, _AHEAD + 1):
            for worker in list(self._workers):
                if not waiting or len(worker.given) >= depth:
                    continue
                if worker.give(waiting[0], array):
                    waiting.popleft()
                else:
                    self._lost(worker, waiting)

    @staticmethod
    def _ready(busy: Sequence[DecodeProcess]) -> list[DecodeProcess]:
        """Those that have answered or are gone; waits until the first one's time is over."""
        if not busy:
            return []
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.socket, selectors.EVENT_READ, worker)
            first = min(worker.until for worker in busy)
            return [key.data for key, _ in selector.select(max(0.0, first - time.monotonic()))]

    def _take(self, worker: DecodeProcess, volume: StoredVolume, waiting: deque[Request]) -> None:
        answer = worker.receive()
        if answer is None:
            self._lost(worker, waiting)
            return
        if not worker.is_ready:
            worker.is_ready = True
            worker.start_clock()
            return
        request = worker.given.popleft()
        worker.start_clock()
        if "error" in answer:
            if answer["outcome"] == "decoder-memory":
                self._remove(worker)
            raise PixelDataError(answer["error"], outcome=answer["outcome"])
        volume.lows[request.slices], volume.highs[request.slices] = answer["lows"], answer["highs"]

    def _lost(self, worker: DecodeProcess, waiting: deque[Request]) -> None:
        """A process is gone: its work is done again by another, unless it is to blame."""
        self._workers.remove(worker)
        status = worker.end()
        log.warning("decoding process lost", exit_status=status)
        if not worker.is_ready and worker.given:
            raise WorkerLostError(
                f"A process that decodes images ended with status {status} before it could start."
            )
        if worker.given:
            suspect = worker.given[0]
            suspect.crashes += 1
            if suspect.crashes >= _CRASHES_MAX:
                raise PixelDataError(
                    f"The decoder crashed on the pixels of an image, {_CRASHES_MAX} times.",
                    outcome="decoder-crashed",
                )
        waiting.extendleft(reversed(worker.given))
        worker.given.clear()

    def _give_up(self, worker: DecodeProcess) -> None:
        self._remove(worker)
        log.warning("decoding process ended, out of time")
        if not worker.is_ready:
            raise WorkerLostError(
                f"A process that decodes images did not start within {START_S:g} s."
            )
        raise PixelDataError(
            "Decoding the pixels of an image took longer than the "
            f"{worker.given[0].allowed_s:.0f} s that it was given.",
            outcome="decoder-timeout",
        )

    def _remove(self, worker: DecodeProcess) -> int:
        self._workers.remove(worker)
        return worker.kill()
