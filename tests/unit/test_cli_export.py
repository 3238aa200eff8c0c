"""``secondread export`` and ``secondread crosswalk`` on a real ledger and spool."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from secondread.cli.export_progress import Lines
from secondread.cli.main import execute
from secondread.errors import (
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    EXIT_IO,
    EXIT_NO_INPUT,
    EXIT_NO_PERMISSION,
    EXIT_OK,
    EXIT_USAGE,
)
from secondread.store import Ledger
from tests.kept_studies import keep, keep_datasets
from tests.planted.objects import KINDS, Planter
from tests.planted.scanner import MARK, Scanner
from tests.slices import make_series

CONFIGURATION = """
[node]
data_dir = "data"
[deid]
key_file = "crosswalk.key"
[[exports]]
name = "trial7"
options = ["modified-dates", "retain-patient"]
project = "seven"
"""
CHEST = {
    "BodyPartExamined": "CHEST",
    "PatientName": f"{MARK}^Erika",
    "PatientID": f"{MARK}000001",
    "IssuerOfPatientID": "Clinic",
    "PatientBirthDate": "19700412",
    "StudyDate": "20240301",
    "StudyDescription": "MR chest of Erika",
    "PatientAge": "054Y",
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger of a node with a key, in the working folder."""
    (tmp_path / "secondread.toml").write_text(CONFIGURATION)
    monkeypatch.delenv("SECONDREAD_CONFIG", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert execute(["crosswalk", "key"]) == EXIT_OK
    found = Ledger.open(tmp_path / "data")
    yield found
    found.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("export", …)`` is the exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = execute(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def study_of(ledger: Ledger, tmp_path: Path, number: int = 1, count: int = 3, **more: Any) -> int:
    """A study of slices of a chest, all UIDs of its own."""
    datasets = make_series(count, **{**CHEST, **more})
    for at, dataset in enumerate(datasets):
        dataset.StudyInstanceUID = f"1.2.826.0.1.{number}"
        dataset.SeriesInstanceUID = f"1.2.826.0.1.{number}.{1 + at % 2}"
        dataset.SOPInstanceUID = f"1.2.826.0.1.{number}.9.{at}"
    return keep_datasets(ledger, tmp_path / "data", datasets, tmp_path / f"source{number}")


def exported(folder: Path) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


def events(ledger: Ledger, event: str) -> list[Any]:
    with ledger.read() as view:
        return list(view.trail.of_event(event))


def export(run: Run, study: int, to: str, *more: str, project: str = "trial") -> None:
    code, _, error = run("export", str(study), "--to", to, "--project", project, *more)
    assert code == EXIT_OK, error


def test_a_study_goes_out_and_every_name_finds_back(
    ledger: Ledger, tmp_path: Path, run: Run
) -> None:
    study = study_of(ledger, tmp_path)
    code, out, err = run("export", str(study), "--to", "out/a", "--project", "trial")
    assert (code, err) == (EXIT_OK, "")
    assert "Exported 3 objects of 1 patient" in out
    assert "The project 'trial' began" in out
    found = exported(tmp_path / "out/a")
    assert len(found) == 3
    for dataset in found:
        for kind, value in (
            ("instance", dataset.SOPInstanceUID),
            ("series", dataset.SeriesInstanceUID),
            ("study", dataset.StudyInstanceUID),
        ):
            code, out, _ = run("crosswalk", "find", str(value), "--reason", "test", "--json")
            (original,) = json.loads(out)["found"]
            assert (code, original["kind"]) == (EXIT_OK, kind)
            assert original["project"] == "trial"
            assert original["study"] == "1.2.826.0.1.1"
            number = dataset.InstanceNumber - 1
            wanted = {
                "instance": f"1.2.826.0.1.1.9.{number}",
                "series": f"1.2.826.0.1.1.{1 + number % 2}",
                "study": "1.2.826.0.1.1",
            }
            assert original[kind] == wanted[kind]
    code, out, _ = run("crosswalk", "find", found[0].PatientID, "--reason", "test")
    assert code == EXIT_OK
    assert f"Patient ID: {MARK}000001\nIssuer of Patient ID: Clinic\n" in out
    assert not list((tmp_path / "out").glob("*.partial"))
    assert (tmp_path / "out/a").stat().st_mode & 0o777 == 0o700


def test_no_token_is_in_what_goes_out_in_the_ledger_or_on_the_screen(
    ledger: Ledger, tmp_path: Path, run: Run
) -> None:
    source = tmp_path / "planted"
    source.mkdir()
    planters = [Planter(kind, tokens=100_000 * at) for at, kind in enumerate(KINDS)]
    study = keep(ledger, tmp_path / "data", [each.write(source) for each in planters])
    code, out, err = run("export", str(study), "--to", "out", "--project", "trial")
    assert code == EXIT_OK, err
    assert len(exported(tmp_path / "out")) == len(KINDS)
    scanner = Scanner()
    assert scanner.scan_folder(tmp_path / "out") == {}
    assert scanner.scan((out + err).encode()) == []
    # UIDs are in the ledger's own tables of studies and objects, as they must be.
    for path in (tmp_path / "data").glob("ledger.sqlite*"):
        assert MARK.encode() not in path.read_bytes()
    for row in [*events(ledger, "export"), *events(ledger, "crosswalk")]:
        assert scanner.scan(f"{row.text} {dict(row.detail)}".encode()) == []


def test_manifest_and_summary_say_what_was_done(ledger: Ledger, tmp_path: Path, run: Run) -> None:
    study = study_of(ledger, tmp_path)
    export(run, study, "out", "--option", "retain-patient", "--option", "modified-dates")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["profile"]["name"] == "basic with retain-patient, modified-dates"
    done = {entry["keyword"]: entry["done"] for entry in manifest["attributes"]}
    assert done["PatientName"] == "pseudonym"
    assert done["StudyDate"] == "date moved"
    summary = (tmp_path / "out/summary.txt").read_text()
    assert "3 objects of 1 patient, by the profile 'basic with retain-patient" in summary
    assert "moved by the same number of days" in summary
    assert "113108  Retain Patient Characteristics Option" in summary
    assert MARK not in summary
    (dataset, *_) = exported(tmp_path / "out")
    assert dataset.PatientAge == "054Y"


def test_the_trail_says_who_exported_what_and_why(ledger: Ledger, tmp_path: Path, run: Run) -> None:
    study = study_of(ledger, tmp_path)
    export(run, study, "a")
    export(run, study, "b", "--reason", "contract 12")
    first, second = events(ledger, "export")
    assert first.study_id == study
    assert first.detail["reason"] == "for the project 'trial'"
    assert second.detail["reason"] == "contract 12"
    assert first.detail["by"]
    assert first.text.startswith(f"{first.detail['by']} exported 3 objects")
    assert (first.detail["objects"], first.detail["patients"]) == (3, 1)
    assert first.detail["methods"] == ["113100"]


def test_exports_of_a_patient_link_within_a_project_and_not_across(
    ledger: Ledger, tmp_path: Path, run: Run
) -> None:
    first, second = study_of(ledger, tmp_path), study_of(ledger, tmp_path, 2)
    export(run, first, "a")
    export(run, second, "b")
    export(run, first, "c", project="another")
    export(run, first, "d")
    a, b, c, d = (exported(tmp_path / name) for name in "abcd")
    assert {each.PatientID for each in a} == {each.PatientID for each in b}
    assert {each.StudyInstanceUID for each in a}.isdisjoint(each.StudyInstanceUID for each in b)
    assert [each.SOPInstanceUID for each in a] == [each.SOPInstanceUID for each in d]
    names = [
        {each.PatientID for each in some}
        | {uid for each in some for uid in (each.SOPInstanceUID, each.SeriesInstanceUID)}
        | {each.StudyInstanceUID for each in some}
        | {each.FrameOfReferenceUID for each in some}
        for some in (a, c)
    ]
    assert names[0].isdisjoint(names[1])


def test_a_rotated_key_changes_no_pseudonym(ledger: Ledger, tmp_path: Path, run: Run) -> None:
    study = study_of(ledger, tmp_path)
    export(run, study, "a")
    code, out, _ = run("crosswalk", "rotate", "--reason", "yearly", "--json")
    assert code == EXIT_OK
    assert json.loads(out)["pairs"] == 7
    export(run, study, "b")
    assert [each.SOPInstanceUID for each in exported(tmp_path / "a")] == [
        each.SOPInstanceUID for each in exported(tmp_path / "b")
    ]
    lines = (tmp_path / "crosswalk.key").read_text().splitlines()
    (tmp_path / "crosswalk.key").write_text("\n".join(lines[:-1]) + "\n")
    code, out, _ = run("crosswalk", "status", "--json")
    assert (code, json.loads(out)["ok"]) == (EXIT_OK, True)


@pytest.mark.parametrize(
    ("change", "sentence", "flag", "override"),
    [
        ({"BodyPartExamined": "HEAD"}, "it shows a head", "--allow-heads", "faces"),
        (
            {"BurnedInAnnotation": "YES"},
            "identifying text is burned into its pixels",
            "--allow-burned-in",
            "burned_in",
        ),
    ],
)
def test_what_may_show_who_it_is_stays_unless_somebody_answers_for_it(
    ledger: Ledger,
    tmp_path: Path,
    run: Run,
    change: dict[str, str],
    sentence: str,
    flag: str,
    override: str,
) -> None:
    study = study_of(ledger, tmp_path, **change)
    arguments = ("export", str(study), "--to", "out", "--project", "trial")
    code, out, err = run(*arguments, "--json")
    assert code == EXIT_NO_PERMISSION
    assert json.loads(out)["error"]["code"] == "export-refused"
    assert sentence in err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.partial"))
    (refused,) = events(ledger, "export-refused")
    assert refused.study_id == study
    assert sentence in refused.text
    assert events(ledger, "export") == []
    code, out, _ = run(*arguments, flag, "phantom, no person")
    assert code == EXIT_OK
    assert "3 objects" in out
    assert "went out because: phantom, no person" in out
    entry = {"reason": "phantom, no person", "objects": 3}
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["overrides"] == {override: entry}
    (allowed,) = events(ledger, "export")
    assert allowed.detail["overrides"] == {override: entry}
    assert "although they may show who it is" in allowed.text
    assert "phantom, no person" in (tmp_path / "out/summary.txt").read_text()


def test_only_the_series_that_are_asked_for(ledger: Ledger, tmp_path: Path, run: Run) -> None:
    study = study_of(ledger, tmp_path)
    export(run, study, "out", "--series", "1.2.826.0.1.1.2")
    assert len(exported(tmp_path / "out")) == 1
    code, _, err = run(
        *("export", str(study), "--to", "b", "--project", "x", "--series", "1.2.826.0.1.1.7")
    )
    assert code == EXIT_NO_INPUT
    assert "has no series with the UID" in err


class TestProfiles:
    def test_a_named_one_brings_its_project(self, ledger, tmp_path, run) -> None:
        study = study_of(ledger, tmp_path)
        code, out, _ = run("export", str(study), "--to", "a", "--profile", "trial7", "--json")
        told = json.loads(out)
        assert code == EXIT_OK
        assert (told["profile"], told["project"]) == ("trial7", "seven")
        assert told["methods"][1:] == [
            "113107 Retain Longitudinal Temporal Information Modified Dates Option",
            "113108 Retain Patient Characteristics Option",
        ]

    def test_what_cannot_be_is_said(self, ledger, tmp_path, run) -> None:
        study = str(study_of(ledger, tmp_path))
        for arguments, code, sentence in (
            (["--profile", "trial"], EXIT_NO_INPUT, "did you mean 'trial7'?"),
            ([], EXIT_USAGE, "Say for which project this is"),
            (["--project", "a/b"], EXIT_USAGE, "cannot be the name of a project"),
            (["--option", "drop-times"], EXIT_USAGE, "drop-times without modified-dates"),
            (
                ["--profile", "trial7", "--option", "full-dates"],
                EXIT_USAGE,
                "both full-dates and modified-dates",
            ),
        ):
            found, _, err = run("export", study, "--to", "out", *arguments)
            assert (found, sentence in err) == (code, True), err
        assert not (tmp_path / "out").exists()


class TestFolder:
    def test_one_that_is_there_is_left_alone(self, ledger, tmp_path, run) -> None:
        study = study_of(ledger, tmp_path)
        (tmp_path / "out").mkdir()
        code, _, err = run("export", str(study), "--to", "out", "--project", "trial")
        assert code == EXIT_USAGE
        assert "is there already" in err

    def test_the_nodes_own_is_refused(self, ledger, tmp_path, run) -> None:
        study = study_of(ledger, tmp_path)
        code, _, err = run("export", str(study), "--to", "data/out", "--project", "trial")
        # A relative data_dir counts from the configuration file.
        assert code == EXIT_USAGE
        assert "the node's own folder" in err

    def test_what_a_killed_export_left_goes(self, ledger, tmp_path, run) -> None:
        study = study_of(ledger, tmp_path)
        (tmp_path / "out.partial/.files.partial/SRX").mkdir(parents=True)
        (tmp_path / "out.partial/.files.partial/SRX/x.dcm").write_bytes(b"half")
        export(run, study, "out")
        assert len(exported(tmp_path / "out")) == 3
        assert not (tmp_path / "out.partial").exists()

    def test_what_somebody_else_left_does_not(self, ledger, tmp_path, run) -> None:
        study = study_of(ledger, tmp_path)
        (tmp_path / "out.partial").mkdir()
        (tmp_path / "out.partial/thesis.txt").write_text("mine")
        code, _, err = run("export", str(study), "--to", "out", "--project", "trial")
        assert code == EXIT_USAGE
        assert "that no export has written" in err
        assert (tmp_path / "out.partial/thesis.txt").read_text() == "mine"

    def test_two_do_not_write_the_same(self, ledger, tmp_path, run) -> None:
        study = study_of(ledger, tmp_path)
        (tmp_path / "out.partial").mkdir()
        descriptor = os.open(tmp_path / "out.partial", os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            code, _, err = run("export", str(study), "--to", "out", "--project", "trial")
        finally:
            os.close(descriptor)
        assert code == EXIT_USAGE
        assert "Another export is writing" in err

    def test_too_little_space_is_said_before_anything_is_written(
        self, ledger, tmp_path, run, monkeypatch
    ) -> None:
        study = study_of(ledger, tmp_path)
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(1, 1, 1024**2))
        code, _, err = run("export", str(study), "--to", "new/out", "--project", "trial")
        assert code == EXIT_IO
        assert "needs about 64 MiB, and 1 MiB are free" in err
        assert not (tmp_path / "new").exists()

    def test_an_object_that_is_gone_is_said(self, ledger, tmp_path, run) -> None:
        study = study_of(ledger, tmp_path)
        next((tmp_path / "data/spool/objects").glob("*/*.dcm")).unlink()
        code, _, err = run("export", str(study), "--to", "out", "--project", "trial")
        assert code == EXIT_NO_INPUT
        assert "1 of the 3 objects" in err


class TestKey:
    def test_a_lost_one_stops_every_command_and_makes_nothing_new(
        self, ledger, tmp_path, run
    ) -> None:
        study = study_of(ledger, tmp_path)
        export(run, study, "a")
        key = tmp_path / "crosswalk.key"
        key.rename(tmp_path / "away")
        for command in (
            ["export", str(study), "--to", "b", "--project", "trial"],
            ["crosswalk", "find", "SRX", "--reason", "x"],
            ["crosswalk", "rotate", "--reason", "x"],
            ["crosswalk", "key"],
        ):
            code, out, err = run(*command, "--json")
            assert code == EXIT_CONFIGURATION, command
            assert json.loads(out)["error"]["code"] == "crosswalk-key"
            assert "backup" in err
        code, out, _ = run("crosswalk", "status", "--json")
        assert (code, json.loads(out)["ok"]) == (EXIT_FAILED, False)
        assert not key.exists()
        assert not (tmp_path / "b").exists()
        (tmp_path / "away").rename(key)
        export(run, study, "b")

    def test_one_that_is_lost_for_good_is_given_up_on_the_record(
        self, ledger, tmp_path, run
    ) -> None:
        study = study_of(ledger, tmp_path)
        export(run, study, "a")
        (tmp_path / "crosswalk.key").unlink()
        code, out, _ = run("crosswalk", "discard", "--reason", "disk died", "--yes", "--json")
        assert (code, json.loads(out)["pairs"]) == (EXIT_OK, 7)
        assert events(ledger, "crosswalk")[-1].detail["reason"] == "disk died"
        assert run("crosswalk", "key")[0] == EXIT_OK
        export(run, study, "b")
        assert {each.PatientID for each in exported(tmp_path / "a")}.isdisjoint(
            each.PatientID for each in exported(tmp_path / "b")
        )

    def test_one_for_a_credential_is_printed(self, ledger, tmp_path, run, monkeypatch) -> None:
        code, out, _ = run("crosswalk", "key", "--print")
        assert code == EXIT_OK
        (tmp_path / "given").mkdir()
        (tmp_path / "given/secondread-crosswalk").write_text(out)
        (tmp_path / "given/secondread-crosswalk").chmod(0o400)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "given"))
        study = study_of(ledger, tmp_path)
        export(run, study, "a")
        _, out, _ = run("crosswalk", "status", "--json")
        assert [key["id"] for key in json.loads(out)["keys"]] == [
            (tmp_path / "given/secondread-crosswalk").read_text().split()[0]
        ]

    def test_there_is_one_already(self, ledger, tmp_path, run) -> None:
        code, _, err = run("crosswalk", "key")
        assert code == EXIT_USAGE
        assert "is there already" in err


def test_status_tells_projects_and_keys(ledger: Ledger, tmp_path: Path, run: Run) -> None:
    code, out, _ = run("crosswalk", "status")
    assert code == EXIT_OK
    assert "there is no crosswalk" in out
    export(run, study_of(ledger, tmp_path), "a")
    code, out, _ = run("crosswalk", "status")
    assert code == EXIT_OK
    assert re.search(r"^trial\s+1\s+1\s+2\s+3\s", out, re.M)
    assert "The key opens it." in out


def test_an_unknown_pseudonym_is_1_and_on_the_record(
    ledger: Ledger, tmp_path: Path, run: Run
) -> None:
    code, out, err = run("crosswalk", "find", "SRX", "--reason", "x")
    assert (code, out) == (EXIT_FAILED, "")
    assert "has no such pseudonym" in err
    assert len(events(ledger, "crosswalk")) == 1


def test_nothing_is_told_where_it_cannot_be_written_down(
    ledger: Ledger, tmp_path: Path, run: Run
) -> None:
    export(run, study_of(ledger, tmp_path), "a")
    pseudonym = exported(tmp_path / "a")[0].PatientID
    ledger._engine.dispose()
    with ledger._engine.connect() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON trail BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        connection.commit()
    code, out, err = run("crosswalk", "find", pseudonym, "--reason", "x")
    assert (code, out) == (EXIT_IO, "")
    assert MARK not in err


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 1.0, 5.0, 11.0, 12.0])
    lines = Lines(lambda: next(now))
    for done in (1, 40, 100, 110):
        lines.report("Exporting", done, 200)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "Exporting: 100 of 200, 10.0 a second, 10 s left\n"
