"""What is known of a study that may be complete, put together for each rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from secondread.assembly.completeness import NOTHING_WANTED, Case, Wanted, decide
from secondread.assembly.expected import Announced, find_expectations
from secondread.domain.completeness import Completeness, Decision, Verdict
from secondread.domain.instance import Instance
from secondread.domain.study import Study
from secondread.store import Ledger, Transaction
from secondread.store.archive_counts import ArchiveCount

NO_RULE = ""
"""Stands for the terms of the peer where no rule wants the study."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ledger knows of a study at one moment."""

    instances: Sequence[Instance]
    announced: Announced
    rounds: Mapping[str, float]
    archives: Mapping[str, ArchiveCount]


@dataclass(frozen=True, slots=True)
class Cases:
    """Makes the case of a study for each rule."""

    study: Study
    now: float
    facts: Facts

    def of(
        self,
        name: str,
        terms: Completeness,
        wanted: Wanted = NOTHING_WANTED,
        pauses: Sequence[float] = (),
    ) -> Case:
        """The case for the rule of this name."""
        study, facts = self.study, self.facts
        return Case(
            now=self.now,
            first_at=self._first_at(name),
            quiet_from=max(study.last_at, study.quiet_from or 0.0),
            objects=len(facts.instances),
            terms=terms,
            urgency=study.urgency,
            released=study.released_at is not None,
            announced=facts.announced,
            archive=facts.archives.get(terms.ask),
            wanted=wanted,
            pauses=pauses,
        )

    def soonest(self, terms: Mapping[str, Completeness]) -> Mapping[str, Decision] | None:
        """What waits whatever the headers say, so that no file is read for it; None where not all.

        While a long series comes slowly, its headers would otherwise be read again and again.
        """
        decisions = {}
        for name, one in terms.items():
            if name in (self.study.ready or ()):
                continue
            shortest = min(one.quiet_s, one.quiet_min_s) if one.learn else one.quiet_s
            hopeful = replace(one, learn=False, quiet_s=shortest)
            whole = bool(one.series and self.facts.announced.whole_series)
            found = decide(self.of(name, hopeful, Wanted(whole=whole)))
            if found.verdict is not Verdict.WAIT:
                return None
            decisions[name] = found
        first = min(decisions.values(), key=lambda one: one.until)
        return {NO_RULE: first}

    def limit(self, terms: Mapping[str, Completeness]) -> float | None:
        """The next time at which a longest wait is over; None where there is none."""
        ends = (
            self._first_at(name) + one.wait_max_s
            for name, one in terms.items()
            if one.wait_max_s and name not in (self.study.ready or ())
        )
        return min((end for end in ends if end > self.now), default=None)

    def _first_at(self, name: str) -> float:
        """When the first object came since the study last went on for this rule."""
        study, rounds = self.study, self.facts.rounds
        if name not in rounds:
            return study.first_at
        later = [one.received_at for one in self.facts.instances if one.received_at > rounds[name]]
        return min(max(min(later, default=study.last_at), study.first_at), study.last_at)


def read_facts(ledger: Ledger, study: Study) -> Facts:
    """What the ledger knows of a study now."""
    with ledger.read() as view:
        instances = view.instances.of_study(study.study_instance_uid)
        notices = view.notices.of_study(study.study_instance_uid)
        rounds = view.looks.rounds(study.id)
        archives = {
            count.destination: _without_results(view, count)
            for count in view.archive_counts.of_study(study.id)
        }
    return Facts(instances, find_expectations(instances, notices), rounds, archives)


def _without_results(view: Transaction, count: ArchiveCount) -> ArchiveCount:
    """An archive counts what this node has sent it; that was not sent here."""
    if count.objects is None:
        return count
    sent = view.archive_counts.results_sent(count.study_id, count.destination)
    return replace(count, objects=max(0, count.objects - sent))
