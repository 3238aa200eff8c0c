"""Versions of a job: when images that came late give a new one, and which ones it replaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from secondread.domain.job import PlannedJob
from secondread.domain.network import LateImages, Urgency
from secondread.domain.states import JobState


@dataclass(frozen=True, slots=True)
class Terms:
    """What the rule and the study say about a job, besides what assembly decided.

    Attributes:
        late_images: when images that came after the last version give a new one.
        versions_max: versions that there may be, superseded ones not counted; 0 is no limit.
        shadow: whether its results are sent nowhere.
        urgency: of the study.
    """

    late_images: LateImages = LateImages.NEW_INPUT
    versions_max: int = 0
    shadow: bool = False
    urgency: Urgency = Urgency.MEDIUM


LIVE = Terms()
NOT_ANALYSED = "not analysed"
"""Outcome of a job that no model worked on to its end."""
ASIDE = "aside-"
"""How the input digest of a job begins that makes room for a new version of the same images."""
_ROWS_LATE_S = 3.0
"""Rows of objects are written so long after the objects have come, and some more."""


def is_new(
    earlier: Sequence[Any], planned: PlannedJob, sources: Sequence[str], terms: Terms
) -> bool:
    """Whether a plan says anything that the jobs before it have not said.

    ``earlier`` are rows of the job table, of the same study, rule and model, oldest first;
    ``sources`` the SOP Instance UIDs that the plan is about.
    """
    if not earlier:
        return True
    if any(
        (row.model_version, row.input_digest) == (planned.model_version, planned.input_digest)
        for row in earlier
    ):
        return False
    if terms.late_images is LateImages.ANY:
        return True
    if not planned.refusal:
        return not any(_is_same_input(row, planned, sources) for row in earlier)
    # The same refusal for the same series says nothing new, however many images have come since.
    last = earlier[-1]
    before = (last.reason, last.series_instance_uid, last.model_version)
    return before != (planned.refusal, planned.series_instance_uid, planned.model_version)


def _is_same_input(row: Any, planned: PlannedJob, sources: Sequence[str]) -> bool:
    """Whether a model got the same images before, when their series was not split into parts yet.

    A second echo that comes late gives the first one a name, and its input another digest.
    """
    return (
        bool(sources)
        and row.outcome != NOT_ANALYSED
        and row.model_version == planned.model_version
        and row.sources == sorted(sources)
        and (not row.part or not planned.part)
    )


def find_bar(
    earlier: Sequence[Any], planned: PlannedJob, terms: Terms, last_at: float, now: float
) -> str:
    """Why the rule allows no version after ``earlier``; '' where it does.

    ``last_at`` is when the last object of the study came. Where none came since the last version,
    other images were chosen by another configuration, at the wish of whoever retried the study;
    and another model is not what the rule's limits are about. A job that was set aside, for nobody
    looked at its images, counts for none.
    """
    earlier = [row for row in earlier if not row.input_digest.startswith(ASIDE)]
    if not earlier or earlier[-1].model_version != planned.model_version:
        return ""
    if last_at < earlier[-1].created_at - _ROWS_LATE_S:
        return ""
    came = f"New images came, but rule '{planned.rule}' allows no"
    if terms.late_images is LateImages.NEVER:
        return f"{came} new version."
    lasting = [
        row
        for row in earlier
        if row.model_version == planned.model_version
        and row.state != JobState.SUPERSEDED
        and not is_untouched(row, now)
    ]
    if terms.versions_max and len(lasting) >= terms.versions_max:
        plural = "s" if terms.versions_max > 1 else ""
        return f"{came} more than {terms.versions_max} version{plural}."
    return ""


def is_untouched(row: Any, now: float) -> bool:
    """Whether no model has begun to work on a job, so that a newer version can replace it."""
    is_claimed = row.claimed_until is not None and row.claimed_until >= now
    return row.state in {JobState.QUEUED, JobState.PREPARED} and not is_claimed
