"""Small ONNX networks with known answers, and packages around them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

MEAN, SLOPE = (0.0, 500.0, 900.0), 0.02
"""Value that each channel of `bright_network` likes best, and how much less it likes others."""


def bright_network(
    path: Path,
    shape: Sequence[int | str] = (1, 1, "x", "y", "z"),
    means: Sequence[float] = MEAN,
    domain: str = "",
) -> None:
    """Write a network whose logits are ``-SLOPE · |value - mean|``, a channel for each mean.

    Args:
        path: the file.
        shape: of its input; four axes make a network of slices.
        means: one for each channel.
        domain: of its first operator; other than '' it does not exist.
    """
    channels = len(means)
    at = [1, channels, *[1] * (len(shape) - 2)]
    constants = {
        "means": np.reshape(np.float32(means), at),
        "slope": np.float32(-SLOPE),
    }
    nodes = [
        helper.make_node("Sub", ["image", "means"], ["apart"], domain=domain),
        helper.make_node("Abs", ["apart"], ["far"]),
        helper.make_node("Mul", ["far", "slope"], ["logits"]),
    ]
    _write(path, nodes, constants, shape, [1, channels, *shape[2:]])


def mean_network(path: Path, shape: Sequence[int | str] = (1, 1, "x", "y", "z")) -> None:
    """Write a network with one channel: the mean of 3 × 3 × 3 voxels, less 300, over 50."""
    constants = {
        "kernel": np.full((1, 1, 3, 3, 3), 1 / 27 / 50, np.float32),
        "bias": np.float32([-6.0]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["logits"], pads=[1] * 6),
    ]
    _write(path, nodes, constants, shape, [1, 1, *shape[2:]])


def _write(
    path: Path,
    nodes: Sequence[Any],
    constants: Mapping[str, Any],
    shape: Sequence[int | str],
    answer: Sequence[int | str],
) -> None:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, answer)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    domains = sorted({node.domain for node in nodes} - {""})
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if not domains:
        checker.check_model(model)
    save(model, path)


def onnx_package(folder: Path, manifest: str) -> Path:
    """Write ``bright_network`` and a ``model.toml``, in which ``<sha256>`` becomes its digest."""
    folder.mkdir(parents=True)
    bright_network(folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "model.toml").write_text(manifest.replace("<sha256>", digest), encoding="utf-8")
    return folder
