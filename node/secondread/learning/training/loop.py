"""The loop of training: AdamW, a cosine of the rate, a running mean of the weights."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from secondread.errors import DataError
from secondread.learning.recipe import Training
from secondread.learning.training import checkpoint
from secondread.learning.training.checkpoint import State
from secondread.learning.whole import whole

LOG_NAME = "log.csv"
LOG_EVERY_STEPS = 50
_LOG_COLUMNS = ("step", "loss", "rate", "seconds")
_RECENT = 0.02
"""Weight of one step in the running mean of the loss."""

Report = Callable[[str, int, int], None]
"""Called with what is done, how many steps are done, and how many there are."""


@dataclass(frozen=True)
class Lesson:
    """What is learned.

    Attributes:
        name: for the progress line, such as ``Fold 0``.
        model: with its first weights.
        loss: the loss of the model at a step, counted from 0; it draws the step's cases itself, so
            that a step's draw hangs on its number and not on what was drawn before.
        recipe: sha256 of the recipe's text.
    """

    name: str
    model: nn.Module
    loss: Callable[[nn.Module, int], Tensor]
    recipe: str


def rate_at(step: int, training: Training) -> float:
    """The rate of learning at a step, counted from 0."""
    falling = 0.5 * (1 + math.cos(math.pi * step / training.steps))
    rate = training.last_rate + (training.peak_rate - training.last_rate) * falling
    return rate * min(1.0, (step + 1) / training.warm_steps)


def start(lesson: Lesson, training: Training) -> State:
    """The state before the first step."""
    return State(
        model=lesson.model,
        average=copy.deepcopy(lesson.model).requires_grad_(False),
        optimiser=torch.optim.AdamW(
            lesson.model.parameters(), lr=training.peak_rate, weight_decay=training.weight_decay
        ),
        recipe=lesson.recipe,
    )


def train(
    lesson: Lesson, training: Training, folder: Path, *, resume: bool, report: Report
) -> nn.Module:
    """Train, or go on, to the last step; returns the running mean of the model.

    Args:
        lesson: what is learned.
        training: how.
        folder: for the checkpoint and the log.
        resume: go on from the checkpoint where there is one.
        report: told after each step.

    Raises:
        DataError: the loss is no number any more, or the checkpoint cannot be gone on from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = start(lesson, training)
    if resume and (folder / checkpoint.FILE_NAME).exists():
        checkpoint.restore(folder, state)
    _cut_log(folder / LOG_NAME, state.step)
    began = time.monotonic() - state.used_s
    saved = time.monotonic()
    report(lesson.name, state.step, training.steps)
    while state.step < training.steps:
        rate = advance(lesson, training, state)
        state.used_s = time.monotonic() - began
        last = state.step == training.steps
        if last or state.step % LOG_EVERY_STEPS == 0:
            _log(folder / LOG_NAME, state, rate)
        if last or time.monotonic() - saved > training.save_every_s:
            checkpoint.save(folder, state)
            saved = time.monotonic()
        report(lesson.name, state.step, training.steps)
    return state.average


def advance(lesson: Lesson, training: Training, state: State) -> float:
    """Do one step; returns the rate of learning it had."""
    rate = rate_at(state.step, training)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    loss = lesson.loss(state.model, state.step)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise DataError(
            f"{lesson.name}: the loss is no number any more at step {state.step + 1}; lower "
            "'peak_rate' in [training], or look for an image without contrast."
        )
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.model.parameters(), training.clip)
    state.optimiser.step()
    state.step += 1
    # Early on the mean forgets fast, so that it is not made of the first weights.
    decay = min(training.average, (1 + state.step) / (20 + state.step))
    with torch.no_grad():
        torch._foreach_lerp_(
            list(state.average.parameters()), list(state.model.parameters()), 1 - decay
        )
        for kept, seen in zip(state.average.buffers(), state.model.buffers(), strict=True):
            # Statistics of a normalisation by batch; a count has no mean.
            if kept.is_floating_point():
                kept.lerp_(seen, 1 - decay)
    state.recent = value if state.step == 1 else (1 - _RECENT) * state.recent + _RECENT * value
    return rate


def _log(path: Path, state: State, rate: float) -> None:
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(
            (state.step, f"{state.recent:.4f}", f"{rate:.3e}", f"{state.used_s:.1f}")
        )


def _cut_log(path: Path, step: int) -> None:
    """Keep the rows up to a step: what came after the checkpoint is done again."""
    rows: list[list[str]] = []
    if path.exists() and step:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row and row[0].isdigit()]
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_LOG_COLUMNS)
        writer.writerows(row for row in rows if int(row[0]) <= step)
