"""The breaker: after which failures a line opens, for how long, and what closes it."""

from __future__ import annotations

import pytest

from secondread.delivery.backoff import delay_s, line_delay_s
from secondread.delivery.breaker import FAILURES_MAX, Breaker
from secondread.delivery.web_wording import PeerBusyError
from secondread.delivery.wording import NobodyThereError
from secondread.domain.line import Line, LineState
from secondread.errors import DeliveryError, PeerRefusedError, PeerUnreachableError

NOW = 1000.0
CLOSED = Line("pacs")
SILENT = PeerUnreachableError("It was silent.")


def failed(breaker: Breaker, line: Line, times: int, error: DeliveryError = SILENT) -> Line:
    for _ in range(times):
        line = breaker.fail(line, error, NOW)
    return line


def test_three_failures_in_a_row_open_a_line_and_success_forgives() -> None:
    breaker = Breaker()
    assert failed(breaker, CLOSED, FAILURES_MAX - 1) == CLOSED
    breaker.succeed()
    assert failed(breaker, CLOSED, FAILURES_MAX - 1) == CLOSED
    opened = failed(breaker, CLOSED, 1)
    assert (opened.state, opened.failures, opened.since) == (LineState.OPEN, FAILURES_MAX, NOW)
    assert opened.reason == "It was silent."
    assert 0 < opened.next_at - NOW <= 8
    # What another thread finds out afterwards changes nothing.
    assert failed(breaker, opened, 1) == opened


@pytest.mark.parametrize(
    ("error", "least_s", "most_s"),
    [
        (NobodyThereError("Nobody listens."), 1.5, 2),
        (PeerRefusedError("It rejected the association for good."), 225, 300),
        (PeerBusyError("It wants a pause.", 1200.0), 1200, 1200),
        (PeerBusyError("It wants none.", 0.0), 1.5, 2),
    ],
)
def test_some_failures_say_all_at_once(error: DeliveryError, least_s: float, most_s: float) -> None:
    opened = Breaker().fail(CLOSED, error, NOW)
    assert opened.state is LineState.OPEN
    assert least_s <= opened.next_at - NOW <= most_s


def test_probes_that_fail_come_less_and_less_often() -> None:
    breaker = Breaker()
    line = failed(breaker, CLOSED, FAILURES_MAX)
    waits = []
    for _ in range(12):
        probed = Line("pacs", LineState.HALF_OPEN, False, line.failures, line.since, 0.0, "")
        line = breaker.fail(probed, SILENT, NOW)
        waits.append(line.next_at - NOW)
        assert line.since == NOW
    assert waits[0] <= 16
    assert all(225 <= wait <= 300 for wait in waits[-5:])


def test_who_answers_and_takes_nothing_is_left_alone_for_longer_each_time() -> None:
    breaker = Breaker()
    line = failed(breaker, CLOSED, FAILURES_MAX)
    for failures in (FAILURES_MAX + 1, FAILURES_MAX + 2):
        line = breaker.close(line, NOW)
        assert (line.state, line.failures, line.reason) == (LineState.CLOSED, 0, "")
        line = breaker.fail(line, SILENT, NOW)
        assert (line.state, line.failures) == (LineState.OPEN, failures)
    line = breaker.close(line, NOW)
    breaker.succeed()
    assert breaker.fail(line, SILENT, NOW).state is LineState.CLOSED


def test_pause_of_an_operator_stays_whatever_happens() -> None:
    paused = Line("pacs", paused=True)
    opened = failed(Breaker(), paused, FAILURES_MAX)
    assert opened.paused
    assert Breaker().close(opened, NOW).paused


def test_waits_have_an_end() -> None:
    assert line_delay_s(0) <= 2
    assert line_delay_s(10_000) <= 300
    assert line_delay_s(10_000, lasting=True) <= 3600
    assert delay_s(10_000) <= 900 * 1.2
