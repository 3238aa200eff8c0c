"""The supervisor: starts the roles as processes, restarts one that dies, ends them together."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from secondread.errors import EXIT_CONFIGURATION, EXIT_DATA, EXIT_NO_PERMISSION, EXIT_OK

log = structlog.stdlib.get_logger(__name__)

ROLES = ("intake", "pipeline", "deliver")
_POLL_S = 0.1
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
_GRACE_S = 20.0
# Starting again would not help: a person has to change something.
_FINAL = frozenset({EXIT_CONFIGURATION, EXIT_DATA, EXIT_NO_PERMISSION})


@dataclass(slots=True)
class _Child:
    role: str
    process: subprocess.Popen[bytes]
    started: float
    pause_s: float = _FIRST_PAUSE_S
    restart_at: float | None = None


class Supervisor:
    """Runs every role in a process of its own.

    Each child holds the reading end of a pipe on its standard input and ends when that closes, so
    that killing the supervisor ends the whole node.
    """

    def __init__(self, configuration: Path, roles: Sequence[str] = ROLES) -> None:
        self._configuration = configuration
        self._roles = roles
        self._children: list[_Child] = []

    def run(self, stop: threading.Event) -> int:
        """Supervise until ``stop`` is set; returns the exit code."""
        self._children = [_Child(role, self._start(role), time.monotonic()) for role in self._roles]
        code = EXIT_OK
        try:
            while not stop.wait(_POLL_S):
                for child in self._children:
                    final = self._look_after(child)
                    if final is not None:
                        return final
        finally:
            self._end_all()
        return code

    def _look_after(self, child: _Child) -> int | None:
        """Notice a death, and start again after a pause; an exit code where that is useless."""
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                child.process = self._start(child.role)
                child.started, child.restart_at = now, None
            return None
        code = child.process.poll()
        if code is None:
            return None
        if code in _FINAL:
            log.error("role cannot run", of_role=child.role, exit_status=code)
            return code
        if now - child.started > _STEADY_S:
            child.pause_s = _FIRST_PAUSE_S
        log.error("role died", of_role=child.role, exit_status=code, restart_in_s=child.pause_s)
        child.restart_at = now + child.pause_s
        child.pause_s = min(child.pause_s * 2, _LONGEST_PAUSE_S)
        return None

    def _start(self, role: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "secondread",
                "serve",
                "--role",
                role,
                "--supervised",
                "--config",
                str(self._configuration),
            ],
            stdin=subprocess.PIPE,
        )
        log.info("role started", of_role=role, pid=process.pid)
        return process

    def _end_all(self) -> None:
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        until = time.monotonic() + _GRACE_S
        for child in self._children:
            try:
                child.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("role does not stop", of_role=child.role)
                child.process.kill()
                child.process.wait()
            if child.process.stdin is not None:
                child.process.stdin.close()
