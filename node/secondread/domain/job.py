"""A job: one model on one series of one study, for one rule."""

from __future__ import annotations

from dataclasses import dataclass

from secondread.domain.condition import Finding
from secondread.domain.network import Urgency
from secondread.domain.states import JobState


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the ledger's job table; times are seconds since the epoch, UTC.

    ``key`` is random and is all that a worker ever learns about the study. ``input_digest`` is a
    digest of the source objects, so that the same images sent again give the same job.
    ``reason`` is why the job was refused or failed.

    Attributes:
        part: which of the volumes of its series it is about; '' where the series is one volume.
        version: 1, or one more than that of ``predecessor_id``.
        predecessor_id: the job of the same rule and model that had fewer or other images, or None.
        urgency: of the study when the job was planned.
        shadow: whether the results are made and checked, but sent nowhere.
        patient_mark: keyed hash of whose images they are, by which earlier jobs are found; '' until
            the results are written.
    """

    id: int
    key: str
    study_id: int
    state: JobState
    rule: str
    model_id: str
    model_version: str
    series_instance_uid: str
    input_digest: str
    priority: int
    attempts: int
    losses: int
    created_at: float
    outcome: str
    reason: str
    part: str = ""
    version: int = 1
    predecessor_id: int | None = None
    urgency: Urgency = Urgency.MEDIUM
    shadow: bool = False
    patient_mark: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What series selection thought of one part of a series."""

    series_instance_uid: str
    description: str
    accepted: bool
    reason: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """What assembly decided for one (rule, model): a series to analyse, or a reason why not.

    ``series_instance_uid`` is empty only where the study has no series at all; where the job is
    refused it names the series the report is about. ``refusal`` is empty for a job to be run.
    ``part`` is the name of one of its volumes, '' where it is one.
    """

    rule: str
    model_id: str
    model_version: str
    series_instance_uid: str
    input_digest: str
    priority: int
    refusal: str
    candidates: tuple[Candidate, ...]
    part: str = ""


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    """What one rule made of a study: whether it wants it, and of each series, why or why not."""

    rule: str
    wanted: bool
    reason: str
    """One sentence without free text of the study: for the trail and the log."""
    findings: tuple[tuple[str, Finding], ...] = ()
    """For each series of images, by its UID."""
    note: str = ""
    """Why images that came late gave no new version of its job; '' where that is not so."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What assembly decided for a study; ``reason`` explains a plan without jobs."""

    jobs: tuple[PlannedJob, ...]
    reason: str
    answers: tuple[RuleAnswer, ...] = ()
