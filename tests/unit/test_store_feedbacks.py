"""What people said of results: every row stays, and the last word of each person counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from secondread.domain.instance import Instance
from secondread.domain.job import PlannedJob
from secondread.domain.monitoring import Feedback, Verdict
from secondread.domain.states import StudyState
from secondread.store import Ledger
from secondread.store.studies import Waits

SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def instance(uid: str, sop_class: str, at: float) -> Instance:
    return Instance(uid, sop_class, "2.25.1", "2.25.2", "1.2", uid, 1, "a", "reader", at)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A study with two jobs of one model."""
    found = Ledger.open(tmp_path)
    with found.begin() as change:
        seen = instance("2.25.5", "1.1", 100.0)
        change.instances.add([seen])
        change.studies.add_instances([seen], lambda _: 5.0)
        for rule in ("a", "b"):
            planned = PlannedJob(rule, "brain", "1", "2.25.2", "digest", 0, "", ())
            assert change.jobs.add(1, planned, [], 100.0) is not None
    return found


def say(ledger: Ledger, job_id: int, at: float, verdict: Verdict, who: str) -> None:
    given = Feedback(job_id, at, verdict, who, remark="Mr Smith has a shunt.")
    with ledger.begin() as change:
        assert change.feedbacks.add(given) is not None


def test_last_word_of_each_person_on_each_job_counts(ledger: Ledger) -> None:
    say(ledger, 1, 10.0, Verdict.REJECT, "ann")
    say(ledger, 1, 20.0, Verdict.ACCEPT, "ann")
    say(ledger, 1, 15.0, Verdict.REJECT, "bob")
    say(ledger, 2, 5.0, Verdict.MODIFY, "ann")
    with ledger.read() as view:
        assert len(view.feedbacks.of_job(1)) == 3
        assert view.feedbacks.counts("brain", "1") == {
            Verdict.ACCEPT: 1,
            Verdict.MODIFY: 1,
            Verdict.REJECT: 1,
        }
        last = view.feedbacks.last_words("brain", "1", since=15.0)
        assert [(one.given_by, one.verdict) for one in last] == [
            ("bob", Verdict.REJECT),
            ("ann", Verdict.ACCEPT),
        ]
        assert not any(view.feedbacks.counts("brain", "2").values())


def test_trail_says_who_and_not_what_was_remarked(ledger: Ledger) -> None:
    say(ledger, 1, 10.0, Verdict.REJECT, "ann")
    with ledger.read() as view:
        (row,) = view.trail.of_event("feedback")
    assert row.text == "The result of model 'brain' 1 was rejected by 'ann'."
    assert (row.study_id, row.job_id, row.after) == (1, 1, "reject")
    assert "Smith" not in f"{row.text} {row.detail}"


def test_study_that_went_on_stays_where_it_is_when_feedback_comes(ledger: Ledger) -> None:
    waits = Waits(lambda _: 5.0, lambda _: 5.0, lambda _: 5.0, lambda one: one.sop_class_uid == SEG)
    with ledger.begin() as change:
        for after in (StudyState.ASSEMBLING, StudyState.DONE):
            change.studies.move(change.studies.get(1), after, 200.0, "On.", ready=["a"])
        before = change.studies.get(1)
        change.studies.add_instances([instance("2.25.6", SEG, 300.0)], waits)
        after_it = change.studies.get(1)
        assert (after_it.state, after_it.last_at) == (StudyState.DONE, before.last_at)
        assert after_it.instances == before.instances + 1
        change.studies.add_instances(
            [instance("2.25.7", SEG, 400.0), instance("2.25.8", "1.1", 400.0)], waits
        )
        assert change.studies.get(1).state is StudyState.RECEIVING
