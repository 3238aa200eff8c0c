"""What a network's channels mean: `[runtime.options.decoding]`.

==================  ====================================================================
``activation``      what makes probabilities of them: ``"softmax"``, ``"sigmoid"``, or ``"none"``
                    where they are probabilities already
``decide``          ``"argmax"``: the likeliest channel wins; ``"threshold"``: each channel by
                    itself, later ones are written over earlier ones
``labels``          the label that each channel becomes; 0 is background or a class left out
``threshold``       from which probability on a channel counts, 0.5 where absent
==================  ====================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondread.bundles.entry import Entry
from secondread.errors import InvalidPredictionError

__all__ = ["Decided", "Decoding", "read_decoding"]

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

_CERTAIN = 255
"""How a probability of 1 is kept."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided of each voxel.

    Attributes:
        labels: uint8.
        confidence: float32, probability of the channel that won, or of none where none did.
        probabilities: (label, …) uint8, 255 is certain; None where nobody asked.
    """

    labels: UInt8
    confidence: Float32
    probabilities: UInt8 | None


@dataclass(frozen=True, slots=True)
class Decoding:
    """How channels become labels; the attributes are the keys of the manifest."""

    activation: str
    decide: str
    labels: tuple[int, ...]
    threshold: float = 0.5

    def activate(self, channels: Float32) -> Float32:
        """Make probabilities: (channel, x, y, z), in place where that can be.

        Raises:
            InvalidPredictionError: there are more or fewer channels than declared, or what should
                be probabilities is not.
        """
        if len(channels) != len(self.labels):
            raise InvalidPredictionError(
                f"The network answered {len(channels)} channels; the manifest gives labels to "
                f"{len(self.labels)}."
            )
        if self.activation == "softmax":
            channels -= channels.max(axis=0)
            np.exp(channels, out=channels)
            channels /= channels.sum(axis=0)
        elif self.activation == "sigmoid":
            # The same as 1 / (1 + exp(-x)), which overflows.
            np.multiply(channels, 0.5, out=channels)
            np.tanh(channels, out=channels)
            channels += 1
            channels *= 0.5
        elif channels.min() < -0.01 or channels.max() > 1.01:
            raise InvalidPredictionError(
                "The network answered values outside 0 to 1, and the manifest says that they are "
                "probabilities; its activation has to be softmax or sigmoid."
            )
        return channels

    def judge(self, channel: Callable[[int], Float32], label_count: int = 0) -> Decided:
        """Decide every voxel.

        Args:
            channel: gives the probabilities of a channel; called once for each, so that no more
                than one has to be there at a time.
            label_count: of how many labels probabilities are wanted.
        """
        best = channel(0)
        labels, confidence = np.zeros(best.shape, np.uint8), np.zeros(best.shape, np.float32)
        shares = np.zeros((label_count, *best.shape), np.float32) if label_count else None
        least = 1 - best
        for number, label in enumerate(self.labels):
            values = best if number == 0 else channel(number)
            if self.decide == "argmax":
                wins = values > confidence
            else:
                wins = (values >= self.threshold) if label else np.zeros(values.shape, np.bool_)
                np.minimum(least, 1 - values, out=least)
            labels[wins] = label
            confidence[wins] = values[wins]
            if shares is not None and 0 < label <= label_count:
                shares[label - 1] += values
        if self.decide == "threshold":
            confidence = np.where(labels > 0, confidence, least).astype(np.float32)
        if shares is None:
            return Decided(labels, confidence, None)
        np.clip(shares, 0, 1, out=shares)
        return Decided(labels, confidence, np.rint(shares * _CERTAIN).astype(np.uint8))


def read_decoding(row: object, label_count: int) -> Decoding:
    """Read the table; ``label_count`` is the number of labels that the manifest declares.

    Raises:
        EntryFault: a key is unknown, absent or of the wrong kind.
    """
    entry = Entry(
        "[runtime.options.decoding]", row, ("activation", "decide", "labels", "threshold")
    )
    activation = entry.one_of("activation", ("softmax", "sigmoid", "none"))
    decide = entry.one_of("decide", ("argmax", "threshold"))
    labels = entry.value("labels")
    if not isinstance(labels, list) or not labels:
        raise entry.fault("has labels that are no list with one number for each channel")
    if unknown := [v for v in labels if type(v) is not int or not 0 <= v <= label_count]:
        raise entry.fault(f"gives a channel the label {unknown[0]!r}, which [[labels]] lacks")
    if decide == "argmax" and len(labels) < 2:
        raise entry.fault("has a single channel, which always wins; decide it by threshold")
    if decide == "argmax" and entry.has("threshold"):
        raise entry.fault("has a threshold, which argmax does not ask for")
    threshold = entry.number("threshold") if entry.has("threshold") else 0.5
    if not 0 < threshold < 1:
        raise entry.fault(f"has the threshold {threshold:g}; it lies between 0 and 1")
    return Decoding(activation, decide, tuple(labels), threshold)
