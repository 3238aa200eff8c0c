"""What the ledger knows about one study, told in the order in which people ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secondread.cli.output import iso_time, local_time
from secondread.domain.commitment import CommitmentState
from secondread.domain.states import DeliveryState, JobState, StudyState

if TYPE_CHECKING:
    from secondread.domain.commitment import Commitment
    from secondread.domain.job import Candidate, Job
    from secondread.domain.notice import Notice
    from secondread.domain.result import OutboxItem
    from secondread.domain.study import Study
    from secondread.store import Transaction
    from secondread.store.trail import TrailRow

_KINDS = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR",
    "1.2.840.10008.5.1.4.1.1.88.59": "Key Object Selection",
}
_NOTICE_KINDS = {"mpps": "procedure step", "availability": "availability"}
_COMMITMENTS_TOLD = 20
_NO_LIMIT = 1e30
Check = tuple[str, float, float, float, bool]


@dataclass(frozen=True, slots=True)
class JobStory:
    """One job, with what was considered, what was checked and where its results went."""

    job: Job
    candidates: tuple[Candidate, ...]
    checks: tuple[Check, ...]
    deliveries: tuple[OutboxItem, ...]


@dataclass(frozen=True, slots=True)
class NoticeStory:
    """What a peer said, and how many of the objects it named are here."""

    notice: Notice
    here: int


@dataclass(frozen=True, slots=True)
class StudyStory:
    """One study; ``series`` is (Series Instance UID, number of objects)."""

    study: Study
    log_key: str
    series: tuple[tuple[str, int], ...]
    notices: tuple[NoticeStory, ...]
    commitments: tuple[Commitment, ...]
    jobs: tuple[JobStory, ...]
    trail: tuple[TrailRow, ...]


def read_story(view: Transaction, study: Study, log_key: str) -> StudyStory:
    """Collect everything that the ledger knows about a study."""
    instances = view.instances.of_study(study.study_instance_uid)
    series = Counter(instance.series_instance_uid for instance in instances)
    jobs = tuple(
        JobStory(
            job,
            view.jobs.candidates(job.id),
            view.jobs.checks(job.id),
            tuple(view.outbox.of_job(job.id)),
        )
        for job in view.jobs.of_study(study.id)
    )
    here = {instance.sop_instance_uid for instance in instances}
    notices = tuple(
        NoticeStory(notice, len(here.intersection(notice.objects)))
        for notice in view.notices.of_study(study.study_instance_uid)
    )
    trail = tuple(view.trail.of_study(study.id))
    asked = sorted({row.detail["commitment"] for row in trail if "commitment" in row.detail})
    return StudyStory(
        study=study,
        log_key=log_key,
        series=tuple(sorted(series.items())),
        notices=notices,
        commitments=tuple(view.commitments.of_ids(asked[-_COMMITMENTS_TOLD:])),
        jobs=jobs,
        trail=trail,
    )


def tell(story: StudyStory, now: float) -> Iterator[str]:
    """The story in lines; ``now`` is seconds since the epoch, UTC."""
    study = story.study
    yield f"Study {study.id}: {study.state}"
    yield f"  {_waits(study, now)}"
    yield f"  Study Instance UID  {study.study_instance_uid}"
    yield f"  Name in the log     {story.log_key}"
    yield ""
    yield "What came"
    yield (
        f"  {study.instances} objects from peer '{study.peer}', "
        f"{local_time(study.first_at)} to {local_time(study.last_at)}"
    )
    for uid, count in story.series:
        yield f"  {count:5d}  series {uid}"
    if story.notices or story.commitments:
        yield ""
        yield "What its senders said and asked"
    for said in story.notices:
        yield f"  {local_time(said.notice.at)}  {_said(said)}"
    for asked in story.commitments:
        yield f"  {local_time(asked.asked_at)}  {_asked(asked, now)}"
    for entry in story.jobs:
        yield ""
        yield from _tell_job(entry, now)
    yield ""
    yield "What happened"
    for row in story.trail:
        step = f"{row.event} {row.before} → {row.after}" if row.after else row.event
        yield f"  {local_time(row.at)}  {step}: {row.text}"


def _waits(study: Study, now: float) -> str:
    """What the study waits for, and until when."""
    match study.state:
        case StudyState.RECEIVING:
            left = study.due_at - now
            until = local_time(study.due_at)
            if left > 0:
                return f"Waits for more objects until {until} ({left:.0f} s from now)."
            return f"Was to be complete at {until}; the node takes it up when it runs."
        case StudyState.ASSEMBLING:
            return "Is complete; its series are being looked at."
        case StudyState.ANALYSING:
            return "Waits for its jobs, below."
        case _:
            return study.reason


def _said(story: NoticeStory) -> str:
    notice = story.notice
    kind = _NOTICE_KINDS[notice.kind]
    said = f"peer '{notice.peer}', {kind}: {notice.status}"
    if notice.objects:
        return f"{said}, {len(notice.objects)} objects named, {story.here} of them here"
    return f"{said}, no objects named"


def _asked(asked: Commitment, now: float) -> str:
    safe, unsafe = len(asked.result.committed), len(asked.result.failed)
    text = f"peer '{asked.peer}', commitment: {safe} objects safe, {unsafe} not; {asked.state}"
    if asked.state is CommitmentState.ANSWERED and asked.next_at > now:
        text += f", to be reported at {local_time(asked.next_at)}"
    return text if asked.state is CommitmentState.REPORTED else f"{text}. {asked.reason}"


def _tell_job(entry: JobStory, now: float) -> Iterator[str]:
    job = entry.job
    yield f"Model {job.model_id} {job.model_version}, by rule '{job.rule}': {_state(job)}"
    if job.reason:
        yield f"  {job.reason}"
    if entry.candidates:
        yield "  Series looked at:"
    for candidate in entry.candidates:
        same = candidate.series_instance_uid == job.series_instance_uid
        chosen = same and candidate.accepted
        mark = "chosen" if chosen else "fits" if candidate.accepted else "no"
        name = f"'{candidate.description}'" if candidate.description else "without a description"
        why = f": {candidate.reason}" if candidate.reason else ""
        yield f"    {mark:6}  {name}{why}"
    if entry.checks:
        yield "  Plausibility:"
    for name, value, low, high, passed in entry.checks:
        mark = "ok" if passed else "fail"
        yield f"    {mark:6}  {name} {value:g} ({_range(low, high)})"
    if entry.deliveries:
        yield "  Results:"
    for item in entry.deliveries:
        yield f"    {item.state:6}  {_kind(item)} to '{item.destination}'{_delivery(item, now)}"


def _range(low: float, high: float) -> str:
    """Limits in words; a limit beyond ``_NO_LIMIT`` is none."""
    if high > _NO_LIMIT:
        return f"expected at least {low:g}"
    if low < -_NO_LIMIT:
        return f"expected at most {high:g}"
    return f"expected {low:g} to {high:g}"


def _state(job: Job) -> str:
    if job.state is JobState.DELIVERED:
        return f"{job.outcome or 'analysed'}, delivered"
    return f"{job.outcome}, {job.state}" if job.outcome else str(job.state)


def _kind(item: OutboxItem) -> str:
    return _KINDS.get(item.sop_class_uid, item.sop_class_uid)


def _delivery(item: OutboxItem, now: float) -> str:
    if item.state is DeliveryState.READY:
        when = "now" if item.next_at <= now else f"at {local_time(item.next_at)}"
        why = f", because: {item.reason}" if item.reason else ""
        return f", try {item.attempts + 1} {when}{why}"
    return f": {item.reason}" if item.reason else ""


def story_document(story: StudyStory) -> dict[str, Any]:
    """The story as one JSON document."""
    return {
        "study": study_document(story.study),
        "log_key": story.log_key,
        "series": [{"series_instance_uid": uid, "objects": count} for uid, count in story.series],
        "notices": [_notice_document(entry) for entry in story.notices],
        "commitments": [_commitment_document(entry) for entry in story.commitments],
        "jobs": [_job_document(entry) for entry in story.jobs],
        "trail": [
            {
                "at": iso_time(row.at),
                "event": row.event,
                "job_id": row.job_id,
                "before": row.before,
                "after": row.after,
                "text": row.text,
                "detail": dict(row.detail),
            }
            for row in story.trail
        ],
    }


def study_document(study: Study) -> dict[str, Any]:
    """One study for JSON; times are ISO 8601, UTC."""
    return {
        "id": study.id,
        "study_instance_uid": study.study_instance_uid,
        "state": study.state,
        "peer": study.peer,
        "objects": study.instances,
        "first_at": iso_time(study.first_at),
        "last_at": iso_time(study.last_at),
        "due_at": iso_time(study.due_at),
        "reason": study.reason,
    }


def _notice_document(entry: NoticeStory) -> dict[str, Any]:
    notice = entry.notice
    return {
        "kind": notice.kind,
        "peer": notice.peer,
        "status": notice.status,
        "at": iso_time(notice.at),
        "objects": len(notice.objects),
        "objects_here": entry.here,
    }


def _commitment_document(entry: Commitment) -> dict[str, Any]:
    return {
        "transaction_uid": entry.result.transaction_uid,
        "peer": entry.peer,
        "state": entry.state,
        "asked_at": iso_time(entry.asked_at),
        "next_at": iso_time(entry.next_at),
        "attempts": entry.attempts,
        "committed": len(entry.result.committed),
        "failed": len(entry.result.failed),
        "reason": entry.reason,
    }


def _job_document(entry: JobStory) -> dict[str, Any]:
    job = entry.job
    return {
        "id": job.id,
        "state": job.state,
        "rule": job.rule,
        "model": job.model_id,
        "model_version": job.model_version,
        "series_instance_uid": job.series_instance_uid,
        "outcome": job.outcome,
        "reason": job.reason,
        "attempts": job.attempts,
        "created_at": iso_time(job.created_at),
        "candidates": entry.candidates,
        "checks": [
            {"name": name, "value": value, "low": low, "high": high, "passed": passed}
            for name, value, low, high, passed in entry.checks
        ],
        "deliveries": [
            {
                "destination": item.destination,
                "kind": _kind(item),
                "sop_instance_uid": item.sop_instance_uid,
                "state": item.state,
                "attempts": item.attempts,
                "next_at": iso_time(item.next_at),
                "reason": item.reason,
            }
            for item in entry.deliveries
        ],
    }
