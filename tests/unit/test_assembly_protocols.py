"""Which series a model gets from studies as scanners send them, and why none of the others."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from secondread.assembly.selection import plan
from secondread.bundles.input import read_input
from secondread.bundles.manifest import Manifest, read_manifest
from secondread.config.conditions import parse_conditions
from secondread.config.first_party import first_party_folder
from secondread.domain.job import Candidate, PlannedJob
from secondread.domain.network import Rule
from secondread.domain.series import SeriesSummary
from secondread.domain.states import StudyState
from secondread.domain.study import Study
from tests.protocols import (
    CT_HEAD,
    DOSE,
    MR_HEAD,
    MR_T1,
    OUR_REPORT,
    PROTOCOLS,
    SCREEN,
    SIZES,
    Protocol,
    echoes,
)
from tests.summaries import broken, part, series

STUDY = Study(1, "2.25.1", StudyState.ASSEMBLING, "ct1", 0.0, 0.0, 0.0, 0.0, 0, 0, "")


def manifest(text: str, title: str = "the model") -> Manifest:
    envelope = read_input(tomllib.loads(text))
    return Manifest(
        *("m", "1", title, "", "", "", True, envelope, "torch", 60.0, 1, (), {}, Path(), "", {})
    )


def rule(when: str = "", name: str = "r", **said) -> Rule:
    conditions = parse_conditions(tomllib.loads(when).get("when", []))
    return Rule(
        name=name,
        model="m",
        destinations=(),
        priority=0,
        report_not_analysed=True,
        when=conditions,
        **said,
    )


def planned(case: Protocol, study: Sequence[SeriesSummary] | None = None) -> PlannedJob:
    made = plan(STUDY, study or case.study, [rule(case.when)], {"m": manifest(case.model)})
    (job,) = made.jobs
    return job


def key_of(candidate: Candidate) -> int | tuple[int, str]:
    number = int(candidate.series_instance_uid.removeprefix("2.25.7"))
    return (number, candidate.part) if candidate.part else number


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_series_that_is_chosen_and_the_reasons_against_the_others(name):
    case = PROTOCOLS[name]
    job = planned(case)
    found = {key_of(candidate): candidate for candidate in job.candidates}
    assert set(found) == set(case.reasons) | ({case.chosen} - {None})
    for key, reason in case.reasons.items():
        assert found[key].reason.startswith(reason), key
        assert found[key].reason.endswith(".")
        assert found[key].accepted is reason.startswith("Suitable"), key
    if case.chosen is None:
        assert job.refusal
        return
    assert job.refusal == ""
    number, name_of_part = case.chosen if isinstance(case.chosen, tuple) else (case.chosen, "")
    assert (job.series_instance_uid, job.part) == (f"2.25.7{number}", name_of_part)
    assert found[case.chosen].reason.startswith("Chosen: ")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_order_in_which_series_come_changes_nothing(name):
    case = PROTOCOLS[name]
    expected = planned(case)
    order = list(case.study)
    for seed in range(10):
        random.Random(seed).shuffle(order)
        assert planned(case, order) == expected


def test_the_first_preferred_condition_outweighs_all_others():
    text = f"""modality = ["CT"]
    {SIZES}
    preferred = [
        {{ attribute = "KVP", is = 120 }},
        {{ attribute = "SliceThickness", to = 2 }},
        {{ attribute = "ContrastBolusAgent", present = false }},
    ]"""
    study = (
        series(1, part(slices=900), SliceThickness=1),
        series(2, KVP=120, SliceThickness=5, ContrastBolusAgent="Iomeron"),
        series(3, KVP=120, SliceThickness=1, ContrastBolusAgent="Iomeron"),
        series(4, KVP=100, SliceThickness=1),
    )
    job = planned(Protocol(text, study, None, {}))
    assert job.series_instance_uid == "2.25.73"


def test_a_refusal_names_the_nearest_miss_first_and_quotes_no_free_text():
    hole = broken("missing-slices", "One slice is missing.", slices=40)
    study = (
        series(1, Modality="MR"),
        series(2, ConvolutionKernel="Bone for Dr Quill", SeriesDescription="Zebedee Quill"),
        series(3, hole),
        series(4, part("EchoNumbers 2", slices=3)),
        DOSE,
    )
    job = planned(Protocol(CT_HEAD, study, None, {}))
    assert job.series_instance_uid == "2.25.73"
    assert job.refusal == (
        "No series of this study can be analysed by the model. Series 3: One slice is missing. "
        "Series 4 (EchoNumbers 2): It has 3 slices; the model takes 10 to 2000. "
        "Series 2: Its ConvolutionKernel matches '(?i)bone|^H[67]', which the model "
        "does not take. "
        "Series 1: Its modality is MR; the model takes CT. Series 999: It holds no images (SR)."
    )
    assert "Quill" not in str([candidate.reason for candidate in job.candidates])


@pytest.mark.parametrize(
    ("age", "words"), [(12, "Its PatientAge is 12, not from 18 to 80."), (101, "Its PatientAge is")]
)
def test_an_age_that_few_people_reach_is_not_quoted(age, words):
    text = f"""modality = ["CT"]
    {SIZES}
    required = [{{ attribute = "PatientAge", from = 18, to = 80 }}]"""
    job = planned(Protocol(text, (series(1, PatientAge=age),), None, {}))
    assert words in job.refusal
    assert "101" not in job.refusal


def test_what_the_brain_model_takes_of_a_head():
    brain = read_manifest(first_party_folder("brain_mr"))
    (job,) = plan(STUDY, MR_HEAD, [replace(rule(), model="brain_mr")], {"brain_mr": brain}).jobs
    assert (job.refusal, job.series_instance_uid) == ("", "2.25.72")
    reasons = {key_of(candidate): candidate.reason for candidate in job.candidates}
    assert reasons[3] == "Its EchoTime is 90, which the model does not take."
    assert reasons[8].startswith(
        "Suitable, another is better (its ContrastBolusAgent is present): "
    )
    (job,) = plan(
        STUDY, MR_HEAD[2:6], [replace(rule(), model="brain_mr")], {"brain_mr": brain}
    ).jobs
    assert "Series 4: Its EchoTime is 100, which the model does not take." in job.refusal


def test_a_series_of_many_parts_is_told_in_few_words():
    parts = [part(f"TemporalPositionIdentifier {n}", 30, (3.0, 3.0, 3.0)) for n in range(1, 201)]
    study = (series(3, parts, Modality="MR", EchoTime=30), series(4, part(slices=3), Modality="MR"))
    envelope = {"m": manifest(MR_T1)}
    made = plan(STUDY, study, [rule()], envelope)
    chosen, others, _ = made.jobs[0].candidates
    assert (chosen.part, chosen.reason[:7]) == ("TemporalPositionIdentifier 1", "Chosen:")
    assert others.part == "TemporalPositionIdentifier 2 and 198 more"
    assert others.reason.startswith("Suitable, another is better (it comes later): ")
    assert made.answers[0].reason == "It asks for series 3, series 4."
    assert len(made.answers[0].findings) == 2
    strict = {"m": manifest(MR_T1.replace("to = 30", "to = 20"))}
    (job,) = plan(STUDY, study, [rule()], strict).jobs
    assert job.refusal == (
        "No series of this study can be analysed by the model. "
        "Series 3: Its EchoTime is 30, not 20 or less. Series 4: Its EchoTime is absent."
    )
    asks = rule('when = [{ attribute = "TemporalPositionIdentifier", is = 7 }]')
    assert not plan(STUDY, study, [asks], envelope).jobs


def test_a_rule_that_asks_for_one_part_names_it():
    study = (echoes(), series(12, Modality="MR"))
    asks = rule('when = [{ attribute = "EchoTime", is = 10 }]')
    made = plan(STUDY, study, [asks], {"m": manifest(MR_T1)})
    assert made.answers[0].reason == "It asks for series 11 (EchoTime 10)."
    (_, finding), (_, other) = made.answers[0].findings
    assert finding.holds
    assert [item.holds for item in finding.parts] == [True, False]
    assert finding.parts[0].text.startswith("EchoTime 10: ")
    assert not other.holds


def test_a_refusal_is_new_only_when_something_comes_that_might_have_been_analysed():
    def digest_of(*study):
        asks = rule('when = [{ attribute = "Modality", is = "CT" }]')
        (job,) = plan(STUDY, study, [asks], {"m": manifest(CT_HEAD)}).jobs
        assert job.refusal
        return job.input_digest

    chest = series(2, BodyPartExamined="CHEST")
    assert digest_of(chest) == digest_of(chest, SCREEN, OUR_REPORT, DOSE)
    assert digest_of(chest) == digest_of(chest, series(4, Modality="MR"))
    assert digest_of(chest) != digest_of(chest, series(4, BodyPartExamined="CHEST"))
    assert digest_of(SCREEN) != digest_of(chest)
