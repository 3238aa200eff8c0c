"""``make demo`` as a person runs it, with the node's own processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest

from deploy.demo import pacs as demo_pacs

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "deploy.demo.run"]


def run_demo(out, *arguments, environment=None):
    return subprocess.run(
        [*COMMAND, "--out", str(out), "--timeout", "240", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def modalities(folder):
    return sorted({pydicom.dcmread(path).Modality for path in folder.glob("*.dcm")})


def processes_naming(text):
    """Command lines of this machine's processes that hold the text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in line and int(entry.name) != os.getpid():
            found.append(line)
    return found


@pytest.mark.slow
@pytest.mark.acceptance
@pytest.mark.skipif(demo_pacs.orthanc_program() is None, reason="no Orthanc: install orthanc")
def test_the_head_comes_back_with_regions_and_a_report(tmp_path):
    out = tmp_path / "demo"
    ran = run_demo(out)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Orthanc" in ran.stdout
    assert modalities(out / "pacs") == ["MR", "SEG", "SR"]
    assert (out / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert "Volumes" in (out / "report.html").read_text()
    assert "run the model" in (out / "timeline.txt").read_text()
    assert processes_naming(str(out)) == []


@pytest.mark.acceptance
def test_a_study_of_one_s_own_that_no_model_takes(tmp_path, head_series):
    """A CT, and a PACS without Orthanc: the report says why nothing was analysed."""
    study = head_series(modality="CT", size=(5, 16, 16)).folder
    out = tmp_path / "demo"
    ran = run_demo(out, "--study", study, environment={"SECONDREAD_DEMO_PACS": "small"})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "small storage SCP" in ran.stdout
    assert modalities(out / "pacs") == ["CT", "SR"]
    assert not (out / "overlay.png").exists()
    assert "ot analysed" in (out / "report.html").read_text()
    assert processes_naming(str(out)) == []


@pytest.mark.acceptance
def test_stopping_it_stops_everything_it_started(tmp_path, head_series):
    out = tmp_path / "demo"
    study = head_series(size=(5, 16, 16)).folder
    demo = subprocess.Popen(
        [*COMMAND, "--out", str(out), "--study", str(study)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (out / "node" / "node.log").exists():
            assert demo.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(0.5)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) == 143
    finally:
        demo.kill()
    assert processes_naming(str(out)) == []


def test_it_never_empties_a_folder_it_did_not_make(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    ran = run_demo(tmp_path)
    assert ran.returncode == 1
    assert "holds other files" in ran.stderr
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    ran = run_demo(tmp_path / "out", "--study", tmp_path / "nothing")
    assert ran.returncode == 1
    assert "is not a folder" in ran.stderr
    assert "Traceback" not in ran.stderr
