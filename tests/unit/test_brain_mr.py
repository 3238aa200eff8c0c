"""The first-party brain model: it finds its way in any orientation, and it says no."""

from __future__ import annotations

import importlib.util
import tarfile
import tomllib
from itertools import permutations, product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from secondread.bundles.manifest import read_manifest, verify
from secondread.deid.boundary import prepare
from secondread.domain.volume import Volume as Source
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes.torch import TorchRuntime

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLE = REPOSITORY / "models" / "brain_mr"
SHARED = REPOSITORY.parent / "shared" / "data"
FEW = [((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1)), ((1, 2, 0), (1, -1, -1))]
ALL = list(product(permutations(range(3)), product((1, -1), repeat=3)))

Volume = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def readers() -> ModuleType:
    pytest.importorskip("nibabel", reason="nibabel is not installed (extra: demo)")
    path = BUNDLE / "evaluation" / "readers.py"
    spec = importlib.util.spec_from_file_location("brain_mr_readers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def runtime() -> TorchRuntime:
    return TorchRuntime(tomllib.loads((BUNDLE / "model.toml").read_text()), BUNDLE)


@pytest.fixture(scope="session")
def template(readers) -> Volume:
    datasets = pytest.importorskip("nilearn.datasets", reason="nilearn is not installed")
    return readers.from_nifti(datasets.load_mni152_template(resolution=2))


@pytest.fixture(scope="session")
def reference(runtime, template) -> Prediction:
    return runtime.predict(*template)


@pytest.fixture
def read_shared(readers, tmp_path):
    def read(name: str) -> Volume:
        archive = SHARED / name / f"{name}.tar.xz"
        if not archive.exists():
            pytest.skip(f"../shared/data/{name} is not on this machine")
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path, filter="data")
        return readers.read_dicom(tmp_path)

    return read


def turn(voxels: np.ndarray, affine: np.ndarray, order, signs) -> Volume:
    """Store the same patient with other array axes."""
    stored = np.eye(4)[:, [*order, 3]]
    out = voxels.transpose(order)
    for axis, sign in enumerate(signs):
        if sign < 0:
            flip = np.eye(4)
            flip[axis, axis], flip[axis, 3] = -1, out.shape[axis] - 1
            out, stored = np.flip(out, axis), stored @ flip
    return out, affine @ stored


def side_of_labels() -> np.ndarray:
    """-1 for a label of the left, 1 for one of the right, 0 for the others; by label value."""
    rows = tomllib.loads((BUNDLE / "model.toml").read_text())["labels"]
    sides = np.zeros(256, np.int8)
    for row in rows:
        sides[row["value"]] = {"left": -1, "right": 1}.get(row.get("laterality", ""), 0)
    return sides


def x_lps_of_side(answer: Prediction, affine: np.ndarray, side: str) -> float:
    """Give the mean distance to the patient's left of all labels of one side, in mm."""
    rows = tomllib.loads((BUNDLE / "model.toml").read_text())["labels"]
    values = [row["value"] for row in rows if row.get("laterality") == side]
    at = np.argwhere(np.isin(answer.labels, values)).mean(axis=0)
    return float((affine @ [*at, 1])[0])


def test_the_package_is_whole() -> None:
    manifest = read_manifest(BUNDLE)
    verify(manifest)
    assert manifest.research_only
    assert sum(path.stat().st_size for path in BUNDLE.glob("*.safetensors")) <= 20e6
    assert len(manifest.labels) >= 30
    dice: dict[str, list[float]] = {}
    for label in manifest.labels:
        name = label.name.split("_", 1)[1] if label.laterality else label.name
        dice.setdefault(name, []).append(label.dice_held_out)
        assert len(dice[name]) <= (2 if label.laterality else 1)
    assert all(one >= 0.70 for both in dice.values() for one in both)
    assert sum(map(len, dice.values())) == 2 * len(dice) - 3


def test_the_demo_head_is_analysed(template, reference) -> None:
    assert reference.refusal is None
    assert reference.labels.shape == template[0].shape
    ml = abs(np.linalg.det(template[1][:3, :3])) / 1000
    assert 1300 < (reference.labels > 0).sum() * ml < 2000


def test_where_the_head_lay_on_the_table_is_not_needed(
    runtime, template, reference, tmp_path
) -> None:
    """The boundary takes the position away; the answer stays, voxel for voxel."""
    voxels, affine = template[0].astype(np.float32), template[1].copy()
    affine[:3, 3] += (-217.48, -381.2, 1193.75)
    prepared = prepare(Source(voxels, affine, ()), tmp_path / "k")
    answer = runtime.predict(np.load(prepared.path), np.array(prepared.affine_lps))
    np.testing.assert_array_equal(answer.labels, reference.labels)


def check_orientation(runtime, template, reference, order, signs) -> None:
    voxels, affine = turn(*template, order, signs)
    answer = runtime.predict(voxels, affine)
    assert answer.refusal is None
    expected, _ = turn(reference.labels, template[1], order, signs)
    # The grid of the network lies a fraction of a voxel elsewhere, so borders move a little.
    assert np.mean(answer.labels == expected) > 0.99
    sides = side_of_labels()
    swapped = np.argwhere(sides[answer.labels] * sides[expected] < 0)
    off_middle_mm = np.abs(swapped @ affine[0, :3] + affine[0, 3])
    assert off_middle_mm.max(initial=0.0) < 8.0
    left, right = (x_lps_of_side(answer, affine, side) for side in ("left", "right"))
    assert left > 20
    assert right < -20


@pytest.mark.parametrize(("order", "signs"), FEW)
def test_left_stays_left(runtime, template, reference, order, signs) -> None:
    check_orientation(runtime, template, reference, order, signs)


@pytest.mark.slow
@pytest.mark.parametrize(("order", "signs"), ALL)
def test_left_stays_left_in_all_orientations(runtime, template, reference, order, signs) -> None:
    check_orientation(runtime, template, reference, order, signs)


def test_a_mark_on_the_left_side_is_labelled_on_the_left(runtime, template, reference) -> None:
    voxels, affine = template[0].copy(), template[1]
    index = np.stack(np.meshgrid(*[np.arange(n) for n in voxels.shape], indexing="ij"))
    at = np.einsum("ij,j...->i...", affine[:3, :3], index) + affine[:3, 3].reshape(3, 1, 1, 1)

    def ball(x_lps: float) -> np.ndarray:
        return sum((at[k] - c) ** 2 for k, c in enumerate((x_lps, 35.0, 35.0))) < 14**2

    marked = {"left": ball(35.0), "right": ball(-35.0)}
    voxels[marked["left"]] = 0
    answer = runtime.predict(voxels, affine)
    assert answer.refusal is None
    rows = tomllib.loads((BUNDLE / "model.toml").read_text())["labels"]

    def white_matter(prediction: Prediction, side: str) -> int:
        name = f"{side}_cerebral_white_matter"
        value = next(row["value"] for row in rows if row["name"] == name)
        return int((prediction.labels[marked[side]] == value).sum())

    before = {side: white_matter(reference, side) for side in marked}
    after = {side: white_matter(answer, side) for side in marked}
    # Most of each ball is white matter of its side.
    assert min(before.values()) > 1000
    assert after["left"] < 0.5 * before["left"]
    assert after["right"] > 0.95 * before["right"]


def make_junk(kind: str) -> Volume:
    """Make what is no head, axial at 2 mm."""
    shape = (110, 110, 110)
    affine = np.array([[0.0, 0, 2, -110], [0, -2, 0, 110], [2, 0, 0, -110], [0, 0, 0, 1]])
    rng = np.random.default_rng(5)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, 110)] * 3, indexing="ij"))
    ball = (at**2).sum(axis=0) < 0.55
    images = {
        "zero": np.zeros(shape),
        "constant": np.full(shape, 300.0),
        "noise": rng.normal(100, 30, shape),
        "speckle": np.abs(rng.normal(0, 30, shape)) ** 3,
        "ball": 500.0 * ball,
        "noisy ball": 500.0 * ball + np.abs(rng.normal(0, 60, shape)),
        "ramp": 200 + 200 * at[0],
        "grid": 500.0 * (np.sin(40 * at).prod(axis=0) > 0) * ball,
        "box": 500.0 * (np.abs(at).max(axis=0) < 0.7),
    }
    return images[kind].astype(np.float32), affine


@pytest.mark.parametrize(
    "kind", ["zero", "constant", "noise", "speckle", "ball", "noisy ball", "ramp", "grid", "box"]
)
def test_junk_is_refused(runtime, kind) -> None:
    answer = runtime.predict(*make_junk(kind))
    assert answer.refusal is not None
    assert answer.refusal.endswith(".")
    assert not answer.labels.any()


def test_the_skull_holds_the_brain_and_some_fluid(reference) -> None:
    numbers = {one.id: one.value for one in reference.answer.numbers}
    assert set(numbers) == {"intracranial_volume", "brain_volume"}
    assert 1500 < numbers["brain_volume"] < numbers["intracranial_volume"] < 2300


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mr_t1_siemens_skyra_child", "mr_t1_t2_siemens_trio_missing_slice"]
)
def test_real_heads_are_analysed(runtime, read_shared, name) -> None:
    voxels, affine = read_shared(name)
    answer = runtime.predict(voxels, affine)
    assert answer.refusal is None
    ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    assert 1000 < (answer.labels > 0).sum() * ml < 1800
