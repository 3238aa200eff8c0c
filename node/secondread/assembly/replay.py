"""What other rules would have made of the studies of the past days, against what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from secondread.assembly.selection import plan
from secondread.bundles.manifest import Manifest
from secondread.domain.job import Plan
from secondread.domain.network import Rule
from secondread.domain.series import SeriesSummary
from secondread.domain.study import Study
from secondread.store.history import PastJob


class Difference(StrEnum):
    """How what would be differs from what was."""

    NEWLY_ANALYSED = "newly analysed"
    """It would be analysed, and was not."""
    NO_LONGER_ANALYSED = "no longer analysed"
    """It was analysed, and would not be."""
    OTHER_SERIES = "another series"
    """It would be analysed as it was, but on another series or another part of it."""
    OTHER_MODEL = "another model"
    """It would be analysed as it was, but by another model."""
    NEWLY_REFUSED = "newly refused"
    """The rule would want it and find no series for the model; before, it did not want it."""
    NO_LONGER_REFUSED = "no longer refused"
    """The rule wanted it and found no series; it would not want it."""
    OTHER_REASON = "another reason"
    """No series is found for the model, as before, but for another reason."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule made of a study, or would make.

    Attributes:
        wanted: whether the rule wanted it.
        accepted: whether a series was found for the model.
        reason: why it is not analysed, in one sentence; '' where it is, or where nobody knows.
    """

    wanted: bool
    accepted: bool = False
    model_id: str = ""
    series_instance_uid: str = ""
    part: str = ""
    reason: str = ""


_UNWANTED = Outcome(wanted=False)


@dataclass(frozen=True, slots=True)
class Change:
    """One study of which a rule would make something else."""

    study: Study
    rule: str
    difference: Difference
    before: Outcome
    after: Outcome
    numbers: Mapping[str, int | None]
    """Series Number by Series Instance UID."""


@dataclass(slots=True)
class Tally:
    """How many studies a rule wanted, and for how many a series was found; then and now."""

    wanted_before: int = 0
    wanted_after: int = 0
    analysed_before: int = 0
    analysed_after: int = 0

    def add(self, before: Outcome, after: Outcome) -> None:
        """Count one study."""
        self.wanted_before += before.wanted
        self.wanted_after += after.wanted
        self.analysed_before += before.accepted
        self.analysed_after += after.accepted


@dataclass(slots=True)
class Replay:
    """Replays studies one after the other; the result grows with them.

    Attributes:
        rules: those to be tried.
        manifests: of their models, by id.
        tallies: by rule; rules that are gone are there if they did anything.
        changes: what would be different, in the order of the studies.
    """

    rules: Sequence[Rule]
    manifests: Mapping[str, Manifest]
    studies: int = 0
    series: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Have a tally for every rule, in their order."""
        self.tallies = {rule.name: Tally() for rule in self.rules}

    def add(
        self, study: Study, series: Sequence[SeriesSummary], past: Mapping[str, PastJob]
    ) -> None:
        """Replay one study; ``past`` is what was planned for it, by rule."""
        self.studies += 1
        self.series += len(series)
        planned = plan(study, series, self.rules, self.manifests, explained=False)
        after = _after(planned)
        for rule in dict.fromkeys((*after, *past)):
            was, would = _before(past.get(rule)), after.get(rule, _UNWANTED)
            self.tallies.setdefault(rule, Tally()).add(was, would)
            difference = compare(was, would)
            if difference is not None:
                numbers = {item.series_instance_uid: item.number for item in series}
                self.changes.append(Change(study, rule, difference, was, would, numbers))


def compare(before: Outcome, after: Outcome) -> Difference | None:
    """How two outcomes differ; None where they do not."""
    if after.accepted != before.accepted:
        return Difference.NEWLY_ANALYSED if after.accepted else Difference.NO_LONGER_ANALYSED
    if after.accepted:
        if after.model_id != before.model_id:
            return Difference.OTHER_MODEL
        same = (after.series_instance_uid, after.part) == (before.series_instance_uid, before.part)
        return None if same else Difference.OTHER_SERIES
    if after.wanted != before.wanted:
        return Difference.NEWLY_REFUSED if after.wanted else Difference.NO_LONGER_REFUSED
    if after.wanted and after.reason != before.reason:
        return Difference.OTHER_REASON
    return None


def _after(planned: Plan) -> dict[str, Outcome]:
    found = {
        answer.rule: Outcome(wanted=answer.wanted, reason=answer.reason)
        for answer in planned.answers
    }
    for job in planned.jobs:
        found[job.rule] = Outcome(
            wanted=True,
            accepted=not job.refusal,
            model_id=job.model_id,
            series_instance_uid=job.series_instance_uid,
            part=job.part,
            reason=job.refusal,
        )
    return found


def _before(past: PastJob | None) -> Outcome:
    if past is None:
        return _UNWANTED
    return Outcome(
        wanted=True,
        accepted=past.accepted,
        model_id=past.model_id,
        series_instance_uid=past.series_instance_uid,
        part=past.part,
        reason=past.reason,
    )
