"""Which of the series that have to be there have come, and whether a rule wants the study."""

from __future__ import annotations

from collections.abc import Sequence

from secondread.assembly.completeness import Wanted
from secondread.assembly.conditions import Circumstances, attributes_of, holds
from secondread.domain.completeness import WantedSeries
from secondread.domain.condition import Condition
from secondread.domain.network import Rule
from secondread.domain.series import SeriesSummary


def find_wanted(
    wanted: Sequence[WantedSeries],
    series: Sequence[SeriesSummary],
    circumstances: Circumstances,
    whole_series: frozenset[str],
) -> Wanted:
    """What has come of the series that have to be there.

    Args:
        wanted: those series.
        series: what is here.
        circumstances: where the study came from, and when.
        whole_series: UIDs of the series that have all that their headers announce.
    """
    missing, whole = [], True
    for one in wanted:
        matching = {
            found.series_instance_uid for found in series if _fits(one.when, found, circumstances)
        }
        if not matching:
            missing.append(one.name)
        whole = whole and bool(matching & whole_series)
    return Wanted(tuple(missing), bool(wanted) and whole)


def is_wanted(rule: Rule, series: Sequence[SeriesSummary], circumstances: Circumstances) -> bool:
    """Whether a rule wants the study: all its conditions hold for one series of images."""
    return any(_fits(rule.when, one, circumstances) for one in series if one.holds_images)


def _fits(when: tuple[Condition, ...], series: SeriesSummary, circumstances: Circumstances) -> bool:
    """Whether all conditions hold for one part of a series."""
    parts = series.parts or (None,)
    return any(holds(when, attributes_of(series, part), circumstances) for part in parts)
