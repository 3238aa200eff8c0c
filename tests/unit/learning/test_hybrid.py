"""Hybrids: numbers of images and what a network makes of them, judged on cases nobody taught."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

pytest.importorskip("nibabel", reason="the extra train is not installed")
import nibabel

from secondread.errors import DataError, RecipeError, UsageError
from secondread.learning import predictions
from secondread.learning.case import Case, Loaded
from secondread.learning.estimators.tables import run_onnx
from secondread.learning.evaluation import evaluate
from secondread.learning.features.embedding import find_source
from secondread.learning.features.extraction import check_features, describe
from secondread.learning.recipe import FeatureSet, parse_recipe
from secondread.learning.training.cases import find_cases, load_case
from secondread.learning.training.plan import Plan
from secondread.learning.training.run import run
from tests import segmentation_cases
from tests.learning_runs import SMALL_UNET, silent
from tests.result_cases import make_case

DATA = """
[data]
reader = "nifti"
images = "images"
labels = "labels"
subject = '^case_(\\d+)_'
"""
UNET = f"""
[recipe]
name = "cubes"
task = "segmentation"
seed = 5
{DATA}
[[preprocessing]]
step = "resample"
spacing_mm = [1.0, 1.0, 1.0]
[[preprocessing]]
step = "zscore"
{SMALL_UNET.replace("steps = 1", "steps = 2")}"""
HYBRID = f"""
[recipe]
name = "larger"
task = "classification"
seed = 5
{DATA}
[target]
source = "labels"
measure = "volume"
labels = [1]
above_median = true
[features]
groups = ["first_order"]
region = "image"
[estimator]
kind = "hybrid"
head = "logistic"
C = [1.0]
[folds]
count = 2
nested = 2
"""
EMBEDDED = HYBRID.replace(
    'groups = ["first_order"]\nregion = "image"',
    'groups = ["embedding"]\nnetwork = "./unet"\nlayers = ["bottom", "full"]',
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve subjects with two images of 2 x 1 x 1 mm voxels; a cube is brighter than the rest."""
    folder = tmp_path_factory.mktemp("cubes")
    rng = np.random.default_rng(0)
    for number in range(24):
        labels = np.zeros((4, 10, 9), np.uint8)
        labels[1:3, 2:8, 1 : 2 + number // 2 % 6] = 1
        image = rng.normal(0, 0.2, labels.shape).astype(np.float32) + 2 * labels
        for kind, voxels in (("images", image), ("labels", labels)):
            (folder / kind).mkdir(exist_ok=True)
            path = folder / kind / f"case_{number // 2:03d}_{number % 2}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2.0, 1, 1, 1])), path)
    return folder


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a small U-Net."""
    folder = tmp_path_factory.mktemp("runs")
    run(Plan(parse_recipe(UNET), data, folder / "unet"), silent)
    return folder


def test_numbers_of_images_tell_what_they_hold(data, tmp_path):
    plan = Plan(parse_recipe(HYBRID), data, tmp_path / "run")
    results = run(plan, silent)
    assert [(each.trained, each.held_out) for each in results] == [(12, 12), (12, 12)]
    found = predictions.read(plan.out)
    assert len(found.rows) == 24
    evaluation = evaluate(found, data)
    assert evaluation.figures["roc_auc"].value > 0.95
    with pytest.raises(UsageError, match="add --resume"):
        run(plan, silent)
    assert run(Plan(plan.recipe, data, plan.out, resume=True), silent) == results


def test_what_a_fold_keeps_gives_its_answers_again(data, tmp_path):
    plan = Plan(parse_recipe(HYBRID), data, tmp_path / "run", (1,))
    run(plan, silent)
    folder = tmp_path / "run" / "fold1"
    with (folder / "features.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[3:] == json.loads((folder / "features.json").read_text())["features"]
    values = np.array([[float(value) for value in row[3:]] for row in rows])
    found = run_onnx(folder / "model.onnx", values)
    answers = dict(zip([row[0] for row in rows], found, strict=True))
    for row in predictions.read(tmp_path / "run").rows:
        assert answers[row.id] == pytest.approx(row.found, abs=1e-4)


def test_a_fold_takes_the_network_that_did_not_see_its_cases(data, runs):
    plan = Plan(parse_recipe(EMBEDDED), data, runs / "embedded")
    results = run(plan, silent)
    assert len(results) == 2
    content = json.loads((plan.out / "fold0" / "features.json").read_text())
    assert len(content["features"]) == 2 * (8 + 4)
    assert content["features"][0] == "bottom_0_mean"
    values = [(plan.out / f"fold{fold}" / "features.csv").read_text() for fold in range(2)]
    assert values[0] != values[1]


@pytest.mark.parametrize("old_new", [("seed = 5", "seed = 6"), ("count = 2", "count = 3")])
def test_a_network_that_was_taught_by_held_out_subjects_is_refused(data, runs, tmp_path, old_new):
    shutil.copytree(runs / "unet", tmp_path / "unet")
    recipe = parse_recipe(EMBEDDED.replace(*old_new))
    with pytest.raises(DataError, match=r"was taught by \d+ of the \d+ subjects"):
        run(Plan(recipe, data, tmp_path / "run"), silent)
    other = EMBEDDED.replace(*old_new).replace("layers =", "taught_elsewhere = true\nlayers =")
    if "count = 3" not in other:
        assert len(run(Plan(parse_recipe(other), data, tmp_path / "run2"), silent)) == 2


def test_a_region_may_be_what_the_network_draws(data, runs):
    text = HYBRID.replace(
        'groups = ["first_order"]\nregion = "image"',
        'groups = ["shape"]\nregion = "network"\nlabels = [1]\nnetwork = "./unet"',
    )
    plan = Plan(parse_recipe(text), data, runs / "drawn", (0,))
    (result,) = run(plan, silent)
    assert result.held_out == 12
    content = json.loads((plan.out / "fold0" / "features.json").read_text())
    assert "label1_shape_volume_ml" in content["features"]


def test_untrained_weights_hang_on_the_seed_alone(data, runs):
    text = EMBEDDED.replace("layers =", "untrained = true\nlayers =")
    recipe = parse_recipe(text)
    wanted = check_features(recipe)
    source = find_source(wanted, Plan(recipe, data, runs / "untrained"))
    case = load_case(recipe, find_cases(recipe, data)[0])
    one, same, other = (source.open(wanted, 0, seed).read(case)[0] for seed in (1, 1, 2))
    assert one == same != other


def test_labels_that_a_network_draws_lie_on_the_grid_of_the_case(data, runs):
    recipe = parse_recipe(UNET)
    for row in predictions.read(runs / "unet").rows:
        assert row.found_labels is not None
        found = nibabel.load(runs / "unet" / row.found_labels)
        assert found.shape == (4, 10, 9)
    assert len(find_cases(recipe, data)) == 24


def test_an_empty_region_has_no_volume_and_no_other_numbers():
    case = Case("case", "subject", None, None, None, {})
    image = np.random.default_rng(0).normal(0, 1, (6, 6, 6)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[1:4, 1:4, 1:4] = 1
    wanted = FeatureSet(groups=("shape", "first_order", "texture"), labels=(1, 2))
    found = describe(Loaded(case, image, labels, np.diag([2.0, 1, 1, 1])), wanted)
    assert found["label1_shape_voxel_volume_ml"] == pytest.approx(27 * 2 / 1000)
    assert found["label2_shape_voxel_volume_ml"] == 0
    assert np.isnan(found["label2_first_order_mean"])
    assert np.isnan(found["label2_texture_glcm_contrast"])
    assert np.isfinite(found["label1_texture_ngtdm_busyness"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('region = "image"', 'region = "labels"', "they would hold the answer"),
        ('groups = ["first_order"]', 'groups = ["wavelet"]', "knows no 'wavelet'"),
        ('groups = ["first_order"]', "groups = []", "names nothing"),
        ('groups = ["first_order"]', 'groups = ["embedding"]', "'network' of .* is needed"),
        ('region = "image"', 'region = "image"\nbins = 1', "must be 2 to 256"),
        ('head = "logistic"', 'head = "forest"', "takes max_depth, min_samples_leaf"),
        ('head = "logistic"\nC = [1.0]', 'head = "cnn"', "must be one of svm, tree"),
        ('task = "classification"', 'task = "regression"', "A hybrid does classifications alone"),
        ("[estimator]", '[[augmentation]]\nstep = "flip"\n[estimator]', "no .*augmentation"),
        ('region = "image"', 'region = "image"\ndepth = 3', "has no key 'depth'"),
    ],
)
def test_a_hybrid_that_cannot_be_is_refused_in_words(data, tmp_path, old, new, said):
    assert old in HYBRID
    with pytest.raises(RecipeError, match=said):
        run(Plan(parse_recipe(HYBRID.replace(old, new)), data, tmp_path / "run"), silent)


def test_dicom_and_its_segmentations_teach_as_nifti_does(tmp_path):
    data = tmp_path / "data"
    for number in range(8):
        folder = data / "dicom" / f"study{number}"
        case = make_case(folder, seed=f"{number}", patient_id=f"NAME {number}")
        case.labels[:, 3 + number :] = 0
        first = pydicom.dcmread(case.paths[0])
        first.PixelData = (first.pixel_array * (1 + number)).tobytes()
        first.save_as(case.paths[0])
        (document,) = segmentation_cases.make(case)
        shutil.move(segmentation_cases.written(document, data), folder / "seg.dcm")
    (data / "subjects.key").write_text("a key of 12 random bytes, let us say")
    source = """[data]
reader = "dicom_seg"
images = "dicom"
subject = '^(.+)$'
subject_key = "subjects.key"
[data.segments]
hippocampus = ["SCT:5366008"]
other = ["SCT:119406000", "Brain stem"]
"""
    plan = Plan(parse_recipe(HYBRID.replace(DATA, source)), data, tmp_path / "run")
    run(plan, silent)
    text = (plan.out / "predictions.json").read_text()
    assert "NAME" not in text
    assert "study" not in text
    rows = predictions.read(plan.out).rows
    assert len({row.subject for row in rows}) == 8
    assert {row.values["modality"] for row in rows} == {"MR"}
