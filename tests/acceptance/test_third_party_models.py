"""A model of somebody else runs through the node, contained like any other, to SEG and SR."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.demo.series import write_series
from secondread.bundles.manifest import read_manifest
from secondread.domain.engine import Finished, Outcome, Task
from secondread.domain.states import StudyState
from secondread.inference.answer import load_labels
from secondread.inference.engines.local import LocalEngine
from secondread.inference.worker.model import load_model
from secondread.results.reading.segmentation import read_segmentation
from tests.containing import WAYS, contained_by
from tests.monai_bundles import monai_package
from tests.nnunet.cases import CASES, affine_of, answer_of, image_of, nnunet_package
from tests.onnx_networks import onnx_package

from .conftest import MODELS, RunningNode
from .test_main_path import SEG, SR, held, mask_in_patient_space

pytestmark = pytest.mark.acceptance

ONNX = """
[runtime]
kind = "onnx"
weights = "model.onnx"
deadline_s = 60
memory_mib = 1024

[runtime.options.decoding]
activation = "softmax"
decide = "argmax"
labels = [0, 1, 2]

[preprocessing]
orientation = "RAS"
patch = [48, 48, 48]

[[envelope.checks]]
name = "brain_ml"
measure = "volume_ml"
classes = [1, 2]
low = 1.0
refusal = "There is no head: {value:.1f} mL of brain."

[files]
"model.onnx" = "<sha256>"
"""
MONAI = """
[runtime]
kind = "monai"
weights = "models/model.ts"
deadline_s = 60
memory_mib = 1024

[runtime.options.decoding]
activation = "softmax"
decide = "argmax"
labels = [0, 1, 2]

[preprocessing]

[files]
"""
NNUNET = """
[runtime]
kind = "nnunet"
weights = "fold_0/checkpoint_final.pth"
deadline_s = 60
memory_mib = 1024

[runtime.options.labels]
body = 1
core = 2

[preprocessing]
orientation = "LPS"

[files]
"""


def manifest_with(runtime: str, name: str) -> str:
    """The manifest of ``bright_head`` with another runtime under another id."""
    text = (MODELS / "bright_head" / "model.toml").read_text(encoding="utf-8")
    start, end = text.index("[runtime]"), text.index("[[labels]]")
    return (text[:start] + runtime + "\n" + text[end:]).replace('"bright_head"', f'"{name}"')


@pytest.fixture
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A package of somebody else, with a network of thresholds."""
    name = f"bright_{request.param}"
    if request.param == "onnx":
        return onnx_package(tmp_path / name, manifest_with(ONNX, name))
    if request.param == "nnunet":
        return nnunet_package(tmp_path / name, "mr_slices", manifest_with(NNUNET, name))
    if request.param == "monai_named":
        text = manifest_with(MONAI, name).replace("model.ts", "model.pt")
        return monai_package(tmp_path / name, text, named=True)
    return monai_package(tmp_path / name, manifest_with(MONAI, name))


@pytest.mark.parametrize(
    "package", ["onnx", pytest.param("monai", marks=pytest.mark.slow)], indirect=True
)
def test_package_gives_mask_and_report(
    package: Path,
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    head_series: Callable[..., Any],
    tmp_path: Path,
) -> None:
    pacs = small_pacs()
    node = start_node(pacs, package)
    series = head_series("oblique")
    node.send(series.folder)
    assert node.wait_until_ended() == [StudyState.DONE]
    results = held(pacs, tmp_path / "pacs")
    assert set(results) == {SEG, SR}
    # The network likes 0, 500 and 900 best, so that the borders lie halfway.
    expected = np.select([series.voxels > 700, series.voxels > 250], [2, 1], 0).astype(np.uint8)
    expected[(series.voxels == 250) | (series.voxels == 700)] = 255
    found = read_segmentation(results[SEG])
    certain = {p for p in mask_in_patient_space(expected, series.affine_lps) if p[0] != 255}
    undecided = {p[1:] for p in mask_in_patient_space(expected, series.affine_lps) if p[0] == 255}
    answered = mask_in_patient_space(found.labels, found.affine_lps)
    assert {p for p in answered if p[1:] not in undecided} == certain


@pytest.mark.slow
@pytest.mark.parametrize("package", ["nnunet"], indirect=True)
def test_folder_of_nnunet_gives_the_mask_that_nnunet_gives(
    package: Path,
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    tmp_path: Path,
) -> None:
    pacs = small_pacs()
    node = start_node(pacs, package)
    case = CASES["mr_slices"]
    image, _ = image_of(case)
    series = write_series(image.astype(np.int16), affine_of(case), tmp_path / "series")
    node.send(series[0].parent)
    assert node.wait_until_ended() == [StudyState.DONE]
    results = held(pacs, tmp_path / "pacs")
    assert set(results) == {SEG, SR}
    found = read_segmentation(results[SEG])
    expected, _ = answer_of("mr_slices")
    ours = mask_in_patient_space(found.labels, found.affine_lps)
    theirs = mask_in_patient_space(expected, affine_of(case))
    assert len(ours ^ theirs) <= 0.001 * len(theirs)


@pytest.mark.parametrize(
    "package",
    ["onnx", "monai", "nnunet", pytest.param("monai_named", marks=pytest.mark.slow)],
    indirect=True,
)
@pytest.mark.parametrize("way", WAYS)
def test_package_runs_however_it_is_contained(way: str, package: Path, tmp_path: Path) -> None:
    manifest = read_manifest(package)
    voxels = np.zeros((24, 32, 32), np.int16)
    voxels[4:20, 6:26, 6:26] = 500
    voxels[8:12, 10:14, 10:14] = 900
    side_mm = 1.3 if package.name == "bright_nnunet" else 5.0
    affine = np.diag([side_mm, side_mm, side_mm, 1.0])
    expected = np.select([voxels == 900, voxels == 500], [2, 1], 0)
    if package.name in {"bright_nnunet", "bright_monai_named"}:
        # Networks of many numbers: what they answer in here is what they answer in there.
        expected = load_model(package, manifest.digest, "cpu").predict(voxels, affine, {}).labels
    np.save(tmp_path / "volume.npy", voxels)
    engine = LocalEngine(1, "cpu", 2, contained_by(way))
    try:
        for attempt in (1, 2):
            task = Task(
                job_key="key",
                attempt=attempt,
                model_id=manifest.id,
                model_folder=str(package),
                model_digest=manifest.digest,
                volume_path=str(tmp_path / "volume.npy"),
                labels_path=str(tmp_path / f"labels{attempt}.npy"),
                affine_lps=tuple(map(tuple, affine.tolist())),
                labels=(1, 2),
                deadline_s=60.0,
            )
            engine.submit(task)
            found = answers(engine)
            assert [type(outcome) for outcome in found] == [Finished], found
            labels = load_labels(Path(task.labels_path), voxels.shape, task.labels)
            assert (labels == expected).mean() > 0.999
    finally:
        engine.close()


def answers(engine: LocalEngine) -> Sequence[Outcome]:
    """What comes next from an engine."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        if found := engine.collect(1.0):
            return found
    return ()
