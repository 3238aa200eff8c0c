"""A job: one model on one series of one study, for one rule."""

from __future__ import annotations

from dataclasses import dataclass

from secondread.domain.states import JobState


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the ledger's job table; times are seconds since the epoch, UTC.

    ``key`` is random and is all that a worker ever learns about the study. ``input_digest`` is a
    digest of the source objects, so that the same images sent again give the same job.
    ``reason`` is why the job was refused or failed.
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


@dataclass(frozen=True, slots=True)
class Candidate:
    """What series selection thought of one series."""

    series_instance_uid: str
    description: str
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """What assembly decided for one (rule, model): a series to analyse, or a reason why not.

    ``series_instance_uid`` is empty only where the study has no series at all; where the job is
    refused it names the series the report is about. ``refusal`` is empty for a job to be run.
    """

    rule: str
    model_id: str
    model_version: str
    series_instance_uid: str
    input_digest: str
    priority: int
    refusal: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What assembly decided for a study; ``reason`` explains a plan without jobs."""

    jobs: tuple[PlannedJob, ...]
    reason: str
