"""Thousands of objects for a PACS that is down: they wait on disk, and cost nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from tests.lying_pacs import lying_pacs

from .delivery_node import Filled, Place, delivery_node, make_templates

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SEGMENTATIONS = 9
"""Of a job, before its report."""
GROWTH_MAX_MIB = 40.0
BUSY_MAX = 0.1
"""Of one processor, while there is nothing to do but to wait."""
LOOK_S = 5.0
DRAIN_S = 600.0


def memory_mib(pid: int) -> float:
    """What a process has in memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def processor_s(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def fill(ledger: Filled, objects: int) -> list[str]:
    """So many objects more; their UIDs in the order in which they are to be sent."""
    jobs = objects // (SEGMENTATIONS + 1)
    uids: list[str] = []
    while jobs:
        some = min(jobs, 100)
        uids += ledger.fill_with_results("pacs", some, segmentations=SEGMENTATIONS, reserve=False)
        jobs -= some
    return uids


@pytest.mark.parametrize(
    ("first", "objects"), [(100, 300), pytest.param(1_000, 10_000, marks=pytest.mark.slow)]
)
def test_backlog_waits_on_disk_and_goes_out_in_order(
    first: int,
    objects: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    templates = make_templates(tmp_path)
    with lying_pacs() as pacs:
        values = {"ae_title": "PACS", "host": pacs.host, "port": pacs.port, "timeout_s": 5}
        places = [Place("pacs", values, {"proof": {"delay_s": 1.0, "kind": "commitment"}})]
        settings = {"folder": tmp_path / "node", "places": places}
        with delivery_node(templates, **settings) as (node, ledger):
            pacs.go_down()
            uids = fill(ledger, first)
            node.start()
            node.wait_until(lambda: node.line("pacs")[0] == "open", "the line to open")
            time.sleep(LOOK_S / 2)
            few_mib = memory_mib(node.pid())

            uids += fill(ledger, objects - first)
            used_s, since = processor_s(node.pid()), time.monotonic()
            # Short pauses, so that it is asked often and not once in five minutes.
            while time.monotonic() - since < LOOK_S:
                time.sleep(1.0)
                node.let_pass(10.0, "pacs")
            busy = (processor_s(node.pid()) - used_s) / (time.monotonic() - since)
            many_mib = memory_mib(node.pid())
            assert many_mib - few_mib < GROWTH_MAX_MIB, (few_mib, many_mib)
            assert busy < BUSY_MAX, busy
            assert ledger.tally("pacs") == {"ready": objects}
            assert {item.attempts for item in ledger.items_for("pacs")} == {0}

            pacs.come_up()
            node.let_pass(400.0, "pacs")
            most_mib, until = 0.0, time.monotonic() + DRAIN_S
            while len(pacs.kept) < objects:
                assert time.monotonic() < until, (len(pacs.kept), node.tail())
                most_mib = max(most_mib, memory_mib(node.pid()))
                time.sleep(0.5)
            count = "SELECT count(*) FROM outbox WHERE state = 'safe'"
            node.wait_until(lambda: node.rows(count) == [(objects,)], "all to be safe", DRAIN_S)
            most_mib = max(most_mib, memory_mib(node.pid()))
            assert most_mib - few_mib < GROWTH_MAX_MIB, (few_mib, most_mib)

            assert pacs.uids("stored") == uids
            assert not pacs.doubled
            for _, job in groupby(pacs.uids("stored"), key=lambda uid: uid[-9:-2]):
                kinds = [pacs.kept[uid].sop_class for uid in job]
                assert kinds == [templates.seg.sop_class_uid] * SEGMENTATIONS + [
                    templates.sr.sop_class_uid
                ]
            figures = {"few_mib": few_mib, "many_mib": many_mib, "most_mib": most_mib, "busy": busy}
            for name, figure in figures.items():
                record_property(name, round(figure, 3))
