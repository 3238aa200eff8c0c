"""What may go, and why not: decided without a disk."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from secondread.domain.destination import Destination, Proof, ProofTerms, Way
from secondread.domain.hold import Hold
from secondread.domain.retention import (
    DAY_S,
    EARLY_KINDS,
    Haste,
    KeptJob,
    KeptStudy,
    Kind,
    Retention,
    find_objection,
    judge,
    sent_is_safe,
)
from secondread.domain.states import DeliveryState, JobState, StudyState

SAFE, SENT = DeliveryState.SAFE, DeliveryState.SENT
TERMS = Retention()


def nobody(_: str) -> bool:
    return False


def job(*sendings: tuple[str, DeliveryState], state: JobState = JobState.DELIVERED) -> KeptJob:
    return KeptJob(1, "key", state, shadow=False, sendings=frozenset(sendings))


def study(*jobs: KeptJob, state: StudyState = StudyState.DONE) -> KeptStudy:
    return KeptStudy(1, "1.2", state, 1000.0, images=3, image_bytes=30, jobs=jobs)


def test_images_go_when_all_is_safe_and_their_time_is_over() -> None:
    verdict = judge(study(job(("pacs", SAFE))), Kind.IMAGES, TERMS, nobody)
    assert verdict.due_at == 1000.0 + 30 * DAY_S
    assert not verdict.may_go(verdict.due_at - 1)
    assert verdict.may_go(verdict.due_at)


@pytest.mark.parametrize("state", [one for one in StudyState if one is not StudyState.DONE])
def test_a_study_that_is_not_done_keeps_everything(state: StudyState) -> None:
    found = study(job(("pacs", SAFE)), state=state)
    assert find_objection(found, nobody) == f"The study is {state}."
    assert not judge(found, Kind.IMAGES, TERMS, nobody, Haste.ANY_AGE).may_go(math.inf)


@pytest.mark.parametrize(
    "state", [one for one in JobState if one not in {JobState.DELIVERED, JobState.SUPERSEDED}]
)
def test_a_job_that_has_not_ended_well_keeps_everything(state: JobState) -> None:
    assert find_objection(study(job(state=state)), nobody) == f"A job is {state}."


@pytest.mark.parametrize("state", [DeliveryState.READY, DeliveryState.DEAD])
def test_one_object_that_did_not_arrive_keeps_everything(state: DeliveryState) -> None:
    found = study(job(("a", SAFE), ("pacs", SAFE)), job(("pacs", state)))
    assert find_objection(found, nobody) == f"An object for 'pacs' is {state}."


def test_sent_is_not_safe_unless_the_destination_gives_no_proof() -> None:
    found = study(job(("pacs", SENT)))
    assert "not proven to be there" in find_objection(found, nobody)
    assert not find_objection(found, lambda name: name == "pacs")


@pytest.mark.parametrize("state", [DeliveryState.RESERVED, DeliveryState.REPLACED])
def test_forms_that_nobody_needed_keep_nothing(state: DeliveryState) -> None:
    assert not find_objection(study(job(("pacs", SAFE), ("pacs", state))), nobody)


def test_a_hold_goes_before_everything() -> None:
    found = replace(study(job(("pacs", SAFE))), hold=Hold(1, "court", "anna", 5.0))
    assert find_objection(found, nobody) == "It is on hold, placed by anna."


def test_a_study_without_jobs_is_one_that_no_rule_wanted() -> None:
    assert study().image_kind is Kind.UNWANTED
    assert study(job()).image_kind is Kind.IMAGES


@pytest.mark.parametrize("kind", list(Kind))
def test_0_days_is_for_ever_even_when_space_is_short(kind: Kind) -> None:
    terms = replace(TERMS, **{f"{kind.value}_days": 0.0})
    for haste in (Haste.NONE, Haste.EARLY):
        assert not judge(study(job(("pacs", SAFE))), kind, terms, nobody, haste).may_go(1e15)


def test_early_is_no_later_than_in_time_and_for_some_kinds_only() -> None:
    for kind in Kind:
        early, usual = TERMS.length_s(kind, Haste.EARLY), TERMS.length_s(kind)
        assert early == (3 * DAY_S if kind in EARLY_KINDS else usual)
    short = replace(TERMS, images_days=1.0)
    assert short.length_s(Kind.IMAGES, Haste.EARLY) == DAY_S


def test_destinations_without_proof_are_known_by_the_name_in_the_outbox() -> None:
    none = ProofTerms(Proof.NONE)
    is_safe = sent_is_safe(
        [
            Destination(name="viewer", terms=none),
            Destination(name="pacs"),
            Destination(name="back", way=Way.SENDER, terms=none),
        ]
    )
    assert is_safe("viewer")
    assert is_safe("back/ct1")
    assert not any(map(is_safe, ("pacs", "back", "backup", "gone", "viewer/x")))
    assert not sent_is_safe([])("pacs")
