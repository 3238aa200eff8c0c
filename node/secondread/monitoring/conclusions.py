"""What can be concluded from a challenger's figures, in sentences, and what cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from secondread.monitoring.challenge import (
    SIGNIFICANCE,
    STUDIES_MIN,
    Discordance,
    Summary,
)

_NAMED_MAX = 4
NOT_BETTER = (
    "Without reference labels this says how alike the two are, and not which of them is right."
)


def concluded(summary: Summary) -> Summary:
    """The summary with its sentences."""
    return replace(summary, sentences=tuple(_sentences(summary)))


def _sentences(found: Summary) -> Iterator[str]:
    counted = found.refusals.studies
    if counted < STUDIES_MIN:
        yield (
            f"{_studies(counted)} so far, each of another patient: nothing can be concluded before "
            f"there are {STUDIES_MIN}."
        )
    else:
        yield _alike(found)
        yield _volumes(found)
        yield _refusals(found.refusals)
    yield from _judged(found.accepted)


def _alike(found: Summary) -> str:
    dice = found.dice
    if dice is None:
        return "There is no study of which both have marked the same structure in the same images."
    if dice.low is None or dice.high is None:
        return (
            f"Only {_studies(dice.studies)} could be laid over each other: how alike the two are "
            "cannot be said yet."
        )
    text = (
        f"On {_studies(dice.studies)} the two agree with a median Dice of {dice.value:.3f} "
        f"({dice.low:.3f} to {dice.high:.3f}) over their common structures"
    )
    marked = [(one.dice.value, one.name) for one in found.structures if one.dice is not None]
    if len(marked) > 1:
        worst, name = min(marked)
        text += f"; least in {name}, with {worst:.3f}"
    return f"{text}."


def _volumes(found: Summary) -> str:
    tested = [one for one in found.structures if one.difference.studies >= STUDIES_MIN]
    if not tested:
        return "There are too few common volumes to compare."
    differing = sorted(
        (one for one in tested if one.p_value < SIGNIFICANCE),
        key=lambda one: (one.p_value, one.name),
    )
    if not differing:
        return (
            f"None of {len(tested)} volumes differs systematically, as far as so many studies can "
            "tell."
        )
    named = ", ".join(
        f"{one.name} ({one.difference.value:+.2f} mL)" for one in differing[:_NAMED_MAX]
    )
    more = max(len(differing) - _NAMED_MAX, 0)
    verb = "differs" if len(differing) == 1 else "differ"
    return (
        f"{len(differing)} of {len(tested)} volumes {verb} systematically between them "
        f"(sign test, corrected for {len(tested)}): {named}"
        f"{f' and {more} more' if more else ''}; "
        "given is challenger minus champion."
    )


def _refusals(found: Discordance) -> str:
    text = (
        f"The challenger refused {_studies(found.challenger_only)} that the champion analysed, and "
        f"the champion {_studies(found.champion_only)} that the challenger analysed"
    )
    if not found.champion_only + found.challenger_only:
        return f"Of {_studies(found.studies)} they refused the same ones ({found.both})."
    if found.p_value < SIGNIFICANCE:
        more = "challenger" if found.challenger_only > found.champion_only else "champion"
        return f"{text}: the {more} refuses more (McNemar's exact test, p = {_p(found.p_value)})."
    return f"{text}: no more than chance (McNemar's exact test, p = {_p(found.p_value)})."


def _judged(found: Discordance) -> Iterator[str]:
    """Only people's judgement of both may prefer one."""
    if found.studies < STUDIES_MIN:
        yield NOT_BETTER
        if found.studies:
            yield (
                f"People have judged both on {_studies(found.studies)}: too few to prefer one "
                f"({STUDIES_MIN} are needed)."
            )
        return
    champion, challenger = (
        found.both + found.champion_only,
        found.both + found.challenger_only,
    )
    text = (
        f"People have judged both on {_studies(found.studies)} and accepted the champion's result "
        f"on {champion}, the challenger's on {challenger} (McNemar's exact test, "
        f"p = {_p(found.p_value)})"
    )
    if found.p_value < SIGNIFICANCE:
        preferred = "challenger" if challenger > champion else "champion"
        yield f"{text}: they prefer the {preferred}."
    else:
        yield NOT_BETTER
        yield f"{text}: no more than chance, so that they prefer neither."


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "less than 0.001"


def _studies(count: int) -> str:
    return "1 study" if count == 1 else f"{count} studies"
