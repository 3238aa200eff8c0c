"""Wards and series for the tests of completeness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from secondread.domain.completeness import Completeness
from secondread.store.door import held_open
from tests.wards import Ward


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Callable[..., Ward]]:
    """``ward(complete)`` is an open house on these terms of its peer."""
    with ExitStack() as doors:

        def open_ward(complete: Completeness | None = None, quiet_s: float = 5.0) -> Ward:
            found = Ward(tmp_path / "data", complete, quiet_s)
            doors.enter_context(held_open(found.place.spool.root))
            doors.callback(found.place.ledger.close)
            return found

        yield open_ward


@pytest.fixture
def acquired(head_series: Callable[..., Any]) -> Callable[..., list[Path]]:
    """``acquired(number, description)`` are the files of a series of the one study."""

    def acquire(number: int = 1, description: str = "t1", slices: int = 6) -> list[Path]:
        return list(
            head_series(
                size=(slices, 16, 16),
                seed=f"series {number}",
                study="one study",
                series_number=number,
                series_description=description,
            ).paths
        )

    return acquire
