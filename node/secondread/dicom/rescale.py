"""Slope and intercept of each slice (PS3.3 C.11.1.1.2), applied to a whole volume."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.dicom.stored_values import StoredPlane, StoredVolume
from secondread.errors import PixelDataError

Array = npt.NDArray[Any]

_INT16 = np.iinfo(np.int16)
_FLOAT32_MAX = float(np.finfo(np.float32).max)
# Two copy from the page cache as fast as memory goes; more only take the cores of others.
_THREADS_MAX = 2
_WORTH_A_THREAD_BYTES = 1 << 22


class Rescale:
    """Turns stored values into modality values, in place where they are whole and fit int16.

    What fits 16 bits is right when it is computed modulo 2**16, without a wider type. And what was
    added modulo 2**16 can be taken away again: so an intercept is added while a slice is still in
    the processor's cache, before it is known whether all slices will fit.
    """

    def __init__(self, planes: Sequence[StoredPlane], stored: StoredVolume) -> None:
        """Look at the slopes and intercepts; ``stored`` may still be empty.

        Raises:
            PixelDataError: the outcome is ``bad-rescale``.
        """
        self._stored = stored
        self._slopes = np.array([_number(item.plane.slope) for item in planes])
        self._intercepts = np.array([_number(item.plane.intercept) for item in planes])
        if not np.isfinite(self._slopes + self._intercepts).all() or (self._slopes == 0).any():
            raise PixelDataError(
                "Rescale Slope or Rescale Intercept is zero or not a number, so the values of its "
                "pixels are not known.",
                outcome="bad-rescale",
            )
        whole = not (self._slopes % 1).any() and not (self._intercepts % 1).any()
        self._whole = whole and stored.values.dtype.kind != "f"
        self._early = self._whole and stored.values.itemsize == 2 and (self._slopes == 1).all()
        self._done = np.zeros(len(planes), bool)
        if self._whole:
            self._factors = _modulo(self._slopes)
            self._summands = _modulo(self._intercepts)

    def apply_early(self, at: int) -> None:
        """Rescale the slice that has just been read, if that can be undone."""
        if self._early and self._summands[at]:
            words = self._stored.values[at].view(np.uint16)
            np.add(words, self._summands[at], out=words)
            self._done[at] = True

    def finish(self) -> Array:
        """The modality values of all slices; the stored ones are used up.

        Raises:
            PixelDataError: the outcome is ``not-finite``.
        """
        stored = self._stored
        low, high = (ends * self._slopes + self._intercepts for ends in (stored.lows, stored.highs))
        ends = np.concatenate([low, high])
        if not np.isfinite(ends).all() or np.abs(ends).max() > _FLOAT32_MAX:
            raise PixelDataError("Some of its pixels are not numbers.", outcome="not-finite")
        if self._whole and ends.min() >= _INT16.min and ends.max() <= _INT16.max:
            return self._to_integers()
        for at in np.flatnonzero(self._done):
            words = stored.values[at].view(np.uint16)
            np.subtract(words, self._summands[at], out=words)
        return self._to_floats()

    def _to_integers(self) -> Array:
        values = self._stored.values
        words = values.view(np.uint16) if values.itemsize == 2 else values.astype(np.uint16)
        left = np.flatnonzero(~self._done & ((self._factors != 1) | (self._summands != 0)))

        def work(start: int, end: int) -> None:
            for at in left[start:end]:
                if self._factors[at] != 1:
                    np.multiply(words[at], self._factors[at], out=words[at])
                np.add(words[at], self._summands[at], out=words[at])

        side_by_side(work, len(left), words.nbytes)
        return words.view(np.int16)

    def _to_floats(self) -> Array:
        values = self._stored.values
        result = np.empty(values.shape, np.float32)

        def work(start: int, end: int) -> None:
            exact = np.empty(values.shape[1:], np.float64)
            for at in range(start, end):
                np.multiply(values[at], self._slopes[at], out=exact)
                np.add(exact, self._intercepts[at], out=exact)
                result[at] = exact

        side_by_side(work, len(values), result.nbytes)
        return result


def side_by_side(work: Callable[[int, int], None], count: int, size_bytes: int) -> None:
    """Do ``work(start, end)`` for ``count`` slices, in threads where there is much to do."""
    cores = len(os.sched_getaffinity(0))
    threads = min(cores, _THREADS_MAX, max(1, size_bytes // _WORTH_A_THREAD_BYTES))
    if threads == 1:
        work(0, count)
        return
    # Several portions for each, so that one that is held up does not hold up all.
    step = max(1, -(-count // (4 * threads)))
    with ThreadPoolExecutor(threads) as pool:
        starts = range(0, count, step)
        for done in [pool.submit(work, start, min(count, start + step)) for start in starts]:
            done.result()


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _modulo(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    return (values % 2**16).astype(np.uint16)
