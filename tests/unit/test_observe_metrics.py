"""Numbers are counted, bounded, and written for a collector."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from secondread.observe.metrics import Metrics

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def written(metrics: Metrics, folder: Path) -> Samples:
    """What a collector reads, parsed by Prometheus' own code."""
    path = folder / "metrics" / "intake.prom"
    metrics.write(path)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"secondread_{name}", frozenset(labels.items())


def test_associations_by_outcome(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.association("accepted", "mr1")
    metrics.association("accepted", "mr1")
    metrics.association("refused-unknown-calling-ae", "")
    metrics.association("broken-aborted", "mr1")
    found = written(metrics, tmp_path)
    name = "intake_associations_total"
    assert found[key(name, peer="mr1", outcome="accepted")] == 2
    assert found[key(name, peer="", outcome="refused-unknown-calling-ae")] == 1
    assert found[key(name, peer="mr1", outcome="broken-aborted")] == 1


def test_objects_bytes_and_seconds(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.object("mr1", "stored", 500_000, 0.004)
    metrics.object("mr1", "stored", 500_000, 0.3)
    metrics.object("mr1", "out-of-resources", 0)
    found = written(metrics, tmp_path)
    assert found[key("intake_objects_total", peer="mr1", outcome="stored")] == 2
    assert found[key("intake_objects_total", peer="mr1", outcome="out-of-resources")] == 1
    assert found[key("intake_object_bytes_total", peer="mr1")] == 1_000_000
    assert found[key("intake_object_seconds_count", peer="mr1")] == 2
    assert found[key("intake_object_seconds_bucket", peer="mr1", le="0.005")] == 1


def test_the_rest(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.commit_group(5)
    metrics.commitment("confirmed", "mr1")
    metrics.notice("mpps", "mr1")
    metrics.connections(3, 7)
    metrics.disk_free(10**12)
    metrics.certificates({"own": 12.5, "peer": 3.0})
    metrics.certificates({"own": 12.5})
    found = written(metrics, tmp_path)
    assert found[key("intake_commit_group_objects_sum")] == 5
    assert found[key("intake_commitments_total", peer="mr1", outcome="confirmed")] == 1
    assert found[key("intake_notices_total", peer="mr1", kind="mpps")] == 1
    assert found[key("intake_waiting_connections")] == 3
    assert found[key("intake_open_associations")] == 7
    assert found[key("intake_disk_free_bytes")] == 10**12
    assert found[key("tls_certificate_days_left", use="own")] == 12.5
    assert key("tls_certificate_days_left", use="peer") not in found
    assert found[key("intake_metrics_written_seconds")] > 1.7e9


def test_two_in_one_process_do_not_mix(tmp_path: Path) -> None:
    one, other = Metrics(), Metrics()
    one.association("accepted", "mr1")
    name = key("intake_associations_total", peer="mr1", outcome="accepted")
    assert written(one, tmp_path)[name] == 1
    assert name not in written(other, tmp_path)


def test_labels_are_bounded(tmp_path: Path) -> None:
    metrics = Metrics()
    for number in range(2100):
        metrics.association("accepted", f"peer{number}")
        metrics.object(f"peer{number}", "stored", 1)
    found = written(metrics, tmp_path)
    counted = {k: v for k, v in found.items() if k[0] == "secondread_intake_associations_total"}
    assert len(counted) == 2001
    assert sum(counted.values()) == 2100
    assert found[key("intake_objects_total", peer="other", outcome="other")] == 100


def test_a_name_with_any_character_is_one_label(tmp_path: Path) -> None:
    metrics = Metrics()
    name = 'ward "3"\\\nMR'
    metrics.association("accepted", name)
    found = written(metrics, tmp_path)
    assert found[key("intake_associations_total", peer=name, outcome="accepted")] == 1


def test_no_count_is_lost_between_threads(tmp_path: Path) -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.object("mr1", "stored", 10, 0.001)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = written(metrics, tmp_path)
    assert found[key("intake_objects_total", peer="mr1", outcome="stored")] == 8000
    assert found[key("intake_object_bytes_total", peer="mr1")] == 80_000


def test_the_collector_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        written(Metrics(), tmp_path)
    finally:
        os.umask(before)
    folder = tmp_path / "metrics"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "intake.prom").stat().st_mode) == 0o644
    assert [path.name for path in folder.iterdir()] == ["intake.prom"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    metrics = Metrics()
    path = tmp_path / "metrics" / "intake.prom"
    metrics.write(path)
    with path.open() as reader:
        metrics.association("accepted", "mr1")
        metrics.write(path)
        assert "mr1" not in reader.read()
    assert "mr1" in path.read_text()


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics" / "intake.prom"
    path.mkdir(parents=True)
    with pytest.raises(OSError):
        Metrics().write(path)
    assert list(path.parent.iterdir()) == [path]
