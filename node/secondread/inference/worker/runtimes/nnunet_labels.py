"""From the channels of an nnU-Net to labels, as it decides: after its answer was brought back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondread.inference.worker.runtimes.decoding import Decided

__all__ = ["Decider"]

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
Channels = Callable[[int], Float32]
"""Gives the logits of a channel; called for one after another, so that one has to be there."""

_CERTAIN = 255


@dataclass(frozen=True, slots=True)
class Decider:
    """How channels become labels.

    Attributes:
        labels: the label that each channel becomes; 0 is background or a class left out.
        regions: whether each channel decides for itself, later ones over earlier ones.
        label_count: of how many labels probabilities are wanted; 0 is none.
    """

    labels: tuple[int, ...]
    regions: bool
    label_count: int = 0

    def decide(self, channel: Channels) -> Decided:
        """Decide every voxel; a confidence is not given."""
        return self._each(channel) if self.regions else self._likeliest(channel)

    def _each(self, channel: Channels) -> Decided:
        labels: UInt8 | None = None
        shares: Float32 | None = None
        for number, label in enumerate(self.labels):
            logits = channel(number)
            if labels is None:
                labels, shares = np.zeros(logits.shape, np.uint8), self._room(logits)
            # A sigmoid above a half.
            labels[logits > 0] = label
            if shares is not None and label:
                shares[label - 1] += 0.5 + 0.5 * np.tanh(0.5 * logits)
        assert labels is not None
        return Decided(labels, np.zeros(0, np.float32), _kept(shares))

    def _likeliest(self, channel: Channels) -> Decided:
        best = channel(0)
        labels = np.full(best.shape, self.labels[0], np.uint8)
        total = np.ones(best.shape, np.float32)
        for number, label in enumerate(self.labels[1:], start=1):
            logits = channel(number)
            labels[logits > best] = label
            if self.label_count:
                higher = np.maximum(best, logits)
                total = total * np.exp(best - higher) + np.exp(logits - higher)
            best = np.maximum(best, logits)
        shares = self._room(best)
        if shares is not None:
            for number, label in enumerate(self.labels):
                if label:
                    shares[label - 1] += np.exp(channel(number) - best) / total
        return Decided(labels, np.zeros(0, np.float32), _kept(shares))

    def _room(self, logits: Float32) -> Float32 | None:
        if not self.label_count:
            return None
        return np.zeros((self.label_count, *logits.shape), np.float32)


def _kept(shares: Float32 | None) -> UInt8 | None:
    if shares is None:
        return None
    return np.rint(np.clip(shares, 0, 1) * _CERTAIN).astype(np.uint8)
