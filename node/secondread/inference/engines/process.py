"""One contained worker process, and the socket to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from typing import IO

import structlog

from secondread.domain.engine import Ticket
from secondread.errors import InvalidPredictionError, ModelError
from secondread.inference.answer import check_answer
from secondread.inference.containment.launch import Launch, environment
from secondread.inference.containment.survey import Containment
from secondread.inference.worker.messages import (
    MESSAGE_BYTES_MAX,
    Answer,
    Assignment,
    decode,
    send,
)

log = structlog.stdlib.get_logger(__name__)

_PACKETS_MAX = 16
"""More than this at a time is a flood."""
_CHUNK = 64 * 1024
_LINE_MAX = 500
_LINES_MAX = 100
"""What a worker may say per assignment before the rest is dropped."""
_ENDING_S = 2.0
_EMPTY_S = 5.0
_BY_SIGNAL = 128


class Fault(StrEnum):
    """What is wrong with a worker."""

    GONE = "gone"
    """It ended, or let go of its socket."""
    NONSENSE = "nonsense"
    """It said what is no answer."""
    UNASKED = "unasked"
    """It answered what it was not asked, or twice."""


class Worker:
    """A process that runs one model, and nothing else, until it is killed.

    It ends with the thread that starts it, so let that be one that lasts as long as the engine.

    Raises:
        ModelError: the process cannot be started.
    """

    def __init__(self, name: str, launch: Launch, containment: Containment) -> None:
        self._name = name
        self._asked: deque[Ticket] = deque()
        self._said = 0
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        with theirs:
            try:
                self.process = subprocess.Popen(
                    containment.command(launch),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=environment(launch.threads),
                    cwd="/",
                    close_fds=True,
                    start_new_session=True,
                )
            except OSError as error:
                self._channel.close()
                raise ModelError(f"No worker could be started: {error.strerror}.") from None
        assert self.process.stderr is not None
        said = self.process.stderr
        threading.Thread(target=self._log_errors, args=(said,), daemon=True).start()

    def fileno(self) -> int:
        """The socket that answers come from."""
        return self._channel.fileno()

    def send(self, assignment: Assignment, files: Sequence[int] = ()) -> None:
        """Give the worker something to do; a worker that is gone is noticed by ``receive``."""
        self._asked.append(Ticket(assignment.job_key, assignment.attempt))
        self._said = 0
        try:
            send(self._channel, assignment, files)
        except OSError:
            log.warning("worker does not listen", slot=self._name)

    def receive(self) -> tuple[list[Answer], Fault | None]:
        """The sound answers that have come, and what is wrong with the worker."""
        answers: list[Answer] = []
        for _ in range(_PACKETS_MAX):
            try:
                packet, _, flags, _ = self._channel.recvmsg(MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return answers, None
            except OSError:
                return answers, Fault.GONE
            if not packet:
                return answers, Fault.GONE
            if flags & socket.MSG_TRUNC:
                return answers, Fault.NONSENSE
            try:
                answer = decode(packet, Answer)
                check_answer(answer)
            except (ValueError, TypeError, RecursionError, InvalidPredictionError):
                return answers, Fault.NONSENSE
            if not self._asked or self._asked[0] != Ticket(answer.job_key, answer.attempt):
                return answers, Fault.UNASKED
            self._asked.popleft()
            answers.append(answer)
        return answers, Fault.UNASKED

    def end(self, wait_s: float = 0.0) -> int:
        """End the process and everything that it has started; gives its exit status.

        Args:
            wait_s: how long it may take to end by itself, which is how its own status is learnt.
        """
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(wait_s)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        status = int(self.process.wait())
        self._wait_until_empty()
        self._channel.close()
        # bubblewrap tells of a signal as a shell does.
        return _BY_SIGNAL - status if status > _BY_SIGNAL else status

    def end_after_loss(self) -> int:
        """``end`` for a worker that seems to have ended already."""
        return self.end(_ENDING_S)

    def _wait_until_empty(self) -> None:
        """Whoever holds the other end of the socket is of this worker; wait until nobody does."""
        self._channel.settimeout(_EMPTY_S)
        try:
            while self._channel.recv(MESSAGE_BYTES_MAX):
                continue
        except TimeoutError:
            log.error("a process of a worker is still there", slot=self._name)
        except OSError:
            return

    def _log_errors(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := os.read(stream.fileno(), _CHUNK):
                if self._said > _LINES_MAX:
                    continue
                lines = filter(None, (line.strip() for line in chunk.splitlines()))
                for line in lines:
                    self._said += 1
                    if self._said > _LINES_MAX:
                        log.warning("worker says too much, the rest is dropped", slot=self._name)
                        break
                    text = line[:_LINE_MAX].decode("utf-8", "replace")
                    log.warning("worker says", slot=self._name, text=text)
