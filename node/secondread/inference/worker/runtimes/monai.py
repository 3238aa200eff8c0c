"""Run a MONAI bundle; its classes and expressions are read, never executed.

Keys of `model.toml` that this runtime reads, besides those of `runtimes/voxelwise.py`::

    [runtime]              weights = "models/model.ts", TorchScript, one of [files]

``configs/inference.json`` of the bundle, one of [files] too, gives the keys of ``[preprocessing]``
that the manifest does not have: see `runtimes/monai_bundle.py`. Nothing of MONAI is needed, and
nothing imported: it starts programs when it is, which no worker may. TorchScript is code, and can
do no more than the worker: see docs/containment.md.
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
from secondread.errors import ManifestError
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes.monai_bundle import read_bundle
from secondread.inference.worker.runtimes.voxelwise import label_voxels, read_plan

__all__ = ["MonaiRuntime"]

Float32 = NDArray[np.float32]


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
                no TorchScript.
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
        return np.asarray(found[0].float().cpu().numpy(), np.float32)


def _load(path: Path, device: torch.device) -> torch.nn.Module:
    if path.suffix != ".ts":
        raise ManifestError(
            f"'{path.name}' is not TorchScript (.ts), which a MONAI bundle needs here, because its "
            "classes are not imported; 'python -m monai.bundle ckpt_export' makes one of a bundle."
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
