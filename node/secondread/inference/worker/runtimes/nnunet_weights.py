"""The weights of an nnU-Net checkpoint, read without running anything of it.

``checkpoint_final.pth`` is a pickle, and a pickle is a program. PyTorch's own reader of tensors and
plain values takes none but those, and of numpy the scalars that nnU-Net's log of a training has
(``torch.load(weights_only=True)``); whatever else stands there is an error, not a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secondread.errors import ManifestError

__all__ = ["Checkpoint", "fit", "read_checkpoint"]

# The same function under the names that it has in files of numpy 1 and numpy 2.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_GLOBALS: tuple[Any, ...] = (
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "u1", "bool")),
)
# The classes of the originals hold their parts twice.
_TWICE = (".all_modules.",)
_OF_ENCODER = "decoder.encoder."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is used of a checkpoint.

    Attributes:
        weights: tensors by name.
        configuration: which of the plan's configurations it was trained with; '' if it is silent.
        mirror_axes: along which of the network's axes copies may be mirrored.
    """

    weights: Mapping[str, torch.Tensor]
    configuration: str
    mirror_axes: tuple[int, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file of nnU-Net.

    Raises:
        ManifestError: it is no such file, or has more in it than tensors and plain values.
    """
    try:
        with torch.serialization.safe_globals(list(_GLOBALS)):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # A file that was made to do harm can break its reader in any way.
        reason = " ".join(str(error).split())[:200]
        raise ManifestError(
            f"'{path.name}' is not an nnU-Net checkpoint of tensors and plain values alone, and "
            f"nothing else is loaded: {reason}"
        ) from None
    weights = found.get("network_weights") if isinstance(found, dict) else None
    if not isinstance(weights, Mapping) or not all(
        isinstance(key, str) and torch.is_tensor(value) for key, value in weights.items()
    ):
        raise ManifestError(f"'{path.name}' has no network_weights, as an nnU-Net checkpoint has.")
    arguments: Any = found.get("init_args")
    configuration = arguments.get("configuration", "") if isinstance(arguments, Mapping) else ""
    axes = found.get("inference_allowed_mirroring_axes") or ()
    if not isinstance(axes, list | tuple) or any(type(axis) is not int for axis in axes):
        raise ManifestError(f"'{path.name}' mirrors along what are no axes.")
    return Checkpoint(weights, str(configuration), tuple(axes))


def fit(network: torch.nn.Module, checkpoint: Checkpoint, name: str) -> torch.nn.Module:
    """Load weights into a network, every one of them.

    Raises:
        ManifestError: it is another network's checkpoint.
    """
    kept = {
        key.removeprefix("module."): value.float() if value.is_floating_point() else value
        for key, value in checkpoint.weights.items()
        if isinstance(key, str)
        and not any(part in key for part in _TWICE)
        and _OF_ENCODER not in key
    }
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ManifestError(
            f"'{name}' does not fit the network of its plans; a trainer that builds another one "
            f"than they say is not known here: {reason}"
        ) from None
    return network.eval()
