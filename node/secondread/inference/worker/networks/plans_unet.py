"""The U-Nets that nnU-Net's plans describe, with the names of parameters that its files have.

Written anew after `dynamic_network_architectures` 0.4 (Apache-2.0), so that no class is ever
imported because a file names it. ``PlainConvUNet``: Isensee et al., Nature Methods 18 (2021);
``ResidualEncoderUNet``: Isensee et al., MICCAI 2024. Only for answering: dropout, which does
nothing then, is left out, and so are the answers of lower resolutions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

__all__ = ["ARCHITECTURES", "build_plans_unet", "check_patch"]

_PLACE = "dynamic_network_architectures.architectures"
ARCHITECTURES: Mapping[str, bool] = MappingProxyType(
    {
        f"{_PLACE}.unet.PlainConvUNet": False,
        f"{_PLACE}.unet.ResidualEncoderUNet": True,
        f"{_PLACE}.residual_unet.ResidualEncoderUNet": True,
    }
)
"""``network_class_name`` of a plan → whether its encoder has residual blocks."""
_CONVOLUTIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"torch.nn.modules.conv.Conv2d": nn.Conv2d, "torch.nn.modules.conv.Conv3d": nn.Conv3d}
)
_TRANSPOSED: Mapping[type, type[nn.Module]] = MappingProxyType(
    {nn.Conv2d: nn.ConvTranspose2d, nn.Conv3d: nn.ConvTranspose3d}
)
_POOLS: Mapping[type, type[nn.Module]] = MappingProxyType(
    {nn.Conv2d: nn.AvgPool2d, nn.Conv3d: nn.AvgPool3d}
)
_NORMS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        "torch.nn.modules.instancenorm.InstanceNorm2d": nn.InstanceNorm2d,
        "torch.nn.modules.instancenorm.InstanceNorm3d": nn.InstanceNorm3d,
        "torch.nn.modules.batchnorm.BatchNorm2d": nn.BatchNorm2d,
        "torch.nn.modules.batchnorm.BatchNorm3d": nn.BatchNorm3d,
    }
)
_ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"torch.nn.LeakyReLU": nn.LeakyReLU, "torch.nn.ReLU": nn.ReLU}
)
_KEYS = {
    *("n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "conv_bias"),
    *("n_conv_per_stage_decoder", "norm_op", "norm_op_kwargs", "nonlin", "nonlin_kwargs"),
    *("dropout_op", "dropout_op_kwargs"),
}


@dataclass(frozen=True, slots=True)
class _Parts:
    """What all convolutions of a network are made of."""

    convolution: Any
    bias: bool
    norm: Any
    norm_options: Mapping[str, Any]
    activation: Any
    activation_options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Stage:
    """One resolution: its blocks, features, size of kernels and step from the one above."""

    blocks: int
    features: int
    kernel: Sequence[int]
    stride: Sequence[int]


class _Step(nn.Module):
    """Convolution, normalisation and, where wanted, activation."""

    def __init__(
        self, parts: _Parts, sides: tuple[int, int], stage: _Stage, *, active: bool = True
    ) -> None:
        super().__init__()
        self.conv = parts.convolution(
            *sides,
            tuple(stage.kernel),
            tuple(stage.stride),
            padding=tuple((n - 1) // 2 for n in stage.kernel),
            bias=parts.bias,
        )
        if parts.norm is not None:
            self.norm = parts.norm(sides[1], **parts.norm_options)
        self.nonlin = parts.activation(**parts.activation_options) if active else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if hasattr(self, "norm"):
            x = self.norm(x)
        found: torch.Tensor = self.nonlin(x)
        return found


class _Stack(nn.Module):
    """Steps one after another; the first one has the stride."""

    def __init__(self, parts: _Parts, entering: int, stage: _Stage) -> None:
        super().__init__()
        still = _unmoved(stage)
        steps = [_Step(parts, (entering, stage.features), stage)]
        steps += [_Step(parts, (stage.features,) * 2, still) for _ in range(stage.blocks - 1)]
        self.convs = nn.Sequential(*steps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.convs(x)
        return found


class _Block(nn.Module):
    """Two steps beside a way past them, pooled and projected where it has to be (ResNet-D)."""

    def __init__(self, parts: _Parts, entering: int, stage: _Stage) -> None:
        super().__init__()
        self.conv1 = _Step(parts, (entering, stage.features), stage)
        self.conv2 = _Step(parts, (stage.features,) * 2, _unmoved(stage), active=False)
        self.nonlin2 = parts.activation(**parts.activation_options)
        past: list[nn.Module] = []
        if any(n != 1 for n in stage.stride):
            stride = tuple(stage.stride)
            past.append(_POOLS[parts.convolution](stride, stride))
        if entering != stage.features:
            ones = [1] * len(stage.stride)
            bare = _Parts(
                parts.convolution, False, parts.norm, parts.norm_options, parts.activation, {}
            )
            point = _Stage(1, stage.features, ones, ones)
            past.append(_Step(bare, (entering, stage.features), point, active=False))
        self.skip = nn.Sequential(*past)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x))
        return found


class _Blocks(nn.Module):
    """Residual blocks one after another; the first one has the stride."""

    def __init__(self, parts: _Parts, entering: int, stage: _Stage) -> None:
        super().__init__()
        still = _unmoved(stage)
        blocks = [_Block(parts, entering, stage)]
        blocks += [_Block(parts, stage.features, still) for _ in range(stage.blocks - 1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.blocks(x)
        return found


class _Encoder(nn.Module):
    def __init__(
        self, parts: _Parts, channels: int, stages: Sequence[_Stage], *, residual: bool
    ) -> None:
        super().__init__()
        entering = channels
        self.stem: nn.Module = nn.Identity()
        if residual:
            first = stages[0]
            stem = _Stage(1, first.features, first.kernel, [1] * len(first.stride))
            self.stem = _Stack(parts, entering, stem)
            entering = first.features
        built: list[nn.Module] = []
        for stage in stages:
            if residual:
                built.append(_Blocks(parts, entering, stage))
            else:
                built.append(nn.Sequential(_Stack(parts, entering, stage)))
            entering = stage.features
        self.stages = nn.Sequential(*built)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.stem(x)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class _Decoder(nn.Module):
    def __init__(
        self, parts: _Parts, stages: Sequence[_Stage], blocks: Sequence[int], channels: int
    ) -> None:
        super().__init__()
        ones = [1] * len(stages[0].stride)
        up, joined, answers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        pairs = zip(reversed(stages[:-1]), reversed(stages[1:]), blocks, strict=True)
        for above, below, count in pairs:
            stride = tuple(below.stride)
            up.append(
                _TRANSPOSED[parts.convolution](
                    below.features, above.features, stride, stride, bias=parts.bias
                )
            )
            stage = _Stage(count, above.features, above.kernel, ones)
            joined.append(_Stack(parts, 2 * above.features, stage))
            answers.append(parts.convolution(above.features, channels, 1))
        self.transpconvs, self.stages, self.seg_layers = up, joined, answers

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        x = levels[-1]
        for up, stage, level in zip(self.transpconvs, self.stages, levels[-2::-1], strict=True):
            x = stage(torch.cat((up(x), level), 1))
        found: torch.Tensor = self.seg_layers[-1](x)
        return found


class PlansUNet(nn.Module):
    """(1, image, …) → (1, channel, …) logits."""

    def __init__(self, encoder: _Encoder, decoder: _Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give logits, of the size of the image."""
        found: torch.Tensor = self.decoder(self.encoder(x))
        return found


def build_plans_unet(architecture: Mapping[str, Any], images: int, channels: int) -> nn.Module:
    """Build what the ``architecture`` of a plan describes, untrained.

    Args:
        architecture: with ``network_class_name`` and ``arch_kwargs``.
        images: how many images it takes.
        channels: how many it answers.

    Raises:
        ValueError: a class or an option is not among those that are known here.
        KeyError, TypeError: an option lacks or is of the wrong kind.
    """
    residual = _known(ARCHITECTURES, architecture["network_class_name"])
    options = architecture["arch_kwargs"]
    blocks = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    if unknown := sorted(set(options) - _KEYS - {blocks}):
        raise ValueError(f"the network has options that are not known here: {', '.join(unknown)}")
    count = int(options["n_stages"])
    parts = _Parts(
        convolution=_known(_CONVOLUTIONS, options["conv_op"]),
        bias=bool(options["conv_bias"]),
        norm=_known(_NORMS, options["norm_op"]) if options["norm_op"] else None,
        norm_options=dict(options["norm_op_kwargs"] or {}),
        activation=_known(_ACTIVATIONS, options["nonlin"]),
        activation_options=dict(options["nonlin_kwargs"] or {}),
    )
    axes = 2 if parts.convolution is nn.Conv2d else 3
    rows = (
        _each(options[blocks], count),
        _each(options["features_per_stage"], count),
        [_each(kernel, axes) for kernel in _each(options["kernel_sizes"], count)],
        [_each(stride, axes) for stride in _each(options["strides"], count)],
    )
    stages = [_Stage(*row) for row in zip(*rows, strict=True)]
    decoder = _each(options["n_conv_per_stage_decoder"], count - 1)
    return PlansUNet(
        _Encoder(parts, images, stages, residual=residual),
        _Decoder(parts, stages, decoder, channels),
    )


def check_patch(architecture: Mapping[str, Any], patch: Sequence[int]) -> None:
    """Hold that what goes down through the strides comes up again at the same size.

    Raises:
        ValueError: the network does not take windows of this size.
    """
    options = architecture["arch_kwargs"]
    axes = 2 if _CONVOLUTIONS[options["conv_op"]] is nn.Conv2d else 3
    if len(patch) != axes:
        raise ValueError(f"it takes {axes} axes, and its patch has {len(patch)}")
    strides = [_each(row, axes) for row in _each(options["strides"], int(options["n_stages"]))]
    if any(n % math.prod(steps) for n, *steps in zip(patch, *strides, strict=True)):
        raise ValueError("its strides do not divide its patch")


def _known(table: Mapping[str, Any], name: str) -> Any:
    if name not in table:
        raise ValueError(f"'{name}' is not known here; known: {', '.join(sorted(table))}")
    return table[name]


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


def _unmoved(stage: _Stage) -> _Stage:
    return _Stage(stage.blocks, stage.features, stage.kernel, [1] * len(stage.stride))
