"""A node as its operator runs it: a configuration file and ``secondread serve``."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from secondread.delivery.address import Address
from secondread.delivery.store_scu import echo
from secondread.domain.states import StudyState
from secondread.store import Ledger

MODELS = Path(__file__).resolve().parents[1] / "models"
START_S = 180.0
END_S = 240.0


@dataclass(frozen=True)
class Target:
    """A PACS that results go to."""

    ae_title: str
    host: str
    port: int


class RunningNode:
    """``secondread serve`` in processes of its own; any of them may be killed."""

    def __init__(
        self, folder: Path, port: int, target: Target, model: str | Path, quiet_s: float
    ) -> None:
        self.folder = folder
        self.port = port
        self.data_dir = folder / "data"
        self.config = folder / "secondread.toml"
        self.log = folder / "node.log"
        path = f"path = {json.dumps(str(MODELS / model))}\n" if (MODELS / model).is_dir() else ""
        name = Path(model).name
        self.config.write_text(
            f"""
[node]
data_dir = {json.dumps(str(self.data_dir))}
minimum_free_gib = 0.1
[dicom]
host = "127.0.0.1"
port = {port}
[log]
level = "debug"
[[models]]
id = "{name}"
{path}
[[peers]]
name = "scanner"
ae_title = "CT1"
addresses = ["127.0.0.1"]
quiet_s = {quiet_s}
[[destinations]]
name = "pacs"
ae_title = "{target.ae_title}"
host = "{target.host}"
port = {target.port}
[[rules]]
name = "heads"
model = "{name}"
destinations = ["pacs"]
""",
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start the node, and wait until it answers C-ECHO and its worker is there."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "secondread", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if wait:
            self.wait_for_echo()
            self.wait_until(lambda: "worker" in self.pids(), START_S, "the worker to start")

    def wait_for_echo(self) -> None:
        """Wait until the node answers."""
        address = Address("127.0.0.1", self.port, "SECONDREAD", "CT1", 5.0)
        self.wait_until(lambda: echo(address).ok, START_S, "the node to answer C-ECHO")

    def stop(self) -> None:
        """End the node as a service manager does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=40)
            self._process = None

    def kill_all(self) -> None:
        """Kill -9 of every process at once."""
        for pid in self.pids().values():
            _kill(pid)
        assert self._process is not None
        self._process.wait(timeout=20)
        self._process = None

    def pids(self) -> dict[str, int]:
        """Process ids: ``supervisor``, the roles, and ``worker``."""
        assert self._process is not None
        found = {"supervisor": self._process.pid}
        for child in _children(self._process.pid):
            arguments = _arguments(child)
            if "--role" in arguments:
                found[arguments[arguments.index("--role") + 1]] = child
                for grandchild in _children(child):
                    if "secondread.inference.worker" in _arguments(grandchild):
                        found["worker"] = grandchild
        return found

    def kill_pid(self, pid: int) -> None:
        """Kill -9 of a process that ``pids`` named."""
        _kill(pid)

    def restart(self) -> None:
        """Start again after the supervisor was killed; its roles have ended with it, or will."""
        if self._process is not None:
            self._process.wait(timeout=20)
        self.start()

    def send(self, folder: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Send a folder as a scanner would."""
        return subprocess.run(
            [
                *(sys.executable, "-m", "secondread", "send", str(folder)),
                *("--to", f"SECONDREAD@127.0.0.1:{self.port}", "--calling", "CT1"),
            ],
            check=check,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def command(self, *arguments: str) -> Any:
        """What a command of the CLI answers with ``--json``."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "secondread",
                *arguments,
                "--json",
                "--config",
                str(self.config),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return json.loads(done.stdout)

    def wait_until(self, condition: Callable[[], Any], wait_s: float, what: str) -> Any:
        """Wait for a condition; what it returned."""
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            if found := condition():
                return found
            time.sleep(0.01)
        tail = self.log.read_text(errors="replace")[-6000:] if self.log.exists() else ""
        raise AssertionError(f"Waited {wait_s:g} s in vain for {what}. The node's log:\n{tail}")

    def wait_until_ended(self, studies: int = 1, within_s: float = END_S) -> list[StudyState]:
        """Wait until this many studies have ended; their states."""

        def ended() -> list[StudyState]:
            with Ledger.open(self.data_dir).read() as view:
                states = [study.state for study in view.studies.list()]
            done = [s for s in states if s in {StudyState.DONE, StudyState.HELD}]
            return done if len(done) == studies else []

        return list(self.wait_until(ended, within_s, f"{studies} ended studies"))

    def states(self) -> set[str]:
        """All states that something is in at this moment, such as ``job:queued``."""
        path = self.data_dir / "ledger.sqlite"
        if not path.exists():
            return set()
        # Straight from the file: opening a ledger takes longer than some states last.
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
            return {
                f"{table}:{state}"
                for table in ("study", "job", "outbox")
                for (state,) in ledger.execute(f"SELECT DISTINCT state FROM {table}")
            }


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _children(pid: int) -> list[int]:
    try:
        lists = [
            (task / "children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()
        ]
    except OSError:
        return []
    return [int(child) for children in lists for child in children]


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


@pytest.fixture
def start_node(
    tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[Callable[..., RunningNode]]:
    """``start_node(target, model="bright_head", quiet_s=0.6)`` is a running node.

    A model is one of ``tests/models``, or the folder of a package, named like its id.
    """
    nodes: list[RunningNode] = []

    def start(
        target: Any, model: str | Path = "bright_head", quiet_s: float = 0.6, *, wait: bool = True
    ) -> RunningNode:
        folder = tmp_path / f"node{len(nodes)}"
        folder.mkdir()
        place = Target(target.ae_title, target.host, target.port)
        node = RunningNode(folder, free_port(), place, model, quiet_s)
        nodes.append(node)
        node.start(wait=wait)
        return node

    yield start
    for node in nodes:
        node.stop()
