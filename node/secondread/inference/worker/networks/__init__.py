"""The networks a bundle may name: a fixed table, so that a manifest can never run foreign code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from secondread.inference.worker.networks.unet3d import UNet3D

__all__ = ["NETWORKS", "build"]

NETWORKS: Mapping[str, type[nn.Module]] = MappingProxyType({"unet3d": UNet3D})
"""Name in `[runtime] network` → class; its keyword arguments are the network's options."""


def build(name: str, options: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network.

    Args:
        name: a key of `NETWORKS`.
        options: keyword arguments of that network.

    Raises:
        ValueError: the name is not in the table, or the options do not suit the network.
    """
    if name not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise ValueError(f"Unknown network {name!r}; known networks: {known}")
    try:
        return NETWORKS[name](**options)
    except TypeError as error:
        raise ValueError(f"Network {name!r} does not take these options: {error}") from error
