"""The local engine: one contained worker process for each slot."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from secondread.bundles.package import faults_of, read_package
from secondread.domain.engine import (
    Failed,
    Finished,
    Lost,
    Outcome,
    Slot,
    Task,
    Ticket,
    Upstream,
)
from secondread.errors import (
    DeadlineExceededError,
    ForbiddenActError,
    InvalidPredictionError,
    ModelError,
)
from secondread.inference.containment.launch import Launch
from secondread.inference.containment.limits import limits_of
from secondread.inference.containment.survey import Containment, survey
from secondread.inference.engines.exchange import Exchange, open_exchange
from secondread.inference.engines.keeping import keep_answer
from secondread.inference.engines.process import Fault, Worker
from secondread.inference.worker.messages import Answer, Assignment

log = structlog.stdlib.get_logger(__name__)

WORKER = ("-m", "secondread.inference.worker")
"""The program that runs models; tests put one in its place that means harm."""

_FAULTS = {
    Fault.NONSENSE: "The model answered what is no answer.",
    Fault.UNASKED: "The model answered for a job that it was not given, or more than once.",
}


@dataclass(frozen=True, slots=True)
class _Running:
    task: Task
    exchange: Exchange
    started: float

    @property
    def ticket(self) -> Ticket:
        return Ticket(self.task.job_key, self.task.attempt)

    @property
    def until(self) -> float:
        return self.started + self.task.deadline_s


@dataclass(frozen=True, slots=True)
class _Model:
    id: str
    folder: str
    digest: str
    upstream: tuple[Upstream, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """All that its worker may read."""
        return (self.folder, *(one.folder for one in self.upstream))

    @property
    def rows(self) -> list[list[str]]:
        """What runs before it, as a message has it."""
        return [[one.id, one.folder, one.digest] for one in self.upstream]


def _model(model_id: str, folder: str, digest: str, upstream: Sequence[Upstream]) -> _Model:
    # A link to it would lead nowhere in the file tree of a worker.
    first = (replace(one, folder=str(Path(one.folder).resolve())) for one in upstream)
    return _Model(model_id, str(Path(folder).resolve()), digest, tuple(first))


@dataclass(slots=True, eq=False)
class _Place:
    """A slot: empty, or a worker that has loaded one model."""

    name: str
    worker: Worker | None = None
    model: _Model = _Model("", "", "")
    running: _Running | None = None


class LocalEngine:
    """Runs tasks in contained processes on this machine (the ``Engine`` protocol).

    A worker runs one model and no other, so that no model meets what another has left behind.
    """

    def __init__(
        self,
        slots: int,
        device: str,
        threads_per_slot: int = 0,
        containment: Containment | None = None,
        program: tuple[str, ...] = WORKER,
    ) -> None:
        """Args: containment: how workers are contained; without it, as well as they can be."""
        self._device = device
        self._threads = threads_per_slot or max(1, (os.cpu_count() or 1) // slots)
        self._program = program
        self._places = [_Place(f"{device}-{n}") for n in range(slots)]
        self._containment = containment or survey(device)
        report = log.warning if self._containment.remedy else log.info
        report(
            "containment of models",
            strength=str(self._containment.strength),
            sentence=self._containment.sentence,
            remedy=self._containment.remedy,
        )

    def slots(self) -> Sequence[Slot]:
        """All slots, busy or free."""
        return tuple(
            Slot(place.name, self._device, place.model.id, place.running is not None)
            for place in self._places
        )

    def warm(
        self,
        model_id: str,
        model_folder: str,
        model_digest: str,
        upstream: Sequence[Upstream] = (),
    ) -> None:
        """Let every free worker load a model, so that the first study does not wait for it."""
        for place in self._places:
            if place.running is None:
                self._load(place, _model(model_id, model_folder, model_digest, upstream))

    def submit(self, task: Task) -> Ticket:
        """Start a task in a free slot, preferably where its model is loaded.

        Raises:
            ModelError: no slot is free, or the task cannot be started.
        """
        model = _model(task.model_id, task.model_folder, task.model_digest, task.upstream)
        free = [place for place in self._places if place.running is None]
        if not free:
            raise ModelError("Every slot of the engine is busy.")
        free.sort(key=lambda place: (place.model != model, place.worker is not None))
        place, started = free[0], time.monotonic()
        exchange = open_exchange(Path(task.volume_path), task.images_folder, task.declared)
        try:
            worker = place.worker
            if worker is None or place.model != model:
                worker = self._start(place, model)
        except ModelError:
            exchange.close()
            raise
        place.running = _Running(task, exchange, started)
        rows = [list(row) for row in task.affine_lps]
        worker.send(
            Assignment(
                job_key=task.job_key,
                attempt=task.attempt,
                model_folder=model.folder,
                model_digest=model.digest,
                affine_lps=rows,
                attributes=dict(task.attributes),
                parts=list(exchange.parts),
                label_count=task.declared.probabilities,
                maps=list(task.declared.maps),
                upstream=model.rows,
            ),
            exchange.files,
        )
        return place.running.ticket

    def collect(self, wait_s: float) -> Sequence[Outcome]:
        """What ended since the last call; waits up to ``wait_s`` for the first."""
        with selectors.DefaultSelector() as selector:
            for place in self._places:
                if place.worker is not None:
                    selector.register(place.worker, selectors.EVENT_READ, place)
            now = time.monotonic()
            deadlines = [p.running.until - now for p in self._places if p.running is not None]
            ready = selector.select(max(0.0, min([wait_s, *deadlines])))
        outcomes = [self._read(key.data) for key, _ in ready]
        outcomes += [self._overdue(place) for place in self._places]
        return [outcome for outcome in outcomes if outcome is not None]

    def cancel(self, ticket: Ticket) -> None:
        """Stop a task; its outcome is not reported."""
        for place in self._places:
            if place.running is not None and place.running.ticket == ticket:
                self._replace(place)

    def close(self) -> None:
        """End every worker."""
        for place in self._places:
            self._stop(place)

    def _start(self, place: _Place, model: _Model) -> Worker:
        self._stop(place)
        package = read_package(Path(model.folder))
        with faults_of(package.path):
            memory_mib = int(package.raw["runtime"]["memory_mib"])
        launch = Launch(
            program=(*self._program, self._device),
            readable=(*model.folders, *self._scripts()),
            device=self._device,
            threads=self._threads,
            limits=limits_of(memory_mib, self._threads, self._device),
        )
        place.worker = Worker(place.name, launch, self._containment)
        place.model = model
        return place.worker

    def _scripts(self) -> tuple[str, ...]:
        return () if self._program[0] == "-m" else self._program[:1]

    def _load(self, place: _Place, model: _Model) -> None:
        try:
            worker = self._start(place, model)
        except ModelError as error:
            log.warning("a model could not be loaded", slot=place.name, reason=str(error))
            return
        worker.send(Assignment("", 0, model.folder, model.digest, [], upstream=model.rows))

    def _stop(self, place: _Place, *, lost: bool = False) -> int:
        """Empty a slot; gives the exit status of its worker."""
        worker, running = place.worker, place.running
        place.worker, place.running, place.model = None, None, _Model("", "", "")
        if running is not None:
            running.exchange.close()
        if worker is None:
            return 0
        return worker.end_after_loss() if lost else worker.end()

    def _replace(self, place: _Place, *, lost: bool = False) -> int:
        """Start over with the same model, so that the next job does not wait for it."""
        model, busy = place.model, place.running is not None
        status = self._stop(place, lost=lost)
        if busy:
            # A worker that ends without having had a job would only do so again.
            self._load(place, model)
        return status

    def _read(self, place: _Place) -> Outcome | None:
        assert place.worker is not None
        answers, fault = place.worker.receive()
        if fault in _FAULTS:
            return self._faulty(place, fault)
        outcomes = [self._outcome(place, answer) for answer in answers]
        if fault is Fault.GONE:
            outcomes.append(self._lost(place))
        # One job at a time, so no more than one of these is anything.
        return next((outcome for outcome in outcomes if outcome is not None), None)

    def _outcome(self, place: _Place, answer: Answer) -> Outcome | None:
        running = place.running
        if running is None or not answer.job_key:
            if answer.error:
                log.warning("a model could not be loaded", slot=place.name, reason=answer.error)
            return None
        place.running = None
        try:
            return self._finished(running, answer)
        finally:
            running.exchange.close()

    def _finished(self, running: _Running, answer: Answer) -> Outcome:
        task, ticket = running.task, running.ticket
        if answer.error:
            return Failed(ticket, answer.error, answer.audit_code)
        if not answer.refusal:
            try:
                keep_answer(running.exchange, answer, task)
            except InvalidPredictionError as error:
                return Failed(ticket, str(error), error.audit_code)
            except OSError as error:
                return Lost(ticket, f"The disk did not take the answer: {error.strerror}.")
        checks = tuple((n, v, low, high, ok) for n, v, low, high, ok in answer.checks)
        return Finished(ticket, answer.refusal, checks, time.monotonic() - running.started)

    def _faulty(self, place: _Place, fault: Fault) -> Outcome | None:
        running = place.running
        self._replace(place)
        log.warning("worker answered nonsense", slot=place.name, fault=str(fault))
        if running is None:
            return None
        return Failed(running.ticket, _FAULTS[fault], InvalidPredictionError.audit_code)

    def _lost(self, place: _Place) -> Outcome | None:
        running = place.running
        status = self._replace(place, lost=True)
        log.warning("worker lost", slot=place.name, exit_status=status)
        if running is None:
            return None
        if status == -signal.SIGSYS:
            reason = (
                "The model asked the system for what no model may have, such as a connection or "
                "another process, and was ended."
            )
            return Failed(running.ticket, reason, ForbiddenActError.audit_code)
        return Lost(running.ticket, f"The worker process ended with status {status}.")

    def _overdue(self, place: _Place) -> Outcome | None:
        running = place.running
        if running is None or time.monotonic() < running.until:
            return None
        self._replace(place)
        reason = (
            f"The model did not answer within its deadline of {running.task.deadline_s:g} s "
            "and was stopped."
        )
        return Failed(running.ticket, reason, DeadlineExceededError.audit_code)
