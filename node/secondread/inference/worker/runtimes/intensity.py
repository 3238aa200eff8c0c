"""What a network's image looks like in numbers: `[preprocessing.intensity]`.

====================  =================================================================
``kind``              what becomes of the value v
====================  =================================================================
``"none"``            nothing
``"window"``          ``low`` becomes ``to[0]``, ``high`` becomes ``to[1]``, cut off beyond
``"percentile"``      the same, with ``low`` and ``high`` in per cent of the image's voxels
``"zscore"``          (v - mean) / deviation, those of the image, or of its voxels that are not
                      0 with ``nonzero`` (which then stay 0)
``"fixed"``           (v - ``mean``) / ``deviation``, as the manifest gives them; first cut off at
                      ``low`` and ``high`` where these are there
====================  =================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondread.bundles.entry import Entry

__all__ = ["KINDS", "Intensity", "read_intensity", "scale", "standardise"]

Float32 = NDArray[np.float32]

_LEAST = 1e-6
"""Keeps a flat image from being divided by nothing."""

KINDS = ("none", "window", "percentile", "zscore", "fixed")

_KEYS = {
    "none": (),
    "window": ("low", "high", "to"),
    "percentile": ("low", "high", "to"),
    "zscore": ("nonzero",),
    "fixed": ("mean", "deviation", "low", "high"),
}


@dataclass(frozen=True, slots=True)
class Intensity:
    """One way to normalise; ``kind`` says which of the values count."""

    kind: str = "none"
    low: float = -np.inf
    high: float = np.inf
    to: tuple[float, float] = (0.0, 1.0)
    nonzero: bool = False
    mean: float = 0.0
    deviation: float = 1.0

    def apply(self, image: Float32, inside: NDArray[np.bool_] | None = None) -> Float32:
        """Normalise (x, y, z) float32; an image of a single value becomes constant.

        ``inside`` says for ``zscore`` which voxels there are, instead of ``nonzero``; what lies
        outside becomes 0.
        """
        if self.kind in {"window", "percentile"}:
            low, high = self.low, self.high
            if self.kind == "percentile":
                low, high = (float(v) for v in np.percentile(image, (self.low, self.high)))
            share = scale(image, low, high)
            return np.asarray(self.to[0] + share * (self.to[1] - self.to[0]), np.float32)
        if self.kind == "zscore":
            if inside is None:
                inside = image != 0 if self.nonzero else np.ones(image.shape, np.bool_)
            values = image[inside]
            if not values.size:
                return image
            scaled = standardise(image, values.mean(), values.std())
            return np.where(inside, scaled, 0).astype(np.float32)
        if self.kind == "fixed":
            cut = np.clip(image, self.low, self.high)
            return np.asarray((cut - self.mean) / self.deviation, np.float32)
        return image


def scale(
    image: NDArray[np.floating],
    low: float | np.floating,
    high: float | np.floating,
    ceiling: float = 1.0,
) -> NDArray[np.floating]:
    """Bring ``low`` to 0 and ``high`` to 1; cut off at 0 and at ``ceiling``."""
    scaled: NDArray[np.floating] = np.clip(
        (image - low) / max(float(high - low), _LEAST), 0.0, ceiling
    )
    return scaled


def standardise(
    image: NDArray[np.floating], middle: float | np.floating, spread: float | np.floating
) -> NDArray[np.floating]:
    """Bring ``middle`` to 0 and ``spread`` to 1."""
    scaled: NDArray[np.floating] = (image - middle) / max(float(spread), _LEAST)
    return scaled


def read_intensity(row: object) -> Intensity:
    """Read the table.

    Raises:
        EntryFault: a key is unknown, absent or of the wrong kind.
    """
    where = "[preprocessing.intensity]"
    kind = Entry(where, row, ("kind", *{key for keys in _KEYS.values() for key in keys})).one_of(
        "kind", KINDS
    )
    entry = Entry(f"{where} of the kind '{kind}'", row, ("kind", *_KEYS[kind]))
    if kind == "zscore":
        return Intensity(kind, nonzero=entry.switch("nonzero"))
    if kind in {"window", "percentile"}:
        low, high = entry.number("low"), entry.number("high")
        if low >= high or (kind == "percentile" and not 0 <= low < high <= 100):
            raise entry.fault(f"has no range from {low:g} to {high:g}")
        return Intensity(kind, low, high, entry.pair("to") if entry.has("to") else (0.0, 1.0))
    if kind == "fixed":
        lowest, highest = entry.number_if_any("low"), entry.number_if_any("high")
        deviation = entry.number("deviation")
        if deviation <= 0:
            raise entry.fault("has a deviation that is not above 0")
        return Intensity(
            kind,
            -np.inf if lowest is None else lowest,
            np.inf if highest is None else highest,
            mean=entry.number("mean"),
            deviation=deviation,
        )
    return Intensity()
