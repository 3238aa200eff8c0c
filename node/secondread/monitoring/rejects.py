"""How many of the results that somebody judged were rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secondread.domain.monitoring import Feedback, Verdict
from secondread.domain.monitoring_terms import MonitoringTerms


@dataclass(frozen=True, slots=True)
class RejectShare:
    """Of the last results that somebody judged those that were rejected.

    Attributes:
        judged: how many results; each counts once, by its last judgement.
        rejected: how many of them.
        share: None where too few were judged.
        is_high: whether the share is as high as the configuration names.
    """

    judged: int
    rejected: int
    share: float | None
    is_high: bool

    @property
    def text(self) -> str:
        """One sentence for people."""
        if self.share is None:
            return f"{self.judged} results were judged: too few to say anything."
        return f"{self.rejected} of the last {self.judged} judged results were rejected."


def reject_share(feedback: Sequence[Feedback], terms: MonitoringTerms) -> RejectShare:
    """The share of rejected results; ``feedback`` is what came, oldest first."""
    last: dict[int, Verdict] = {}
    for one in feedback:
        last.pop(one.job_id, None)
        last[one.job_id] = one.verdict
    recent = list(last.values())[-terms.reject_recent :]
    rejected = sum(verdict is Verdict.REJECT for verdict in recent)
    if len(recent) < terms.reject_minimum:
        return RejectShare(len(recent), rejected, None, False)
    share = rejected / len(recent)
    return RejectShare(len(recent), rejected, share, share >= terms.reject_share)
