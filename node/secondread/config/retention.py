"""``[retention]``: what is kept how long, and when the disk is too full."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from secondread.config.section import Section
from secondread.domain.retention import Retention, WhenLow

_USUAL = Retention()
_GIB = 1024**3
_DAYS_MAX = 36_500.0
_OBSERVATIONS_DAYS_MIN = 60
"""Answers of a challenger are waited for and compared for 30 days."""


class RetentionSection(Section):
    """How long files are kept on this node; docs/retention.md explains it."""

    images_days: float = Field(
        _USUAL.images_days,
        ge=0,
        le=_DAYS_MAX,
        description="Days for which the images of a study are kept after it came to rest, all that "
        "was made of it being safe. 0 keeps them for ever, here and below.",
    )
    unwanted_days: float = Field(
        _USUAL.unwanted_days,
        ge=0,
        le=_DAYS_MAX,
        description="Days for images of studies that no rule wanted.",
    )
    results_days: float = Field(
        _USUAL.results_days,
        ge=0,
        le=_DAYS_MAX,
        description="Days for results that are safe where they were sent, in every form, but for "
        "reports.",
    )
    reports_days: float = Field(
        _USUAL.reports_days,
        ge=0,
        le=_DAYS_MAX,
        description="Days for structured reports: later studies of a patient are compared with "
        "them, and they are small.",
    )
    shadow_days: float = Field(
        _USUAL.shadow_days,
        ge=0,
        le=_DAYS_MAX,
        description="Days for results of rules in shadow, their reports too.",
    )
    quarantine_days: float = Field(
        _USUAL.quarantine_days,
        ge=0,
        le=_DAYS_MAX,
        description="Days for what intake or the gate set aside.",
    )
    warn_days: float = Field(
        _USUAL.warn_days,
        ge=0,
        le=365,
        description="The node warns when the disk will be full in fewer days, at the rate of the "
        "last week; 0 is off.",
    )
    warn_gib: float = Field(
        _USUAL.warn_bytes / _GIB,
        ge=0,
        le=1_000_000,
        description="The node warns when less than this is free, too.",
    )
    when_low: Literal["warn", "purge-safe"] = Field(
        _USUAL.when_low.value,
        description="What else it does then: 'warn' nothing; 'purge-safe' removes what is safe "
        "before its time, the oldest first, until it need not warn any more.",
    )
    early_days: float = Field(
        _USUAL.early_days,
        ge=0.1,
        le=_DAYS_MAX,
        description="With 'purge-safe': nothing goes that is younger than this.",
    )
    observations_days: float = Field(
        _USUAL.observations_days,
        ge=0,
        le=_DAYS_MAX,
        description="Days for what the ledger keeps to watch models: observations, but for those "
        "that drift is judged by, and comparisons with challengers. Feedback stays. At least 60.",
    )

    @model_validator(mode="after")
    def _outlasts_a_challenger(self) -> RetentionSection:
        if 0 < self.observations_days < _OBSERVATIONS_DAYS_MIN:
            raise ValueError(
                f"needs 'observations_days' of 0, or of at least {_OBSERVATIONS_DAYS_MIN}"
            )
        return self


def to_retention(section: RetentionSection) -> Retention:
    """What ``[retention]`` says."""
    return Retention(
        images_days=section.images_days,
        unwanted_days=section.unwanted_days,
        results_days=section.results_days,
        reports_days=section.reports_days,
        shadow_days=section.shadow_days,
        quarantine_days=section.quarantine_days,
        warn_days=section.warn_days,
        warn_bytes=round(section.warn_gib * _GIB),
        when_low=WhenLow(section.when_low),
        early_days=section.early_days,
        observations_days=section.observations_days,
    )
