"""Numbers about deliveries, as a file that a monitoring system collects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from secondread.observe.metrics import write_registry


@dataclass(frozen=True, slots=True)
class DeliveryNumbers:
    """How deliveries to one destination stand.

    Attributes:
        destination: its name in the configuration; of a sender, ``<name>/<peer>``.
        objects: how many there are in each state.
        is_open: whether its line is open, so that nothing is sent until it answers again.
        is_paused: whether a person has stopped it.
        oldest_waiting_s: seconds since the oldest job was planned that waits for it; 0 is none.
        oldest_unproven_s: seconds since the oldest object was sent that lacks proof; 0 is none.
    """

    destination: str
    objects: Mapping[str, int]
    is_open: bool
    is_paused: bool
    oldest_waiting_s: float
    oldest_unproven_s: float


def write_delivery(path: Path, numbers: Sequence[DeliveryNumbers], free_bytes: int) -> None:
    """Replace the file at ``path``; ``free_bytes`` is the free space of the data folder.

    Raises:
        OSError: it cannot be written.
    """
    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"secondread_delivery_{name}", meaning, labels, registry=registry)

    objects = gauge("objects", "Result objects in the outbox.", "destination", "state")
    is_open = gauge("line_open", "1 while nothing is sent, for it does not answer.", "destination")
    paused = gauge("line_paused", "1 while a person has stopped deliveries.", "destination")
    waiting = gauge(
        "oldest_waiting_seconds", "Age of the oldest job that waits for it.", "destination"
    )
    unproven = gauge(
        "oldest_unproven_seconds", "Age of the oldest object sent without proof.", "destination"
    )
    for one in numbers:
        for state, count in one.objects.items():
            objects.labels(one.destination, state).set(count)
        is_open.labels(one.destination).set(one.is_open)
        paused.labels(one.destination).set(one.is_paused)
        waiting.labels(one.destination).set(one.oldest_waiting_s)
        unproven.labels(one.destination).set(one.oldest_unproven_s)
    gauge("disk_free_bytes", "Free space where results wait.").set(free_bytes)
    written = gauge("metrics_written_seconds", "When this file was written, since the epoch.")
    written.set_to_current_time()
    write_registry(registry, path)
