"""First stage: a complete study becomes jobs, or an answer why it does not."""

from __future__ import annotations

import structlog

from secondread.assembly.selection import plan
from secondread.assembly.series import read_study
from secondread.domain.job import Plan
from secondread.domain.states import StudyState
from secondread.domain.study import Study
from secondread.errors import SecondReadError
from secondread.pipeline.workplace import ATTEMPTS_MAX, LEASE_S, Workplace
from secondread.store.door import is_open

log = structlog.stdlib.get_logger(__name__)


def close_quiet_studies(place: Workplace) -> int:
    """Send the studies on whose quiet time has passed; how many.

    While the door is shut nothing can arrive, so silence means nothing.
    """
    now = place.clock.now()
    if not is_open(place.spool.root):
        return 0
    with place.ledger.read() as view:
        if not view.studies.due(now):
            return 0
    with place.ledger.begin() as change:
        due = change.studies.due(now)
        for study in due:
            text = f"Complete: {study.instances} objects, none new for {study.quiet_s:g} s."
            change.studies.move(study, StudyState.ASSEMBLING, now, text)
            log.info("study complete", study_id=study.id, objects=study.instances)
    return len(due)


class Assemble:
    """Claims a complete study and plans its jobs."""

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
            series = read_study(instances, place.spool.root)
            self._commit(study, plan(study, series, place.rules, place.manifests))
        except SecondReadError as error:
            self._hold(study, str(error))
        return True

    def _commit(self, study: Study, planned: Plan) -> None:
        place = self._place
        now = place.clock.now()
        with place.ledger.begin() as change:
            current = change.studies.get(study.id)
            if current.state is not StudyState.ASSEMBLING:
                log.info("study went on growing", study_id=study.id)
                return
            for job in planned.jobs:
                change.jobs.add(study.id, job, now)
            # Not the descriptions: they are free text and can name a person.
            detail = {
                "candidates": [
                    {"series": c.series_instance_uid, "accepted": c.accepted, "reason": c.reason}
                    for job in planned.jobs
                    for c in job.candidates
                ]
            }
            if not planned.jobs:
                change.studies.move(current, StudyState.DONE, now, planned.reason)
                log.info("study not wanted", study_id=study.id)
                return
            text = f"{len(planned.jobs)} job(s) for this study."
            change.studies.move(current, StudyState.ANALYSING, now, text, detail=detail)
            change.studies.close_if_finished(study.id, now)
        log.info("study planned", study_id=study.id, jobs=len(planned.jobs))

    def _hold(self, study: Study, reason: str) -> None:
        log.error("study held", study_id=study.id, reason=reason)
        with self._place.ledger.begin() as change:
            current = change.studies.get(study.id)
            if current.state is StudyState.ASSEMBLING:
                now = self._place.clock.now()
                change.studies.move(current, StudyState.HELD, now, reason)
