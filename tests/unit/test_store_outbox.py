"""The outbox: what is held in reserve, and what becomes of it when a destination refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondread.delivery.fallback import tell_fallbacks
from secondread.delivery.settling import settle
from secondread.domain.instance import Instance
from secondread.domain.job import PlannedJob
from secondread.domain.result import OutboxItem, ResultObject
from secondread.domain.states import DeliveryState, JobState
from secondread.errors import InvalidTransitionError
from secondread.store import Ledger, Transaction

READY, RESERVED, REPLACED, SENT, DEAD = (
    DeliveryState.READY,
    DeliveryState.RESERVED,
    DeliveryState.REPLACED,
    DeliveryState.SENT,
    DeliveryState.DEAD,
)
BINARY = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
REPORT = "1.2.840.10008.5.1.4.1.1.88.34"
LEVELS = (
    (("seg", BINARY), ("sr", REPORT)),
    (("seg", LABEL_MAP), ("sr", REPORT)),
    (("sr", REPORT),),
)
REFUSAL = "'PACS' answered 0x0122: SOP class not supported."


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with a job whose results go to two destinations in three forms."""
    ledger = Ledger.open(tmp_path)
    with ledger.begin() as change:
        seen = Instance("2.25.5", "1.1", "2.25.1", "2.25.2", "1.2", "x", 1, "a", "ct", 100.0)
        change.instances.add([seen])
        change.studies.add_instances([seen], lambda _: 5.0)
        planned = PlannedJob("heads", "brain", "1", "2.25.2", "digest", 0, "", ())
        job = change.jobs.add(1, planned, [], 100.0)
        assert job is not None
        for state in (JobState.PREPARED, JobState.INFERRED, JobState.WRITTEN):
            change.jobs.move(change.jobs.get(job.id), state, 100.0, "Moved.")
        for place in ("pacs", "viewer"):
            for level, objects in enumerate(LEVELS):
                made = [
                    ResultObject(kind, f"2.25.{place == 'pacs':d}{level}{at}", uid, f"{kind}.dcm")
                    for at, (kind, uid) in enumerate(objects)
                ]
                change.outbox.add(job.id, place, made, 100.0, level)
    yield ledger
    ledger.close()


def states(view: Transaction, place: str = "pacs") -> list[tuple[int, str, DeliveryState]]:
    return [
        (item.level, item.kind, item.state)
        for item in view.outbox.of_job(1)
        if item.destination == place
    ]


def claims(change: Transaction, place: str = "pacs") -> Iterator[OutboxItem]:
    """What is due there, one after the other."""
    while found := change.lines.claim(place, "deliver:1", 300.0, 60.0, 1):
        yield found[0].item


def claim(change: Transaction, place: str = "pacs") -> OutboxItem:
    """The next object that is due there."""
    return next(claims(change, place))


def test_what_is_in_reserve_is_not_sent(ledger: Ledger) -> None:
    sent = []
    with ledger.begin() as change:
        for place in ("pacs", "viewer"):
            for item in claims(change, place):
                sent.append((item.destination, item.level, item.kind))
                change.outbox.move(item, SENT, 200.0, "Sent.")
        settle(change, 1, 200.0)
        assert change.jobs.get(1).state is JobState.DELIVERED
        assert states(change)[2:] == [
            (1, "seg", RESERVED),
            (1, "sr", RESERVED),
            (2, "sr", RESERVED),
        ]
    assert sorted(sent) == [(p, 0, k) for p in ("pacs", "viewer") for k in ("seg", "sr")]


def test_refusal_lets_the_next_level_go_there_and_nowhere_else(ledger: Ledger) -> None:
    with ledger.begin() as change:
        assert change.outbox.fall_back(claim(change), 201.0, REFUSAL)
    with ledger.begin() as change:
        assert states(change) == [
            (0, "seg", REPLACED),
            (0, "sr", REPLACED),
            (1, "seg", READY),
            (1, "sr", READY),
            (2, "sr", RESERVED),
        ]
        assert {state for _, _, state in states(change, "viewer")} == {READY, RESERVED}
        assert claim(change).level == 1
        said = [row for row in change.trail.of_study(1) if row.event == "delivery"]
    assert [(row.before, row.after) for row in said] == [
        ("ready", "replaced"),
        ("ready", "replaced"),
        ("reserved", "ready"),
        ("reserved", "ready"),
    ]
    assert said[0].text == f"{REFUSAL} What is in reserve goes instead."
    assert said[1].text == "Not sent, because 'pacs' refused the segmentation that it goes with."
    assert said[2].text == "'pacs' refused the segmentation; this goes instead."


def test_every_level_can_be_refused_but_the_last_is_a_dead_letter(ledger: Ledger) -> None:
    for level in (0, 1):
        with ledger.begin() as change:
            item = claim(change)
            assert item.level == level
            assert change.outbox.fall_back(item, 201.0, REFUSAL)
    with ledger.begin() as change:
        item = claim(change)
        assert (item.level, item.kind) == (2, "sr")
        assert not change.outbox.fall_back(item, 201.0, REFUSAL)
        assert states(change)[-1] == (2, "sr", READY)
        change.outbox.move(item, DEAD, 202.0, REFUSAL)
        settle(change, 1, 202.0)
        # The other destination has not been served yet.
        assert change.jobs.get(1).state is JobState.WRITTEN


def test_what_was_sent_before_the_refusal_stays_sent(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.outbox.move(claim(change), SENT, 200.0, "Sent.")
        assert change.outbox.fall_back(claim(change), 201.0, REFUSAL)
        assert states(change)[:2] == [(0, "seg", SENT), (0, "sr", REPLACED)]


def test_a_crash_within_the_change_leaves_all_as_it_was(ledger: Ledger) -> None:
    with ledger.begin() as change:
        item = claim(change)
        before = states(change)
        trail = len(change.trail.of_study(1))

    class PowerCutError(Exception):
        pass

    def die() -> None:
        with ledger.begin() as change:
            change.outbox.fall_back(item, 201.0, REFUSAL)
            raise PowerCutError

    with pytest.raises(PowerCutError):
        die()
    with ledger.begin() as change:
        assert states(change) == before
        assert len(change.trail.of_study(1)) == trail
        change.outbox.release_claims_of("deliver:")
        assert claim(change).id == item.id


def test_what_was_replaced_or_is_in_reserve_cannot_be_sent(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.outbox.fall_back(claim(change), 201.0, REFUSAL)
        rows = {item.state: item for item in change.outbox.of_job(1) if item.destination == "pacs"}
        for state in (REPLACED, RESERVED):
            with pytest.raises(InvalidTransitionError):
                change.outbox.move(rows[state], SENT, 202.0, "Sent.")


def test_job_ends_when_what_went_instead_has_arrived_and_says_so(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.outbox.fall_back(claim(change), 201.0, REFUSAL)
        assert list(tell_fallbacks(change.outbox.of_job(1))) == [
            "'pacs' refused the segmentation; a label map goes instead"
        ]
        change.outbox.fall_back(claim(change), 201.0, REFUSAL)
        change.outbox.release_claims_of("deliver:")
        for place in ("pacs", "viewer"):
            for item in claims(change, place):
                change.outbox.move(item, SENT, 300.0, "Sent.")
        settle(change, 1, 300.0)
        assert change.jobs.get(1).state is JobState.DELIVERED
        told = [row.text for row in change.trail.of_study(1) if row.event == "job"]
    assert told[-1] == (
        "Everything was delivered; 'pacs' refused the segmentation; the report alone went instead."
    )


def test_adding_the_same_objects_again_doubles_nothing(ledger: Ledger) -> None:
    with ledger.begin() as change:
        before = change.outbox.of_job(1)
        for item in before:
            again = ResultObject(item.kind, item.sop_instance_uid, item.sop_class_uid, item.path)
            change.outbox.add(1, item.destination, [again], 500.0, item.level)
        assert change.outbox.of_job(1) == before
