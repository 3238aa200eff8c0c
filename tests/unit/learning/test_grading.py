"""Networks that tell one thing of a whole image, and the yardstick, on small made volumes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="the extra train is not installed")
import torch
from safetensors.torch import load_file

from secondread.cli import main
from secondread.errors import EXIT_OK, DataError, RecipeError
from secondread.learning import evaluation, predictions
from secondread.learning.case import Case, Loaded
from secondread.learning.networks.graders import GRADERS, Grader, Sizes
from secondread.learning.preprocessing.steps import make_preparation
from secondread.learning.readers import nifti
from secondread.learning.recipe import WHOLE_IMAGE, parse_recipe, read_recipe
from secondread.learning.target import check_target, make_truth, measure_case
from secondread.learning.training import checkpoint, grading, loop
from secondread.learning.training.cases import find_cases, split
from secondread.learning.training.plan import Plan
from secondread.learning.training.run import run
from tests.learning_runs import silent

RECIPES = Path(__file__).resolve().parents[3] / "docs/recipes"
SMALL = """
[recipe]
name = "cube"
task = "regression"
seed = 5
[data]
reader = "nifti"
images = "images"
labels = "labels"
subject = '^case_(\\d+)$'
pairs = true
[target]
source = "labels"
measure = "volume"
labels = [1]
[[preprocessing]]
step = "z_score"
[[augmentation]]
step = "flip"
[[augmentation]]
step = "noise"
[estimator]
kind = "cnn3d"
widths = [4, 8]
dropout = 0.2
[training]
steps = 4
batch = 2
grid = [8, 10, 8]
[folds]
count = 2
"""
CLASSES = SMALL.replace('"regression"', '"classification"').replace(
    "labels = [1]", "labels = [1]\nabove_median = true"
)
YARDSTICK = SMALL[: SMALL.index("[[pre")] + '[estimator]\nkind = "yardstick"\n[folds]\ncount = 2\n'
LABELLED = 'source = "labels"\nmeasure = "volume"\nlabels = [1]'
"""The target of `SMALL`, which tests replace by another."""


@pytest.fixture(scope="module")
def told(cubes: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``told(recipe)`` is the folder of its run over all folds, which tests only read."""

    @functools.cache
    def train(text: str) -> Path:
        folder = tmp_path_factory.mktemp("told") / "run"
        results = run(Plan(parse_recipe(text), cubes, folder), silent)
        assert sum(each.held_out for each in results) == 12
        return folder

    return train


@pytest.mark.parametrize("kind", WHOLE_IMAGE)
@pytest.mark.parametrize("text", [SMALL, CLASSES], ids=["regression", "classification"])
def test_each_network_answers_for_each_case_once(
    kind: str, text: str, cubes: Path, told: Callable[[str], Path]
) -> None:
    recipe = parse_recipe(text.replace("cnn3d", kind))
    folder = told(recipe.text)
    answers = predictions.read(folder)
    assert answers.task == recipe.task
    judged = evaluation.evaluate(answers, cubes)
    assert judged.subjects == 6
    assert all((cubes / str(row.image)).is_file() for row in answers.rows)
    assert (folder / "fold1/weights.safetensors").exists()
    volumes = {row.id: row.truth for row in answers.rows}
    if recipe.task == "regression":
        assert volumes["case_001"] == pytest.approx(3 * 4 * 2 * 2 / 1000)
    else:
        assert set(volumes.values()) == {0.0, 1.0}


@pytest.mark.parametrize("kind", WHOLE_IMAGE)
def test_a_network_learns_how_much_there_is(kind: str, cubes: Path) -> None:
    recipe = parse_recipe(
        SMALL.replace("cnn3d", kind)
        .replace("steps = 4", "steps = 120\npeak_rate = 1e-2\nwarm_steps = 5\naverage = 0.9")
        .replace("dropout = 0.2", "dropout = 0.0")
    )
    cases = [nifti.load_case(case) for case in find_cases(recipe, cubes)]
    seen = [grading.see(each, each.image, recipe) for each in cases]
    truth = make_truth(recipe, [each.known for each in seen])
    lesson = grading.make_lesson(recipe, 0, seen, truth)
    state = loop.start(lesson, recipe.training)
    for _ in range(recipe.training.steps):
        loop.advance(lesson, recipe.training, state)
    told = [grading.tell(state.average.eval(), each.image, recipe) for each in seen]
    assert np.corrcoef(told, [each.known for each in seen])[0, 1] > 0.8


@pytest.mark.parametrize("kind", WHOLE_IMAGE)
def test_a_resumed_network_has_the_weights_of_an_unbroken_one(
    kind: str, cubes: Path, told: Callable[[str], Path], tmp_path: Path
) -> None:
    recipe = parse_recipe(SMALL.replace("cnn3d", kind))
    unbroken = told(recipe.text)
    cases = find_cases(recipe, cubes)
    held = {case.id for case in split(cases, recipe)[0]}
    taught = [nifti.load_case(case) for case in cases if case.id not in held]
    preparation = make_preparation(recipe.preprocessing)
    seen = [grading.see(each, preparation.prepare(each).image, recipe) for each in taught]
    lesson = grading.make_lesson(recipe, 0, seen, make_truth(recipe, [s.known for s in seen]))
    state = loop.start(lesson, recipe.training)
    torch.manual_seed(99)  # what else is drawn in the process has no part in it
    for _ in range(2):
        loop.advance(lesson, recipe.training, state)
    folder = tmp_path / "broken" / "fold0"
    folder.mkdir(parents=True)
    checkpoint.save(folder, state)
    run(Plan(recipe, cubes, tmp_path / "broken", (0,), resume=True), silent)
    whole, broken = (
        load_file(each / "fold0/weights.safetensors") for each in (unbroken, tmp_path / "broken")
    )
    assert whole.keys() == broken.keys()
    for name, value in whole.items():
        assert torch.equal(value, broken[name]), name


@pytest.mark.parametrize("kind", sorted(GRADERS))
def test_the_weights_alone_give_the_number(kind: str) -> None:
    torch.manual_seed(0)
    grader = Grader(kind, Sizes((4, 8)), 3.0, 0.5).eval()
    other = Grader(kind, Sizes((4, 8))).eval()
    other.load_state_dict(grader.state_dict())
    x = torch.rand(2, 1, 8, 12, 10)
    assert torch.equal(grader.answer(x), other.answer(x))
    assert grader.answer(x).shape == (2,)


def test_a_yardstick_without_features_tells_the_mean_of_those_that_teach(
    cubes: Path, tmp_path: Path
) -> None:
    run(Plan(parse_recipe(YARDSTICK), cubes, tmp_path / "run"), silent)
    rows = predictions.read(tmp_path / "run").rows
    for fold in (0, 1):
        others = [row.truth for row in rows if row.fold != fold]
        for row in rows:
            if row.fold == fold:
                assert row.found == pytest.approx(np.mean(others))


def test_a_yardstick_of_the_mean_intensity_knows_a_bright_cube(cubes: Path, tmp_path: Path) -> None:
    text = YARDSTICK.replace('"yardstick"', '"yardstick"\nfeatures = ["mean", "size"]')
    run(Plan(parse_recipe(text), cubes, tmp_path / "run"), silent)
    rows = predictions.read(tmp_path / "run").rows
    truth, found = zip(*((row.truth, row.found) for row in rows), strict=True)
    assert np.corrcoef(truth, found)[0, 1] > 0.9


def test_the_cut_at_the_median_is_that_of_the_cases_that_teach() -> None:
    truth = make_truth(parse_recipe(CLASSES), [1.0, 2.0, 9.0, 10.0])
    assert [truth(known) for known in (5.5, 5.6)] == [0.0, 1.0]
    with pytest.raises(DataError, match="of one class"):
        make_truth(parse_recipe(CLASSES), [1.0, 1.0])


def test_a_share_is_that_of_all_labels_and_a_volume_of_those_that_are_named() -> None:
    text = SMALL.replace('"volume"', '"share"')
    labels = np.array([[[1, 2, 2, 0]]], np.uint8)
    case = Case("a", "a", None, None, None, {})
    loaded = Loaded(case, labels.astype(np.float32), labels, np.eye(4))
    assert measure_case(check_target(parse_recipe(text)), loaded) == pytest.approx(1 / 3)
    assert measure_case(check_target(parse_recipe(SMALL)), loaded) == pytest.approx(1 / 1000)


def test_targets_and_subgroups_come_from_a_table_beside_the_images(
    own_cubes: Path, tmp_path: Path
) -> None:
    rows = [f"case_{n:03d},{'ill' if n % 3 else 'well'},{'FM'[n % 2]}" for n in range(1, 13)]
    (own_cubes / "people.csv").write_text("\n".join(["name,state,sex", *rows]) + "\n", "utf-8")
    text = (
        CLASSES.replace(
            LABELLED + "\nabove_median = true",
            'source = "column"\ncolumn = "state"\npositive = ["ill"]',
        )
        .replace("pairs = true", 'pairs = true\ntable = "people.csv"\nid = "name"')
        .replace("count = 2", 'count = 2\n[figures]\nsubgroups = ["sex"]')
    )
    run(Plan(parse_recipe(text), own_cubes, tmp_path / "run"), silent)
    answers = predictions.read(tmp_path / "run")
    for row in answers.rows:
        number = int(row.id[-3:])
        assert row.truth == float(number % 3 > 0)
        assert row.values["sex"] == "FM"[number % 2]
    assert answers.subgroups == ("sex",)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (LABELLED, 'source = "labels"', "'measure' of \\[target\\]"),
        ('source = "labels"', 'source = "stars"', "'source' of \\[target\\]"),
        ("labels = [1]", "labels = []", "must be numbers of labels"),
        ("labels = [1]", "labels = [1]\nabove = 3.0", "regression has none of them"),
        (LABELLED, 'source = "column"\ncolumn = "age"', "needs 'column', and \\[data\\] 'table'"),
        ('step = "flip"', 'step = "affine"', "'affine' would change it"),
        ("dropout = 0.2", 'slices = "oblique"', "'slices' of \\[estimator\\]"),
        ("dropout = 0.2", "dropout = 1.0", "'dropout' of \\[estimator\\]"),
        ("widths = [4, 8]", "widths = [4, 8, 8, 8, 8]", "is too small"),
        ("widths = [4, 8]", "width = 3", "has no key 'width'"),
        ("batch = 2\ngrid = [8, 10, 8]", "batch = 1\ngrid = [2, 3, 3]", "a single voxel is left"),
    ],
)
def test_what_cannot_be_told_is_said_before_data_are_read(
    old: str, new: str, sentence: str, tmp_path: Path
) -> None:
    recipe = parse_recipe(SMALL.replace(old, new))
    with pytest.raises(RecipeError, match=sentence):
        run(Plan(recipe, tmp_path / "nowhere", tmp_path / "run"), silent)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"regression"', '"segmentation"', "A cnn3d does no segmentation"),
        ('kind = "cnn3d"', 'kind = "svm"', "does not learn from the reader 'nifti'"),
        ("[target]\n" + LABELLED, "", "lacks the section \\[target\\]"),
        ('images = "images"\n', "", "\\[data\\] lacks the key 'images'"),
        ("pairs = true", 'table = "a.csv"', "\\[data\\] lacks the key 'id'"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(old: str, new: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        parse_recipe(SMALL.replace(old, new))


def test_the_command_shows_the_figures_of_a_fold(
    cubes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "cube.toml"
    recipe.write_text(CLASSES, "utf-8")
    line = ["train", str(recipe), "--data", str(cubes), "--out", str(tmp_path / "run")]
    assert main.execute([*line, "--fold", "0"]) == EXIT_OK
    assert "roc_auc" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_documents_can_be_read(path: Path) -> None:
    assert read_recipe(path).name == path.stem
