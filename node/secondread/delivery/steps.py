"""Step after step of a trial of a destination, and what they come to in one sentence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from secondread.errors import DeliveryError


class Outcome(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOTE = "note"
    WARNING = "warning"
    """It goes on, but a person should look."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a trial.

    Attributes:
        name: such as ``tcp``; docs/cli.md lists them.
        outcome: how it ended.
        sentence: what was found, and what to do where it failed.
        milliseconds: how long it took.
    """

    name: str
    outcome: Outcome
    sentence: str
    milliseconds: float


Found = tuple[Outcome, str]
Take = Callable[[], Found]


def take_steps(steps: Iterable[tuple[str, Take]]) -> Iterator[Step]:
    """Take step after step, and tell what each found; one after one that failed is skipped."""
    failed = False
    for name, take in steps:
        if failed:
            yield Step(name, Outcome.SKIPPED, "Not reached.", 0.0)
            continue
        started = time.monotonic()
        try:
            outcome, sentence = take()
        except DeliveryError as error:
            outcome, sentence = Outcome.FAILED, str(error)
        yield Step(name, outcome, sentence, (time.monotonic() - started) * 1000)
        failed = outcome is Outcome.FAILED


def is_sound(steps: Sequence[Step]) -> bool:
    """Whether nothing failed."""
    return bool(steps) and all(step.outcome is not Outcome.FAILED for step in steps)


def summarise(shown: str, steps: Sequence[Step]) -> str:
    """All steps in one sentence or two about what is ``shown`` so."""
    for step in steps:
        if step.outcome is Outcome.FAILED:
            if step.sentence.lower().startswith(shown.lower()):
                return step.sentence
            return f"{shown}: {_continued(step.sentence)}"
    spent = sum(step.milliseconds for step in steps)
    warnings = [step.sentence for step in steps if step.outcome is Outcome.WARNING]
    if warnings:
        first, *more = warnings
        return " ".join([f"{shown} answered in {spent:.0f} ms, but {_continued(first)}", *more])
    return f"{shown} answered in {spent:.0f} ms."


def _continued(sentence: str) -> str:
    return f"{sentence[:1].lower()}{sentence[1:]}"
