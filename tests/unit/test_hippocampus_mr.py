"""The hippocampus package: it fits its weights, and finds both sides in a head."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from secondread.bundles.manifest import read_manifest
from secondread.bundles.registry import load_manifest
from secondread.inference.worker.chain import load_chain

BUNDLE = Path(__file__).resolve().parents[2] / "models" / "hippocampus_mr"


def test_it_builds_on_the_brain_model_that_is_here() -> None:
    manifest = load_manifest(read_manifest(BUNDLE))
    assert [one.id for one in manifest.builds_on] == ["brain_mr"]
    names = {label["name"] for label in read_manifest(BUNDLE.parent / "brain_mr").raw["labels"]}
    region = manifest.raw["preprocessing"]["region"]
    assert {*region["left"], *region["right"]} <= names
    assert [(label.laterality, label.name.split("_")[1]) for label in manifest.labels] == [
        ("left", "anterior"),
        ("left", "posterior"),
        ("right", "anterior"),
        ("right", "posterior"),
    ]


def test_the_weights_of_a_run_are_packaged_as_halves(tmp_path: Path) -> None:
    """What ``secondread train`` writes is float32; the package's own as such come back the same."""
    for number in range(5):
        folder = tmp_path / f"fold{number}"
        folder.mkdir()
        kept = load_file(BUNDLE / f"fold{number}.safetensors")
        save_file(
            {n: v.astype(np.float32) for n, v in kept.items()}, folder / "weights.safetensors"
        )
    script = BUNDLE / "training" / "package.py"
    made = tmp_path / "made"
    made.mkdir()
    command = [sys.executable, script, "--run", tmp_path, "--bundle", made]
    subprocess.run(command, check=True, capture_output=True)
    for number in range(5):
        name = f"fold{number}.safetensors"
        assert (made / name).read_bytes() == (BUNDLE / name).read_bytes()
    assert read_manifest(made).files == read_manifest(BUNDLE).files


@pytest.mark.slow
def test_both_sides_of_a_head_are_found_however_it_is_stored() -> None:
    datasets = pytest.importorskip("nilearn.datasets", reason="nilearn is not installed")
    image = datasets.load_mni152_template(resolution=1)
    manifest = load_manifest(read_manifest(BUNDLE))
    packages = [(Path(one.folder), one.digest) for one in manifest.builds_on]
    chain = load_chain([*packages, (BUNDLE, manifest.digest)], "cpu")
    for turned in (False, True):
        voxels = np.asarray(image.dataobj, np.float32)
        affine = np.diag([-1.0, -1, 1, 1]) @ image.affine
        if turned:
            flip = np.diag([-1.0, 1, 1, 1])
            flip[0, 3] = voxels.shape[0] - 1
            voxels, affine = voxels[::-1].transpose(2, 0, 1), (affine @ flip)[:, [2, 0, 1, 3]]
        answer = chain.predict(voxels, affine, {})
        assert answer.refusal is None
        ml = abs(np.linalg.det(affine[:3, :3])) / 1000
        for anterior, side in ((1, 1), (3, -1)):
            front, back = (
                affine[:3, :3] @ np.argwhere(answer.labels == value).mean(axis=0) + affine[:3, 3]
                for value in (anterior, anterior + 1)
            )
            # To the patient's left x grows, to the back y.
            assert side * front[0] > 15
            assert side * back[0] > 15
            assert front[1] < back[1] - 8
            volume = np.isin(answer.labels, (anterior, anterior + 1)).sum() * ml
            assert 2.5 < volume < 5.5
