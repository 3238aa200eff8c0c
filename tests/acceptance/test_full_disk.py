"""A full file system: refused cleanly, nothing half stored, and it goes on when space returns."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .hostile import Client, EndedError, open_association
from .intake_node import (
    HONEST,
    HONEST_ADDRESS,
    VERIFY,
    IntakeNode,
    Values,
    honest_store,
    running_intake,
)
from .wire import ASSOCIATE_AC, ASSOCIATE_RJ, AssociationRequest, MrObject

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

NO_ROOM = 0xA700
TOLD_S = 4.0
ROOT = "1.2.826.0.1.3680043.10.511.7"
SIZE_MIB = 24
BALLAST_BYTES = 7 << 20
ROWS = 400
"""Objects of 320 kB each: some thirty of them fill the disk."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with a file on it that can be removed to make room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        (folder / "ballast").write_bytes(bytes(BALLAST_BYTES))
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


class Sent:
    """What was sent, and what was answered, by SOP Instance UID."""

    def __init__(self, first: int = 0) -> None:
        self.statuses: dict[str, int] = {}
        self._number = first

    def store(self, client: Client) -> int:
        """Send one more object; its status."""
        self._number += 1
        uid = f"{ROOT}.{os.getpid()}.{self._number}"
        self.statuses[uid] = client.store(uid, data_of(uid))
        return self.statuses[uid]

    def check(self, node: IntakeNode) -> None:
        """What got Success is there bit for bit, and nothing else is."""
        node.settle()
        rows = {uid: row for uid, row in node.rows().items() if uid.startswith(ROOT)}
        good = {uid for uid, status in self.statuses.items() if status == 0}
        assert set(rows) == good
        for uid, row in rows.items():
            assert row.data() == data_of(uid)
            assert row.is_exact()
        assert {row.path for row in node.rows().values()} == set(node.object_files())
        assert not node.incoming()


def data_of(uid: str) -> bytes:
    """The object of a UID; no two have the same pixels."""
    return MrObject(uid, rows=ROWS, fill=uid[-8:].rjust(8, ".").encode()).encode()


def fill(client: Client, sent: Sent) -> None:
    """Send objects until three in a row find no room; no other status is ever given."""
    refused = 0
    for _ in range(200):
        status = sent.store(client)
        assert status in {0, NO_ROOM}, f"status 0x{status:04X}"
        refused = refused + 1 if status == NO_ROOM else 0
        if refused == 3:
            return
    raise AssertionError("200 objects of 320 kB found room on 24 MiB")


def wait_for_room(node: IntakeNode) -> None:
    """Wait until an association is accepted again."""

    def accepted() -> bool:
        with Client(node.port, HONEST_ADDRESS) as client:
            return client.associate(AssociationRequest(HONEST)).kind == ASSOCIATE_AC

    node.wait_for(accepted, 15.0, "an association after space returned")


@pytest.mark.parametrize("minimum_free_gib", [0.004, 0.0])
def test_full_disk(tmp_path: Path, small_disk: Path, minimum_free_gib: float) -> None:
    settings = {
        "node": {"minimum_free_gib": minimum_free_gib},
        "dicom": {"association_timeout_s": 30.0},
    }
    sent = Sent()
    with running_intake(tmp_path, settings, data_dir=small_disk) as node:
        before, since = node.usage(), node.log_size()
        with open_association(node.port, HONEST, HONEST_ADDRESS) as client:
            fill(client, sent)
            assert client.echo(2) == 0
            if minimum_free_gib:
                check_new_association_is_refused(node)
            assert "out-of-resources" in node.codes()
            node.wait_for(lambda: alerts(node, since), TOLD_S, "an alert")
            # The association that is open goes on by itself.
            (small_disk / "ballast").unlink()
            node.wait_for(lambda: sent.store(client) == 0, 15.0, "room on the same association")
            client.release()
        wait_for_room(node)
        with open_association(node.port, HONEST, HONEST_ADDRESS) as client:
            for _ in range(5):
                assert sent.store(client) == 0
            client.release()
        node.wait_until_quiet(before)
        sent.check(node)
        node.check_log(since, errors=True)
        node.stop()
        node.start()
        sent.check(node)


def alerts(node: IntakeNode, since: int) -> list[Values]:
    """What somebody has to do something about."""
    return [line for line in node.check_log(since, errors=True) if line["level"] == "error"]


def check_new_association_is_refused(node: IntakeNode) -> None:
    """Transient, so that the modality tries again; and with its own reason."""
    with Client(node.port, HONEST_ADDRESS) as client:
        answer = client.associate(AssociationRequest(HONEST, contexts=VERIFY))
        assert answer.kind == ASSOCIATE_RJ
        assert answer.rejection[0] == 2
    node.wait_for(lambda: "disk-low" in node.codes(), TOLD_S, "the reason")


def test_disk_fills_under_several_senders(tmp_path: Path, small_disk: Path) -> None:
    """Without any reserve the disk is full at a write, at a sync or in the ledger."""
    sent: list[Sent] = []
    failures: list[str] = []
    with running_intake(
        tmp_path,
        {"node": {"minimum_free_gib": 0.0}, "dicom": {"association_timeout_s": 30.0}},
        data_dir=small_disk,
    ) as node:

        def run(number: int) -> None:
            mine = Sent(number * 1000)
            sent.append(mine)
            try:
                with open_association(node.port, HONEST, HONEST_ADDRESS) as client:
                    fill(client, mine)
            except (AssertionError, EndedError, OSError) as error:
                failures.append(str(error))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures, failures
        assert node.is_running()
        time.sleep(0.5)
        (small_disk / "ballast").unlink()
        wait_for_room(node)
        node.wait_for(lambda: stores(node), 15.0, "an object after space returned")
        together = Sent()
        for mine in sent:
            together.statuses.update(mine.statuses)
        together.check(node)
        node.check_log(0, errors=True)


def stores(node: IntakeNode) -> bool:
    """Whether an honest object is stored."""
    try:
        honest_store(node, f"1.2.826.0.1.3680043.10.511.3.{time.time_ns()}")
    except (AssertionError, EndedError):
        return False
    return True
