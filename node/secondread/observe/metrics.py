"""Numbers about intake and results, as files that a monitoring system collects.

The node has no web page yet, so the numbers are written in Prometheus' text format for the
textfile collector of ``node_exporter``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_OBJECT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_GROUP_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LABELLINGS_MAX = 2000
_OTHER = "other"


def write_registry(registry: CollectorRegistry, path: Path) -> None:
    """Replace the file at ``path`` in one step, so that nobody reads half of it.

    Everybody may read it, for the collector runs as another user and no patient is in it.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.parent.chmod(0o755)  # the node's umask keeps others out of all that it makes
    # The collector takes what ends in .prom, and so not this.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        draft.write_bytes(generate_latest(registry))
        draft.chmod(0o644)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def write_quarantine(path: Path, objects: Mapping[str, int]) -> None:
    """Tell how many objects the gate has stopped and keeps, by kind, and when it last stopped one.

    Raises:
        OSError: the file cannot be written.
    """
    registry = CollectorRegistry()
    kept = Gauge(
        "secondread_results_quarantined_objects",
        "Result objects that the gate stopped and that are kept for a person.",
        ("kind",),
        registry=registry,
    )
    for kind, count in objects.items():
        kept.labels(kind).set(count)
    Gauge(
        "secondread_results_quarantined_last_seconds",
        "When the gate stopped an object last, in seconds since the epoch.",
        registry=registry,
    ).set_to_current_time()
    write_registry(registry, path)


class Metrics:
    """The numbers of one process; safe between threads.

    Labels are names of peers from the configuration and codes from this package, never what a
    stranger sent: ``peer`` is '' where nobody was admitted. Whatever comes, there are at most
    2000 combinations of each kind; the rest is counted as ``other``.
    """

    def __init__(self) -> None:
        # Its own registry: the package's global one would mix the metrics of two nodes in a test.
        self._registry = CollectorRegistry()
        self._associations = self._counter(
            "associations", "Associations and connections, by what became of them.", "outcome"
        )
        self._objects = self._counter(
            "objects", "Objects of C-STORE, by what became of them.", "outcome"
        )
        self._bytes = self._counter("object_bytes", "Bytes of the objects that were stored.")
        self._seconds = Histogram(
            "secondread_intake_object_seconds",
            "Seconds from the first byte of a C-STORE request to its answer.",
            ("peer",),
            buckets=_OBJECT_BUCKETS_S,
            registry=self._registry,
        )
        self._groups = Histogram(
            "secondread_intake_commit_group_objects",
            "Objects that one commit made durable together.",
            buckets=_GROUP_BUCKETS,
            registry=self._registry,
        )
        self._commitments = self._counter(
            "commitments", "Storage commitment requests, by what became of them.", "outcome"
        )
        self._notices = self._counter("notices", "MPPS and Instance Availability.", "kind")
        self._waiting = self._gauge(
            "waiting_connections", "Connections that have no association yet."
        )
        self._open = self._gauge("open_associations", "Associations that are open.")
        self._disk_free = self._gauge("disk_free_bytes", "Free space where objects are stored.")
        self._days_left = Gauge(
            "secondread_tls_certificate_days_left",
            "Days until the first certificate of this use ends; below 0 it has.",
            ("use",),
            registry=self._registry,
        )
        self._written_at = Gauge(
            "secondread_intake_metrics_written_seconds",
            "When this file was written, in seconds since the epoch.",
            registry=self._registry,
        )
        # The children of a labelled metric, found once: labels() costs more than all the rest.
        self._bound_associations: dict[tuple[str, str], Counter] = {}
        self._bound_objects: dict[tuple[str, str], tuple[Counter, Counter, Histogram]] = {}

    def association(self, outcome: str, peer: str) -> None:
        """Count an association: ``accepted``, ``refused-<code>`` or ``broken-<code>``."""
        bound = self._bound_associations.get((peer, outcome))
        if bound is None:
            bound = self._bind_association(peer, outcome)
        bound.inc()

    def object(
        self, peer: str, outcome: str, size_bytes: int, seconds: float | None = None
    ) -> None:
        """Count an object: ``stored``, ``repeated`` or the code of its refusal.

        ``size_bytes`` is what was stored, 0 if it was not; ``seconds`` from the first byte of the
        request to its answer, where that was measured.
        """
        bound = self._bound_objects.get((peer, outcome))
        if bound is None:
            bound = self._bind_object(peer, outcome)
        count, size, duration = bound
        count.inc()
        if size_bytes:
            size.inc(size_bytes)
        if seconds is not None:
            duration.observe(seconds)

    def commit_group(self, objects: int) -> None:
        """Note how many objects one commit made durable."""
        self._groups.observe(objects)

    def commitment(self, outcome: str, peer: str) -> None:
        """Count a storage commitment request, by a code of this package."""
        self._commitments.labels(peer, outcome).inc()

    def notice(self, kind: str, peer: str) -> None:
        """Count a notice, ``mpps`` or ``availability``."""
        self._notices.labels(peer, kind).inc()

    def connections(self, waiting: int, open_associations: int) -> None:
        """Note how many connections there are at this moment."""
        self._waiting.set(waiting)
        self._open.set(open_associations)

    def disk_free(self, size_bytes: int) -> None:
        """Note the free space at this moment."""
        self._disk_free.set(size_bytes)

    def certificates(self, days_left: Mapping[str, float]) -> None:
        """Note the days left for each use of a certificate, from ``access.certificates``."""
        self._days_left.clear()
        for use, days in days_left.items():
            self._days_left.labels(use).set(days)

    def write(self, path: Path) -> None:
        """Replace the file at ``path`` in one step, so that nobody reads half of it.

        Everybody may read it, for the collector runs as another user and no patient is in it.

        Raises:
            OSError: it cannot be written.
        """
        self._written_at.set_to_current_time()
        write_registry(self._registry, path)

    def _bind_association(self, peer: str, outcome: str) -> Counter:
        if len(self._bound_associations) >= _LABELLINGS_MAX:
            return self._associations.labels(_OTHER, _OTHER)
        bound = self._associations.labels(peer, outcome)
        self._bound_associations[peer, outcome] = bound
        return bound

    def _bind_object(self, peer: str, outcome: str) -> tuple[Counter, Counter, Histogram]:
        full = len(self._bound_objects) >= _LABELLINGS_MAX
        name, code = (_OTHER, _OTHER) if full else (peer, outcome)
        bound = (
            self._objects.labels(name, code),
            self._bytes.labels(name),
            self._seconds.labels(name),
        )
        if not full:
            self._bound_objects[peer, outcome] = bound
        return bound

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        full_name = f"secondread_intake_{name}"
        return Counter(full_name, meaning, ("peer", *labels), registry=self._registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"secondread_intake_{name}", meaning, registry=self._registry)
