"""What goes wrong unseen if nobody looks: folds dealt anew, sides exchanged, columns mistyped."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra train is not installed")
import nibabel
import torch

from secondread.cli.export_progress import Lines
from secondread.errors import DataError, RecipeError
from secondread.learning import evaluation, predictions
from secondread.learning.augmentation.volumes import Augment, make_augmentation
from secondread.learning.comparison import compare
from secondread.learning.features.embedding import find_source
from secondread.learning.intervals import Bootstrap
from secondread.learning.readers.nifti import load_case
from secondread.learning.recipe import FeatureSet, Recipe, parse_recipe, read_recipe
from secondread.learning.training import grading, segmentation
from secondread.learning.training.cases import find_cases
from secondread.learning.training.plan import Plan
from secondread.learning.training.run import run
from tests.learning_runs import (
    CUBE_AFFINE,
    CUBE_SHAPE,
    SMALL_UNET,
    classification_run,
    silent,
    write_cube,
)

HEADING = '[recipe]\nname = "small"\ntask = "{task}"\nseed = 5\n'
IMAGES = """
[data]
reader = "nifti"
images = "images"
labels = "labels"
subject = '^case_(\\d+)$'
"""
TOLD = '[target]\nsource = "labels"\nmeasure = "volume"\nlabels = [1]\n'
YARDSTICK = (
    HEADING.format(task="regression")
    + IMAGES
    + TOLD
    + '[estimator]\nkind = "yardstick"\n[folds]\ncount = 2\n'
)
UNET = HEADING.format(task="segmentation") + IMAGES + SMALL_UNET
CNN = UNET.replace("segmentation", "regression").replace("unet3d", "cnn_gru") + TOLD
TABLE = (
    HEADING.format(task="classification")
    + """
[data]
reader = "table"
table = "visits.csv"
id = "visit"
subject_column = "visit"
subject = '^(p\\d+)_'
columns = ["signal"]
[target]
source = "column"
column = "group"
positive = ["1"]
[estimator]
kind = "logistic"
C = [1.0]
[folds]
count = 4
nested = 3
"""
)


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(1)
    rows = [f"p{n // 2:02d}_{n},{drawn.normal() + n // 2 % 2:.3f},{n // 2 % 2}," for n in range(40)]
    (tmp_path / "visits.csv").write_text("\n".join(["visit,signal,group,empty", *rows]), "utf-8")
    return tmp_path


def test_a_run_does_not_go_on_over_other_data(own_cubes: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(YARDSTICK)
    run(Plan(recipe, own_cubes, tmp_path / "run", (0,)), silent)
    write_cube(own_cubes, 13)
    with pytest.raises(DataError, match="not those with which 'run' was begun"):
        run(Plan(recipe, own_cubes, tmp_path / "run", (1,), resume=True), silent)
    (own_cubes / "images/case_013.nii.gz").unlink()
    run(Plan(recipe, own_cubes, tmp_path / "run", (1,), resume=True), silent)
    assert len(predictions.read(tmp_path / "run").rows) == 12


def test_a_network_whose_data_have_changed_gives_no_features(
    own_cubes: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    run(Plan(parse_recipe(UNET), own_cubes, tmp_path / "unet"), silent)
    plan = Plan(parse_recipe(YARDSTICK), own_cubes, tmp_path / "hybrid")
    source = find_source(FeatureSet(("embedding",), network="./unet"), plan)
    source.refuse_taught(plan, 0, [])
    write_cube(own_cubes, 13)
    with pytest.raises(DataError, match="trained on other cases"):
        source.refuse_taught(plan, 0, [])


def test_the_network_of_the_hippocampus_knows_which_cases_taught_it(tmp_path: Path) -> None:
    for number in range(1, 21):
        for kind in ("images", "labels"):
            path = tmp_path / f"TrainingSet/{kind}/hippocampus_{number:03d}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    plan = Plan(parse_recipe(YARDSTICK), tmp_path, tmp_path / "hybrid")
    source = find_source(FeatureSet(("embedding",), network="hippocampus_mr"), plan)
    with pytest.raises(DataError, match="trained on other cases"):
        source.refuse_taught(plan, 0, [])
    # Taught elsewhere, it is not asked whom it knows, but has no sixth network all the same.
    wanted = FeatureSet(("embedding",), network="hippocampus_mr", taught_elsewhere=True)
    with pytest.raises(DataError, match="5 files of weights, so fold 5 has none"):
        source.open(wanted, 5, 0)


def test_of_a_table_beside_images_only_named_columns_are_kept(own_cubes: Path) -> None:
    rows = [f"case_{n:03d},{40 + n},Doe^Jane,F" for n in range(1, 13)]
    (own_cubes / "people.csv").write_text("\n".join(["name,age,who,sex", *rows]), "utf-8")
    text = YARDSTICK.replace('labels = "labels"', 'labels = "labels"\ntable = "people.csv"\n{}')
    text = text.replace("{}", 'id = "name"\ncolumns = ["age"]')
    recipe = parse_recipe(text + '[figures]\nsubgroups = ["sex"]')
    assert [dict(case.values) for case in find_cases(recipe, own_cubes)][:2] == [
        {"age": 41.0, "sex": "F"},
        {"age": 42.0, "sex": "F"},
    ]
    recipe = parse_recipe(text.replace('columns = ["age"]', ""))
    assert not any(case.values for case in find_cases(recipe, own_cubes))
    with pytest.raises(DataError, match="has no column sox"):
        find_cases(parse_recipe(text + '[figures]\nsubgroups = ["sox"]'), own_cubes)


def test_a_mistyped_column_or_table_is_a_sentence(visits: Path, tmp_path: Path) -> None:
    for old, new, said in (
        ('["signal"]', '["signal", "sgnal"]', "has no column sgnal"),
        ('["signal"]', '["signal", "empty"]', "has a value of 'empty'"),
        ("visits.csv", "visit.csv", "have no table 'visit.csv'"),
        ("nested = 3", "nested = 9", "one class alone.*'nested'"),
    ):
        with pytest.raises(DataError, match=said):
            run(Plan(parse_recipe(TABLE.replace(old, new)), visits, tmp_path / said[:5]), silent)


def test_a_word_of_a_recipe_is_found_in_a_column_of_numbers(visits: Path, tmp_path: Path) -> None:
    run(Plan(parse_recipe(TABLE), visits, tmp_path / "run"), silent)
    rows = predictions.read(tmp_path / "run").rows
    assert all(row.truth == int(row.subject[1:]) % 2 for row in rows)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["cube"]', '["left_cube"]', "'left_cube' has a side.*'mirror' of"),
        (
            'mirror = false\n[folds]\ncount = 2\n[figures]\nlabels = ["cube"]',
            '[[augmentation]]\nstep = "flip"\n[figures]\nlabels = ["Cube right"]',
            "'Cube right' has a side",
        ),
        ("[esti", '[[preprocessing]]\nstep = "orient"\norientation = "PIR"\n[esti', "first axis"),
    ],
)
def test_sides_are_not_exchanged_unseen(old: str, new: str, said: str) -> None:
    text = UNET.replace("[folds]", "mirror = false\n[folds]") if "mirror" in old else UNET
    with pytest.raises(RecipeError, match=said):
        segmentation.check(parse_recipe(text.replace(old, new)))
    for name in ("copyright", "brightness", "cleft"):
        segmentation.check(parse_recipe(UNET.replace('["cube"]', f'["{name}"]')))


def test_slices_are_of_the_axes_that_they_are_called_after() -> None:
    turn = '[[preprocessing]]\nstep = "orient"\norientation = "RSA"\n[estimator]'
    grading.check(parse_recipe(CNN.replace("[estimator]", turn.replace("RSA", "LPS"))))
    with pytest.raises(RecipeError, match="'slices' of"):
        grading.check(parse_recipe(CNN.replace("[estimator]", turn)))


@pytest.mark.parametrize("step", ["crop", "elastic", "domain"])
def test_what_would_change_a_volume_that_is_told_is_refused(step: str) -> None:
    text = CNN.replace("[estimator]", f'[[augmentation]]\nstep = "{step}"\n[estimator]')
    with pytest.raises(RecipeError, match=f"'{step}'"):
        grading.check(parse_recipe(text))


def with_steps(text: str) -> Recipe:
    return parse_recipe(UNET.replace("[estimator]", f"{text}\n[estimator]"))


def test_a_crop_comes_from_all_over_a_volume_and_from_nowhere_else() -> None:
    steps = make_augmentation(with_steps('[[augmentation]]\nstep = "crop"').augmentation)
    places = np.arange(20, dtype=np.float32)[:, None, None] + np.zeros((20, 10, 8), np.float32)
    labels = (places >= 10).astype(np.uint8)
    first, last = [], []
    for seed in range(40):
        image, drawn = Augment(steps, (8, 10, 8), classes=2, seed=seed)(places, labels)
        assert torch.equal(drawn, (image[0] >= 9.5).long())
        first.append(float(image.min()))
        last.append(float(image.max()))
    assert min(first) == pytest.approx(0, abs=1)
    assert max(last) == pytest.approx(19, abs=1)
    assert np.allclose(np.array(last) - first, 7, atol=1e-3)


def test_domain_randomisation_draws_the_contrast_of_labels_anew() -> None:
    text = '[[augmentation]]\nstep = "domain"\nchance = 1.0\nspread = [0.0, 0.0]'
    steps = make_augmentation(with_steps(text).augmentation)
    labels = np.zeros((8, 10, 8), np.uint8)
    labels[2:6, 3:7, 2:6] = 1
    image = labels + np.linspace(0, 0.9, 8, dtype=np.float32)
    brighter = []
    for seed in range(30):
        augment = Augment(steps, (8, 10, 8), classes=2, seed=seed)
        drawn, same = augment(image.astype(np.float32), labels)
        assert torch.equal(same, torch.from_numpy(labels).long())
        inside, outside = drawn[0][same == 1], drawn[0][same == 0]
        assert inside.std() < 1e-5
        assert len(outside.round(decimals=4).unique()) == 4
        assert float(drawn.mean()) == pytest.approx(float(image.mean()), abs=1e-4)
        brighter.append(bool(inside.mean() > outside.mean()))
    assert 5 < sum(brighter) < 25
    again = Augment(steps, (8, 10, 8), classes=2, seed=29)(image.astype(np.float32), labels)
    assert torch.equal(again[0], drawn)


def test_an_image_of_one_slice_is_drawn_as_it_is() -> None:
    image = np.random.default_rng(0).normal(size=(8, 10, 1)).astype(np.float32)
    drawn = Augment(make_augmentation(()), (8, 10, 1), classes=1, seed=0).draw_image(image)
    assert torch.allclose(drawn[0], torch.from_numpy(image), atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 5", "seed = -1", "'seed' of"),
        ('["cube"]', '["cube", "cube"]', "names that differ"),
        ('["cube"]', '["mean"]', "names that differ"),
        ('["cube"]', '["cube"]\nthreshold = 50', "is a probability"),
        ('["cube"]', '["cube"]\nsubgroups = ["sex"]', "names no 'table'"),
    ],
)
def test_a_recipe_that_would_mislead_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parse_recipe(UNET.replace(old, new))


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is a folder"):
        read_recipe(tmp_path)


def test_an_image_that_is_there_twice_is_named(own_cubes: Path) -> None:
    image = nibabel.load(own_cubes / "images/case_001.nii.gz")
    nibabel.save(image, own_cubes / "images/case_001.nii")
    with pytest.raises(DataError, match="'case_001' twice"):
        find_cases(parse_recipe(YARDSTICK), own_cubes)


@pytest.mark.parametrize("value", [np.nan, -1.0, 0.5, 300.0])
def test_a_label_map_of_other_than_small_whole_numbers_is_a_sentence(
    value: float, own_cubes: Path
) -> None:
    case = find_cases(parse_recipe(YARDSTICK), own_cubes)[0]
    assert case.labels
    voxels = np.full(CUBE_SHAPE, value, np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, CUBE_AFFINE), case.labels)
    with pytest.raises(DataError, match="values that are not 0, 1"):
        load_case(case)


def test_another_folder_of_data_is_not_taken_for_the_one_of_the_run(
    own_cubes: Path, tmp_path: Path
) -> None:
    run(Plan(parse_recipe(YARDSTICK), own_cubes, tmp_path / "run"), silent)
    answers = predictions.read(tmp_path / "run")
    evaluation.evaluate(answers, own_cubes)
    shutil.rmtree(own_cubes / "images")
    with pytest.raises(DataError, match="None of the run's images"):
        evaluation.evaluate(answers, own_cubes)


def test_exchanges_without_a_figure_are_no_witness_against_chance() -> None:
    truth = np.array([1.0, 0.0])
    first = classification_run(truth, np.array([0.9, 0.1]), cases_per_subject=1)
    second = classification_run(truth, np.array([0.1, 0.9]), cases_per_subject=1)
    second = dataclasses.replace(second, name="the other way round")
    # Of four exchanges two give the difference of 1, and two leave one run without a PPV.
    found = compare(first, second, Bootstrap(draws=100)).differences["ppv"]
    assert found.p_value == 1.0


def test_what_was_done_before_does_not_make_a_resumed_run_fast(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = iter((0.0, 0.0, 10.0))
    lines = Lines(lambda: next(now))
    lines.report("Fold 0", 5000, 6000)
    lines.report("Fold 0", 5099, 6000)
    assert capsys.readouterr().err == "Fold 0: 5099 of 6000, 10.0 a second, 90 s left\n"
