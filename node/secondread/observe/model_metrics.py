"""Numbers about models at work, as a file that a monitoring system collects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from secondread.observe.metrics import write_registry

STATES: Mapping[str, int] = {"too few yet": -1, "ok": 0, "watch": 1, "drift": 2}
"""The value of the metric of drift for each state."""


@dataclass(frozen=True, slots=True)
class GroupNumbers:
    """One scanner and protocol: a state of ``STATES``, and the largest index of its measures."""

    scanner: str
    protocol: str
    state: str
    psi_max: float


@dataclass(frozen=True, slots=True)
class ChallengerNumbers:
    """A challenger of a model; each patient counts once.

    Attributes:
        studies: by who refused: ``neither``, ``both``, ``champion`` or ``challenger``.
        dice: median over studies; None where nothing could be compared.
    """

    model: str
    version: str
    studies: Mapping[str, int]
    dice: float | None


@dataclass(frozen=True, slots=True)
class ModelNumbers:
    """How one version of a model stands.

    Attributes:
        observations: studies that it saw, by what became of them.
        feedback: judged results, by verdict.
        groups: its scanners and protocols.
        challengers: those that are compared with it.
    """

    model: str
    version: str
    is_paused: bool
    observations: Mapping[str, int]
    feedback: Mapping[str, int]
    groups: tuple[GroupNumbers, ...]
    challengers: tuple[ChallengerNumbers, ...] = ()


def write_models(path: Path, numbers: Sequence[ModelNumbers]) -> None:
    """Replace the file at ``path``; no label is text of a study.

    Raises:
        OSError: it cannot be written.
    """
    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"secondread_model_{name}", meaning, labels, registry=registry)

    model, place = ("model", "version"), ("scanner", "protocol")
    paused = gauge("paused", "1 while its jobs end as 'not analysed'.", *model)
    seen = gauge("observations", "Studies that it saw.", *model, "outcome")
    feedback = gauge("feedback", "Results that somebody judged.", *model, "verdict")
    drift = gauge("drift", "-1 too few yet, 0 ok, 1 watch, 2 drift.", *model, *place)
    psi = gauge("psi_max", "Largest population stability index of its measures.", *model, *place)
    other = ("challenger", "challenger_version")
    compared = gauge("compared", "Studies compared with a challenger.", *model, *other, "refused")
    dice = gauge("compared_dice", "Median Dice of champion and challenger.", *model, *other)
    for one in numbers:
        labels = (one.model, one.version)
        paused.labels(*labels).set(one.is_paused)
        for outcome, count in one.observations.items():
            seen.labels(*labels, outcome).set(count)
        for verdict, count in one.feedback.items():
            feedback.labels(*labels, verdict).set(count)
        for group in one.groups:
            of_group = (*labels, group.scanner, group.protocol)
            drift.labels(*of_group).set(STATES[group.state])
            psi.labels(*of_group).set(group.psi_max)
        for rival in one.challengers:
            of_pair = (*labels, rival.model, rival.version)
            for refused, count in rival.studies.items():
                compared.labels(*of_pair, refused).set(count)
            if rival.dice is not None:
                dice.labels(*of_pair).set(rival.dice)
    written = gauge("metrics_written_seconds", "When this file was written, since the epoch.")
    written.set_to_current_time()
    write_registry(registry, path)
