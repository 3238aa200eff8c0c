"""Many objects, and kill -9 in the middle of them: what got Success is there, bit for bit."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from tests.store_scu import c_store

from .hostile import open_association
from .intake_node import (
    ATTACKER,
    HONEST,
    HONEST_ADDRESS,
    MEBIBYTE,
    THREADS_MAX,
    IntakeNode,
    running_intake,
)
from .replay import ASSOCIATIONS, CONTEXTS, WINDOW, Replay, Sample, check_objects, uid_of
from .wire import STORE, message, store_rq

pytestmark = pytest.mark.acceptance

MANY = 200_000
FEW = 2_000
_SAMPLES = 50
PEERS = (
    {"name": "honest", "ae_title": HONEST, "addresses": [HONEST_ADDRESS], "quiet_s": 3600.0},
    {"name": "scanner", "ae_title": ATTACKER, "addresses": ["127.0.0.1"], "quiet_s": 3600.0},
)
SETTINGS = {"log": {"level": "warning"}, "dicom": {"association_timeout_s": 30.0}}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[IntakeNode]:
    """An intake process that only says what is wrong."""
    with running_intake(tmp_path, SETTINGS, PEERS) as running:
        yield running


def check_flat(samples: Sequence[Sample], tolerance_mib: float) -> None:
    """Memory of the last quarter is that of the second one; descriptors stay below a ceiling."""
    assert len(samples) >= 8, "the soak was too short to say anything about memory"
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    grown = statistics.median(s.usage.rss for s in late) - statistics.median(
        s.usage.rss for s in early
    )
    assert grown < tolerance_mib * MEBIBYTE, f"grown by {grown / MEBIBYTE:.1f} MiB"
    # Each association and each object on its way has one file open; what leaks grows beyond that.
    ceiling = samples[0].usage.descriptors + ASSOCIATIONS * (WINDOW + 1) + 16
    most = max(s.usage.descriptors for s in late)
    assert most <= ceiling, f"{most} descriptors where {ceiling} are the most"
    assert max(s.usage.threads for s in late) <= THREADS_MAX


def soak(node: IntakeNode, count: int, tolerance_mib: float, wait_s: float) -> None:
    """Send so many objects through one process and look at everything."""
    before = node.usage()
    replay = Replay(node, count)
    replay.start()
    try:
        samples = replay.sample_until_done(count // _SAMPLES, wait_s)
    finally:
        replay.give_up()
    replay.join(30.0)
    check_flat(samples, tolerance_mib)
    node.wait_until_quiet(before)
    check_objects(node, replay.acknowledged)
    assert not replay.broken, f"{replay.broken} associations were broken"
    node.check_log()


def kill_in_the_middle(node: IntakeNode, count: int, kills: int, wait_s: float) -> None:
    """Kill -9 again and again while objects come; at the end all are there."""
    replay = Replay(node, count)
    replay.start()
    try:
        for number in range(1, kills + 1):
            goal = count * number // (kills + 1)
            node.wait_for(
                lambda goal=goal: len(replay.acknowledged) >= goal or replay.failures,
                wait_s,
                f"{goal} objects",
            )
            node.kill()
            # What got Success before the kill must survive it, and no other run of the process.
            before = set(replay.acknowledged)
            node.start()
            assert not replay.failures, replay.failures[:5]
            check_objects_are_known(node, before)
        replay.join(wait_s)
    finally:
        replay.give_up()
    node.stop()
    node.start()
    check_objects(node, replay.acknowledged)
    node.check_log()


def check_objects_are_known(node: IntakeNode, numbers: set[int]) -> None:
    """Every one of them is in the ledger, and its file is where the ledger says."""
    node.settle()
    rows = node.rows()
    for number in numbers:
        row = rows.get(uid_of(number))
        assert row is not None, f"object {number} got Success and is not in the ledger"
        assert row.path.exists(), f"object {number} got Success and is not on the disk"


@pytest.mark.timeout(200)
def test_some_thousand_objects(node: IntakeNode) -> None:
    soak(node, FEW, 40.0, 120.0)


@pytest.mark.timeout(200)
def test_kill_twice(node: IntakeNode) -> None:
    kill_in_the_middle(node, FEW, 2, 120.0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_thousand_objects(node: IntakeNode) -> None:
    soak(node, MANY, 12.0, 3000.0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kill_ten_times(node: IntakeNode) -> None:
    kill_in_the_middle(node, 20_000, 10, 300.0)


# --- every kind of sender ---


def data_set_of(path: Path) -> bytes:
    """The bytes of a file behind its file meta information."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def send_by_hand(port: int, paths: Sequence[Path]) -> None:
    with open_association(port, ATTACKER, contexts=CONTEXTS) as client:
        for path in paths:
            uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
            client.send(message(STORE, store_rq(uid), data_set_of(path), size=16378))
            assert client.answer(30.0).status == 0
        client.release()


def send_by_pynetdicom(port: int, paths: Sequence[Path]) -> None:
    from pydicom.uid import ExplicitVRLittleEndian
    from pynetdicom import AE
    from pynetdicom.sop_class import MRImageStorage

    entity = AE(ATTACKER)
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title="SECONDREAD")
    assert association.is_established
    for path in paths:
        assert c_store(association, dcmread(path)).Status == 0
    association.release()


def send_by_program(program: Sequence[str], folder: Path) -> None:
    done = subprocess.run([*program, str(folder)], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_every_kind_of_sender_at_once(
    node: IntakeNode, head_series: Callable[..., Any], dcmtk: Callable[[str], str]
) -> None:
    """All of them at the same time; whoever was told Success is right, bit for bit."""
    place = ["-aet", ATTACKER, "-aec", "SECONDREAD", "+sd"]
    there = ["127.0.0.1", str(node.port)]
    own = [sys.executable, "-m", "secondread", "send", "--calling", ATTACKER]
    senders: dict[str, Callable[[Any], None]] = {
        "by hand": lambda s: send_by_hand(node.port, s.paths),
        "pynetdicom": lambda s: send_by_pynetdicom(node.port, s.paths),
        "storescu": lambda s: send_by_program([dcmtk("storescu"), *place, *there], s.folder),
        "dcmsend": lambda s: send_by_program([dcmtk("dcmsend"), *place, *there], s.folder),
        "secondread send": lambda s: send_by_program(
            [*own, "--to", f"SECONDREAD@{there[0]}:{there[1]}"], s.folder
        ),
    }
    series = {name: head_series("axial", (60, 48, 48), seed=name) for name in senders}
    failures: list[str] = []

    def run(name: str) -> None:
        try:
            senders[name](series[name])
        except BaseException as error:
            failures.append(f"{name}: {error}")

    threads = [threading.Thread(target=run, args=(name,)) for name in senders]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 200
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.1))
    assert not failures, failures
    node.settle()
    rows = node.rows()
    for name in senders:
        missing = 0
        for path in series[name].paths:
            row = rows.get(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID))
            if row is None:
                missing += 1
                continue
            assert row.is_exact(), name
            assert row.data() == data_set_of(path), name
        assert not missing, f"{name}: {missing} of {len(series[name].paths)} are missing"
    node.check_log()
