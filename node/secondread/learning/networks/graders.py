"""Small networks that map a whole volume to one number: over slices, over voxels, and recurrent.

All of them take (batch, 1, x, y, z) and give (batch,): a logit, or a number in units of its spread.
They are normalised by batch. Normalised by image, as the U-Net is, they would hardly see how much
there is of anything: that is what a mean over the image, brought to one scale, no longer tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn

__all__ = ["CNN2D", "CNN3D", "CNNGRU", "GRADERS", "Grader", "Sizes"]


class Sizes:
    """What a network is built of.

    Args:
        widths: channels of each level; every level halves the resolution.
        axis: along which slices are cut: 0 sagittal, 1 coronal, 2 axial.
        hidden: of the recurrent network's state.
        dropout: the share of features that are left out in a step of training.
    """

    def __init__(
        self,
        widths: Sequence[int] = (8, 16, 32),
        axis: int = 1,
        hidden: int = 32,
        dropout: float = 0.0,
    ) -> None:
        self.widths = tuple(widths)
        self.axis = axis
        self.hidden = hidden
        self.dropout = dropout


class SliceEncoder(nn.Module):
    """A 2D CNN that turns each slice into features, each a mean over the slice."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.axis = sizes.axis
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise((1, *sizes.widths))):
            if number:
                layers.append(nn.MaxPool2d(2))
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, x, y, z) to (batch, slice, feature)."""
        slices = x.movedim(2 + self.axis, 1)
        features: Tensor = self.layers(slices.flatten(0, 1)).mean((2, 3))
        return features.reshape(*slices.shape[:2], -1)


class CNN2D(nn.Module):
    """Each slice gives its own answer; that of the case is their mean."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.encoder = SliceEncoder(sizes)
        self.head = nn.Sequential(nn.Dropout(sizes.dropout), nn.Linear(sizes.widths[-1], 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, x, y, z) to (batch,)."""
        answers: Tensor = self.head(self.encoder(x))[..., 0]
        return answers.mean(1)


class CNNGRU(nn.Module):
    """A 2D CNN reads every slice, and a GRU runs over them from both ends."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.encoder = SliceEncoder(sizes)
        self.memory = nn.GRU(sizes.widths[-1], sizes.hidden, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(sizes.dropout), nn.Linear(2 * sizes.hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, x, y, z) to (batch,)."""
        features = self.encoder(x).float()
        with torch.autocast("cpu", enabled=False):
            _, last = self.memory(features)
        # (direction, batch, state): what each direction knows after its last slice.
        answers: Tensor = self.head(torch.cat((last[0], last[1]), 1))[:, 0]
        return answers


class CNN3D(nn.Module):
    """A 3D CNN: two convolutions a level below the first, and a mean over what is left."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = sizes.widths
        layers: list[nn.Module] = [_convolve(1, widths[0])]
        for before, after in pairwise(widths):
            layers += [nn.MaxPool3d(2), _convolve(before, after), _convolve(after, after)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(sizes.dropout), nn.Linear(widths[-1], 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, x, y, z) to (batch,)."""
        answers: Tensor = self.head(self.layers(x).mean((2, 3, 4)))[:, 0]
        return answers


def _convolve(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(inplace=True),
    )


GRADERS: Mapping[str, Callable[[Sizes], nn.Module]] = MappingProxyType(
    {"cnn2d": CNN2D, "cnn3d": CNN3D, "cnn_gru": CNNGRU}
)
"""Kind of estimator → its network."""


class Grader(nn.Module):
    """A network with the centre and spread of what it tells, so that its weights are all it needs.

    A logit has the centre 0 and the spread 1; a number has those of the cases that teach.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, kind: str, sizes: Sizes, centre: float = 0.0, spread: float = 1.0) -> None:
        super().__init__()
        self.net = GRADERS[kind](sizes)
        self.register_buffer("centre", torch.tensor(centre))
        self.register_buffer("spread", torch.tensor(spread))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, x, y, z) to (batch,), in spreads from the centre."""
        answers: Tensor = self.net(x)
        return answers

    def answer(self, x: Tensor) -> Tensor:
        """Map (batch, 1, x, y, z) to (batch,): a logit, or the number itself."""
        answers: Tensor = self(x)
        return answers.float() * self.spread + self.centre
