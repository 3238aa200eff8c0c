"""What a challenger's comparisons come to, and what can and cannot be concluded from them.

Without reference labels two models only agree or differ; neither is 'better'. The one thing that
may prefer one is people's judgement of both on the same studies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from secondread.domain.monitoring import Verdict
from secondread.monitoring.paired import (
    Agreement,
    Median,
    agreement,
    mcnemar,
    median,
    sign_test,
)
from secondread.monitoring.pairing import CHALLENGER, CHAMPION, DICE, NUMBER, VOLUME_ML
from secondread.monitoring.stability import holm

STUDIES_MIN = 20
"""So many studies before an interval, a limit of agreement or a conclusion is given."""
STUDIES_MAX = 1000
"""The newest so many studies count."""
SIGNIFICANCE = 0.05

ANALYSED, PAUSED, SAME_INPUT, SECONDS = "analysed", "paused", "same_input", "seconds"
UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True)
class PairedStudy:
    """One comparison.

    Attributes:
        patient: any text that is the same for studies of one patient, such as a keyed hash.
        measures: of the comparison, by name.
        verdicts: of people on the champion's and on the challenger's result; None where none.
    """

    patient: str
    measures: Mapping[str, float]
    verdicts: tuple[Verdict | None, Verdict | None] = (None, None)

    def analysed(self, side: str) -> bool:
        """Whether this side answered rather than refused."""
        return bool(self.measures.get(f"{side}.{ANALYSED}", 0.0))


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantity of both models, study by study.

    Attributes:
        name: a structure or a number, as the champion calls it.
        champion: median of the champion; ``challenger`` likewise.
        difference: median of challenger minus champion, with its paired interval.
        limits: Bland and Altman's; None with too few studies.
        p_value: of the sign test, corrected for all quantities of the comparison.
        dice: median Dice; None where the quantity is no volume, or nobody found any of it.
    """

    name: str
    champion: Median
    challenger: Median
    difference: Median
    limits: Agreement | None
    p_value: float
    dice: Median | None = None


@dataclass(frozen=True, slots=True)
class Discordance:
    """Something that is so with one and not with the other; McNemar's exact test.

    ``both`` and ``neither`` are the studies on which the two are alike.
    """

    champion_only: int
    challenger_only: int
    both: int
    neither: int

    @property
    def studies(self) -> int:
        """All of them."""
        return self.champion_only + self.challenger_only + self.both + self.neither

    @property
    def p_value(self) -> float:
        """That the two are alike but for chance."""
        return mcnemar(self.champion_only, self.challenger_only)


@dataclass(frozen=True, slots=True)
class Summary:
    """A challenger beside its champion; each patient counts once, with the newest study.

    Attributes:
        champion: model id and version; ``challenger`` likewise.
        refusals: studies that were refused.
        compared: studies that both analysed, from the same images.
        not_comparable: studies that both analysed, but from other images or on another grid, or of
            which an answer was gone.
        dice: median over studies of the mean Dice over structures.
        structures: volumes in mL; ``numbers`` are the measurements of both.
        seconds: how long they took; None where it is not known.
        unmatched: structures that the champion has alone, and that the challenger has alone.
        accepted: results that people accepted, of studies on which both were judged.
        sentences: what can be concluded, and what cannot.
    """

    champion: tuple[str, str]
    challenger: tuple[str, str]
    refusals: Discordance
    compared: int
    not_comparable: int
    dice: Median | None
    structures: tuple[Difference, ...]
    numbers: tuple[Difference, ...]
    seconds: Difference | None
    unmatched: tuple[int, int]
    accepted: Discordance
    sentences: tuple[str, ...] = field(default=())


def newest_of_each_patient(studies: Sequence[PairedStudy]) -> tuple[PairedStudy, ...]:
    """Independent pairs: of each patient the last, where neither model was paused."""
    counted = [
        study
        for study in studies
        if not any(study.measures.get(f"{side}.{PAUSED}") for side in (CHAMPION, CHALLENGER))
    ]
    return tuple({study.patient: study for study in counted}.values())[-STUDIES_MAX:]


def figures(
    champion: tuple[str, str], challenger: tuple[str, str], studies: Sequence[PairedStudy]
) -> Summary:
    """The figures alone.

    Args:
        champion: model id and version.
        challenger: likewise.
        studies: comparisons of these two, oldest first.
    """
    counted = newest_of_each_patient(studies)
    both = [one for one in counted if one.analysed(CHAMPION) and one.analysed(CHALLENGER)]
    compared = [one for one in both if one.measures.get(SAME_INPUT)]
    means = [fmean(dice) for one in compared if (dice := _dice_of(one))]
    last = compared[-1].measures if compared else {}
    return Summary(
        champion=champion,
        challenger=challenger,
        refusals=_discordance(
            [(not one.analysed(CHAMPION), not one.analysed(CHALLENGER)) for one in counted]
        ),
        compared=len(compared),
        not_comparable=len(both) - len(compared),
        dice=median(means, STUDIES_MIN),
        structures=_differences(compared, VOLUME_ML),
        numbers=_differences(compared, NUMBER),
        seconds=_difference(compared, SECONDS, SECONDS),
        unmatched=(
            int(last.get(f"{CHAMPION}.{UNMATCHED}", 0)),
            int(last.get(f"{CHALLENGER}.{UNMATCHED}", 0)),
        ),
        accepted=_discordance(
            [
                (first is Verdict.ACCEPT, second is Verdict.ACCEPT)
                for first, second in (one.verdicts for one in counted)
                if first is not None and second is not None
            ]
        ),
    )


def _discordance(pairs: Sequence[tuple[bool, bool]]) -> Discordance:
    return Discordance(
        champion_only=pairs.count((True, False)),
        challenger_only=pairs.count((False, True)),
        both=pairs.count((True, True)),
        neither=pairs.count((False, False)),
    )


def _dice_of(study: PairedStudy) -> list[float]:
    return [value for name, value in study.measures.items() if name.startswith(f"{DICE}.")]


def _differences(studies: Sequence[PairedStudy], kind: str) -> tuple[Difference, ...]:
    """Every quantity of a kind, in the order in which it was met; p values corrected together."""
    start = f"{CHAMPION}.{kind}."
    names = dict.fromkeys(
        name.removeprefix(start)
        for study in studies
        for name in study.measures
        if name.startswith(start)
    )
    found = [_difference(studies, f"{kind}.{name}", name) for name in names]
    there = [one for one in found if one is not None]
    corrected = holm([one.p_value for one in there])
    return tuple(
        _with_p(one, p_value, studies) for one, p_value in zip(there, corrected, strict=True)
    )


def _difference(studies: Sequence[PairedStudy], measure: str, name: str) -> Difference | None:
    pairs = [
        (one.measures[f"{CHAMPION}.{measure}"], one.measures[f"{CHALLENGER}.{measure}"])
        for one in studies
        if f"{CHAMPION}.{measure}" in one.measures and f"{CHALLENGER}.{measure}" in one.measures
    ]
    if not pairs:
        return None
    ours, theirs = [first for first, _ in pairs], [second for _, second in pairs]
    changes = [second - first for first, second in pairs]
    return Difference(
        name=name,
        champion=_known(median(ours, STUDIES_MIN)),
        challenger=_known(median(theirs, STUDIES_MIN)),
        difference=_known(median(changes, STUDIES_MIN)),
        limits=agreement(ours, theirs, STUDIES_MIN),
        p_value=sign_test(changes),
    )


def _with_p(one: Difference, p_value: float, studies: Sequence[PairedStudy]) -> Difference:
    dice = [
        study.measures[f"{DICE}.{one.name}"]
        for study in studies
        if f"{DICE}.{one.name}" in study.measures
    ]
    return replace(one, p_value=p_value, dice=median(dice, STUDIES_MIN))


def _known(found: Median | None) -> Median:
    assert found is not None
    return found
