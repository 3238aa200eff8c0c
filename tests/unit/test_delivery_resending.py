"""Sending again by hand: what may go once more, and what becomes of its job and study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondread.delivery.resending import (
    Resent,
    resend_destination,
    resend_object,
    resend_study,
)
from secondread.delivery.settling import settle
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.errors import NotFoundError, UsageError
from tests.house import StillClock
from tests.outbox_cases import Outbox


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    """Two jobs whose objects were all given up by one destination, and all sent to another."""
    made = Outbox(tmp_path, StillClock())
    made.fill("pacs", "viewer", jobs=2, objects=2)
    with made.ledger.begin() as change:
        for item in made.items():
            after = DeliveryState.DEAD if item.destination == "pacs" else DeliveryState.SENT
            change.outbox.move(item, after, 1.0, "So it is.")
        for job_id in (1, 2):
            settle(change, job_id, 1.0)
    yield made
    made.close()


def purge(box: Outbox, outbox_id: int) -> None:
    with box.ledger.begin() as change:
        change.jobs._connection.exec_driver_sql(
            f"UPDATE outbox SET purged_at = 5 WHERE id = {outbox_id}"
        )


def test_all_of_a_study_and_its_job_go_on(box: Outbox) -> None:
    with box.ledger.begin() as change:
        assert change.jobs.get(1).state is JobState.FAILED
        assert resend_study(change, 1, 9.0) == Resent(2)
        assert change.jobs.get(1).state is JobState.WRITTEN
        assert change.jobs.get(2).state is JobState.FAILED
        assert change.studies.get(1).state is StudyState.ASSEMBLING
        with pytest.raises(UsageError, match="nothing of study 1 that was given up"):
            resend_study(change, 1, 9.0)
    assert box.states("pacs") == ["ready", "ready", "dead", "dead"]


def test_one_object_may_be_sent_again_even_if_it_was_sent(box: Outbox) -> None:
    item = box.items("viewer")[0]
    with box.ledger.begin() as change:
        assert resend_object(change, item.id, 9.0) == Resent(1)
        with pytest.raises(UsageError, match="waits to be sent"):
            resend_object(change, item.id, 9.0)
        with pytest.raises(NotFoundError, match="no object 4711"):
            resend_object(change, 4711, 9.0)
    assert box.states("viewer") == ["ready", "sent", "sent", "sent"]


def test_what_is_not_on_disk_any_more_stays_and_is_counted(box: Outbox) -> None:
    dead = box.items("pacs")
    purge(box, dead[0].id)
    with box.ledger.begin() as change:
        with pytest.raises(UsageError, match="retention rules"):
            resend_object(change, dead[0].id, 9.0)
        assert resend_destination(change, "pacs", 9.0) == Resent(3, purged=1)
    assert box.states("pacs") == ["dead", "ready", "ready", "ready"]
    with (
        box.ledger.begin() as change,
        pytest.raises(UsageError, match="all 1 results for 'pacs'"),
    ):
        resend_destination(change, "pacs", 9.0)
