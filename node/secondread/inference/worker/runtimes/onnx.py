"""Run a packaged ONNX network with ONNX Runtime, on the processor.

Keys of `model.toml` that this runtime reads, besides those of `runtimes/voxelwise.py`::

    [runtime]              weights = "model.onnx", one of [files]
    [runtime.options]      input = "image"; output = "logits"     # where there are several

The input is (1, 1, x, y, z), float32 or float16; the output (1, channel, x, y, z) of the same size.
A network of slices has (1, 1, x, y) and (1, channel, x, y), and goes through the volume along the
last axis of ``orientation``. Where the file fixes the size of its input, that is the ``patch``.

Only the operators that ONNX Runtime itself brings are there: a file that names others is not
loaded, and there is no way to bring a library of them. Weights in another file (external data) are
not read, because nothing would pin them; a network of up to 2 GiB is one file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondread.bundles.entry import Entry
from secondread.bundles.package import MANIFEST_NAME, faults_of
from secondread.errors import ManifestError
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes.onnx_session import open_session
from secondread.inference.worker.runtimes.voxelwise import label_voxels, read_plan

__all__ = ["OnnxRuntime"]

Float32 = NDArray[np.float32]

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_SLICES, _VOLUME = 4, 5
"""Number of axes of the input of a network of slices and of one of volumes."""


class OnnxRuntime:
    """A loaded network, ready for any number of volumes."""

    def __init__(self, manifest: Mapping[str, Any], folder: Path, _device: str = "cpu") -> None:
        """Load the network.

        Args:
            manifest: the parsed `model.toml`.
            folder: where the model's files lie; their digests were checked by the caller.

        Raises:
            ManifestError: the manifest asks for what there is not, or the file is no network that
                this runtime can run.
        """
        plan = read_plan(manifest, folder)
        with faults_of(folder / MANIFEST_NAME):
            name = str(manifest["runtime"]["weights"])
            if name not in manifest["files"]:
                raise ValueError(f"its weights '{name}' are not among [files]")
            options = manifest["runtime"].get("options", {})
            entry = Entry("[runtime.options]", options, ("input", "output", "decoding"))
            wanted = {key: entry.text(key) for key in ("input", "output") if entry.has(key)}
        self._session = open_session(folder / name)
        given = _choose("input", self._session.get_inputs(), wanted)
        if len(self._session.get_inputs()) > 1:
            raise ManifestError(f"The network in '{name}' takes more than one image.")
        self._input, self._shape = given.name, given.shape
        self._output = _choose("output", self._session.get_outputs(), wanted).name
        if given.type not in _TYPES:
            raise ManifestError(
                f"The network in '{name}' takes {given.type}; it has to take float or float16."
            )
        self._type = _TYPES[given.type]
        patch = _patch(name, self._shape, plan.windows.patch)
        self._plan = replace(plan, windows=replace(plan.windows, patch=patch))

    def predict(self, voxels: NDArray[np.generic], affine_lps: NDArray[np.float64]) -> Prediction:
        """Label a volume ``(slice, row, column)``; ``affine_lps`` maps its voxels to LPS mm.

        Raises:
            ValueError: not a volume, or an affine that cannot be inverted.
            InvalidPredictionError: the network answers something that the manifest does not
                describe.
        """
        network = self._answer if len(self._shape) == _VOLUME else self._answer_by_slices
        return label_voxels(self._plan, network, voxels, affine_lps)

    def _answer(self, image: Float32) -> Float32:
        """Give (channel, …) for (x, y, z), or for (x, y)."""
        (found,) = self._session.run(
            [self._output], {self._input: image[None, None].astype(self._type)}
        )
        return np.asarray(found, np.float32)[0] if np.ndim(found) else np.zeros(0, np.float32)

    def _answer_by_slices(self, image: Float32) -> Float32:
        """Give (channel, x, y, z) for (x, y, z)."""
        return np.stack([self._answer(plane) for plane in np.moveaxis(image, 2, 0)], axis=-1)


def _choose(kind: str, nodes: Sequence[Any], wanted: Mapping[str, str]) -> Any:
    """Give the node that the manifest names, or the only one."""
    names = [node.name for node in nodes]
    if kind not in wanted and len(nodes) == 1:
        return nodes[0]
    if wanted.get(kind) not in names:
        raise ManifestError(
            f"[runtime.options] has to name the {kind} of the network; there are: "
            f"{', '.join(names)}."
        )
    return nodes[names.index(wanted[kind])]


def _patch(
    name: str, shape: Sequence[int | str | None], wanted: tuple[int, int, int] | None
) -> tuple[int, int, int] | None:
    """Give the size of a window: what the file fixes, else what the manifest wants."""
    if len(shape) not in {_SLICES, _VOLUME}:
        raise ManifestError(
            f"The network in '{name}' takes {len(shape)} axes; it has to take (1, 1, x, y, z), or "
            "(1, 1, x, y) for slices."
        )
    if any(isinstance(n, int) and n != 1 for n in shape[:2]):
        raise ManifestError(f"The network in '{name}' takes more than one image or channel.")
    fixed = [n if isinstance(n, int) and n > 0 else None for n in shape[2:]]
    if len(shape) == _SLICES:
        fixed.append(None if wanted is None else wanted[2])
    if not any(fixed[: len(shape) - 2]):
        return wanted
    if wanted is None:
        if len(shape) == _SLICES:
            fixed[2] = 1
        if None in fixed:
            raise ManifestError(
                f"The network in '{name}' fixes some sides of its input; [preprocessing] has to "
                "give its patch."
            )
        wanted = (fixed[0] or 1, fixed[1] or 1, fixed[2] or 1)
    if any(ours is not None and ours != side for ours, side in zip(fixed, wanted, strict=True)):
        raise ManifestError(
            f"The network in '{name}' takes windows of another size than the patch of "
            f"[preprocessing], {' × '.join(map(str, wanted))}."
        )
    return wanted
