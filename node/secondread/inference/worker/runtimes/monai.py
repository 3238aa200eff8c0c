"""Run a MONAI bundle; its classes and expressions are read, never executed.

Keys of `model.toml` that this runtime reads, besides those of `runtimes/voxelwise.py`::

    [runtime]              weights = "models/model.ts", TorchScript, or "models/model.pt", the
                           weights of a network that the bundle names; one of [files]

``configs/inference.json`` of the bundle, one of [files] too, gives the keys of ``[preprocessing]``
that the manifest does not have, and the network of a ``model.pt``: see `runtimes/monai_bundle.py`
and `runtimes/monai_networks.py`. For TorchScript nothing of MONAI is needed. It is code, and can do
no more than the worker: see docs/containment.md. A ``model.pt`` is tensors; one with more in it is
not loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secondread.bundles.entry import Entry
from secondread.bundles.package import MANIFEST_NAME, faults_of
from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes.monai_bundle import read_bundle
from secondread.inference.worker.runtimes.monai_networks import build_monai_network
from secondread.inference.worker.runtimes.voxelwise import label_voxels, read_plan

__all__ = ["MonaiRuntime"]

Float32 = NDArray[np.float32]

_WRAPPED = ("model", "state_dict", "network")
"""Under which keys checkpoints of a training have the weights."""


class MonaiRuntime:
    """A loaded bundle, ready for any number of volumes."""

    def __init__(self, manifest: Mapping[str, Any], folder: Path, device: str = "cpu") -> None:
        """Load the network.

        Args:
            manifest: the parsed `model.toml`.
            folder: where the model's files lie; their digests were checked by the caller.
            device: a torch device, such as ``cpu`` or ``cuda:0``.

        Raises:
            ManifestError: the manifest or the bundle asks for what there is not, or the weights are
                no TorchScript and none of the network that the bundle names.
        """
        with faults_of(folder / MANIFEST_NAME):
            name = str(manifest["runtime"]["weights"])
            if name not in manifest["files"]:
                raise ValueError(f"its weights '{name}' are not among [files]")
            Entry("[runtime.options]", manifest["runtime"].get("options", {}), ("decoding",))
            bundle = read_bundle(folder, manifest["files"])
            preprocessing = bundle.preprocessing() | dict(manifest["preprocessing"])
        self._plan = read_plan({**manifest, "preprocessing": preprocessing}, folder)
        self._device = torch.device(device)
        if Path(name).suffix == ".pt":
            network = build_monai_network(*bundle.network())
            self._network = _fill(network, folder / name).eval().to(self._device)
        else:
            self._network = _load(folder / name, self._device)

    def predict(self, voxels: NDArray[np.generic], affine_lps: NDArray[np.float64]) -> Prediction:
        """Label a volume ``(slice, row, column)``; ``affine_lps`` maps its voxels to LPS mm.

        Raises:
            ValueError: not a volume, or an affine that cannot be inverted.
            InvalidPredictionError: the network answers something that the manifest does not
                describe.
        """
        return label_voxels(self._plan, self._answer, voxels, affine_lps)

    @torch.inference_mode()
    def _answer(self, image: Float32) -> Float32:
        """Give (channel, x, y, z) for (x, y, z)."""
        found = self._network(torch.from_numpy(image)[None, None].to(self._device))
        if not torch.is_tensor(found) or not found.ndim:
            raise InvalidPredictionError("The network answered something that is no tensor.")
        return np.asarray(found[0].float().cpu().numpy(), np.float32)


def _fill(network: torch.nn.Module, path: Path) -> torch.nn.Module:
    """Load the weights of a network that was built by name; only tensors are read."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # A file that was made to do harm can break its reader in any way.
        raise ManifestError(
            f"'{path.name}' is not a file of weights alone, and nothing else is loaded: "
            f"{' '.join(str(error).split())[:200]}"
        ) from None
    for key in _WRAPPED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    try:
        network.load_state_dict(found)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ManifestError(
            f"'{path.name}' does not fit the network that the MONAI bundle names: "
            f"{' '.join(str(error).split())[:200]}"
        ) from None
    return network


def _load(path: Path, device: torch.device) -> torch.nn.Module:
    if path.suffix != ".ts":
        raise ManifestError(
            f"'{path.name}' is neither TorchScript (.ts) nor the weights (.pt) of a MONAI network."
        )
    # PyTorch has no type for it.
    load: Callable[..., torch.nn.Module] = torch.jit.load
    with warnings.catch_warnings():
        # Bundles keep coming in this form, whatever PyTorch says of its future.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            network = load(str(path), map_location=device)
        except RuntimeError as error:
            raise ManifestError(
                f"'{path.name}' is not TorchScript: {str(error).splitlines()[0]}"
            ) from None
    return network.eval()
