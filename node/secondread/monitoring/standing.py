"""How a model stands: all that ``secondread model monitor`` shows of one version of one model.

``of_model`` makes it of what was read from the ledger; ``pipeline.watching.read_standing`` reads
and calls it. ``GroupStanding`` is one scanner and protocol, its worst measures first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from secondread.domain.monitoring import (
    Baseline,
    Drift,
    DriftRow,
    Feedback,
    ModelPause,
    Observed,
    Verdict,
)
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.monitoring.drift import Found, Windows, examine
from secondread.monitoring.rejects import RejectShare, reject_share


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ledger knows of one version of a model.

    Attributes:
        counts: observations by outcome.
        windows: the observations to compare, by (scanner, protocol).
        noted: what the timer last kept, by (scanner, protocol).
        feedback: the last judgements since the model was last resumed, oldest first.
        verdicts: how many judgements there are in all.
        pause: None where the model works.
        baseline: None where no person has set one.
    """

    model_id: str
    model_version: str
    counts: Mapping[Observed, int]
    windows: Mapping[tuple[str, str], Windows]
    noted: Mapping[tuple[str, str], DriftRow] = field(default_factory=dict)
    feedback: Sequence[Feedback] = ()
    verdicts: Mapping[Verdict, int] = field(default_factory=dict)
    pause: ModelPause | None = None
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class GroupStanding:
    """One scanner and protocol.

    Attributes:
        found: state, sentence, counts, shares of 'not analysed', and every measure.
        since: since when it is so, where the timer has seen it; seconds since the epoch, UTC.
    """

    scanner: str
    protocol: str
    found: Found
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One version of one model.

    Attributes:
        state: the worst of its groups; ``Drift.FEW`` where there is none that could be judged.
        counts: studies that it answered and refused.
        verdicts: accepted, modified and rejected results, in all.
        rejects: share of rejected ones among the last judgements.
    """

    model_id: str
    model_version: str
    state: Drift
    pause: ModelPause | None
    baseline: Baseline | None
    counts: Mapping[Observed, int]
    verdicts: Mapping[Verdict, int]
    rejects: RejectShare
    groups: tuple[GroupStanding, ...]


_SEVERITY = (Drift.DRIFT, Drift.WATCH, Drift.OK, Drift.FEW)


def of_model(seen: Seen, terms: MonitoringTerms) -> Standing:
    """Judge all that is known of a model; the worst scanner and protocol comes first."""
    groups = []
    for (scanner, protocol), windows in seen.windows.items():
        found = examine(windows, terms, (scanner, protocol))
        noted = seen.noted.get((scanner, protocol))
        since = noted.since if noted is not None and noted.state is found.state else None
        groups.append(GroupStanding(scanner, protocol, found, since))
    groups.sort(key=lambda one: (_SEVERITY.index(one.found.state), one.scanner, one.protocol))
    return Standing(
        model_id=seen.model_id,
        model_version=seen.model_version,
        state=groups[0].found.state if groups else Drift.FEW,
        pause=seen.pause,
        baseline=seen.baseline,
        counts={outcome: seen.counts.get(outcome, 0) for outcome in Observed},
        verdicts={verdict: seen.verdicts.get(verdict, 0) for verdict in Verdict},
        rejects=reject_share(seen.feedback, terms),
        groups=tuple(groups),
    )
