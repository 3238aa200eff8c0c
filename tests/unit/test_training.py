"""Training from a recipe: a small real network on small made volumes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="the extra train is not installed")
import nibabel
import torch

from secondread.cli import main
from secondread.errors import EXIT_DATA, EXIT_OK, EXIT_USAGE, DataError, RecipeError, UsageError
from secondread.learning import predictions
from secondread.learning.augmentation.volumes import Augment, make_augmentation
from secondread.learning.readers import nifti
from secondread.learning.recipe import parse_recipe, read_recipe
from secondread.learning.training import cases as found_cases
from secondread.learning.training import checkpoint, loop
from secondread.learning.training.plan import Plan, choose_folds
from secondread.learning.training.run import run
from secondread.learning.training.segmentation import make_lesson
from tests.learning_runs import CUBE_AFFINE, CUBE_SHAPE, SMALL_UNET, silent

HIPPOCAMPUS = Path(__file__).resolve().parents[2] / "models/hippocampus_mr/training/recipe.toml"
SMALL = """
[recipe]
name = "cube"
task = "segmentation"
seed = 5
[data]
reader = "nifti"
images = "images"
labels = "labels"
subject = '^case_(\\d+)$'
pairs = true
[[preprocessing]]
step = "z_score"
[[augmentation]]
step = "affine"
[[augmentation]]
step = "noise"
""" + SMALL_UNET.replace("steps = 1", "steps = 4")


@pytest.fixture(scope="module")
def trained(cubes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A run of both folds, only ever read, and how many cases they held out."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    results = run(Plan(parse_recipe(SMALL), cubes, folder), silent)
    return folder, sum(each.held_out for each in results)


def test_a_run_has_weights_a_log_and_an_answer_for_each_case(trained: tuple[Path, int]) -> None:
    folder, held_out = trained
    answers = predictions.read(folder)
    assert len(answers.rows) == held_out == 12
    for row in answers.rows:
        assert row.found_labels
        found = nibabel.load(folder / row.found_labels)
        assert found.shape == CUBE_SHAPE
        number = int(row.id[-3:])
        assert row.subject == f"{(number + 1) // 2:03d}"
    assert (folder / "fold1/weights.safetensors").exists()
    with (folder / "fold0/log.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["4"]


def test_a_resumed_training_has_the_weights_of_an_unbroken_one(
    cubes: Path, trained: tuple[Path, int], tmp_path: Path
) -> None:
    recipe = parse_recipe(SMALL)
    cases = found_cases.find_cases(recipe, cubes)
    held = {case.id for case in found_cases.split(cases, recipe)[0]}
    taught = [nifti.load_case(case) for case in cases if case.id not in held]
    lesson = make_lesson(recipe, 0, taught)
    state = loop.start(lesson, recipe.training)
    for _ in range(2):
        loop.advance(lesson, recipe.training, state)
    folder = tmp_path / "broken" / "fold0"
    folder.mkdir(parents=True)
    checkpoint.save(folder, state)
    run(Plan(recipe, cubes, tmp_path / "broken", (0,), resume=True), silent)
    whole, broken = (
        torch.load(each / "fold0" / checkpoint.FILE_NAME, weights_only=True)
        for each in (trained[0], tmp_path / "broken")
    )
    for part in ("model", "ema"):
        for name, value in whole[part].items():
            assert torch.equal(value, broken[part][name]), name


def test_a_fold_that_was_begun_is_not_begun_again(cubes: Path, trained: tuple[Path, int]) -> None:
    plan = Plan(parse_recipe(SMALL), cubes, trained[0], (1,))
    with pytest.raises(UsageError, match="add --resume"):
        run(plan, silent)
    other = parse_recipe(SMALL.replace("seed = 5", "seed = 6"))
    with pytest.raises(DataError, match="another recipe"):
        run(Plan(other, cubes, trained[0], (1,), resume=True), silent)


def test_a_fold_that_is_named_twice_is_trained_once(tmp_path: Path) -> None:
    plan = Plan(parse_recipe(SMALL), tmp_path, tmp_path / "run", (1, 0, 1))
    assert choose_folds(plan) == (1, 0)


def test_a_broken_checkpoint_is_a_sentence(cubes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "fold0"
    folder.mkdir(parents=True)
    (folder / checkpoint.FILE_NAME).write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match="cannot be read"):
        run(Plan(parse_recipe(SMALL), cubes, tmp_path / "run", (0,), resume=True), silent)


def test_the_same_pixels_in_two_folds_stop_the_training(own_cubes: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(SMALL)
    first, second = (
        part[0] for part in found_cases.split(found_cases.find_cases(recipe, own_cubes), recipe)
    )
    assert first.image
    assert second.image
    second.image.write_bytes(first.image.read_bytes())
    with pytest.raises(DataError, match="leak"):
        run(Plan(recipe, own_cubes, tmp_path / "run"), silent)
    assert not (tmp_path / "run/fold0").exists()


def test_a_label_that_the_recipe_does_not_name_is_refused(own_cubes: Path, tmp_path: Path) -> None:
    path = own_cubes / "labels" / "case_002.nii.gz"
    voxels = np.asarray(nibabel.load(path).dataobj) * 2
    nibabel.save(nibabel.Nifti1Image(voxels, CUBE_AFFINE), path)
    with pytest.raises(DataError, match="case_002 has label 2, but the recipe names 1"):
        run(Plan(parse_recipe(SMALL), own_cubes, tmp_path / "run"), silent)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seed = 5", "seed = 'x'", "'seed' of \\[recipe\\] is 'x', but must be a whole number"),
        ("seed = 5", "", "\\[recipe\\] lacks the key 'seed'"),
        ("seed = 5", "seed = 5\nsede = 1", "has no key 'sede'"),
        ("[folds]", "[flods]", "has no section \\[flods\\]"),
        ('kind = "unet3d"', 'kind = "oracle"', "'kind' of \\[estimator\\] is 'oracle'"),
        ("count = 2", "count = 1", "must be 2 or more"),
        ("(\\d+)", "\\d+", "has 0 groups"),
        ("steps = 4", "steps = 0", "'steps' of \\[training\\] must be more than 0"),
        ('labels = ["cube"]', "labels = []", "must name what is segmented"),
        ("[recipe]", "[recipe", "The recipe is not TOML"),
    ],
)
def test_a_wrong_recipe_is_a_sentence(old: str, new: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        parse_recipe(SMALL.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('step = "z_score"', 'step = "magic"', "is no step that preprocessing knows"),
        ('step = "noise"', 'step = "rain"', "is no step of augmentation"),
        ('step = "noise"', 'step = "affine"', "each at most once"),
        ('step = "noise"', 'step = "noise"\nchance = 2', "between 0 and 1"),
        ("widths = [4, 8]", "widths = [4]", "two or more channel numbers"),
        ("grid = [8, 10, 8]", "grid = [8, 9, 8]", "must be multiples of 2"),
    ],
)
def test_what_cannot_be_trained_is_said_before_data_are_read(
    old: str, new: str, sentence: str, tmp_path: Path
) -> None:
    recipe = parse_recipe(SMALL.replace(old, new))
    with pytest.raises(RecipeError, match=sentence):
        run(Plan(recipe, tmp_path / "nowhere", tmp_path / "run"), silent)


def test_the_recipe_of_the_hippocampus_draws_the_same_volume_for_a_seed() -> None:
    recipe = read_recipe(HIPPOCAMPUS)
    steps = make_augmentation(recipe.augmentation)
    image = np.random.default_rng(1).normal(size=(36, 50, 38)).astype(np.float32)
    labels = (image > 1).astype(np.uint8)
    drawn = [
        Augment(steps, recipe.training.grid, classes=3, seed=seed)(image, labels)
        for seed in (7, 7, 8)
    ]
    assert drawn[0][0].shape == (1, 40, 56, 40)
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert not torch.equal(drawn[0][0], drawn[2][0])


def test_the_command_trains_and_answers_in_json(
    cubes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "cube.toml"
    recipe.write_text(SMALL, "utf-8")
    line = ["train", str(recipe), "--data", str(cubes), "--out", str(tmp_path / "run")]
    assert main.execute([*line, "--fold", "0", "--json"]) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    assert [each["fold"] for each in document["folds"]] == [0]
    assert main.execute([*line, "--fold", "x"]) == EXIT_USAGE
    assert main.execute([*line, "--fold", "9", "--resume"]) == EXIT_USAGE
    recipe.write_text(SMALL + "more = 1", "utf-8")
    assert main.execute(line) == EXIT_DATA
    assert "has no key 'more'" in capsys.readouterr().err
