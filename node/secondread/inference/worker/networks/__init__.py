"""The networks a bundle may name: a fixed table, so that a manifest can never run foreign code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from secondread.inference.worker.networks.unet3d import UNet3D

__all__ = ["NETWORKS", "build", "fill"]

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


def fill(network: nn.Module, path: Path) -> nn.Module:
    """Load the weights of a network from a ``.safetensors`` file, ready for answering.

    Raises:
        ValueError: it is no such file, or has the weights of another network.
    """
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a file of weights (safetensors): {error}") from None
    try:
        network.load_state_dict({name: part.float() for name, part in weights.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path.name} does not fit its network: {reason}") from error
    return network.eval()
