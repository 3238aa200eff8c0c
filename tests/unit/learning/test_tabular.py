"""Estimators for tables through the recipe: each subject held out, ONNX, and no row that leaves."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra train is not installed")

from secondread.cli import main
from secondread.errors import EXIT_OK, DataError, RecipeError, UsageError
from secondread.learning import evaluation, predictions
from secondread.learning.estimators import tables
from secondread.learning.recipe import TABLES, parse_recipe, read_recipe
from secondread.learning.training.plan import Plan
from secondread.learning.training.run import run

TRAINING = Path(__file__).resolve().parents[3] / "models/dementia_mr/training"
SMALL = """
[recipe]
name = "visits"
task = "classification"
seed = 1
[data]
reader = "table"
table = "visits.csv"
id = "visit"
subject_column = "visit"
subject = '^(p\\d+)_'
columns = ["signal", "noise", "sex"]
coding = { sex = { F = 0, M = 1 } }
[target]
source = "column"
column = "score"
above = 0.0
[estimator]
kind = "logistic"
C = [0.1, 1.0]
[folds]
count = 3
nested = 3
[figures]
subgroups = ["sex"]
"""
GRIDS = {
    "svm": "C = [10.0]\ngamma = [0.01, 0.02]\nsurface = true",
    "tree": "max_depth = [2, 3]\nmin_samples_leaf = [5]",
    "forest": "max_depth = [2]\nmin_samples_leaf = [5]",
    "logistic": "C = [0.1, 1.0]",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two visits of each of forty people; the signal tells who is ill."""
    drawn = np.random.default_rng(4)
    folder = tmp_path / "data"
    folder.mkdir()
    with (folder / "visits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("visit", "signal", "noise", "sex", "score", "name"))
        for person in range(40):
            for visit in (1, 2):
                ill = person % 2
                signal = f"{drawn.normal() + 2.5 * ill:.3f}"
                noise = f"{drawn.normal():.3f}"
                sex = "FM"[person % 3 == 0]
                writer.writerow((f"p{person:02d}_{visit}", signal, noise, sex, ill / 2, "secret"))
    return folder


def silent(what: str, done: int, total: int) -> None:
    """No progress in a test."""


def small(kind: str) -> str:
    text = SMALL.replace("C = [0.1, 1.0]", GRIDS[kind])
    return text.replace('"logistic"', f'"{kind}"')


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "forest")) for kind in TABLES],
)
def test_each_estimator_answers_for_subjects_it_never_saw(
    kind: str, data: Path, tmp_path: Path
) -> None:
    results = run(Plan(parse_recipe(small(kind)), data, tmp_path / "run"), silent)
    assert sum(each.held_out for each in results) == 80
    judged = evaluation.evaluate(predictions.read(tmp_path / "run"))
    auc = judged.figures["roc_auc"].value
    assert auc is not None
    assert auc > 0.85
    assert {group.band for group in judged.subgroups} == {"F", "M"}
    assert not list((tmp_path / "run").rglob("*.pkl"))
    values = np.array([[2.5, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for folder in (tmp_path / "run", tmp_path / "run/fold2"):
        ill, well = tables.run_onnx(folder / "model.onnx", values)
        assert ill > 0.5 > well
        assert set(json.loads((folder / "chosen.json").read_text())) <= set(tables.GRIDS[kind])


def test_the_run_says_what_nested_cross_validation_says(data: Path, tmp_path: Path) -> None:
    from secondread.learning.training import tabular
    from secondread.learning.training.cases import find_cases

    recipe = parse_recipe(SMALL)
    run(Plan(recipe, data, tmp_path / "run"), silent)
    rows = {row.id: row for row in predictions.read(tmp_path / "run").rows}
    cases = find_cases(recipe, data)
    features = tabular.features_of(recipe, cases, cases)
    held = tables.validate(features, tabular.check(recipe))
    for name, probability, fold in zip(features.ids, held.probabilities, held.folds, strict=True):
        assert rows[name].found == probability
        assert rows[name].fold == fold


def test_no_column_but_those_of_subgroups_gets_into_the_run(data: Path, tmp_path: Path) -> None:
    run(Plan(parse_recipe(SMALL), data, tmp_path / "run"), silent)
    text = (tmp_path / "run/predictions.json").read_text()
    assert "secret" not in text
    assert "signal" not in text


def test_a_finished_fold_is_kept_on_resuming(data: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(SMALL)
    run(Plan(recipe, data, tmp_path / "run", (1,)), silent)
    with pytest.raises(UsageError, match="Fold 1 was begun"):
        run(Plan(recipe, data, tmp_path / "run", (1,)), silent)
    kept = (tmp_path / "run/fold1/model.onnx").stat().st_mtime_ns
    run(Plan(recipe, data, tmp_path / "run", resume=True), silent)
    assert (tmp_path / "run/fold1/model.onnx").stat().st_mtime_ns == kept
    assert len(predictions.read(tmp_path / "run").rows) == 80


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"classification"', '"regression"', "above|classifications alone"),
        ("C = [0.1, 1.0]", "C = 1.0", "each a list to choose from"),
        ("C = [0.1, 1.0]", "depth = [1]", "'depth' is not so"),
        ("C = [0.1, 1.0]", "surface = true", "an svm's alone"),
        ("[folds]", '[[preprocessing]]\nstep = "z_score"\n[folds]', "has no \\[\\[preproc"),
        ("above = 0.0", "above = 0.0\nabove_median = true", "has one of"),
    ],
)
def test_what_a_table_cannot_teach_is_said_before_it_is_read(
    old: str, new: str, sentence: str, tmp_path: Path
) -> None:
    recipe = parse_recipe(SMALL.replace(old, new))
    with pytest.raises(RecipeError, match=sentence):
        run(Plan(recipe, tmp_path / "nowhere", tmp_path / "run"), silent)


def test_a_machine_that_no_surface_can_stand_for_is_a_sentence(data: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(small("svm").replace("[0.01, 0.02]", "[30.0]"))
    with pytest.raises(DataError, match="polynomial of degree 4 differs"):
        run(Plan(recipe, data, tmp_path / "run", (0,)), silent)
    assert not (tmp_path / "run/fold0/model.onnx").exists()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("F = 0, M = 1", "F = 0", "'M' in column sex"),
        ('column = "score"', 'column = "mood"', "has no column mood"),
        ("above = 0.0", "above = 9.0", "of one class"),
        ('column = "score"', 'column = "name"', "'secret' is a text"),
    ],
)
def test_a_table_that_does_not_suit_is_a_sentence(
    old: str, new: str, sentence: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=sentence):
        run(Plan(parse_recipe(SMALL.replace(old, new)), data, tmp_path / "run"), silent)


def test_the_command_trains_and_judges_a_table(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "visits.toml").write_text(SMALL, "utf-8")
    out = str(tmp_path / "run")
    line = ["train", str(tmp_path / "visits.toml"), "--data", str(data), "--out", out]
    assert main.execute(line) == EXIT_OK
    assert main.execute(["evaluate", out, "--draws", "100", "--json"]) == EXIT_OK
    assert '"roc_auc"' in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(TRAINING.glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_of_dementia_mr_can_be_read(path: Path) -> None:
    assert read_recipe(path).name.startswith("dementia_mr_")


@pytest.mark.slow
def test_the_recipe_of_dementia_mr_gives_its_svm_and_its_figure(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    data = shared_data("ad_oasis2_table")
    run(Plan(read_recipe(TRAINING / "recipe.toml"), data, tmp_path / "run"), silent)
    shipped = TRAINING.parent / "svm.onnx"
    found = tables.run_onnx(tmp_path / "run/model.onnx", VISITS)
    assert np.allclose(found, tables.run_onnx(shipped, VISITS), atol=1e-4)
    judged = evaluation.evaluate(predictions.read(tmp_path / "run"))
    card = json.loads((TRAINING.parent / "evaluation/figures.json").read_text())
    auc = judged.figures["roc_auc"].value
    assert auc == pytest.approx(card["figures"]["svm/auc"][0], abs=1e-4)


VISITS = np.array([[0.70, 1500.0, 75.0, 0.0], [0.75, 1400.0, 80.0, 1.0], [0.68, 1700.0, 70.0, 1.0]])
"""Share of the brain, skull in mL, age in years, sex."""
