"""``[monitoring]``: when a model has drifted, and what the node does about it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from secondread.config.section import Section
from secondread.domain.monitoring_terms import Consequence, MonitoringTerms

_USUAL = MonitoringTerms()
_STUDIES_MAX = 10_000


class MonitoringSection(Section):
    """How models at work are watched; docs/monitoring.md explains it."""

    reference: int = Field(
        _USUAL.reference,
        ge=20,
        le=_STUDIES_MAX,
        description="The first so many answered studies of a model on a scanner and protocol are "
        "its reference.",
    )
    recent: int = Field(
        _USUAL.recent,
        ge=20,
        le=_STUDIES_MAX,
        description="The last so many studies after those are compared with it.",
    )
    minimum: int = Field(
        _USUAL.minimum,
        ge=10,
        le=_STUDIES_MAX,
        description="With fewer values on either side the answer is 'too few yet'.",
    )
    psi_watch: float = Field(
        _USUAL.psi_watch,
        gt=0,
        le=10,
        description="A change is watched from this population stability index on.",
    )
    psi_drift: float = Field(
        _USUAL.psi_drift,
        gt=0,
        le=10,
        description="A change that is certain is drift from this on.",
    )
    level: float = Field(
        _USUAL.level,
        gt=0,
        le=0.2,
        description="A change is certain where chance alone shows one in any measure of a scanner "
        "and protocol less often than this (Kolmogorov–Smirnov, corrected by Holm). Up to five "
        "times this it is watched.",
    )
    on_drift: Literal["warn", "pause"] = Field(
        _USUAL.on_drift.value,
        description="What follows from drift: 'warn', or 'pause' the model until a person resumes "
        "it.",
    )
    reject_share: float = Field(
        _USUAL.reject_share,
        gt=0,
        le=1,
        description="Share of rejected results among the last judged ones that is too high.",
    )
    reject_recent: int = Field(
        _USUAL.reject_recent,
        ge=1,
        le=_STUDIES_MAX,
        description="So many judged results are looked at, since the model was last resumed.",
    )
    reject_minimum: int = Field(
        _USUAL.reject_minimum,
        ge=1,
        le=_STUDIES_MAX,
        description="Fewer judged results say nothing.",
    )
    on_rejects: Literal["warn", "pause"] = Field(
        _USUAL.on_rejects.value,
        description="What follows from a share that is too high: 'warn', or 'pause' the model "
        "until a person resumes it.",
    )
    look_minutes: float = Field(
        _USUAL.look_minutes,
        ge=1,
        le=1440,
        description="How often the node looks. The time goes on over a restart; the first look is "
        "two minutes after a start at the earliest.",
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> MonitoringSection:
        if self.minimum > min(self.reference, self.recent):
            raise ValueError("needs a 'minimum' of at most 'reference' and 'recent'")
        if self.psi_watch > self.psi_drift:
            raise ValueError("needs a 'psi_watch' of at most 'psi_drift'")
        if self.reject_minimum > self.reject_recent:
            raise ValueError("needs a 'reject_minimum' of at most 'reject_recent'")
        return self


def to_monitoring_terms(section: MonitoringSection) -> MonitoringTerms:
    """What ``[monitoring]`` says."""
    return MonitoringTerms(
        reference=section.reference,
        recent=section.recent,
        minimum=section.minimum,
        psi_watch=section.psi_watch,
        psi_drift=section.psi_drift,
        level=section.level,
        on_drift=Consequence(section.on_drift),
        reject_share=section.reject_share,
        reject_recent=section.reject_recent,
        reject_minimum=section.reject_minimum,
        on_rejects=Consequence(section.on_rejects),
        look_minutes=section.look_minutes,
    )
