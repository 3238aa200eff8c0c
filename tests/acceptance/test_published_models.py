"""A published model of somebody else, with its own weights, through the node to SEG and SR."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from deploy.demo.head import WHOLE_HEAD
from deploy.demo.series import write_series
from secondread.domain.states import StudyState
from secondread.results.reading.segmentation import read_segmentation
from tests.published import deepbet_bundle, deepbet_itself, deepbet_onnx, install

from .conftest import RunningNode
from .test_main_path import SEG, SR, held

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(900)]

QUIET_S = 8.0
"""A whole head is on its way for a while, and on a busy machine with pauses."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which deepbet is installed."""
    return install(tmp_path_factory.mktemp("deepbet") / "site")


@pytest.fixture
def child(shared_data: Callable[[str], Path], tmp_path: Path) -> tuple[Path, Any, Any]:
    """A real head of a child: its series, voxels (slice, row, column) and affine."""
    found = [(dcmread(p), p) for p in shared_data("mr_t1_siemens_skyra_child").rglob("*.dcm")]
    row, column = np.reshape(found[0][0].ImageOrientationPatient, (2, 3)).astype(float)
    normal = np.cross(row, column)
    found.sort(key=lambda pair: float(normal @ np.array(pair[0].ImagePositionPatient, float)))
    folder = tmp_path / "series"
    folder.mkdir()
    for _, path in found:
        shutil.copy(path, folder / path.name)
    images = [image for image, _ in found]
    first, last = (np.array(images[n].ImagePositionPatient, float) for n in (0, -1))
    between = [float(mm) for mm in images[0].PixelSpacing]
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (len(images) - 1)
    affine[:3, 1], affine[:3, 2], affine[:3, 3] = column * between[0], row * between[1], first
    return folder, np.stack([image.pixel_array for image in images]), affine


@pytest.fixture
def colin(tmp_path: Path) -> tuple[Path, Any, Any]:
    """Debian's whole head 'ch2', as a series."""
    nibabel = pytest.importorskip("nibabel")
    if not WHOLE_HEAD.exists():
        pytest.skip("the Debian package mricron-data is not installed")
    image = nibabel.load(WHOLE_HEAD)
    voxels = np.asarray(image.dataobj).astype(np.int16)
    affine = np.diag([-1, -1, 1, 1]) @ image.affine
    folder = tmp_path / "series"
    write_series(voxels, affine, folder)
    return folder, voxels, affine


def send(node: RunningNode, pacs: Any, folder: Path, kept: Path) -> tuple[Path, Path]:
    """Send a series; give the SEG and the SR that the PACS holds then."""
    node.send(folder)
    assert node.wait_until_ended(within_s=600) == [StudyState.DONE]
    results = held(pacs, kept)
    assert set(results) == {SEG, SR}
    return results[SEG], results[SR]


def mask_of(segmentation: Path, shape: tuple[int, ...], affine_lps: Any) -> Any:
    """What a SEG labels, at the voxels of a volume."""
    found = read_segmentation(segmentation)
    at = np.argwhere(found.labels > 0)
    to_volume = np.linalg.inv(affine_lps) @ found.affine_lps
    places = np.rint(at @ to_volume[:3, :3].T + to_volume[:3, 3]).astype(int)
    mask = np.zeros(shape, np.bool_)
    mask[tuple(places.T)] = True
    return mask


def dice(a: Any, b: Any) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("head", ["child", "colin"])
def test_deepbet_as_a_monai_bundle_finds_the_brain_that_deepbet_finds(
    head: str,
    request: pytest.FixtureRequest,
    site: Path,
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    tmp_path: Path,
) -> None:
    folder, voxels, affine = request.getfixturevalue(head)
    pacs = small_pacs()
    node = start_node(pacs, deepbet_bundle(site, tmp_path / "deepbet_bundle"), QUIET_S)
    segmentation, report = send(node, pacs, folder, tmp_path / "pacs")
    ours = mask_of(segmentation, voxels.shape, affine)
    theirs = deepbet_itself(site, voxels, affine, tmp_path)
    assert dice(ours, theirs) > 0.995
    assert "deepbet" in str(dcmread(report))


def test_a_network_of_deepbet_as_onnx_finds_about_the_same_brain(
    child: tuple[Path, Any, Any],
    site: Path,
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    tmp_path: Path,
) -> None:
    folder, voxels, affine = child
    pacs = small_pacs()
    node = start_node(pacs, deepbet_onnx(site, tmp_path / "deepbet_onnx"), QUIET_S)
    segmentation, _ = send(node, pacs, folder, tmp_path / "pacs")
    ours = mask_of(segmentation, voxels.shape, affine)
    # Of deepbet's two networks this is the one that only says where to look closer.
    assert dice(ours, deepbet_itself(site, voxels, affine, tmp_path)) > 0.9
