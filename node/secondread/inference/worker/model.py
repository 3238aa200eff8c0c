"""Loading a model package into the worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from secondread.bundles.entry import EntryFault
from secondread.bundles.package import Package, faults_of, read_package, verify
from secondread.errors import ManifestError
from secondread.inference.worker.prediction import Prediction


class Runtime(Protocol):
    """Something that can run a model.

    One that has an attribute ``takes`` gets what it names there as arguments besides:
    ``attributes``, by the names of ``domain.technical``, ``images``, DICOM files by name, and
    ``upstream``, by model id the ``Prediction`` of each model that the manifest names.
    """

    def predict(
        self, voxels: npt.NDArray[np.generic], affine_lps: npt.NDArray[np.float64]
    ) -> Prediction:
        """Label a volume ``(slice, row, column)``; ``affine_lps`` maps its voxels to LPS mm."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to run."""

    digest: str
    runtime: Runtime

    def predict(
        self,
        voxels: npt.NDArray[np.generic],
        affine_lps: npt.NDArray[np.float64],
        told: Mapping[str, Any],
    ) -> Prediction:
        """Run the model on a volume, and on what it takes of the rest that it may be told."""
        predict: Callable[..., Prediction] = self.runtime.predict
        taken = {name: told[name] for name in getattr(self.runtime, "takes", ()) if name in told}
        return predict(voxels, affine_lps, **taken)


def _torch(manifest: Mapping[str, Any], folder: Path, device: str) -> Runtime:
    from secondread.inference.worker.runtimes.torch import TorchRuntime

    return TorchRuntime(manifest, folder, device)


def _classical(manifest: Mapping[str, Any], folder: Path, device: str) -> Runtime:
    if "algorithm" in manifest["runtime"].get("options", {}):
        from secondread.inference.worker.algorithms import build

        return build(manifest)
    from secondread.inference.worker.runtimes.classical import ClassicalRuntime

    return ClassicalRuntime(manifest, folder, device)


def _features(manifest: Mapping[str, Any], folder: Path, device: str) -> Runtime:
    from secondread.inference.worker.runtimes.features import FeaturesRuntime

    return FeaturesRuntime(manifest, folder, device)


def _monai(manifest: Mapping[str, Any], folder: Path, device: str) -> Runtime:
    from secondread.inference.worker.runtimes.monai import MonaiRuntime

    return MonaiRuntime(manifest, folder, device)


def _nnunet(manifest: Mapping[str, Any], folder: Path, device: str) -> Runtime:
    from secondread.inference.worker.runtimes.nnunet import NnunetRuntime

    return NnunetRuntime(manifest, folder, device)


def _onnx(manifest: Mapping[str, Any], folder: Path, device: str) -> Runtime:
    from secondread.inference.worker.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(manifest, folder, device)


def _regions(manifest: Mapping[str, Any], folder: Path, device: str) -> Runtime:
    from secondread.inference.worker.runtimes.regions import RegionsRuntime

    return RegionsRuntime(manifest, folder, device)


Builder = Callable[[Mapping[str, Any], Path, str], Runtime]
"""Makes a runtime from a manifest, the folder of its package and a device."""

RUNTIMES: Mapping[str, Builder] = MappingProxyType(
    {
        "classical": _classical,
        "features": _features,
        "monai": _monai,
        "nnunet": _nnunet,
        "onnx": _onnx,
        "regions": _regions,
        "torch": _torch,
    }
)


def load_model(
    folder: Path, digest: str, device: str, runtimes: Mapping[str, Builder] = RUNTIMES
) -> LoadedModel:
    """Verify a package against the digest that the ledger holds, and load it.

    Raises:
        ManifestError: a byte of it has changed, its runtime is not one of ours, or what it asks of
            that is not there.
    """
    package = read_package(folder)
    if package.digest != digest:
        raise ManifestError(
            f"Model '{package.id}' has changed on disk since the node started; restart the node."
        )
    verify(package)
    if package.runtime not in runtimes:
        known = ", ".join(sorted(runtimes))
        raise ManifestError(
            f"Model '{package.id}' asks for the runtime '{package.runtime}'; known: {known}."
        )
    with faults_of(package.path):
        _check_weights(package)
        return LoadedModel(digest, runtimes[package.runtime](package.raw, folder, device))


def _check_weights(package: Package) -> None:
    """Hold that nothing is loaded whose digest was not compared."""
    runtime = package.raw["runtime"]
    given = runtime.get("weights", [])
    finer = runtime.get("options", {}).get("refine", {}).get("weights", [])
    names = [
        name for some in (given, finer) for name in ([some] if isinstance(some, str) else some)
    ]
    for name in names:
        if name not in package.files:
            raise EntryFault("[runtime]", f"names the weights {name!r}, not among [files]")
