"""Third stage: jobs go to the engine, answers come back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from secondread.deid.boundary import load_prepared
from secondread.domain.engine import Engine, Failed, Finished, Lost, Outcome, Task, Ticket
from secondread.domain.job import Job
from secondread.domain.states import JobState
from secondread.errors import ManifestError, SecondReadError, WorkerLostError
from secondread.inference.answer import (
    ANSWER_NAME,
    MAPS_NAME,
    PROBABILITIES_NAME,
    load_answer,
    load_labels,
    load_maps,
    load_probabilities,
)
from secondread.pipeline.model_pause import check_pause
from secondread.pipeline.observing import observe
from secondread.pipeline.work import attempt, claim, fail, queue_again, refuse
from secondread.pipeline.workplace import LEASE_S, Workplace
from secondread.store import Transaction

log = structlog.stdlib.get_logger(__name__)

LABELS_NAME = "labels.npy"
LOSSES_MAX = 2
"""After this many losses a study waits for a person: it may be what kills the workers."""


@dataclass(frozen=True, slots=True)
class _Flight:
    job: Job
    shape: tuple[int, ...]


class Infer:
    """Keeps the slots of an engine busy; no more in flight than free slots."""

    def __init__(self, place: Workplace, engine: Engine) -> None:
        self._place = place
        self._engine = engine
        self._flights: dict[Ticket, _Flight] = {}

    def step(self) -> bool:
        """Start one job; False where none is waiting or no slot is free."""
        if all(slot.busy for slot in self._engine.slots()):
            return False
        longest_s = max((m.deadline_s for m in self._place.manifests.values()), default=0.0)
        job = claim(self._place, [JobState.PREPARED], longest_s + LEASE_S)
        if job is None:
            return False
        attempt(self._place, job, self._submit)
        return True

    def collect(self, wait_s: float) -> bool:
        """Take what has ended, waiting up to ``wait_s`` for the first; False where nothing has."""
        outcomes = self._engine.collect(wait_s)
        for outcome in outcomes:
            flight = self._flights.pop(outcome.ticket, None)
            if flight is None:
                continue
            with self._place.ledger.read() as view:
                held = view.jobs.holds(flight.job, self._place.owner)
            if held:
                self._note(outcome, flight)
            else:
                log.warning("answer comes too late", job=flight.job.key)
        return bool(outcomes)

    def _submit(self, job: Job) -> None:
        manifest = self._place.manifests.get(job.model_id)
        if manifest is None or manifest.version != job.model_version:
            raise ManifestError(
                f"Model '{job.model_id}' {job.model_version} is not switched on any more; add it "
                "to [[models]] and retry."
            )
        check_pause(self._place, manifest)
        folder = self._place.spool.work / job.key
        try:
            prepared = load_prepared(folder)
        except FileNotFoundError:
            queue_again(self._place, job, "The prepared volume is gone; it is read again.")
            return
        task = Task(
            job_key=job.key,
            attempt=job.attempts,
            model_id=manifest.id,
            model_folder=str(manifest.folder),
            model_digest=manifest.digest,
            volume_path=str(prepared.path),
            labels_path=str(folder / LABELS_NAME),
            affine_lps=tuple(tuple(float(v) for v in row) for row in prepared.affine_lps),
            labels=tuple(label.value for label in manifest.labels),
            deadline_s=manifest.deadline_s,
            attributes={
                name: prepared.attributes[name]
                for name in manifest.input.attributes
                if name in prepared.attributes
            },
            images_folder=str(prepared.images_folder or ""),
            declared=manifest.declared,
            upstream=manifest.builds_on,
        )
        ticket = self._engine.submit(task)
        self._flights[ticket] = _Flight(job, tuple(prepared.shape))
        log.info("model started", job=job.key, model=manifest.id)

    def _note(self, outcome: Outcome, flight: _Flight) -> None:
        match outcome:
            case Finished(refusal=""):
                self._accept(outcome, flight)
            case Finished():
                self._refuse(outcome, flight.job)
            case Failed():
                fail(self._place, flight.job, outcome.reason, outcome.audit_code)
            case Lost():
                self._lose(outcome, flight.job)

    def _accept(self, outcome: Finished, flight: _Flight) -> None:
        place, job = self._place, flight.job
        try:
            self._check(job, flight.shape)
        except SecondReadError as error:
            fail(place, job, str(error), error.audit_code)
            return
        log.info("model answered", job=job.key, model=job.model_id, seconds=outcome.seconds)
        seen = observe(place, job, outcome, self._labels_path(job))
        with place.ledger.begin() as change:
            change.observations.keep(seen)
            change.jobs.keep_checks(job, outcome.checks)
            change.jobs.move(
                job,
                JobState.INFERRED,
                place.clock.now(),
                f"Model '{job.model_id}' answered in {outcome.seconds:.1f} s.",
                detail={"seconds": outcome.seconds},
            )

    def _check(self, job: Job, shape: tuple[int, ...]) -> None:
        manifest = self._place.manifests[job.model_id]
        folder = self._place.spool.work / job.key
        load_labels(folder / LABELS_NAME, shape, [label.value for label in manifest.labels])
        load_probabilities(folder / PROBABILITIES_NAME, shape, manifest.declared.probabilities)
        load_maps(folder / MAPS_NAME, shape, manifest.declared.maps)
        load_answer(folder / ANSWER_NAME, manifest.output, shape)

    def _refuse(self, outcome: Finished, job: Job) -> None:
        failed = [name for name, _, _, _, passed in outcome.checks if not passed]
        log.info("model refused", job=job.key, model=job.model_id, checks=failed)
        seen = observe(self._place, job, outcome, self._labels_path(job))

        def keep(change: Transaction) -> None:
            change.jobs.keep_checks(job, outcome.checks)
            change.observations.keep(seen)

        refuse(self._place, job, outcome.refusal, "outside-the-model's-envelope", keep)

    def _labels_path(self, job: Job) -> Path:
        return self._place.spool.work / job.key / LABELS_NAME

    def _lose(self, outcome: Lost, job: Job) -> None:
        place = self._place
        if job.losses + 1 >= LOSSES_MAX:
            reason = f"{outcome.reason} This happened {LOSSES_MAX} times in a row."
            fail(place, job, reason, WorkerLostError.audit_code)
            return
        log.warning("job lost", job=job.key, reason=outcome.reason)
        with place.ledger.begin() as change:
            now = place.clock.now()
            change.trail.append(
                now,
                "job-lost",
                outcome.reason,
                study_id=job.study_id,
                job_id=job.id,
                detail=asdict(outcome.ticket),
            )
            change.jobs.postpone(job, now, lost=True)
