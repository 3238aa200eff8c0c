"""Contained workers as tests see them: every way to contain one, and what is left of one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from secondread.inference.containment.survey import Containment, survey
from secondread.inference.engines.local import LocalEngine

WAYS = ("bubblewrap", "landlock")
"""With the program, and without it as on a system that lacks it."""


def contained_by(way: str) -> Containment:
    """One way to contain a worker; skips where this system lacks it."""
    found = survey(allow_bubblewrap=way == "bubblewrap")
    if way == "bubblewrap" and found.bubblewrap is None:
        pytest.skip(f"no working bwrap: install the package bubblewrap {found.obstacle}")
    if way == "landlock" and not {"landlock", "seccomp"} <= set(found.measures):
        pytest.skip("this kernel has no Landlock or no seccomp filters")
    return found


def family(pid: int) -> list[int]:
    """A process and all that descend from it, the youngest last."""
    found = [pid]
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, path.read_text().split())
    return found


def worker_pid(engine: LocalEngine) -> int:
    """The process that runs the model in the only slot, once it is there."""
    worker = engine._places[0].worker
    assert worker is not None
    until = time.monotonic() + 30
    while time.monotonic() < until:
        youngest = family(worker.process.pid)[-1]
        command = Path(f"/proc/{youngest}/cmdline").read_bytes().split(b"\0")
        if command[0].rpartition(b"/")[2].startswith(b"python"):
            return youngest
        time.sleep(0.02)
    raise AssertionError("The worker did not start.")


def gone(pids: list[int], wait_s: float = 10.0) -> bool:
    """Whether these processes end in a while; a process that nobody has asked after has ended."""
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if not any(_lives(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}
