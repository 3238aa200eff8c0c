"""``secondread rule list|test|replay``: on a ledger with studies, and on files that nobody sent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secondread.cli.main import execute
from secondread.cli.rule_replay import parse_since
from secondread.domain.states import StudyState
from secondread.errors import (
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    EXIT_NO_INPUT,
    EXIT_OK,
    EXIT_USAGE,
    UsageError,
)
from secondread.store import Ledger
from tests.bench.replay import build, write_configuration
from tests.slices import make_series, store

STUDIES = 30
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with studies of the past days, which nobody changes."""
    place = tmp_path_factory.mktemp("node")
    build(write_configuration(place, 18), STUDIES)
    return place


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str, age: int = 18) -> tuple[int, str, str]:
        path = write_configuration(folder, age)
        code = execute(["rule", *arguments, "--config", str(path)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def document(run: Run, *arguments: str, age: int = 18) -> Any:
    code, out, _ = run(*arguments, "--json", age=age)
    assert code == EXIT_OK
    return json.loads(out)


def test_rules_are_listed_with_what_they_ask_for(run: Run) -> None:
    code, out, _ = run("list")
    assert code == EXIT_OK
    assert "PatientAge 18 or more" in out
    assert "shadow" in out
    rules = document(run, "list")["rules"]
    assert [rule["name"] for rule in rules] == ["heads", "thin", "nights"]
    assert rules[0]["asks_for"][:2] == ["peer mr1", "Modality MR"]
    assert rules[2]["shadow"] is True


def test_a_study_is_tried_on_every_rule_and_condition(run: Run) -> None:
    code, out, _ = run("test", "1")
    assert code == EXIT_OK
    for expected in (
        "Study 1: 4 series from peer 'mr1', first object ",
        "Rule 'heads' for model 'brain_mr'\n",
        "Rule 'nights' for model 'brain_mr', in the shadow: nothing is sent",
        " Series 2 't2 tse tra'\n",
        "      ✓ peer mr1: it is mr1\n",
        " at least one of these:\n",
        "          ✗ StudyDescription matching" if "Knee" in out else "          ✓ Study",
        "      ✓ SliceSpacing 1.5 or less: it is 1\n",
        "      ✗ SliceSpacing 1.5 or less: it is 10\n",
        "      ✗ not so: SeriesDescription matching '(?i)loc|scout': it is 'loc'\n",
    ):
        assert expected in out
    (study,) = document(run, "test", "1.2.1")["studies"]
    assert [rule["rule"] for rule in study["rules"]] == ["heads", "thin", "nights"]
    thin = study["rules"][1]
    assert [entry["finding"]["holds"] for entry in thin["series"]] == [False, False, False, True]
    assert {"holds": True, "text": "SliceSpacing 1.5 or less: it is 1", "parts": []} in thin[
        "series"
    ][3]["finding"]["parts"]


def test_one_rule_and_another_peer_can_be_tried(run: Run) -> None:
    code, out, _ = run("test", "1", "--rule", "thin")
    assert code == EXIT_OK
    assert "Rule 'heads'" not in out
    code, out, err = run("test", "1", "--rule", "thick")
    assert code == EXIT_NO_INPUT
    assert "heads, thin, nights" in err
    code, out, err = run("test", "1", "--peer", "ct9")
    assert code == EXIT_CONFIGURATION
    assert "no peer 'ct9'" in err
    assert run("test", "99")[0] == EXIT_NO_INPUT


def test_a_folder_that_nobody_has_sent_can_be_tried(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cd").mkdir()
    for dataset in make_series(24, 1.0, StudyDescription="Brain", PatientAge="042Y"):
        store(dataset, tmp_path / "cd")
    (tmp_path / "cd" / "README").write_text("no image")
    code, out, _ = run("test", str(tmp_path / "cd"))
    assert code == EXIT_OK
    assert "1 series from peer 'mr1'" in out
    assert "✓ PatientAge 18 or more: it is 42" in out
    assert "What the model says" in out
    assert "→ Would " in out
    (tmp_path / "empty").mkdir()
    code, _, err = run("test", str(tmp_path / "empty"))
    assert code == EXIT_NO_INPUT
    assert "no DICOM images" in err


def test_the_same_rules_would_have_done_the_same(run: Run) -> None:
    code, out, _ = run("replay", "--check")
    assert code == EXIT_OK
    assert f"{STUDIES} studies with {4 * STUDIES} series since" in out
    assert "No difference" in out
    found = document(run, "replay")
    assert (found["studies"], found["differences"], found["changes"]) == (STUDIES, {}, [])
    wanted = {entry["rule"]: entry["tally"] for entry in found["rules"]}
    assert wanted["heads"]["wanted_before"] == wanted["heads"]["wanted_after"] > 0


def test_changed_rules_show_what_would_differ(run: Run) -> None:
    found = document(run, "replay", "--limit", "0", age=1)
    newly = found["differences"].pop("newly analysed")
    assert newly > 0
    assert found["differences"] == {}
    assert len(found["changes"]) == newly
    assert {change["rule"] for change in found["changes"]} == {"heads"}
    assert all(change["before"]["wanted"] is False for change in found["changes"])
    code, out, _ = run("replay", "--limit", "1", "--check", age=1)
    assert code == EXIT_FAILED
    assert f"Newly analysed ({newly})" in out
    assert "rule 'heads'  not wanted → series" in out
    gone = document(run, "replay", age=200)
    assert gone["differences"].keys() == {"no longer analysed"}
    _, out, _ = run("replay", "--limit", "1", age=200)
    assert "is 200 or more" not in out
    assert "→ not wanted" in out
    assert "PatientAge" in out


def test_only_the_past_that_is_asked_for_is_replayed(run: Run) -> None:
    some = document(run, "replay", "--since", "3d")["studies"]
    assert 0 < some < STUDIES
    assert document(run, "replay", "--since", "5m")["studies"] == 0
    code, _, err = run("replay", "--since", "yesterday")
    assert code == EXIT_USAGE
    assert "such as 7d" in err


def test_what_is_meant_by_since() -> None:
    now = time.time()
    assert parse_since("7d", now) == now - 7 * 86_400
    assert parse_since(" 90M ", now) == now - 5400
    assert parse_since("2026-03-01", now) < parse_since("2026-03-01T12:00", now)
    for wrong in ("7", "d", "-7d", "2999-01-01", "", "7y"):
        with pytest.raises(UsageError):
            parse_since(wrong, now)


def test_studies_that_are_still_arriving_are_left_out(tmp_path: Path, capsys) -> None:
    path = write_configuration(tmp_path, 18)
    build(path, 3)
    with Ledger.open(tmp_path / "data").begin() as change:
        connection = change.history._connection
        connection.exec_driver_sql("DELETE FROM job WHERE study_id = 2")
        state = StudyState.RECEIVING.value
        connection.exec_driver_sql(f"UPDATE study SET state = '{state}' WHERE id = 2")
    assert execute(["rule", "replay", "--json", "-c", str(path)]) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert (found["studies"], found["still_arriving"]) == (2, 1)


def test_a_node_without_a_ledger_says_so(tmp_path: Path, capsys) -> None:
    path = write_configuration(tmp_path, 18)
    assert execute(["rule", "replay", "-c", str(path)]) == EXIT_NO_INPUT
    assert "no study has come yet" in capsys.readouterr().err
