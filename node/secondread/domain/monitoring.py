"""What the node keeps to watch its models: observations, comparisons, feedback and pauses.

Nothing here names a patient: no UID of a study, no text that a person typed at a scanner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

BY_RULE = "rule"
"""``ModelPause.set_by`` of a pause that the node set itself."""


class Observed(StrEnum):
    """What became of a job that a model saw."""

    ANSWERED = "answered"
    """The model answered, and the answer was sound."""
    REFUSED = "refused"
    """The model said 'not analysed': the study lies outside what it was made for."""


class Verdict(StrEnum):
    """What somebody thought of a result."""

    ACCEPT = "accept"
    """Used as it is."""
    MODIFY = "modify"
    """Used after a correction."""
    REJECT = "reject"
    """Not used."""


class FeedbackSource(StrEnum):
    """How feedback came."""

    USER = "user"
    """Somebody said so."""
    SEGMENTATION = "segmentation"
    """Somebody sent a corrected segmentation back."""


class Drift(StrEnum):
    """What has become of the studies of one model, scanner and protocol."""

    FEW = "too few yet"
    """Too few observations to say anything; never to be read as 'fine'."""
    OK = "ok"
    """Nothing that was looked at has changed by more than chance makes it."""
    WATCH = "watch"
    """Something seems to have changed: by less than the limit, or less certainly."""
    DRIFT = "drift"
    """Something has changed beyond the limit, and not by chance."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One row of the observation table: a job that a model answered or refused.

    Attributes:
        job_id: row id of the job; a job has one observation, of its last run.
        at: when, in seconds since the epoch, UTC.
        scanner: manufacturer and model name of the equipment.
        protocol: coded technique: contrast agent, kernel or sequence, field strength or voltage,
            class of slice thickness.
        outcome: what became of it.
        measures: numbers by name, such as ``spacing_slice_mm`` or ``volume_ml.Brain``.
    """

    job_id: int
    at: float
    model_id: str
    model_version: str
    scanner: str
    protocol: str
    outcome: Observed
    measures: Mapping[str, float] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the comparison table: two models on the same series.

    ``measures`` are numbers by name; ``at`` is in seconds since the epoch, UTC.
    """

    champion_job_id: int
    challenger_job_id: int
    at: float
    measures: Mapping[str, float] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True, slots=True)
class Feedback:
    """One row of the feedback table: what somebody thought of a result.

    Attributes:
        given_by: the user of the system, or the name of the peer that sent the correction.
        sop_instance_uid: of the corrected segmentation; None where somebody said it.
        remark: in that person's words, which may name a patient: for no log and no metric.
        measures: how the correction differs from the result, by name.
    """

    job_id: int
    at: float
    verdict: Verdict
    given_by: str
    source: FeedbackSource = FeedbackSource.USER
    sop_instance_uid: str | None = None
    remark: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True, slots=True)
class ModelPause:
    """One row of the model_pause table: a model whose jobs end as 'not analysed' for now.

    Attributes:
        since: in seconds since the epoch, UTC.
        reason: one sentence for the radiologist and the operator.
        set_by: ``BY_RULE``, or the user of the system.
    """

    model_id: str
    model_version: str
    since: float
    reason: str
    set_by: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """One row of the model_baseline table: from when on the reference of a model is taken.

    A person sets it after a change that is known and wanted, such as an upgrade of a scanner.
    Times are seconds since the epoch, UTC.
    """

    model_id: str
    model_version: str
    since: float
    set_by: str
    set_at: float


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One row of the model_drift table: what was last found of one model, scanner and protocol.

    Attributes:
        state: what was found.
        since: since when it is so; seconds since the epoch, UTC.
        looked_at: when it was looked at last.
        text: one sentence that names measure, scanner, protocol and figures.
        psi_max: the largest population stability index of its measures; 0 where there was none.
    """

    model_id: str
    model_version: str
    scanner: str
    protocol: str
    state: Drift
    since: float
    looked_at: float
    text: str
    psi_max: float = 0.0
