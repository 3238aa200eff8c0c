"""The command line as a whole: help, errors, exit codes, documentation."""

from __future__ import annotations

import json
import math
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from secondread import __version__, errors
from secondread.cli import config as config_commands
from secondread.cli import main, output
from secondread.errors import (
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    EXIT_IO,
    EXIT_NO_INPUT,
    EXIT_NO_PERMISSION,
    EXIT_OK,
    EXIT_SOFTWARE,
    EXIT_USAGE,
)

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "docs" / "cli.md"
HEAVY = ("torch", "highdicom", "pynetdicom", "pydicom", "sqlalchemy", "numpy", "pydantic")


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of this machine, and a home of its own."""
    monkeypatch.delenv("SECONDREAD_CONFIG", raising=False)
    monkeypatch.delenv(main.DEBUG_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(typer.main.get_command(main.app)))


def test_nothing_heavy_is_imported_for_help() -> None:
    code = (
        "import sys; from secondread.cli.main import execute; execute(['--help']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == "[]"
    for name in ("serve", "send", "peer", "study", "model", "config", "doctor"):
        assert name in done.stdout


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.execute(["--version"]) == EXIT_OK
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_a_section_with_its_options(name: str) -> None:
    command = COMMANDS[name]
    assert command.help, name
    text = DOCUMENT.read_text(encoding="utf-8")
    match = re.search(rf"^## secondread {re.escape(name)}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert match, f"'secondread {name}' has no section in docs/cli.md"
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            for option in parameter.opts:
                if option not in {"--help", "-h", "-c"}:
                    assert f"`{option}" in match[1], f"{name}: {option}"


def test_the_document_has_no_command_that_is_not_there() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(re.findall(r"^## secondread (.+)$", text, re.M)) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"serve"}))
def test_every_command_but_serve_can_answer_in_json(name: str) -> None:
    assert "--json" in {option for entry in COMMANDS[name].params for option in entry.opts}


def test_an_error_is_one_sentence_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.execute(["config", "check"]) == EXIT_CONFIGURATION
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("There is no configuration file")
    assert "Traceback" not in captured.err


def test_an_error_in_json_is_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.execute(["study", "list", "--json", "--config", "no.toml"]) == EXIT_CONFIGURATION
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "configuration"
    assert "no.toml" in error["sentence"]


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["study", "show"], ["send", ".", "--to", "x"], ["study", "list", "-n", "0"]],
)
def test_a_wrong_command_line_is_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.execute(arguments) == EXIT_USAGE
    assert main.execute([*arguments, "--json"]) == EXIT_USAGE
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_the_unforeseen_is_one_sentence_with_a_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uid = ".".join(["1.3.12.2.1107.5.2.32.35424", "2010012512345678901234567"])

    def explode(*_: object, **__: object) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("secondread.config.template.render_template", explode)
    assert main.execute(["config", "init"]) == EXIT_SOFTWARE
    sentence = capsys.readouterr().err
    assert "Something unforeseen stopped the command (KeyError, reference " in sentence
    assert "Traceback" not in sentence
    (log,) = (tmp_path / "state" / "secondread" / "log").iterdir()
    assert str(log) in sentence
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    text = log.read_text()
    assert "Traceback" in text
    assert uid not in text


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(main.DEBUG_VARIABLE, "1")
    assert main.execute(["config", "show"]) == EXIT_CONFIGURATION
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "Permission denied", "/x"), EXIT_NO_PERMISSION),
        (OSError(28, "No space left on device", "/x"), EXIT_IO),
    ],
)
def test_errors_of_the_system_are_sentences(
    error: OSError,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("secondread.config.template.render_template", explode)
    assert main.execute(["config", "init"]) == code
    assert f"'/x': {error.strerror}" in capsys.readouterr().err


def test_brackets_of_section_names_are_not_taken_for_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secondread.toml").write_text("[node]\nbold = 1\n")
    assert main.execute(["config", "check"]) == EXIT_CONFIGURATION
    assert "Unknown key 'bold' in [node]" in capsys.readouterr().err


def test_config_init_check_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "etc" / "node.toml"
    assert main.execute(["config", "init", str(path), "--data-dir", str(tmp_path / "d")]) == EXIT_OK
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert main.execute(["config", "init", str(path)]) == EXIT_USAGE
    assert "--force" in capsys.readouterr().err
    assert main.execute(["config", "init", str(path), "--force"]) == EXIT_OK
    assert main.execute(["config", "check", "-c", str(path)]) == EXIT_OK
    assert "is sound" in capsys.readouterr().out
    assert main.execute(["config", "check", "-c", str(path), "--json"]) == EXIT_OK
    checked = json.loads(capsys.readouterr().out)
    assert checked["ok"] is True
    assert checked["faults"] == []
    assert checked["remarks"][0]["remedy"]
    assert main.execute(["config", "show", "-c", str(path)]) == EXIT_OK
    shown = capsys.readouterr().out
    assert re.search(r"dicom\.port +11112 +node\.toml:\d+", shown)
    assert main.execute(["config", "show", "-c", str(path), "--json"]) == EXIT_OK
    values = json.loads(capsys.readouterr().out)["values"]
    assert {k: values[5][k] for k in ("key", "value")} == {"key": "dicom.port", "value": 11112}


def test_config_check_in_json_lists_the_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secondread.toml"
    path.write_text("[node]\nae_titel = 'X'\n")
    assert main.execute(["config", "check", "--json"]) == EXIT_CONFIGURATION
    checked = json.loads(capsys.readouterr().out)
    assert checked["ok"] is False
    assert checked["faults"] == [
        {
            "where": "line 2",
            "sentence": "Unknown key 'ae_titel' in [node]; did you mean 'ae_title'?",
        }
    ]


def test_model_list_and_verify_tell_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "secondread.toml").write_text('[[models]]\nid = "broken"\npath = "broken"\n')
    assert main.execute(["model", "list", "--json"]) == EXIT_OK
    first = json.loads(capsys.readouterr().out)["models"][0]
    assert first["id"] == "broken"
    assert first["switched_on"] is True
    assert "There is no model.toml" in first["fault"]
    assert main.execute(["model", "verify"]) == EXIT_FAILED
    assert "There is no model.toml" in capsys.readouterr().err
    assert main.execute(["model", "verify", str(tmp_path / "broken"), "--json"]) == EXIT_FAILED
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert main.execute(["model", "verify", "other"]) == EXIT_NO_INPUT


def test_the_file_mode_lets_nobody_else_write() -> None:
    assert config_commands._FILE_MODE & 0o027 == 0


def test_every_exit_code_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.M)}
    assert documented == {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


def test_a_document_is_json_for_everybody(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"limits": (-math.inf, 0.5, math.inf), "value": math.nan})
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found == {"limits": [None, 0.5, None], "value": None}
