"""``retention hold|release|show|purge`` on a data folder with real files."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secondread.cli.main import execute
from secondread.cli.probes.disk_pressure import probe_disk_pressure
from secondread.cli.probes.finding import Health
from secondread.config.load import load
from secondread.domain.monitoring import Comparison
from secondread.domain.retention import DAY_S
from secondread.errors import EXIT_FAILED, EXIT_NO_INPUT, EXIT_OK, EXIT_USAGE
from tests.kept_files import KeptFiles, image

CONFIGURATION = """
[node]
data_dir = "data"
minimum_free_gib = 0.0
[retention]
warn_gib = 0.0
warn_days = 0.0
"""
AGO = 40


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeptFiles]:
    """One study that ended forty days ago, all safe, and one of today."""
    (tmp_path / "secondread.toml").write_text(CONFIGURATION)
    monkeypatch.delenv("SECONDREAD_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    made = KeptFiles(tmp_path / "data")
    made.clock.time = time.time() - AGO * DAY_S
    made.finished(1)
    made.pass_days(AGO)
    made.finished(2)
    yield made
    made.close()


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What a command that ends well prints as JSON."""
    capsys.readouterr()
    assert execute(["retention", *arguments, "--json"]) == EXIT_OK
    return json.loads(capsys.readouterr().out)


def test_show_tells_figures_holds_and_the_disk(
    files: KeptFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["retention", "hold", "2", "--reason", "second opinion"]) == EXIT_OK
    shown = answer(capsys, "show")
    images = shown["kinds"]["images"]
    assert (images["kept"]["files"], images["due"]["files"]) == (6, 3)
    assert (images["days"], images["must_stay"]["files"]) == (30, 3)
    assert [(hold["study"], hold["reason"]) for hold in shown["holds"]] == [(2, "second opinion")]
    assert shown["disk"]["pressure"] == "easy"
    assert execute(["retention", "show"]) == EXIT_OK
    text = capsys.readouterr().out
    assert "30 days" in text
    assert "within the hour" in text
    assert "1 study stays: It is on hold" in text
    assert "GiB are free" in text


def test_purge_asks_and_no_keeps_everything(
    files: KeptFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert execute(["retention", "purge", "--dry-run"]) == EXIT_OK
    assert "Would go: 3 images" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert execute(["retention", "purge", "--now"]) == EXIT_FAILED
    assert files.images_on_disk(1) == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert execute(["retention", "purge", "--now"]) == EXIT_OK
    assert (files.images_on_disk(1), files.images_on_disk(2)) == (0, 3)
    assert "Removed 3 images" in capsys.readouterr().out


def test_purge_of_one_study_whatever_its_age_needs_a_reason_and_leaves_a_trail(
    files: KeptFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["retention", "purge", "--now", "--yes", "--study", "2", "--any-age"]
    assert execute(arguments) == EXIT_USAGE
    assert files.images_on_disk(2) == 3
    gone = answer(capsys, *arguments[1:], "--reason", "the patient wishes it")
    assert gone["removed"] is True
    assert {kind: one["files"] for kind, one in gone["kinds"].items()} == {
        "images": 3,
        "results": 1,
        "reports": 1,
    }
    assert (files.images_on_disk(1), files.images_on_disk(2)) == (3, 0)
    with files.ledger.read() as view:
        row = view.trail.of_event("purge")[-1]
    assert row.detail["why"] == "the patient wishes it"
    assert row.detail["who"]
    assert "wishes it" not in row.text


def test_a_hold_stops_a_purge_by_hand_and_is_named(
    files: KeptFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["retention", "hold", "1", "--reason", "court"]) == EXIT_OK
    wished = ("purge", "--now", "--yes", "--study", "1", "--any-age", "--reason", "x")
    found = answer(capsys, *wished)
    assert found["kinds"] == {}
    assert "on hold" in found["objection"]
    assert answer(capsys, "purge", "--now", "--yes")["kinds"] == {}
    assert files.images_on_disk(1) == 3
    assert execute(["retention", "hold", "1", "--reason", "again"]) == EXIT_USAGE
    assert execute(["retention", "release", "1", "--reason", "settled"]) == EXIT_OK
    assert execute(["retention", "release", "1", "--reason", "settled"]) == EXIT_USAGE
    assert answer(capsys, "purge", "--now", "--yes")["kinds"]["images"]["files"] == 3


def test_a_hold_says_what_had_gone_before(
    files: KeptFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(capsys, "purge", "--now", "--yes")
    assert answer(capsys, "hold", "1", "--reason", "court")["images_gone"] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["purge"],
        ["purge", "--now", "--dry-run"],
        ["purge", "--now", "--any-age", "--reason", "x"],
        ["purge", "--now", "--early"],
        ["hold", "1", "--reason", " "],
    ],
)
def test_wrong_command_lines_are_sentences(files: KeptFiles, arguments: list[str]) -> None:
    assert execute(["retention", *arguments]) == EXIT_USAGE
    assert (files.images_on_disk(1), files.images_on_disk(2)) == (3, 3)


def test_a_study_that_is_not_there_is_told(files: KeptFiles) -> None:
    assert execute(["retention", "hold", "77", "--reason", "x"]) == EXIT_NO_INPUT
    assert execute(["retention", "purge", "--dry-run", "--study", "77"]) == EXIT_NO_INPUT


def test_images_sent_again_after_a_purge_can_be_exported_again(files: KeptFiles) -> None:
    assert execute(["retention", "purge", "--now", "--yes"]) == EXIT_OK
    assert files.store(*(image(1, number) for number in range(3))) == [True] * 3
    assert files.purged_images(1) == 0


def test_doctor_warns_before_the_disk_is_full(
    files: KeptFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(tmp_path / "secondread.toml", {})
    assert [found.health for found in probe_disk_pressure(settings)] == [Health.OK]
    strict = {"SECONDREAD_RETENTION__WARN_GIB": "1000000"}
    found = list(probe_disk_pressure(load(tmp_path / "secondread.toml", strict)))
    assert [one.health for one in found] == [Health.WARN]
    assert "purge-safe" in found[0].remedy
    full = {"SECONDREAD_NODE__MINIMUM_FREE_GIB": "1000000"}
    found = list(probe_disk_pressure(load(tmp_path / "secondread.toml", full)))
    assert [one.health for one in found] == [Health.FAIL]


def test_doctor_says_nothing_of_a_node_that_has_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secondread.toml").write_text('[node]\ndata_dir = "nowhere"\n')
    assert not list(probe_disk_pressure(load(tmp_path / "secondread.toml", {})))


def test_old_rows_of_watched_models_are_told_and_go_but_not_with_one_study(
    files: KeptFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    with files.ledger.begin() as change:
        for challenger_id, days in ((1, 10), (2, 800)):
            measures = {"same_input": 1.0}
            change.comparisons.keep(Comparison(1, challenger_id, now - days * DAY_S, measures))
    answer(capsys, "purge", "--now", "--yes")
    with files.ledger.read() as view:
        kept = view.comparisons.of_model("brain", "1", 9)
    # They are written in the order of their times: an old one after a new one waits for that.
    assert [one.challenger_job_id for one in kept] == [1, 2]
    with files.ledger.begin() as change:
        change.monitoring_keeping.remove_comparisons([one.id for one in kept[:1]])
    assert answer(capsys, "purge", "--dry-run")["rows"] == {"observations": 0, "comparisons": 1}
    assert answer(capsys, "purge", "--dry-run", "--study", "2")["rows"] == {}
    assert execute(["retention", "purge", "--now", "--yes"]) == EXIT_OK
    assert "Removed 1 comparison with challengers." in capsys.readouterr().out
    assert answer(capsys, "purge", "--dry-run")["rows"] == {"observations": 0, "comparisons": 0}
    assert answer(capsys, "show")["observations_days"] == 730
    assert execute(["retention", "show"]) == EXIT_OK
    assert "are kept for 730 days" in capsys.readouterr().out
