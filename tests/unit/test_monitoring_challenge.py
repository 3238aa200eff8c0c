"""Champion and challenger over many studies: paired figures, exact tests, and what they say."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from secondread.domain.monitoring import Verdict
from secondread.monitoring.challenge import STUDIES_MIN, PairedStudy, Summary, figures
from secondread.monitoring.conclusions import NOT_BETTER, concluded
from secondread.monitoring.paired import (
    agreement,
    mcnemar,
    median,
    share_interval,
    sign_test,
)

OURS, THEIRS = ("brain", "1.0.0"), ("brain_next", "1.1.0")


def study(
    patient: int,
    *,
    refused: tuple[bool, bool] = (False, False),
    verdicts: tuple[Verdict | None, Verdict | None] = (None, None),
    **measures: float,
) -> PairedStudy:
    said: Mapping[str, float] = {
        "champion.analysed": float(not refused[0]),
        "challenger.analysed": float(not refused[1]),
        "same_input": 1.0,
        **{name.replace("__", "."): value for name, value in measures.items()},
    }
    return PairedStudy(str(patient), said, verdicts)


def alike(patient: int, dice: float = 0.9, more_ml: float = 0.0) -> PairedStudy:
    return study(
        patient,
        dice__thalamus=dice,
        champion__volume_ml__thalamus=6.0 + patient % 5,
        challenger__volume_ml__thalamus=6.0 + patient % 5 + more_ml,
        champion__seconds=10.0,
        challenger__seconds=4.0,
    )


def conclude(studies: list[PairedStudy]) -> Summary:
    return concluded(figures(OURS, THEIRS, studies))


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert mcnemar(3, 3) == 1.0


def test_the_sign_test_leaves_ties_out() -> None:
    assert sign_test([1.0, 2.0, 0.5, 3.0, 1.0, 0.0, 0.0]) == pytest.approx(2 / 32)


def test_bland_and_altman_by_hand() -> None:
    found = agreement([1.0, 2.0, 3.0], [2.0, 3.0, 6.0], least=3)
    # Differences 1, 1, 3: mean 5/3, standard deviation sqrt(4/3).
    assert found is not None
    assert found.bias == pytest.approx(5 / 3)
    assert found.high - found.bias == pytest.approx(1.96 * (4 / 3) ** 0.5)
    assert agreement([1.0, 2.0], [1.0, 2.0], least=3) is None


def test_medians_have_an_interval_only_with_enough_studies() -> None:
    values = [float(value) for value in range(30)]
    found = median(values, least=20)
    assert found is not None
    assert found.value == 14.5
    assert found.low is not None
    assert found.high is not None
    assert 8 < found.low < 14.5 < found.high < 21
    assert median(values, least=20) == found
    few = median(values[:19], least=20)
    assert few is not None
    assert (few.value, few.low, few.high) == (9.0, None, None)
    assert median([], least=1) is None


def test_wilsons_interval_by_hand() -> None:
    low, high = share_interval(0, 10)
    assert low == 0.0
    assert high == pytest.approx(1.96**2 / (10 + 1.96**2))
    with pytest.raises(ValueError, match="nothing"):
        share_interval(0, 0)


def test_few_studies_conclude_nothing() -> None:
    found = conclude([alike(patient) for patient in range(STUDIES_MIN - 1)])
    assert "nothing can be concluded before there are 20" in found.sentences[0]
    assert NOT_BETTER in found.sentences
    assert found.dice is not None
    assert found.dice.low is None


def test_studies_of_one_patient_count_once_the_newest() -> None:
    found = figures(OURS, THEIRS, [alike(1, dice=0.1), alike(2, dice=0.6), alike(1, dice=0.8)])
    assert found.compared == 2
    assert found.dice is not None
    assert found.dice.value == pytest.approx(0.7)


def test_without_labels_or_feedback_nobody_is_better() -> None:
    found = conclude([alike(patient, more_ml=0.5) for patient in range(25)])
    text = " ".join(found.sentences)
    assert "median Dice of 0.900 (0.900 to 0.900)" in text
    assert "1 of 1 volumes differs systematically" in text
    assert "thalamus (+0.50 mL)" in text
    assert NOT_BETTER in found.sentences
    assert "better" not in text
    assert "prefer" not in text
    (volume,) = found.structures
    assert volume.difference.value == pytest.approx(0.5)
    assert volume.p_value == pytest.approx(2 / 2**25)
    assert found.seconds is not None
    assert found.seconds.difference.value == -6.0


def test_refusals_of_one_and_not_of_the_other() -> None:
    studies = [alike(patient) for patient in range(20)]
    studies += [study(100 + n, refused=(False, True)) for n in range(8)]
    studies += [study(200, refused=(True, False)), study(201, refused=(True, True))]
    found = conclude(studies)
    refusals = found.refusals
    assert (refusals.champion_only, refusals.challenger_only) == (1, 8)
    assert (refusals.both, refusals.neither) == (1, 20)
    assert refusals.p_value == pytest.approx(2 * (1 + 9) / 2**9)
    assert "the challenger refuses more (McNemar's exact test, p = 0.039)" in found.sentences[2]


def test_a_difference_within_chance_is_called_so() -> None:
    studies = [alike(patient) for patient in range(20)]
    studies += [study(100 + n, refused=(False, True)) for n in range(3)]
    assert "no more than chance" in conclude(studies).sentences[2]


def test_what_was_refused_because_of_a_pause_says_nothing_of_the_model() -> None:
    paused = study(1, refused=(True, False), champion__paused=1.0)
    assert figures(OURS, THEIRS, [paused, alike(2)]).refusals.studies == 1


def test_not_comparable_are_not_compared() -> None:
    found = figures(OURS, THEIRS, [alike(1), study(2, same_input=0.0)])
    assert (found.compared, found.not_comparable) == (1, 1)


def judged(patient: int, champion: Verdict, challenger: Verdict) -> PairedStudy:
    return study(patient, verdicts=(champion, challenger))


def test_peoples_judgement_of_both_may_prefer_one() -> None:
    studies = [judged(n, Verdict.MODIFY, Verdict.ACCEPT) for n in range(10)]
    studies += [judged(20 + n, Verdict.ACCEPT, Verdict.ACCEPT) for n in range(12)]
    found = conclude(studies)
    assert found.sentences[-1].endswith("they prefer the challenger.")
    assert NOT_BETTER not in found.sentences


def test_a_judgement_of_one_alone_prefers_neither() -> None:
    studies = [study(n, verdicts=(Verdict.REJECT, None)) for n in range(30)]
    assert NOT_BETTER in conclude(studies).sentences
