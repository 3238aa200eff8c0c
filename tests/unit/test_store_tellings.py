"""What listeners are to be told, drawn from the trail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondread.domain.telling import Event, TellingState
from secondread.store import Ledger
from secondread.store.tellings import Message

MESSAGE = Message(Event.DESTINATION_DOWN, "destination-down/7", None, None, {"at": 1.0})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path)
    yield ledger
    ledger.close()


def say(ledger: Ledger, text: str, event: str = "line") -> None:
    with ledger.begin() as change:
        change.trail.append(100.0, event, text)


def unread(ledger: Ledger, target: str = "ris") -> list[str]:
    with ledger.begin() as change:
        change.tellings.introduce(target)
        return [row.text for row in change.tellings.unread(target, ["line"], 10)]


def test_a_new_listener_hears_what_happens_from_now_on(ledger: Ledger) -> None:
    say(ledger, "Before.")
    assert unread(ledger) == []
    say(ledger, "After.")
    say(ledger, "Of another kind.", event="clock")
    assert unread(ledger) == ["After."]


def test_what_was_drawn_is_not_drawn_again_and_each_listener_has_its_mark(ledger: Ledger) -> None:
    assert unread(ledger) == unread(ledger, "hook") == []
    say(ledger, "One.")
    with ledger.begin() as change:
        [row] = change.tellings.unread("ris", ["line"], 10)
        change.tellings.keep_read("ris", row.id)
    assert unread(ledger) == []
    assert unread(ledger, "hook") == ["One."]


def test_a_transaction_that_fails_draws_nothing(ledger: Ledger) -> None:
    unread(ledger)
    say(ledger, "One.")
    with pytest.raises(RuntimeError), ledger.begin() as change:
        [row] = change.tellings.unread("ris", ["line"], 10)
        change.tellings.add("ris", MESSAGE, 100.0)
        change.tellings.keep_read("ris", row.id)
        raise RuntimeError
    assert unread(ledger) == ["One."]
    with ledger.read() as view:
        assert view.tellings.of_target("ris") == ()


def test_the_same_message_is_kept_once_for_each_listener(ledger: Ledger) -> None:
    with ledger.begin() as change:
        assert change.tellings.add("ris", MESSAGE, 100.0)
        assert not change.tellings.add("ris", MESSAGE, 200.0)
        assert change.tellings.add("hook", MESSAGE, 200.0)


def test_a_message_is_told_until_it_is_heard(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.tellings.add("ris", MESSAGE, 100.0)
        one = change.tellings.claim("ris", "tell:ris", 100.0, 60.0)
        assert one is not None
        assert change.tellings.claim("ris", "tell:ris", 120.0, 60.0) is None
        change.tellings.postpone(one, 500.0, "It does not answer.")
        assert change.tellings.claim("ris", "tell:ris", 499.0, 60.0) is None
        again = change.tellings.claim("ris", "tell:ris", 500.0, 60.0)
        assert again is not None
        assert (again.attempts, again.content) == (1, {"at": 1.0})
        change.tellings.close(again, TellingState.TOLD)
        assert change.tellings.claim("ris", "tell:ris", 999.0, 60.0) is None
        assert change.tellings.counts() == {"ris": {TellingState.TOLD: 1}}
