"""Before the first stage: asks of every study that is receiving whether it is complete.

A study is decided for each rule by itself, because rules may have terms of their own. Rules for
which it is complete are planned at once (``Study.ready``), and the study comes back for the others
(``Study.next_look_at``). A rule that does not want the study delays nothing: it is planned together
with the others, and its answer says why not. A study that no rule wants follows the terms of its
peer, and then gets the answers of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import structlog

from secondread.assembly.completeness import ask_from, decide, policy
from secondread.assembly.conditions import Circumstances
from secondread.assembly.learned_quiet import STUDIES_MAX, longest_pause
from secondread.assembly.wanted_series import find_wanted, is_wanted
from secondread.domain.completeness import Completeness, Decision, Verdict
from secondread.domain.job import RuleAnswer
from secondread.domain.network import Peer
from secondread.domain.series import SeriesSummary
from secondread.domain.states import StudyState
from secondread.domain.study import Study
from secondread.errors import LedgerError, SecondReadError
from secondread.observe.keys import read_secret, study_key
from secondread.pipeline.archives import Archives
from secondread.pipeline.cases import NO_RULE, Cases, read_facts
from secondread.pipeline.clock_watch import ClockWatch
from secondread.pipeline.fetching import ask_for_missing
from secondread.pipeline.headers import summaries
from secondread.pipeline.workplace import Workplace
from secondread.store import Transaction
from secondread.store.door import is_open
from secondread.store.pauses import Pause

log = structlog.stdlib.get_logger(__name__)

_STUDIES_MAX = 50
"""Studies that are looked at in one step; the most urgent come first in the next one too."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was decided about a study.

    Attributes:
        decisions: for each rule that wants it and has not been planned with these objects.
        planned: names of the rules that have been.
        others: names of the rules that do not want it.
        pause: what is learned from it; None where its headers were not read.
        limit_at: when the next longest wait is over; None where there is none.
    """

    decisions: Mapping[str, Decision]
    planned: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    pause: Pause | None = None
    limit_at: float | None = None

    def having(self, verdict: Verdict) -> tuple[str, ...]:
        """The names of the rules with this verdict."""
        return tuple(name for name, one in self.decisions.items() if one.verdict is verdict)

    @property
    def reason(self) -> str:
        """The sentence for people; it names the rules where they differ."""
        reasons = dict.fromkeys(one.reason for one in self.decisions.values())
        if len(reasons) == 1:
            return next(iter(reasons))
        return " ".join(f"Rule '{name}': {one.reason}" for name, one in self.decisions.items())

    @property
    def detail(self) -> Mapping[str, object]:
        """The same for the trail, rule by rule."""
        return {
            "completeness": {
                name: {"verdict": str(one.verdict), "reason": one.reason}
                for name, one in self.decisions.items()
            }
        }


class Complete:
    """Decides which studies go on; called every so often, by one thread."""

    def __init__(self, place: Workplace, archives: Archives | None = None) -> None:
        self._place = place
        self._archives = archives
        self._clock = ClockWatch(place.clock)
        self._begun = False

    def step(self) -> int:
        """Look at the studies that are due; how many of them went on.

        While the door is shut nothing can arrive, so silence means nothing.
        """
        now = self._follow_clock()
        if not is_open(self._place.spool.root):
            return 0
        with self._place.ledger.read() as view:
            due = view.studies.due(now, _STUDIES_MAX)
        return sum(self._look(study, now) for study in due)

    def _follow_clock(self) -> float:
        """The time; where somebody has set the clock, the times of what waits are moved with it."""
        look = self._clock.look()
        if not self._begun:
            with self._place.ledger.begin() as change:
                moved = change.looks.begin_again(look.now)
            self._begun = True
            if moved:
                log.warning("studies from the future brought back", studies=moved)
        if look.step_s:
            way = "forward" if look.step_s > 0 else "back"
            text = f"The clock was set {way} by {abs(look.step_s):.0f} s; studies wait as before."
            with self._place.ledger.begin() as change:
                change.looks.shift(look.step_s, look.since, look.now)
                change.trail.append(look.now, "clock", text)
            log.warning("clock set", seconds=round(look.step_s))
        return look.now

    def _look(self, study: Study, now: float) -> bool:
        try:
            outcome = self._judge(study, now)
        except LedgerError:
            raise
        except Exception as error:
            # One study must not keep all others waiting. The next stage meets the same fault, tries
            # again, and holds the study if it stays.
            log.error("study not understood", study_id=study.id, exc_info=error)
            sentence = str(error) if isinstance(error, SecondReadError) else "the log says why."
            decision = Decision(Verdict.COMPLETE, now, f"Its headers cannot be read: {sentence}")
            outcome = _Outcome({NO_RULE: decision})
        return self._act(study, outcome, now)

    def _judge(self, study: Study, now: float) -> _Outcome:
        terms = {NO_RULE: policy(self._peer(study), None, study.quiet_s)}
        for rule in self._place.rules:
            terms[rule.name] = policy(self._peer(study), rule, study.quiet_s)
        case = Cases(study, now, read_facts(self._place.ledger, study))
        ask_for_missing(self._place, case, terms)
        if hopeless := case.soonest(terms):
            self._ask_archives([one for one in terms.values() if not one.learn], case)
            return _Outcome(hopeless, limit_at=case.limit(terms))
        return self._decide(study, terms, case)

    def _decide(self, study: Study, terms: Mapping[str, Completeness], case: Cases) -> _Outcome:
        rules = self._place.rules
        learns = any(one.learn for one in terms.values())
        series: tuple[SeriesSummary, ...] = ()
        if rules or learns or terms[NO_RULE].series:
            series = summaries(self._place, study)
        circumstances = Circumstances(study.peer, study.first_at)
        wanted = [rule.name for rule in rules if is_wanted(rule, series, circumstances)]
        pause = self._pause(study, series, case)
        pauses: tuple[float, ...] = ()
        if learns and pause is not None:
            with self._place.ledger.read() as view:
                pauses = view.pauses.last(study.peer, pause.protocol, STUDIES_MAX, but=study.id)
        self._ask_archives(terms.values(), case, pauses)
        planned = frozenset(study.ready or ())
        decisions = {}
        for name in wanted or [NO_RULE]:
            if name in planned:
                continue
            found = find_wanted(
                terms[name].series, series, circumstances, case.facts.announced.whole_series
            )
            decisions[name] = decide(case.of(name, terms[name], found, pauses))
        others = frozenset(rule.name for rule in rules) - frozenset(wanted) if wanted else ()
        return _Outcome(decisions, planned, frozenset(others), pause, case.limit(terms))

    def _pause(self, study: Study, series: Sequence[SeriesSummary], case: Cases) -> Pause | None:
        """The longest pause of a study, under a hash of what was scanned first.

        The protocol of the first object is known from the beginning and stays the same, and it is
        free text: only a keyed hash of it is kept.
        """
        instances = case.facts.instances
        if not instances or not series:
            return None
        first = min(instances, key=lambda one: (one.received_at, one.sop_instance_uid))
        values: Mapping[str, tuple[str | float, ...]] = next(
            (
                one.attributes
                for one in series
                if one.series_instance_uid == first.series_instance_uid
            ),
            {},
        )
        words = [
            " ".join(str(value) for value in values.get(keyword, ())).casefold().split()
            for keyword in ("Modality", "ProtocolName")
        ]
        text = "/".join(" ".join(part) for part in words)
        return Pause(
            study.id,
            study.peer,
            study_key(f"protocol {text}", self._secret),
            longest_pause([one.received_at for one in instances]),
            case.now,
        )

    @cached_property
    def _secret(self) -> bytes:
        return read_secret(self._place.spool.root)

    def _peer(self, study: Study) -> Peer | None:
        return self._place.peers.get(study.peer)

    def _ask_archives(
        self, terms: Iterable[Completeness], case: Cases, pauses: Sequence[float] = ()
    ) -> None:
        for one in terms:
            asked = case.facts.archives.get(one.ask)
            since = ask_from(case.of(NO_RULE, one, pauses=pauses))
            late = asked is None or asked.at < since
            if self._archives is not None and one.ask and case.now >= since and late:
                self._archives.ask(case.study, one.ask)

    def _act(self, study: Study, outcome: _Outcome, now: float) -> bool:
        """Write down what was decided, unless something happened to the study meanwhile."""
        with self._place.ledger.begin() as change:
            current = change.studies.get(study.id)
            seen = (StudyState.RECEIVING, study.instances, study.due_at)
            if (current.state, current.instances, current.due_at) != seen:
                return False
            went_on = self._write(change, study, outcome, now)
            if went_on and outcome.pause is not None:
                change.pauses.keep(outcome.pause)
        if went_on:
            log.info("study complete", study_id=study.id, objects=study.instances)
        return went_on

    def _write(self, change: Transaction, study: Study, outcome: _Outcome, now: float) -> bool:
        complete, held = outcome.having(Verdict.COMPLETE), outcome.having(Verdict.HOLD)
        waiting = [outcome.decisions[name].until for name in outcome.having(Verdict.WAIT)]
        if complete or not (waiting or held or outcome.having(Verdict.DROP)):
            self._go_on(change, study, outcome, now)
            return True
        if waiting:
            change.studies.wait(study, min(waiting), outcome.reason, now, outcome.limit_at)
            return False
        names = [*outcome.decisions]
        change.looks.end_rounds(study.id, names, now)
        change.studies.keep_answers(
            study.id,
            [
                RuleAnswer(name, wanted=True, reason=one.reason)
                for name, one in outcome.decisions.items()
                if name
            ],
        )
        after = StudyState.HELD if held else StudyState.DONE
        if after is StudyState.DONE and outcome.planned:
            # Its other rules have jobs; the next stage knows how those end.
            self._go_on(change, study, outcome, now)
        else:
            change.studies.move(study, after, now, outcome.reason, detail=outcome.detail)
        return True

    def _go_on(self, change: Transaction, study: Study, outcome: _Outcome, now: float) -> None:
        complete = outcome.having(Verdict.COMPLETE)
        waiting = [outcome.decisions[name].until for name in outcome.having(Verdict.WAIT)]
        if outcome.having(Verdict.HOLD):
            waiting.append(now)
        ready: tuple[str, ...] | None = None
        if len(complete) < len(outcome.decisions) or outcome.planned:
            names = {*complete, *outcome.planned, *outcome.others}
            ready = tuple(rule.name for rule in self._place.rules if rule.name in names)
        everybody = [NO_RULE, *(rule.name for rule in self._place.rules)]
        change.looks.end_rounds(study.id, everybody if ready is None else ready, now)
        change.studies.move(
            study,
            StudyState.ASSEMBLING,
            now,
            outcome.reason if outcome.decisions else "Complete for every rule.",
            detail=outcome.detail,
            ready=ready,
            next_look_at=min(waiting, default=None),
        )
