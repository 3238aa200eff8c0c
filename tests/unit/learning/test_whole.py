"""Files are there whole or not at all: a reader of the old one, a failure, a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from secondread.cli.main import execute
from secondread.errors import EXIT_OK
from secondread.learning.predictions import write
from secondread.learning.whole import whole, write_whole
from tests.learning_runs import write_pictured_run

INTERRUPTED = """
import sys, time
from pathlib import Path
from secondread.learning.whole import whole
with whole(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("begun", flush=True)
    time.sleep(600)
"""


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    for content in ("ä\n", b"\x00\x01"):
        write_whole(path, content)
        assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert list(tmp_path.iterdir()) == [path]


def test_where_writing_fails_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "found.nii.gz"
    path.write_text("old")

    def fail() -> None:
        with whole(path) as partial:
            assert partial.parent == path.parent
            assert partial.name.endswith(".nii.gz")
            partial.write_text("new, but not")
            raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")
    line = [sys.executable, "-c", INTERRUPTED, str(path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "begun\n"
        killed.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new"


def test_an_evaluation_changes_no_file_that_somebody_reads(tmp_path: Path) -> None:
    pytest.importorskip("nibabel", reason="the extra train is not installed")
    run, data = tmp_path / "run", tmp_path / "data"
    write(run, write_pictured_run(run, data))
    names = ("predictions.json", "figures.json", "report.html", "pictures/worst_1.png")
    line = ["evaluate", str(run), "--data", str(data), "--draws"]
    assert execute([*line, "100"]) == EXIT_OK
    there = sorted(run.rglob("*"))
    before = {name: (run / name).read_bytes() for name in names}
    readers = {name: (run / name).open("rb") for name in names}
    write(run, write_pictured_run(run, data))
    assert execute([*line, "150"]) == EXIT_OK
    for name, reader in readers.items():
        with reader:
            assert not os.path.samestat(os.fstat(reader.fileno()), (run / name).stat()), name
            assert reader.read() == before[name]
    assert sorted(run.rglob("*")) == there
