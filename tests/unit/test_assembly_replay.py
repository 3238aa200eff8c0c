"""What differs between what was done and what would be done, in every combination."""

from __future__ import annotations

import pytest

from secondread.assembly.replay import Difference, Outcome, compare

UNWANTED = Outcome(wanted=False, reason="whatever")
REFUSED = Outcome(wanted=True, series_instance_uid="1", reason="Too few slices.")
REFUSED_ELSE = Outcome(wanted=True, series_instance_uid="2", reason="Too many slices.")
ANALYSED = Outcome(wanted=True, accepted=True, model_id="m", series_instance_uid="1")
OTHER_PART = Outcome(wanted=True, accepted=True, model_id="m", series_instance_uid="1", part="b")
OTHER_SERIES = Outcome(wanted=True, accepted=True, model_id="m", series_instance_uid="2")
OTHER_MODEL = Outcome(wanted=True, accepted=True, model_id="n", series_instance_uid="2")


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        (UNWANTED, UNWANTED, None),
        (UNWANTED, Outcome(wanted=False, reason="else"), None),
        (UNWANTED, REFUSED, Difference.NEWLY_REFUSED),
        (UNWANTED, ANALYSED, Difference.NEWLY_ANALYSED),
        (REFUSED, UNWANTED, Difference.NO_LONGER_REFUSED),
        (REFUSED, REFUSED, None),
        (REFUSED, REFUSED_ELSE, Difference.OTHER_REASON),
        (REFUSED, ANALYSED, Difference.NEWLY_ANALYSED),
        (ANALYSED, UNWANTED, Difference.NO_LONGER_ANALYSED),
        (ANALYSED, REFUSED, Difference.NO_LONGER_ANALYSED),
        (ANALYSED, ANALYSED, None),
        (ANALYSED, OTHER_PART, Difference.OTHER_SERIES),
        (ANALYSED, OTHER_SERIES, Difference.OTHER_SERIES),
        (ANALYSED, OTHER_MODEL, Difference.OTHER_MODEL),
    ],
)
def test_every_difference_has_its_name(
    before: Outcome, after: Outcome, difference: Difference | None
) -> None:
    assert compare(before, after) is difference
