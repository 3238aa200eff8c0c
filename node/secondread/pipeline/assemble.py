"""First stage: a complete study becomes jobs, or an answer why it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from secondread.assembly.selection import plan
from secondread.assembly.sources import find_sources
from secondread.domain.job import Plan, PlannedJob
from secondread.domain.series import SeriesSummary
from secondread.domain.states import StudyState
from secondread.domain.study import Study
from secondread.errors import SecondReadError
from secondread.pipeline.fetching import ask_for_priors
from secondread.pipeline.headers import summaries
from secondread.pipeline.workplace import ATTEMPTS_MAX, LEASE_S, Workplace
from secondread.store import Transaction
from secondread.store.versions import Terms

log = structlog.stdlib.get_logger(__name__)

LATE_IMAGES = "late-images"
"""Trail event: images that came late give no new version."""


class Assemble:
    """Claims a study that is complete for some rule, and plans its jobs.

    All it writes is one transaction, and the same study gives the same plan; so one that was
    claimed and lost is assembled again.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def step(self) -> bool:
        """Plan one study; False where none is waiting."""
        place = self._place
        with place.ledger.begin() as change:
            study = change.studies.claim(place.owner, place.clock.now(), LEASE_S)
            if study is None:
                return False
            instances = change.instances.of_study(study.study_instance_uid)
        try:
            if study.attempts > ATTEMPTS_MAX:
                raise SecondReadError(
                    f"The node failed {ATTEMPTS_MAX} times while it looked at this study; see the "
                    "log, then retry it."
                )
            series = summaries(place, study)
            ready = [r for r in place.rules if study.ready is None or r.name in study.ready]
            planned = plan(study, series, ready, place.manifests)
            jobs = tuple(
                (job, find_sources(job, series, instances, place.spool.root))
                for job in planned.jobs
            )
            self._commit(study, series, planned, jobs)
        except SecondReadError as error:
            self._hold(study, str(error))
        return True

    def _commit(
        self,
        study: Study,
        series: Sequence[SeriesSummary],
        planned: Plan,
        jobs: Sequence[tuple[PlannedJob, tuple[str, ...]]],
    ) -> None:
        now = self._place.clock.now()
        with self._place.ledger.begin() as change:
            current = change.studies.get(study.id)
            if current.state is not StudyState.ASSEMBLING:
                log.info("study went on growing", study_id=study.id)
                return
            made, notes = 0, {}
            for job, sources in jobs:
                terms = self._terms(job.rule, current)
                if note := change.jobs.objection(study.id, job, sources, now, terms):
                    notes[job.rule] = note
                    _note_once(change, study.id, job, note, now)
                elif change.jobs.add(study.id, job, sources, now, terms):
                    made += 1
                    if not job.refusal:
                        ask_for_priors(change, self._place.rule(job.rule), current, now)
            answers = [replace(a, note=notes.get(a.rule, "")) for a in planned.answers]
            change.studies.keep_answers(study.id, answers)
            detail = _detail(planned, series)
            self._move(change, current, planned, (made, notes), detail)
        log.info("study planned", study_id=study.id, jobs=made)

    def _move(
        self,
        change: Transaction,
        study: Study,
        planned: Plan,
        outcome: tuple[int, Mapping[str, str]],
        detail: Mapping[str, Any],
    ) -> None:
        """Send the study on: back to those rules that wait, to its jobs, or to its end."""
        now = self._place.clock.now()
        made, notes = outcome
        said = [_jobs_text(made), *notes.values()] if planned.jobs else [planned.reason]
        text = " ".join(dict.fromkeys(said))
        if study.next_look_at is not None:
            # What the others wait for, as it was decided when this was sent on.
            text = f"{text} {study.reason}"
            change.studies.move(study, StudyState.RECEIVING, now, text, detail=detail)
        elif change.jobs.of_study(study.id):
            change.studies.move(study, StudyState.ANALYSING, now, text, detail=detail)
            change.studies.close_if_finished(study.id, now)
        else:
            change.studies.move(study, StudyState.DONE, now, text, detail=detail)

    def _terms(self, name: str, study: Study) -> Terms:
        rule = self._place.rule(name)
        if rule is None:
            return Terms(urgency=study.urgency)
        return Terms(rule.late_images, rule.versions_max, rule.shadow, study.urgency)

    def _hold(self, study: Study, reason: str) -> None:
        log.error("study held", study_id=study.id, reason=reason)
        with self._place.ledger.begin() as change:
            current = change.studies.get(study.id)
            if current.state is StudyState.ASSEMBLING:
                now = self._place.clock.now()
                change.studies.move(current, StudyState.HELD, now, reason)


def _jobs_text(made: int) -> str:
    if not made:
        return "Nothing new to analyse."
    return f"{made} job{'' if made == 1 else 's'} planned."


def _note_once(
    change: Transaction, study_id: int, planned: PlannedJob, text: str, now: float
) -> None:
    """Say in the trail that images give no new version; not again for the same images."""
    detail = {"rule": planned.rule, "input_digest": planned.input_digest}
    said = change.trail.of_study(study_id)
    if not any(row.event == LATE_IMAGES and row.detail == detail for row in said):
        change.trail.append(now, LATE_IMAGES, text, study_id=study_id, detail=detail)


def _detail(planned: Plan, series: Sequence[SeriesSummary]) -> Mapping[str, Any]:
    """What the trail keeps of a plan: no UIDs, and no descriptions, which can name a person."""
    numbers = {one.series_instance_uid: one.number for one in series}
    return {
        "rules": [
            {"rule": answer.rule, "wanted": answer.wanted, "reason": answer.reason}
            for answer in planned.answers
        ],
        "candidates": [
            {
                "rule": job.rule,
                "series_number": numbers.get(candidate.series_instance_uid),
                "part": candidate.part,
                "accepted": candidate.accepted,
                "reason": candidate.reason,
            }
            for job in planned.jobs
            for candidate in job.candidates
        ],
    }
