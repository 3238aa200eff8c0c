"""Work of others' worklists in the ledger, and what is fetched for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondread.domain.fetch import FetchKind, FetchState
from secondread.domain.worklist import WorkState
from secondread.store import Ledger
from secondread.store.workitems import NewWork

STUDY = "2.25.11"
ITEM = NewWork("ris", "1.2.77", "2.25.1", STUDY, {"code": ["segment", "99TEST", "x"]})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path)
    yield ledger
    ledger.close()


def test_an_item_is_kept_once_and_is_due_until_it_is_over(ledger: Ledger) -> None:
    with ledger.begin() as change:
        assert change.workitems.add(ITEM, 100.0)
        assert not change.workitems.add(ITEM, 100.0)
        assert change.workitems.open_count("ris") == 1
        assert change.workitems.open_count("other") == 0
        (row,) = change.workitems.due("ris", 100.0)
        change.workitems.postpone(row, 200.0, "It does not answer.")
        assert change.workitems.due("ris", 199.0) == ()
        (row,) = change.workitems.due("ris", 200.0)
        assert (row.attempts, row.reason) == (1, "It does not answer.")
        change.workitems.keep_content(row, {"percent": 10.0})
        change.workitems.move(row, WorkState.LOST, 300.0, "Another has it.")
        assert change.workitems.due("ris", 999.0) == ()
        assert change.workitems.knows("ris", "1.2.77")
        (row,) = change.workitems.of_worklist("ris")
        assert (row.state, row.content["percent"], row.content["code"][0]) == (
            WorkState.LOST,
            10.0,
            "segment",
        )
        (told,) = change.trail.of_event("workitem")
    assert (told.before, told.after, told.detail) == ("found", "lost", {"worklist": "ris"})


def test_a_study_is_fetched_for_a_worklist_before_anything_of_it_is_here(ledger: Ledger) -> None:
    with ledger.begin() as change:
        for _ in range(2):
            change.fetches.ask_for_work("pacs", STUDY, 100.0)
        one = change.fetches.claim("deliver:1", 100.0, 60.0)
        assert one is not None
        assert (one.study_id, one.kind) == (0, FetchKind.WORK)
        assert change.fetches.claim("deliver:1", 100.0, 60.0) is None
        change.fetches.close(one, FetchState.DONE, 101.0, "Fetched.", 3)
        assert change.fetches.state_of_work("pacs", STUDY) is FetchState.DONE
        change.fetches.ask_for_work("pacs", STUDY, 200.0)
        assert change.fetches.state_of_work("pacs", STUDY) is FetchState.READY
        assert change.fetches.state_of_work("other", STUDY) is None
        (row,) = change.trail.of_event("fetch")
    assert row.study_id is None
