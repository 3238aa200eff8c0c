"""What is to be fetched from archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondread.domain.fetch import FetchKind, FetchState
from secondread.domain.instance import Instance
from secondread.store import Ledger

OTHER_STUDY = "2.25.77"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path)
    with ledger.begin() as change:
        seen = Instance("2.25.5", "1.1", "2.25.1", "2.25.2", "1.2", "x", 1, "a", "ct", 100.0)
        change.instances.add([seen])
        change.studies.add_instances([seen], lambda _: 5.0)
    yield ledger
    ledger.close()


def test_what_was_asked_before_is_not_asked_again(ledger: Ledger) -> None:
    with ledger.begin() as change:
        assert change.fetches.ask(1, "pacs", FetchKind.PRIOR, OTHER_STUDY, 100.0)
        assert not change.fetches.ask(1, "pacs", FetchKind.PRIOR, OTHER_STUDY, 200.0)
        assert change.fetches.ask(1, "archive", FetchKind.PRIOR, OTHER_STUDY, 200.0)
        assert change.fetches.brought(OTHER_STUDY)
        assert not change.fetches.brought("2.25.1")


def test_a_claim_is_exclusive_and_comes_back_when_it_is_due(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.fetches.ask(1, "pacs", FetchKind.SEARCH, "", 100.0)
        one = change.fetches.claim("deliver:1", 100.0, 60.0)
        assert one is not None
        assert change.fetches.claim("deliver:2", 120.0, 60.0) is None
        change.fetches.postpone(one, 300.0, "It does not answer.")
        assert change.fetches.claim("deliver:2", 299.0, 60.0) is None
        again = change.fetches.claim("deliver:2", 300.0, 60.0)
    assert again is not None
    assert (again.attempts, again.reason) == (1, "It does not answer.")


def test_what_is_closed_is_in_the_trail_and_not_claimed_again(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.fetches.ask(1, "pacs", FetchKind.PRIOR, OTHER_STUDY, 100.0)
        one = change.fetches.claim("deliver:1", 100.0, 60.0)
        assert one is not None
        change.fetches.close(one, FetchState.DONE, 110.0, "An earlier study was fetched.", 20)
        assert change.fetches.claim("deliver:1", 999.0, 60.0) is None
        [row] = change.trail.of_event("fetch")
        [kept] = change.fetches.of_study(1)
    assert (row.text, row.after) == ("An earlier study was fetched.", "done")
    assert (kept.state, kept.objects) == (FetchState.DONE, 20)


def test_claims_of_the_dead_are_given_back(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.fetches.ask(1, "pacs", FetchKind.SEARCH, "", 100.0)
        assert change.fetches.claim("deliver:1", 100.0, 60.0) is not None
        assert change.fetches.release_claims_of("deliver:") == 1
        assert change.fetches.claim("deliver:2", 101.0, 60.0) is not None
