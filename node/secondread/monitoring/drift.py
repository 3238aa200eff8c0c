"""Drift of one model on one scanner and protocol: the recent studies against a reference.

Every measure is compared on its own: its size by PSI, its certainty by Kolmogorov–Smirnov (the
share of 'not analysed' by Fisher's exact test), corrected by Holm for all measures of that scanner
and protocol. A change counts where it is certain and large, and is watched where it is less so;
where there are too few values, the answer is 'too few yet'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from secondread.domain.monitoring import Drift, Observation, Observed
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.monitoring.stability import Sample, fisher, holm, ks, psi, psi_of_shares

NOT_ANALYSED = "share_not_analysed"
"""The measure that counts the studies that the model refused."""
_WATCH = 5
"""What is watched may come about by chance so many times as often as what is called drift."""
_SEVERITY = (Drift.DRIFT, Drift.WATCH, Drift.OK, Drift.FEW)


@dataclass(frozen=True, slots=True)
class Windows:
    """The observations of one scanner and protocol that are compared.

    Attributes:
        reference: answered studies.
        refused: how many the model refused between the first and the last of those.
        recent: the last studies after those, answered or refused.
    """

    reference: tuple[Observation, ...]
    refused: int
    recent: tuple[Observation, ...]

    @property
    def answered(self) -> tuple[Observation, ...]:
        """Of the recent ones those that were answered."""
        return tuple(one for one in self.recent if one.outcome is Observed.ANSWERED)


@dataclass(frozen=True, slots=True)
class Shift:
    """What became of one measure.

    ``before`` and ``now`` are medians; of ``NOT_ANALYSED``, shares. ``chance`` is the p value after
    the correction. All numbers are 0, and ``chance`` 1, where there are too few values.
    """

    measure: str
    state: Drift
    before_count: int
    now_count: int
    before: float = 0.0
    now: float = 0.0
    psi: float = 0.0
    distance: float = 0.0
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one scanner and protocol.

    Attributes:
        state: of its worst measure; ``Drift.FEW`` where none could be judged.
        text: one sentence that names measure, scanner, protocol and figures.
        reference_count: answered studies in the reference.
        recent_count: recent studies, answered or refused.
        refused_before: share of 'not analysed' in the time of the reference; None without studies.
        refused_now: that among the recent ones.
        shifts: every measure, the worst first.
    """

    state: Drift
    text: str
    reference_count: int
    recent_count: int
    refused_before: float | None
    refused_now: float | None
    shifts: tuple[Shift, ...]

    @property
    def psi_max(self) -> float:
        """The largest index of a measure that could be judged."""
        return max((one.psi for one in self.shifts), default=0.0)


def examine(windows: Windows, terms: MonitoringTerms, group: tuple[str, str]) -> Found:
    """Compare the recent studies of one (scanner, protocol) with the reference."""
    shifts: tuple[Shift, ...] = ()
    if len(windows.reference) >= terms.reference:
        shifts = _judged([*_measures(windows, terms), _refusals(windows, terms)], terms)
    state = shifts[0].state if shifts else Drift.FEW
    refused_now = len(windows.recent) - len(windows.answered)
    found = Found(
        state=state,
        text="",
        reference_count=len(windows.reference),
        recent_count=len(windows.recent),
        refused_before=_share(windows.refused, len(windows.reference) + windows.refused),
        refused_now=_share(refused_now, len(windows.recent)),
        shifts=shifts,
    )
    return replace(found, text=_sentence(found, terms, group))


def _measures(windows: Windows, terms: MonitoringTerms) -> Sequence[Shift]:
    before, now = _columns(windows.reference), _columns(windows.answered)
    shifts = []
    for name in sorted(before.keys() | now.keys()):
        old, new = (side.get(name, np.empty(0)) for side in (before, now))
        shift = Shift(name, Drift.FEW, len(old), len(new))
        if min(len(old), len(new)) >= terms.minimum:
            distance, chance = ks(old, new)
            shift = replace(
                shift,
                state=Drift.OK,
                before=float(np.median(old)),
                now=float(np.median(new)),
                psi=psi(old, new),
                distance=distance,
                chance=chance,
            )
        shifts.append(shift)
    return shifts


def _columns(observations: Sequence[Observation]) -> Mapping[str, Sample]:
    """The values of every measure, ``(observation,)``."""
    found: dict[str, list[float]] = {}
    for one in observations:
        for name, value in one.measures.items():
            found.setdefault(name, []).append(value)
    return {name: np.array(values, np.float64) for name, values in found.items()}


def _refusals(windows: Windows, terms: MonitoringTerms) -> Shift:
    before = (windows.refused, len(windows.reference) + windows.refused)
    now = (len(windows.recent) - len(windows.answered), len(windows.recent))
    shift = Shift(NOT_ANALYSED, Drift.FEW, before[1], now[1])
    if min(before[1], now[1]) < terms.minimum:
        return shift
    shares = before[0] / before[1], now[0] / now[1]
    return replace(
        shift,
        state=Drift.OK,
        before=shares[0],
        now=shares[1],
        psi=psi_of_shares(before, now),
        distance=abs(shares[1] - shares[0]),
        chance=fisher(before, now),
    )


def _judged(shifts: Sequence[Shift], terms: MonitoringTerms) -> tuple[Shift, ...]:
    """The same with states and corrected p values, the worst first."""
    known = [one for one in shifts if one.state is not Drift.FEW]
    few = [one for one in shifts if one.state is Drift.FEW]
    chances = holm([one.chance for one in known])
    found = [
        replace(one, chance=chance, state=_state(one.psi, chance, terms))
        for one, chance in zip(known, chances, strict=True)
    ]
    found.sort(key=lambda one: (_SEVERITY.index(one.state), -one.psi, one.measure))
    return (*found, *few)


def _state(index: float, chance: float, terms: MonitoringTerms) -> Drift:
    if index >= terms.psi_drift and chance < terms.level:
        return Drift.DRIFT
    if index >= terms.psi_watch and chance < _WATCH * terms.level:
        return Drift.WATCH
    return Drift.OK


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _sentence(found: Found, terms: MonitoringTerms, group: tuple[str, str]) -> str:
    place = f"{group[0]} ({group[1]})"
    if found.reference_count < terms.reference:
        return (
            f"Too few studies from {place} to say anything: {found.reference_count} of the "
            f"{terms.reference} that make a reference."
        )
    if found.state is Drift.FEW:
        return (
            f"Too few studies from {place} to say anything: {found.recent_count} since the "
            f"reference was full, and {terms.minimum} are needed."
        )
    known = [one for one in found.shifts if one.state is not Drift.FEW]
    counts = f"{found.recent_count} studies against {found.reference_count}"
    if found.state is Drift.OK:
        return (
            f"Nothing that was looked at has changed on {place} by more than chance makes it: "
            f"{len(known)} measures, {counts}."
        )
    worst = known[0]
    others = sum(one.state is not Drift.OK for one in known) - 1
    also = f" {others} more of {len(known)} measures changed as well." if others else ""
    return (
        f"On {place} '{worst.measure}' is {worst.now:.4g} and was {worst.before:.4g} in the "
        f"reference (PSI {worst.psi:.2f}, distance {worst.distance:.2f}, p {_chance(worst.chance)} "
        f"corrected for {len(known)} measures; {counts}).{also}"
    )


def _chance(value: float) -> str:
    return "below 0.0001" if value < 0.0001 else f"{value:.4f}"
