"""The local engine: one spawned worker process for each slot."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import structlog

from secondread.domain.engine import Failed, Finished, Lost, Outcome, Slot, Task, Ticket
from secondread.errors import DeadlineExceededError, ModelError
from secondread.inference.worker.messages import Answer, Assignment

log = structlog.stdlib.get_logger(__name__)

_WAITING_MAX = 64 * 1024**2


@dataclass(slots=True)
class _Running:
    task: Task
    until: float


class _Worker:
    """One worker process and the pipe to it."""

    def __init__(self, name: str, device: str, threads: int) -> None:
        self.name = name
        self.device = device
        self.warm_model = ""
        self.running: _Running | None = None
        self._received = b""
        # Nothing of the node's own environment reaches a model.
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-m", "secondread.inference.worker", device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            close_fds=True,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        threading.Thread(target=self._log_errors, daemon=True).start()

    def fileno(self) -> int:
        """The pipe that answers come from."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, assignment: Assignment) -> None:
        """Give the worker something to do; a worker that is gone is noticed by ``receive``."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(asdict(assignment)).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            log.warning("worker does not listen", slot=self.name)

    def receive(self) -> list[Answer] | None:
        """The answers that have come, or None when the worker is gone."""
        while True:
            try:
                chunk = os.read(self.fileno(), 1 << 16)
            except BlockingIOError:
                break
            if not chunk:
                return None
            self._received += chunk
            if len(self._received) > _WAITING_MAX:
                return None
        *lines, self._received = self._received.split(b"\n")
        try:
            return [Answer(**json.loads(line)) for line in lines]
        except (ValueError, TypeError):
            log.warning("worker answered nonsense", slot=self.name)
            return None

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def _log_errors(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                text = line.decode("utf-8", "replace").strip()[:500]
                log.warning("worker says", slot=self.name, text=text)


class LocalEngine:
    """Runs tasks in spawned processes on this machine (the ``Engine`` protocol)."""

    def __init__(self, slots: int, device: str, threads_per_slot: int = 0) -> None:
        threads = threads_per_slot or max(1, (os.cpu_count() or 1) // slots)
        self._device = device
        self._threads = threads
        self._workers = [_Worker(f"{device}-{n}", device, threads) for n in range(slots)]

    def slots(self) -> Sequence[Slot]:
        """All slots, busy or free."""
        return tuple(
            Slot(worker.name, worker.device, worker.warm_model, worker.running is not None)
            for worker in self._workers
        )

    def warm(self, model_id: str, model_folder: str, model_digest: str) -> None:
        """Let every free worker load a model, so that the first study does not wait for it."""
        for worker in self._workers:
            if worker.running is None:
                worker.warm_model = model_id
                worker.send(Assignment("", 0, model_folder, model_digest, "", "", []))

    def submit(self, task: Task) -> Ticket:
        """Start a task in a free slot, preferably where its model is loaded.

        Raises:
            ModelError: no slot is free.
        """
        free = [worker for worker in self._workers if worker.running is None]
        if not free:
            raise ModelError("Every slot of the engine is busy.")
        free.sort(key=lambda worker: worker.warm_model != task.model_id)
        worker = free[0]
        worker.running = _Running(task, time.monotonic() + task.deadline_s)
        worker.warm_model = task.model_id
        worker.send(
            Assignment(
                job_key=task.job_key,
                attempt=task.attempt,
                model_folder=task.model_folder,
                model_digest=task.model_digest,
                volume_path=task.volume_path,
                labels_path=task.labels_path,
                affine_lps=[list(row) for row in task.affine_lps],
            )
        )
        return Ticket(task.job_key, task.attempt)

    def collect(self, wait_s: float) -> Sequence[Outcome]:
        """What ended since the last call; waits up to ``wait_s`` for the first."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker, selectors.EVENT_READ, worker)
            now = time.monotonic()
            deadlines = [w.running.until - now for w in self._workers if w.running is not None]
            ready = selector.select(max(0.0, min([wait_s, *deadlines])))
        outcomes: list[Outcome] = []
        for key, _ in ready:
            outcomes.extend(self._read(key.data))
        outcomes.extend(self._overdue())
        return outcomes

    def cancel(self, ticket: Ticket) -> None:
        """Stop a task; its outcome is not reported."""
        for worker in self._workers:
            running = worker.running
            if running and Ticket(running.task.job_key, running.task.attempt) == ticket:
                self._replace(worker)

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.kill()

    def _read(self, worker: _Worker) -> list[Outcome]:
        answers = worker.receive()
        if answers is None:
            return self._lost(worker)
        outcomes = (self._outcome(worker, answer) for answer in answers)
        return [outcome for outcome in outcomes if outcome is not None]

    def _outcome(self, worker: _Worker, answer: Answer) -> Outcome | None:
        running = worker.running
        if running is None or not answer.job_key:
            if answer.error:
                log.warning("a model could not be loaded", slot=worker.name, reason=answer.error)
            return None
        ticket = Ticket(running.task.job_key, running.task.attempt)
        if ticket != Ticket(answer.job_key, answer.attempt):
            return None
        worker.running = None
        if answer.error:
            return Failed(ticket, answer.error, answer.audit_code)
        checks = tuple((n, v, low, high, ok) for n, v, low, high, ok in answer.checks)
        return Finished(ticket, answer.refusal, checks, answer.seconds)

    def _lost(self, worker: _Worker) -> list[Outcome]:
        running = worker.running
        code = self._replace(worker)
        log.warning("worker lost", slot=worker.name, exit_status=code)
        if running is None:
            return []
        ticket = Ticket(running.task.job_key, running.task.attempt)
        return [Lost(ticket, f"The worker process ended with status {code}.")]

    def _overdue(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for worker in list(self._workers):
            running = worker.running
            if running is None or time.monotonic() < running.until:
                continue
            self._replace(worker)
            reason = (
                f"The model did not answer within its deadline of {running.task.deadline_s:g} s "
                "and was stopped."
            )
            ticket = Ticket(running.task.job_key, running.task.attempt)
            outcomes.append(Failed(ticket, reason, DeadlineExceededError.audit_code))
        return outcomes

    def _replace(self, worker: _Worker) -> int:
        worker.kill()
        place = self._workers.index(worker)
        self._workers[place] = _Worker(worker.name, self._device, self._threads)
        return int(worker.process.returncode)
