"""Is a study complete? Evidence that it is, evidence that something lacks, and else the quiet time.

1. Something says that all is there, and nothing that something lacks: it is complete at once.
2. Something lacks: it is waited for, beyond the quiet time, until the longest wait is over.
3. Otherwise the quiet time decides.

``docs/completeness.md`` explains this to people; what is decided here is said there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from secondread.assembly.expected import Announced
from secondread.assembly.learned_quiet import QuietTime, find_quiet_time
from secondread.domain.completeness import AtLimit, Completeness, Decision, Verdict
from secondread.domain.network import Peer, Rule, Urgency
from secondread.store.archive_counts import ArchiveCount

SOON_S = 1.0
"""Where something may complete a study at once, it is looked at after so much silence."""
_ENDLESS_S = 600.0
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has come of the series that have to be there.

    Attributes:
        missing: names of those that are not there.
        whole: whether all are there and each has all the objects that its own headers announce.
    """

    missing: tuple[str, ...] = ()
    whole: bool = False


NOTHING_ANNOUNCED = Announced()
NOTHING_WANTED = Wanted()


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known of a study when it is decided for one rule; times as in ``Study``.

    Attributes:
        first_at: when the first object came since the study last went on.
        quiet_from: since when silence counts: the last object, or the door's opening.
        released: whether all associations that brought it were released.
        announced: what headers and notices announce.
        archive: the answer of the archive that ``terms.ask`` names, without the node's own
            results; None where there is none.
        wanted: what has come of ``terms.series``.
        pauses: of past studies of the same peer and protocol, in seconds, the newest first.
        terms: what the administrator has configured.
    """

    now: float
    first_at: float
    quiet_from: float
    objects: int
    terms: Completeness
    urgency: Urgency = Urgency.MEDIUM
    released: bool = False
    announced: Announced = NOTHING_ANNOUNCED
    archive: ArchiveCount | None = None
    wanted: Wanted = NOTHING_WANTED
    pauses: Sequence[float] = ()


def policy(
    peer: Peer | None, rule: Rule | None = None, quiet_s: float | None = None
) -> Completeness:
    """The terms of a peer's studies for a rule: the rule's fields go before those of the peer.

    A peer without terms has the quiet time alone. ``quiet_s`` is the peer's quiet time where that
    is known better than from ``peer``, as for a peer that is no longer configured.
    """
    terms = Completeness(counts=False, wait_max_s=0.0)
    if peer is not None:
        terms = replace(peer.complete or terms, quiet_s=peer.quiet_s)
    if quiet_s is not None:
        terms = replace(terms, quiet_s=quiet_s)
    if rule is not None and rule.complete:
        fields: dict[str, Any] = dict(rule.complete)
        terms = replace(terms, **fields)
    return replace(terms, at_limit=AtLimit(terms.at_limit), series=tuple(terms.series))


def first_look_s(terms: Iterable[Completeness]) -> float:
    """After how much silence a study might be complete at the earliest, on any of these terms."""
    return min(_first_look_s(one) for one in terms)


def shortest_limit_s(terms: Iterable[Completeness]) -> float:
    """The shortest of the longest waits; infinite where none of these terms has one."""
    return min((one.wait_max_s for one in terms if one.wait_max_s), default=math.inf)


def _first_look_s(terms: Completeness) -> float:
    quiet_s = min(terms.quiet_s, terms.quiet_min_s) if terms.learn else terms.quiet_s
    if terms.counts or terms.series:
        return min(quiet_s, SOON_S)
    return quiet_s / 2 if terms.ask else quiet_s


def ask_from(case: Case) -> float:
    """From when on the archive is asked, and its answer may complete the study.

    After half the quiet time: an archive that gets the study at the same time has as much of it as
    the node at every moment, so that only after a while equal numbers mean something. And its
    answer is here when the quiet time ends.
    """
    return case.quiet_from + find_quiet_time(case.terms, case.pauses).seconds / 2


def decide(case: Case) -> Decision:
    """Whether a study is complete on these terms, or when to look again; and why."""
    quiet = find_quiet_time(case.terms, case.pauses)
    quiet_until = case.quiet_from + quiet.seconds
    limit = case.first_at + case.terms.wait_max_s if case.terms.wait_max_s else None
    numbers, series = tuple(_numbers_lacking(case)), tuple(_series_lacking(case))
    lacking = (*series, *numbers)
    if not lacking and (evidence := _evidence(case)):
        return Decision(Verdict.COMPLETE, case.now, f"Complete: {evidence}.")
    if case.now >= quiet_until:
        if not lacking:
            return Decision(Verdict.COMPLETE, case.now, _quiet_sentence(case, quiet))
        if case.urgency is Urgency.HIGH and not series:
            text = f"Urgent, and goes on after its quiet time although {_join(lacking)}."
            return Decision(Verdict.COMPLETE, case.now, text)
    if limit is not None and case.now >= limit:
        return _at_limit(case, lacking or ("objects are still arriving",))
    if case.now < quiet_until:
        return _wait_for_quiet(case, quiet, limit, lacking)
    if limit is None:
        text = f"Waits without a limit: {_join(lacking)}."
        return Decision(Verdict.WAIT, case.now + _ENDLESS_S, text)
    text = f"Waits until {clock_time(limit, case.now)}: {_join(lacking)}."
    return Decision(Verdict.WAIT, limit, text)


def clock_time(at: float, now: float) -> str:
    """A time for people, in the node's time zone; with the date where it is not near."""
    pattern = "%H:%M:%S" if abs(at - now) < _DAY_S / 2 else "%Y-%m-%d %H:%M:%S"
    return time.strftime(pattern, time.localtime(at))


def _wait_for_quiet(
    case: Case, quiet: QuietTime, limit: float | None, lacking: Sequence[str]
) -> Decision:
    ends = [case.quiet_from + quiet.seconds]
    if limit is not None:
        ends.append(limit)
    until = min(ends)
    asked = case.archive is not None and case.archive.at >= ask_from(case)
    if case.terms.ask and not asked and case.now < ask_from(case):
        ends.append(ask_from(case))
    why = _join(lacking) if lacking else f"objects came less than {quiet.seconds:g} s ago"
    if quiet.origin:
        why += f" (the quiet time is {quiet.origin})"
    text = f"Waits until {clock_time(until, case.now)}: {why}."
    return Decision(Verdict.WAIT, min(ends), text)


def _at_limit(case: Case, lacking: Sequence[str]) -> Decision:
    text = f"not complete {case.terms.wait_max_s:g} s after its first object: {_join(lacking)}."
    if case.terms.at_limit is AtLimit.HOLD:
        return Decision(Verdict.HOLD, case.now, f"Waits for a person: {text}")
    if case.terms.at_limit is AtLimit.DROP:
        return Decision(Verdict.DROP, case.now, f"Not analysed: {text}")
    return Decision(Verdict.COMPLETE, case.now, f"Goes on with what is here: {text}")


def _evidence(case: Case) -> str:
    """Half a sentence that says why all is there; '' where nothing says so."""
    terms, objects = case.terms, _count(case.objects)
    if terms.on_release and case.released:
        return f"{objects}, and the peer has released the association that brought them"
    if terms.counts:
        for one in case.announced.expectations:
            if one.whole and one.reached:
                return f"{objects}; {one}"
        if terms.series and case.wanted.whole:
            return f"{objects}; all that the series that have to be there announce of themselves"
    archive = case.archive
    asked = terms.ask and archive is not None and archive.at >= ask_from(case)
    if asked and archive is not None and archive.objects == case.objects:
        return f"{objects}, as many as '{archive.destination}' has"
    return ""


def _series_lacking(case: Case) -> Iterable[str]:
    for name in case.wanted.missing:
        yield f"the series '{name}' is not here"


def _numbers_lacking(case: Case) -> Iterable[str]:
    if case.terms.counts:
        for one in case.announced.expectations:
            if not one.reached:
                yield str(one)
        if case.announced.steps_in_progress:
            yield "the scanner is still at work (Modality Performed Procedure Step)"
    archive = case.archive
    if case.terms.ask and archive is not None and (archive.objects or 0) > case.objects:
        yield (
            f"{case.objects} of {archive.objects} objects that '{archive.destination}' has are here"
        )


def _quiet_sentence(case: Case, quiet: QuietTime) -> str:
    text = f"Complete: {_count(case.objects)}, none new for {quiet.seconds:g} s"
    if quiet.origin:
        text += f" ({quiet.origin})"
    archive = case.archive
    if case.terms.ask and archive is not None and archive.objects is None:
        text += f"; '{archive.destination}' could not be asked: {archive.reason.rstrip('.')}"
    return f"{text}."


def _count(objects: int) -> str:
    return f"{objects} object{'' if objects == 1 else 's'}"


def _join(sentences: Sequence[str]) -> str:
    shown = "; ".join(sentences[:3])
    return shown if len(sentences) <= 3 else f"{shown}; and {len(sentences) - 3} more"
