"""Kill -9 of any process, or of all, in any state: the study ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from secondread.audit.chain import first_break
from secondread.domain.states import StudyState
from secondread.results.reading.segmentation import read_segmentation
from secondread.store import Ledger

from .conftest import RunningNode

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

TRIES = 6
SIZE = (40, 64, 64)
STATES = (
    "study:receiving",
    "study:assembling",
    "job:queued",
    "job:prepared",
    "job:inferred",
    "job:written",
    "outbox:sent",
)
PROCESSES = ("intake", "pipeline", "deliver", "worker", "supervisor", "all")
# Who is at work in each state, besides everybody at once.
ESSENTIAL = (
    ("study:receiving", "intake"),
    ("study:receiving", "all"),
    ("study:assembling", "pipeline"),
    ("job:queued", "all"),
    ("job:prepared", "worker"),
    ("job:prepared", "supervisor"),
    ("job:inferred", "pipeline"),
    ("job:inferred", "all"),
    ("job:written", "deliver"),
    ("outbox:sent", "all"),
)
THE_REST = [(s, p) for s in STATES for p in PROCESSES if (s, p) not in ESSENTIAL]

Content = dict[str, str]


def content_of(folder: Path, pacs: Any) -> Content:
    """What a PACS holds, by SOP Instance UID, but for the times at which it was made."""
    found: Content = {}
    for path in pacs.export(folder):
        dataset = dcmread(path)
        uid = str(dataset.SOPInstanceUID)
        assert uid not in found
        if dataset.Modality == "SEG":
            labels = read_segmentation(path).labels
            found[uid] = hashlib.sha256(labels.tobytes()).hexdigest()
        else:
            numbers = [str(e.value) for e in dataset.iterall() if e.keyword == "NumericValue"]
            found[uid] = " ".join(numbers)
    return found


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Content]:
    """What an undisturbed run leaves in the PACS; made by the first test that asks."""
    return {}


def reference(
    undisturbed: dict[str, Content],
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    folder: Path,
    export: Path,
) -> Content:
    """The undisturbed run's content."""
    if "content" not in undisturbed:
        pacs = small_pacs()
        node = start_node(pacs)
        node.send(folder)
        assert node.wait_until_ended() == [StudyState.DONE]
        undisturbed["content"] = content_of(export, pacs)
        node.stop()
    return undisturbed["content"]


def kill_in(node: RunningNode, state: str, process: str) -> bool:
    """Kill a process as soon as the node is in a state; False where the state was missed."""
    later = STATES[STATES.index(state) + 1 :]
    until = time.monotonic() + 120
    # Finding the process takes longer than some states last, so it is found beforehand.
    pids = node.pids()
    while time.monotonic() < until:
        found = node.states()
        if state in found:
            if process == "all":
                node.kill_all()
            else:
                node.kill_pid(pids[process])
            return True
        if found.intersection(later):
            return False
        time.sleep(0.001)
    raise AssertionError(f"The node never came to state {state}.")


@pytest.mark.parametrize(
    ("state", "process"),
    [
        *ESSENTIAL,
        *(pytest.param(*case, marks=pytest.mark.slow) for case in THE_REST),
    ],
)
def test_kill(
    state: str,
    process: str,
    undisturbed: dict[str, Content],
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    head_series: Callable[..., Any],
    tmp_path: Path,
) -> None:
    series = head_series("axial", SIZE, (3.0, 3.0, 3.0))
    expected = reference(
        undisturbed, start_node, small_pacs, series.folder, tmp_path / "undisturbed"
    )
    for _ in range(TRIES):
        pacs = small_pacs()
        # Long enough for a busy machine, and for a study that was cut off to be sent again.
        node = start_node(pacs, quiet_s=8.0 if state == "study:receiving" else 2.5)
        sender = start_sending(node, series.folder)
        try:
            hit = kill_in(node, state, process)
        finally:
            sent = sender.wait(timeout=120) == 0
        if hit:
            break
        node.stop()
    else:
        pytest.fail(f"State {state} was missed {TRIES} times.")

    if process in {"all", "supervisor"}:
        node.restart()
    if not sent:
        # A scanner that was cut off sends its study again.
        node.wait_for_echo()
        node.send(series.folder)
    assert node.wait_until_ended() == [StudyState.DONE]
    assert content_of(tmp_path / "pacs", pacs) == expected
    check_ledger(node, [path.name for path in series.paths])


def start_sending(node: RunningNode, folder: Path) -> subprocess.Popen[bytes]:
    """Send in the background, as the node is killed meanwhile."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "secondread", "send", str(folder)),
            *("--to", f"SECONDREAD@127.0.0.1:{node.port}", "--calling", "CT1"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def check_ledger(node: RunningNode, names: list[str]) -> None:
    """Every object once and unchanged, one job, and an unbroken trail."""
    ledger = Ledger.open(node.data_dir)
    with ledger.read() as view:
        study = view.studies.get(1)
        instances = view.instances.of_study(study.study_instance_uid)
        assert len(instances) == len(names) == study.instances
        for instance in instances:
            content = (node.data_dir / instance.path).read_bytes()
            assert hashlib.sha256(content[-instance.size_bytes :]).hexdigest() == instance.sha256
        assert len(view.jobs.of_study(study.id)) == 1
        assert first_break(view.trail.all()) is None
    ledger.close()
    assert not list((node.data_dir / "spool" / "incoming").iterdir())
