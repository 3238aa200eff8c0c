"""How far an export is, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.text import Text

_LINE_EVERY_S = 5.0
Report = Callable[[str, int, int], None]


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[Report]:
    """Yields what is to be called with what is done, how many are done, and how many there are."""
    if quiet:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield Lines(time.monotonic).report


class Lines:
    """A line at every fifth second: ``Exporting: 120 of 500, 80.0 a second, 5 s left``."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._what = ""
        self._first = 0
        self._began = self._told = monotonic()

    def report(self, what: str, done: int, total: int) -> None:
        """Tell it if it is time."""
        from secondread.cli.output import print_note

        now = self._monotonic()
        if what != self._what:
            self._what, self._began, self._told = what, now, now
            # What a resumed run had done before tells nothing of how fast it goes; else the first
            # that is told is the first that is done.
            self._first = max(0, done - 1)
        if now - self._told < _LINE_EVERY_S:
            return
        self._told = now
        rate = (done - self._first) / (now - self._began)
        left = (total - done) / rate if rate else 0.0
        print_note(f"{what}: {done} of {total}, {rate:.1f} a second, {left:.0f} s left")


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """Objects in a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f}/s" if speed else "")

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield report
