"""``[rules.fetch]``: what a rule wants to have fetched from an archive."""

from __future__ import annotations

from pydantic import Field

from secondread.config.section import Section
from secondread.config.values import Name
from secondread.domain.fetch import FetchTerms


class RuleFetch(Section):
    """What is fetched from an archive for the studies that a rule wants; docs/fetching.md tells."""

    source: Name = Field(
        description="Name of one of the [[destinations]] of kind 'dicom' or 'stow': the archive."
    )
    missing: bool = Field(
        False,
        description="Whether images of a study that the archive has and the node has not are "
        "fetched; needs the archive in 'ask' of [rules.complete] or [peers.complete].",
    )
    priors: int = Field(
        0,
        ge=0,
        le=10,
        description="Earlier studies of the same patient that are fetched, the newest first, so "
        "that reports can be compared with theirs; 0 is none.",
    )
    prior_days: int = Field(
        1825, ge=1, le=36500, description="How many days back earlier studies are looked for."
    )
    wait_s: float = Field(
        600.0,
        ge=0,
        le=86400,
        description="Seconds that a report waits for them and for what is made of them.",
    )


def to_fetch_terms(row: RuleFetch) -> FetchTerms:
    """A row as a record."""
    return FetchTerms(row.source, row.missing, row.priors, row.prior_days, float(row.wait_s))
