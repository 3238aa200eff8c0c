"""A ledger of an older version keeps what it has when it is opened by this one."""

from __future__ import annotations

from pathlib import Path

import alembic.command
import alembic.config
import sqlalchemy as sa

from secondread.domain.instance import Instance
from secondread.domain.job import PlannedJob
from secondread.domain.network import Urgency
from secondread.domain.result import ResultObject
from secondread.domain.states import DeliveryState, JobState
from secondread.store import Ledger
from secondread.store.ledger import LEDGER_NAME
from secondread.store.versions import Terms

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def take_back(folder: Path, revision: str) -> None:
    """Make a ledger one of an older version."""
    engine = sa.create_engine(f"sqlite:///{folder / LEDGER_NAME}")
    options = alembic.config.Config()
    options.set_main_option("script_location", "secondread.store:migrations")
    with engine.begin() as connection:
        options.attributes["connection"] = connection
        alembic.command.downgrade(options, revision)
    engine.dispose()


def fill(ledger: Ledger) -> None:
    """Two jobs whose results wait; the younger one is urgent."""
    with ledger.begin() as change:
        seen = Instance("2.25.5", "1.1", "2.25.1", "2.25.2", "1.2", "x", 1, "a", "ct", 100.0)
        change.instances.add([seen])
        change.studies.add_instances([seen], lambda _: 5.0)
        for number, urgency in enumerate((Urgency.MEDIUM, Urgency.HIGH)):
            planned = PlannedJob(f"rule{number}", "brain", "1", "2.25.2", "digest", 0, "", ())
            job = change.jobs.add(1, planned, [], 100.0, Terms(urgency=urgency))
            assert job is not None
            for state in (JobState.PREPARED, JobState.INFERRED, JobState.WRITTEN):
                change.jobs.move(change.jobs.get(job.id), state, 100.0, "Moved.")
            made = ResultObject("seg", f"2.25.9{number}", SEGMENTATION, f"{number}.dcm")
            change.outbox.add(job.id, "pacs", [made], 100.0)


def test_results_that_wait_are_there_and_in_their_turn_after_0006(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    fill(ledger)
    ledger.close()
    take_back(tmp_path, "0005")
    ledger = Ledger.open(tmp_path)
    with ledger.begin() as change:
        claimed = change.lines.claim("pacs", "deliver:1", 200.0, 60.0, 10)
        rows = change.outbox.of_job(1) + change.outbox.of_job(2)
        facts = change.instances.of_study("2.25.1")
    ledger.close()
    assert [one.item.path for one in claimed] == ["1.dcm", "0.dcm"]
    assert {item.state for item in rows} == {DeliveryState.READY}
    assert [one.sop_instance_uid for one in facts] == ["2.25.5"]
