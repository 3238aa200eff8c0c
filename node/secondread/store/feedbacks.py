"""The feedback table: what people thought of results, said or shown by a correction.

Every row stays. What counts is the last word of each person on each job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from secondread.domain.monitoring import Feedback, FeedbackSource, Verdict
from secondread.store.monitoring_tables import feedback
from secondread.store.tables import job
from secondread.store.trail import Trail

EVENT = "feedback"
"""Trail event: somebody said what a result was worth, or an object that should say so does not."""

_WORDS = {
    Verdict.ACCEPT: "accepted",
    Verdict.MODIFY: "corrected",
    Verdict.REJECT: "rejected",
}


class Feedbacks:
    """The feedback, in one transaction; each row leaves one in the trail."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def add(self, given: Feedback) -> Feedback | None:
        """Write down what somebody thought of a job's result.

        Returns:
            The row; None where the same object has said it of this job before.
        """
        if given.sop_instance_uid is not None and self._is_known(given):
            return None
        values = asdict(given)
        del values["id"]
        values["measures"] = dict(given.measures)
        new = feedback.insert().values(**values).returning(feedback.c.id)
        row_id = int(self._connection.execute(new).scalar_one())
        self._note(given)
        return self._get(row_id)

    def of_job(self, job_id: int) -> Sequence[Feedback]:
        """All that was said of a job, the oldest first."""
        query = sa.select(feedback).where(feedback.c.job_id == job_id)
        return self._records(query)

    def of_model(self, model_id: str, model_version: str, since: float = 0.0) -> Sequence[Feedback]:
        """All that was said of a version of a model from ``since`` on, the oldest first.

        ``since`` is in seconds since the epoch, UTC.
        """
        return self._records(_of_model(model_id, model_version, since))

    def last_words(
        self, model_id: str, model_version: str, since: float = 0.0
    ) -> Sequence[Feedback]:
        """The last that each person said of each job from ``since`` on, the oldest first.

        A job of which two people said something is there twice.
        """
        found: dict[tuple[int, str], Feedback] = {}
        for one in self.of_model(model_id, model_version, since):
            found.pop((one.job_id, one.given_by), None)
            found[one.job_id, one.given_by] = one
        return tuple(found.values())

    def counts(self, model_id: str, model_version: str, since: float = 0.0) -> dict[Verdict, int]:
        """How often each verdict is among ``last_words``."""
        found = [one.verdict for one in self.last_words(model_id, model_version, since)]
        return {verdict: found.count(verdict) for verdict in Verdict}

    def _is_known(self, given: Feedback) -> bool:
        query = sa.select(feedback.c.id).where(
            feedback.c.job_id == given.job_id,
            feedback.c.sop_instance_uid == given.sop_instance_uid,
        )
        return self._connection.execute(query).first() is not None

    def _note(self, given: Feedback) -> None:
        query = sa.select(job.c.study_id, job.c.model_id, job.c.model_version)
        row = self._connection.execute(query.where(job.c.id == given.job_id)).one()
        way = ", by a correction" if given.source is FeedbackSource.SEGMENTATION else ""
        self._trail.append(
            given.at,
            EVENT,
            f"The result of model '{row.model_id}' {row.model_version} was "
            f"{_WORDS[given.verdict]} by '{given.given_by}'{way}.",
            study_id=row.study_id,
            job_id=given.job_id,
            change=("", given.verdict),
            # Not the remark, which may name a patient.
            detail={"source": given.source, "measures": dict(given.measures)},
        )

    def _get(self, row_id: int) -> Feedback:
        (found,) = self._records(sa.select(feedback).where(feedback.c.id == row_id))
        return found

    def _records(self, query: sa.Select[Any]) -> Sequence[Feedback]:
        rows = self._connection.execute(query.order_by(feedback.c.at, feedback.c.id))
        return tuple(_record(row) for row in rows)


def _of_model(model_id: str, model_version: str, since: float) -> sa.Select[Any]:
    return (
        sa.select(feedback)
        .join(job, job.c.id == feedback.c.job_id)
        .where(
            job.c.model_id == model_id,
            job.c.model_version == model_version,
            feedback.c.at >= since,
        )
    )


def _record(row: Any) -> Feedback:
    values = dict(row._mapping)
    return Feedback(
        **{
            **values,
            "verdict": Verdict(values["verdict"]),
            "source": FeedbackSource(values["source"]),
        }
    )
