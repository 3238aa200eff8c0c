"""Run a network over a volume that is bigger than its input, window by window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from secondread.errors import InvalidPredictionError

__all__ = ["Network", "Windows", "run"]

Float32 = NDArray[np.float32]
Network = Callable[[Float32], Float32]
"""(x, y, z) → (channel, x, y, z), of the same size."""

_EDGE = 0.01
"""How much the edge of a window counts, where its middle counts 1."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How a volume is cut.

    Attributes:
        patch: size of a window; None takes the whole volume at once.
        overlap: share of a window that its neighbour has too.
        divisor: without ``patch``, each side is filled up to a multiple of this.
        pad: what a volume is filled up with, after normalising.
    """

    patch: tuple[int, int, int] | None = None
    overlap: float = 0.25
    divisor: int = 1
    pad: float = 0.0

    def size(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Give the size of a window in a volume of this shape."""
        if self.patch is not None:
            return self.patch
        return tuple(math.ceil(n / self.divisor) * self.divisor for n in shape)

    def starts(self, length: int, size: int) -> list[int]:
        """Give where windows begin along an axis, evenly spread, the last one at the end."""
        step = max(1, int(size * (1 - self.overlap)))
        count = 1 + math.ceil((length - size) / step)
        return [round(at) for at in np.linspace(0, length - size, count)]

    def weights(self, size: tuple[int, ...]) -> Float32:
        """Give how much each voxel of a window counts.

        A Gaussian of a quarter of each side as deviation, `_EDGE` at least.
        """
        total = np.ones(size, np.float32)
        for axis, n in enumerate(size):
            at = (np.arange(n) - (n - 1) / 2) / max(n / 4, 1)
            shape = [n if other == axis else 1 for other in range(len(size))]
            total *= np.exp(-0.5 * at**2).reshape(shape).astype(np.float32)
        return np.maximum(total, np.float32(_EDGE))


def run(image: Float32, windows: Windows, network: Network) -> Float32:
    """Give what a network says of every voxel: (x, y, z) → (channel, x, y, z).

    Where windows overlap, their answers are averaged; the middle of a window counts most, because
    a network knows least about its edge.

    Raises:
        InvalidPredictionError: the answer has another shape, or values that are not finite.
    """
    size = windows.size(image.shape)
    filled = _fill(image, size, windows.pad)
    begins = [windows.starts(n, part) for n, part in zip(filled.shape, size, strict=True)]
    weights = windows.weights(size)
    total: Float32 | None = None
    counted = np.zeros(filled.shape, np.float32)
    for corner in product(*begins):
        at = tuple(slice(start, start + part) for start, part in zip(corner, size, strict=True))
        answer = network(np.ascontiguousarray(filled[at]))
        if answer.ndim != 4 or answer.shape[1:] != size:
            raise InvalidPredictionError(
                f"The network answered {_by(answer.shape)} values to {_by(size)} voxels; it has to "
                "answer a value for each channel and voxel."
            )
        if not np.isfinite(answer).all():
            raise InvalidPredictionError("The network answered values that are not finite.")
        if total is None:
            total = np.zeros((len(answer), *filled.shape), np.float32)
        total[:, *at] += weights * answer
        counted[at] += weights
    assert total is not None
    total /= counted
    return total[:, *_inner(image.shape, filled.shape)]


def _fill(image: Float32, size: tuple[int, ...], value: float) -> Float32:
    missing = [max(0, part - n) for n, part in zip(image.shape, size, strict=True)]
    if not any(missing):
        return image
    sides = [(n // 2, n - n // 2) for n in missing]
    return np.pad(image, sides, constant_values=np.float32(value))


def _inner(shape: tuple[int, ...], filled: tuple[int, ...]) -> tuple[slice, ...]:
    """Where the volume lies in what it was filled up to."""
    starts = [(whole - n) // 2 for n, whole in zip(shape, filled, strict=True)]
    return tuple(slice(start, start + n) for start, n in zip(starts, shape, strict=True))


def _by(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
