"""The loss of a segmentation: cross-entropy and soft Dice."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 — torch's own name for it
from torch import Tensor


def segmentation_loss(logits: Tensor, target: Tensor, *, smooth: float) -> Tensor:
    """Cross-entropy plus one minus the mean Dice of the labels, the background left out.

    Args:
        logits: (batch, classes, x, y, z); counted in 32 bits whatever they are.
        target: (batch, x, y, z) int64.
        smooth: voxels added above and below, so that an empty label is no division by nothing.
    """
    logits = logits.float()
    entropy = F.cross_entropy(logits, target)
    found = logits.softmax(1)
    truth = F.one_hot(target, logits.shape[1]).permute(0, 4, 1, 2, 3).float()
    axes = (0, 2, 3, 4)
    overlap = 2 * (found * truth).sum(axes) + smooth
    dice = overlap / (found.sum(axes) + truth.sum(axes) + smooth)
    return entropy + 1 - dice[1:].mean()
