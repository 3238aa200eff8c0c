"""Series Numbers of results: each model of a node has its own, and keeps it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secondread.cli.main import app
from secondread.config.checks import remarks
from secondread.config.load import examine, load
from secondread.domain.network import ModelReference
from secondread.domain.series_numbers import FIRSTS, first_numbers
from tests.house import MODEL


def rows(*named: tuple[str, int]) -> list[ModelReference]:
    return [ModelReference(name, "", "RESEARCH", series_from=first) for name, first in named]


def write(tmp_path: Path, *models: str) -> Path:
    """A configuration of models; the words behind an id are more of its row."""
    shutil.copytree(MODEL, tmp_path / "head", dirs_exist_ok=True)
    blocks = []
    for one in models:
        name, _, more = one.partition(" ")
        blocks.append(f'[[models]]\nid = "{name}"\npath = "head"\n{more}\n')
    path = tmp_path / "secondread.toml"
    path.write_text('[node]\ndata_dir = "data"\n\n' + "\n".join(blocks))
    return path


def test_a_node_with_one_model_has_the_usual_numbers() -> None:
    assert first_numbers(rows(("a", 0))) == {"a": 801}


def test_a_model_at_the_end_moves_nobody() -> None:
    two = first_numbers(rows(("a", 0), ("b", 0)))
    three = first_numbers(rows(("a", 0), ("b", 0), ("c", 0)))
    assert two == {"a": 801, "b": 901}
    assert three == {**two, "c": 701}


def test_a_number_that_is_named_is_nobody_elses() -> None:
    assert first_numbers(rows(("a", 0), ("b", 801), ("c", 0))) == {"a": 901, "b": 801, "c": 701}


def test_a_trial_moves_nobody() -> None:
    trial = ModelReference("next", "", "RESEARCH", "a")
    first, last = rows(("a", 0), ("b", 0))
    assert first_numbers([first, trial, last]) == {"a": 801, "b": 901, "next": 701}


def test_no_two_of_nine_models_share_and_the_tenth_begins_again(tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(10)]
    numbers = first_numbers(rows(*((name, 0) for name in names)))
    assert sorted(list(numbers.values())[:9]) == sorted(FIRSTS)
    assert numbers["m9"] == 801
    nine = remarks(load(write(tmp_path, *names[:9]), {}))
    assert not any("share their Series" in one.sentence for one in nine)
    ten = remarks(load(write(tmp_path, *names), {}))
    assert any("Models 'm0' and 'm9' share their Series" in one.sentence for one in ten)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (
            ("a series_from = 701", "b series_from = 701"),
            "'b' has the Series Numbers of [[models]]",
        ),
        (("a series_from = 700",), "series_from"),
    ],
)
def test_each_mistake_has_its_sentence(
    tmp_path: Path, models: tuple[str, ...], expected: str
) -> None:
    told = [str(fault) for fault in examine(write(tmp_path, *models), {}).faults]
    assert any(expected in sentence for sentence in told), told


def test_a_challenger_may_have_the_numbers_of_its_model(tmp_path: Path) -> None:
    models = ("a series_from = 701", 'b series_from = 701\npackage = "a"')
    assert not examine(write(tmp_path, *models), {}).faults


def test_switching_a_model_off_leaves_the_others_their_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "a", "b", "c")
    before = first_numbers(load(path, {}).models)
    arguments = ["model", "disable", "a", "--config", str(path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    after = first_numbers(load(path, {}).models)
    assert after == {"b": before["b"], "c": before["c"]} == {"b": 901, "c": 701}
    assert CliRunner().invoke(app, [*arguments[:2], "c", *arguments[3:]]).exit_code == 0
    assert first_numbers(load(path, {}).models) == {"b": 901}
