"""What the ledger knows about one study, as one JSON document; ``docs/explain.md`` describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from secondread.cli.output import iso_time
from secondread.cli.story import kind_of
from secondread.cli.story_fetches import fetch_document

if TYPE_CHECKING:
    from secondread.cli.story import JobStory, NoticeStory, StudyStory
    from secondread.cli.story_series import SeriesStory
    from secondread.domain.commitment import Commitment
    from secondread.domain.condition import Finding
    from secondread.domain.job import RuleAnswer
    from secondread.domain.study import Study

_NOT_TOLD = frozenset({"digest", "attributes"})


def story_document(story: StudyStory) -> dict[str, Any]:
    """The story as one JSON document."""
    return {
        "study": study_document(story.study),
        "log_key": story.log_key,
        "series": [_series_document(one) for one in story.series],
        "rules": [
            *(_rule_document(answer, story.series) for answer in story.answers),
            *(
                {"rule": name, "asked": False, "reason": reason}
                for name, reason in story.not_asked.items()
            ),
        ],
        "notices": [_notice_document(entry) for entry in story.notices],
        "commitments": [_commitment_document(entry) for entry in story.commitments],
        "fetches": [fetch_document(one) for one in story.fetches],
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
        "urgency": study.urgency.name.lower(),
        "rules_ready": study.ready,
        "next_look_at": iso_time(study.next_look_at) if study.next_look_at else None,
    }


def _series_document(story: SeriesStory) -> dict[str, Any]:
    summary = story.summary
    document: dict[str, Any] = {
        "series_instance_uid": story.series_instance_uid,
        "objects": story.objects,
        "looked_at": summary is not None,
    }
    if summary is not None:
        document |= {
            "number": summary.number,
            "modality": story.text("Modality"),
            "description": story.text("SeriesDescription"),
            "unreadable": summary.unreadable,
            "holds_images": summary.holds_images,
            "parts": [
                {key: value for key, value in asdict(part).items() if key not in _NOT_TOLD}
                for part in summary.parts
            ],
        }
    return document


def _rule_document(answer: RuleAnswer, series: Sequence[SeriesStory]) -> dict[str, Any]:
    numbers = {one.series_instance_uid: one.summary.number for one in series if one.summary}
    return {
        "rule": answer.rule,
        "asked": True,
        "wanted": answer.wanted,
        "reason": answer.reason,
        "note": answer.note,
        "series": [
            {"series_instance_uid": uid, "number": numbers.get(uid), **_finding_document(finding)}
            for uid, finding in answer.findings
        ],
    }


def _finding_document(finding: Finding) -> dict[str, Any]:
    return {
        "holds": finding.holds,
        "text": finding.text,
        "conditions": [_finding_document(part) for part in finding.parts],
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
        "version": job.version,
        "predecessor_id": job.predecessor_id,
        "shadow": job.shadow,
        "folder": f"results/{job.key}",
        "series_instance_uid": job.series_instance_uid,
        "part": job.part,
        "objects": entry.objects,
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
                "id": item.id,
                "destination": item.destination,
                "kind": kind_of(item),
                "level": item.level,
                "sop_instance_uid": item.sop_instance_uid,
                "state": item.state,
                "attempts": item.attempts,
                "next_at": iso_time(item.next_at),
                "reason": item.reason,
                "status": item.status,
                "remark": item.remark,
                "proof": item.proof,
                "proof_tries": item.proof_tries,
                "prove_at": _time(item.prove_at),
                "sendings": item.sendings,
                "sent_at": _time(item.sent_at),
                "safe_at": _time(item.safe_at),
                "purged_at": _time(item.purged_at),
            }
            for item in entry.deliveries
        ],
    }


def _time(at: float | None) -> str | None:
    return None if at is None else iso_time(at)
