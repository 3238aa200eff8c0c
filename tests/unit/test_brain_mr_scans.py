"""brain_mr and how a head may be scanned: thick slices, fine pixels, shoulders. All slow."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes.torch import TorchRuntime

pytestmark = pytest.mark.slow

BUNDLE = Path(__file__).resolve().parents[2] / "models" / "brain_mr"
SHARED = BUNDLE.parents[2] / "shared" / "data"
CLASS_SIGNAL = {
    "cerebral_white_matter": 0.92,
    "cerebellum_white_matter": 0.92,
    "brain_stem": 0.88,
    "ventral_dc": 0.85,
    "pallidum": 0.86,
    "thalamus": 0.80,
    "putamen": 0.72,
    **dict.fromkeys(("lateral_ventricle", "inferior_lateral_ventricle", "csf"), 0.20),
    **dict.fromkeys(("third_ventricle", "fourth_ventricle"), 0.20),
}
"""T1-like; grey matter is 0.66."""
GREY, SKIN = 0.66, 507
OUTER_SIGNAL = {SKIN: 0.85, 511: 0.45, 515: 0.12, 516: 0.80, 509: 0.03, 502: 0.50, 506: 0.25}

Volume = tuple[NDArray[Any], NDArray[np.float64]]


@pytest.fixture(scope="module")
def runtime() -> TorchRuntime:
    return TorchRuntime(tomllib.loads((BUNDLE / "model.toml").read_text()), BUNDLE)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("nilearn", reason="nilearn is not installed (extra: demo)")
    sys.path.append(str(BUNDLE / "evaluation"))
    try:
        module = importlib.import_module("wrong_inputs")
    finally:
        sys.path.remove(str(BUNDLE / "evaluation"))
    return module.Sources(SHARED, tmp_path_factory.mktemp("archives"))


def ml_of(answer: Prediction, affine: NDArray[np.float64], structure: str = "") -> float:
    """Volume of all labels, or of those of a structure."""
    rows = tomllib.loads((BUNDLE / "model.toml").read_text())["labels"]
    values = [row["value"] for row in rows if row["name"].endswith(structure)]
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return float(np.isin(answer.labels, values).sum()) * voxel_ml


def thick(volume: Volume, slice_mm: float, pixel_mm: float) -> Volume:
    """Scan a head (x, y, z) again: axial slices that average their thickness, fine pixels."""
    voxels, affine = volume
    step = slice_mm / 2.0
    smooth = ndimage.gaussian_filter1d(voxels, step / 2.355, axis=2)
    fine = 2.0 / pixel_mm
    size = (int(voxels.shape[0] * fine), int(voxels.shape[1] * fine), int(voxels.shape[2] / step))
    scale = np.array([1 / fine, 1 / fine, step])
    again = ndimage.affine_transform(smooth, scale, output_shape=size, order=1)
    return again.astype(np.float32), affine @ np.diag([*scale, 1.0])


@pytest.mark.parametrize("slice_mm", [5.0, 7.0])
def test_thick_slices_give_the_same_volumes(
    runtime: TorchRuntime, sources: Any, slice_mm: float
) -> None:
    whole = sources.mni152()
    before = runtime.predict(*whole)
    scanned = thick(whole, slice_mm, 0.5)
    after = runtime.predict(*scanned)
    assert after.refusal is None
    for structure, within in (("", 0.03), ("cerebral_white_matter", 0.06), ("thalamus", 0.1)):
        ratio = ml_of(after, scanned[1], structure) / ml_of(before, whole[1], structure)
        assert ratio == pytest.approx(1, abs=within), structure


def paint(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Paint a label map like a T1-weighted image."""
    sys.path.append(str(BUNDLE / "training"))
    try:
        anatomy = importlib.import_module("anatomy")
    finally:
        sys.path.remove(str(BUNDLE / "training"))
    signal = np.full(int(labels.max()) + 1, 0.01, np.float32)
    for name, left, right in anatomy.STRUCTURES:
        signal[[*left, *right]] = CLASS_SIGNAL.get(name, GREY)
    for value, level in OUTER_SIGNAL.items():
        signal[value] = level
    smooth = ndimage.gaussian_filter(signal[labels], 0.7)
    return abs(smooth + np.random.default_rng(1).normal(0, 0.02, labels.shape)).astype(np.float32)


def with_shoulders(
    labels: NDArray[np.int32], affine: NDArray[np.float64], below_mm: int = 120
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Let the neck go on downwards, with shoulders of 420 x 220 mm from 30 mm below; 1 mm, RAS."""
    side = [max(0, (wanted - n) // 2) for wanted, n in zip((460, 300), labels.shape, strict=False)]
    out = np.pad(labels, ((side[0],) * 2, (side[1],) * 2, (below_mm, 0)))
    foot = out[:, :, below_mm + 2].copy()
    out[:, :, : below_mm + 2] = foot[:, :, None]
    x, y = np.ogrid[: out.shape[0], : out.shape[1]]
    middle = np.argwhere(foot > 0).mean(axis=0)
    body = ((x - middle[0]) / 210) ** 2 + ((y - middle[1]) / 110) ** 2 < 1
    wide = out[:, :, : below_mm - 30]
    wide[body[:, :, None] & (wide == 0)] = SKIN
    moved = affine.copy()
    moved[:3, 3] = (affine @ [-side[0], -side[1], -below_mm, 1])[:3]
    return out, moved


@pytest.mark.parametrize("number", [8, 17, 19])
def test_shoulders_in_view_do_not_move_the_brain(
    runtime: TorchRuntime, sources: Any, number: int
) -> None:
    """The three label maps that were held out."""
    try:
        labels, affine = sources.label_map(number)
    except sys.modules["wrong_inputs"].AbsentError as absent:
        pytest.skip(str(absent))
    answers = []
    for scene in ((labels, affine), with_shoulders(labels, affine)):
        answer = runtime.predict(paint(scene[0]), scene[1])
        assert answer.refusal is None
        at_mm = np.argwhere(answer.labels > 0).mean(axis=0) @ scene[1][:3, :3].T + scene[1][:3, 3]
        answers.append((ml_of(answer, scene[1]), at_mm))
    assert answers[1][0] == pytest.approx(answers[0][0], rel=0.02)
    assert np.linalg.norm(answers[1][1] - answers[0][1]) < 1.0
