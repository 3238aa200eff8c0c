"""`secondread evaluate` and `secondread compare`, as a person would call them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from secondread.cli.main import execute
from secondread.errors import EXIT_DATA, EXIT_NO_INPUT, EXIT_OK, EXIT_USAGE
from secondread.learning import extra
from secondread.learning.predictions import write
from tests.learning_runs import chance_run, write_pictured_run

FEW = ["--draws", "100"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder, chance_run())
    return folder


def test_evaluate_prints_figures_and_writes_them_beside_the_run(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["evaluate", str(run), *FEW]) == EXIT_OK
    printed = capsys.readouterr().out
    assert "by chance: 80 cases of 40 subjects in 2 folds" in printed
    assert "roc_auc" in printed
    assert (run / "report.html").is_file()
    assert json.loads((run / "figures.json").read_text())["cases"] == 80


def test_evaluate_with_data_shows_the_worst_cases_elsewhere(tmp_path: Path) -> None:
    run, data, out = tmp_path / "run", tmp_path / "data", tmp_path / "new" / "out"
    write(run, write_pictured_run(run, data))
    assert execute(["evaluate", str(run), "--data", str(data), "--out", str(out), *FEW]) == EXIT_OK
    assert (out / "pictures" / "worst_1.png").is_file()
    assert not (run / "report.html").exists()


def test_evaluate_in_json_with_a_column_of_ones_own(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["evaluate", str(run), "--by", "age", "--seed", "4", "--json", *FEW]) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    assert document["bootstrap"] == {"draws": 100, "seed": 4, "level": 0.95}
    assert [group["cases"] for group in document["subgroups"]] == [27, 26, 27]
    assert document["report"].endswith("report.html")


def test_a_run_that_leaks_is_an_exit_code_and_a_number(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = chance_run()
    write(run, replace(whole, rows=(replace(whole.rows[0], fold=9), *whole.rows[1:])))
    assert execute(["evaluate", str(run), *FEW]) == EXIT_DATA
    assert "1 of 40 subjects lie in more than one fold" in capsys.readouterr().err
    assert not (run / "report.html").exists()


def test_a_data_folder_that_is_not_there_is_a_sentence(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["evaluate", str(run), "--data", "nowhere"]) == EXIT_NO_INPUT
    assert "'nowhere' is not a folder" in capsys.readouterr().err


def test_too_few_draws_are_a_wrong_command_line(run: Path) -> None:
    assert execute(["evaluate", str(run), "--draws", "3"]) == EXIT_USAGE


def test_compare_prints_differences_and_writes_nothing_unasked(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(other, replace(chance_run(shift=0.3), name="worse"))
    before = sorted(tmp_path.rglob("*"))
    assert execute(["compare", str(run), str(other), *FEW]) == EXIT_OK
    printed = capsys.readouterr().out
    assert "A: by chance. B: worse. 80 cases of 40 subjects" in printed
    assert sorted(tmp_path.rglob("*")) == before
    command = ["compare", str(run), str(other), "--out", str(tmp_path / "out"), "--json", *FEW]
    assert execute(command) == EXIT_OK
    found = json.loads(capsys.readouterr().out)["differences"]["roc_auc"]
    assert found["difference"]["value"] < 0
    assert found["p_value"] < 0.05
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize("command", [["evaluate", "run"], ["compare", "run", "run"]])
def test_without_the_extra_a_sentence_says_how_to_install_it(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "jinja2" else name)
    assert execute(command) == EXIT_NO_INPUT
    said = capsys.readouterr().err
    assert "jinja2" in said
    assert "pip install 'secondread[train]'" in said


def test_the_commands_import_nothing_heavy_before_they_run() -> None:
    code = (
        "import sys; import secondread.cli.evaluate, secondread.cli.compare;"
        "print([n for n in ('numpy', 'scipy', 'matplotlib', 'jinja2') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
