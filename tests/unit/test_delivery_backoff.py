"""How long the node waits between tries."""

from __future__ import annotations

import pytest

from secondread.config.destinations import DestinationRow
from secondread.delivery.backoff import delay_s

DAY_S = 86_400


@pytest.mark.parametrize(
    ("attempts", "low", "high"), [(1, 1.6, 2.4), (2, 3.2, 4.8), (5, 25.6, 38.4), (400, 720, 1080)]
)
def test_delay_doubles_to_a_bound_with_jitter(attempts: int, low: float, high: float) -> None:
    found = {delay_s(attempts) for _ in range(100)}
    assert low <= min(found) < max(found) <= high


def test_a_pacs_may_be_down_for_a_long_weekend() -> None:
    tries = DestinationRow.model_fields["attempts_max"].default
    shortest_s = sum(delay_s(attempt) * 0.8 / 1.2 for attempt in range(1, tries))
    assert shortest_s > 2.5 * DAY_S
