"""The storage SCP, spoken to over a real association by pynetdicom and by DCMTK."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage, Verification
from structlog.testing import capture_logs

from secondread.app.intake import run_intake
from secondread.config.settings import Settings
from secondread.domain.network import Peer
from secondread.intake.file_header import read_file_header
from secondread.intake.reception import Arrival, Reception
from secondread.store import Ledger, Spool
from tests.acceptance.hostile import open_association
from tests.acceptance.wire import STORE, STORE_DEFLATED, MrObject, deflated, message, store_rq
from tests.store_scu import c_store

WAIT_S = 10.0


@dataclass
class Node:
    """A running intake role and what stands behind it."""

    port: int
    ledger: Ledger
    spool: Spool

    def audit(self, event: str, count: int = 1) -> list[Any]:
        """The trail's rows of one kind, once there are so many."""
        until = time.monotonic() + WAIT_S
        while True:
            with self.ledger.read() as view:
                rows = list(view.trail.of_event(event))
            if len(rows) >= count or time.monotonic() > until:
                return rows
            time.sleep(0.02)

    def count(self, expected: int) -> int:
        """How many objects the ledger holds, once there are so many and a moment later."""
        until = time.monotonic() + WAIT_S
        while True:
            with self.ledger.read() as view:
                found = view.instances.count()
            if found >= expected or time.monotonic() > until:
                return found
            time.sleep(0.02)


@contextmanager
def running(data_dir: Path, port: int, **fields: Any) -> Iterator[Node]:
    """The intake role in a thread of this process, on loopback."""
    peers = (
        Peer("ct", "CT1", ("127.0.0.0/8",), 2.0),
        Peer("away", "CT2", ("10.9.9.9",), 2.0),
    )
    fields = {"minimum_free_bytes": 0, "max_associations": 2, "peers": peers, **fields}
    settings = Settings(data_dir=data_dir, host="127.0.0.1", port=port, **fields)
    ledger, spool = Ledger.open(data_dir), Spool(data_dir)
    spool.prepare()
    stop = threading.Event()
    thread = threading.Thread(target=run_intake, args=(settings, ledger, spool, stop))
    thread.start()
    until = time.monotonic() + WAIT_S
    while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < until:
        time.sleep(0.02)
    try:
        yield Node(port, ledger, spool)
    finally:
        stop.set()
        thread.join()
        ledger.close()


@pytest.fixture
def node(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Node]:
    """An SCP on a free port that knows the scanner CT1 on loopback."""
    with running(tmp_path, free_port()) as node:
        yield node


def associate(node: Node, calling: str = "CT1", called: str = "SECONDREAD") -> Any:
    """An association as a scanner opens it."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 5
    entity.add_requested_context(Verification)
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    return entity.associate("127.0.0.1", node.port, ae_title=called)


def send_raw(association: Any, data: bytes, instance_uid: str) -> Dataset:
    """C-STORE with any bytes in place of a data set."""
    from io import BytesIO

    from pynetdicom.dimse_primitives import C_STORE

    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = MRImageStorage
    request.AffectedSOPInstanceUID = instance_uid
    request.Priority = 2
    request.DataSet = BytesIO(data)
    context = next(c for c in association.accepted_contexts if c.abstract_syntax == MRImageStorage)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    status = Dataset()
    status.Status = answer.Status
    status.ErrorComment = answer.ErrorComment or ""
    return status


def raw_data_set(path: Path) -> bytes:
    """The bytes of a file behind its file meta information."""
    content = path.read_bytes()
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


def test_object_is_kept_bit_for_bit(node: Node, head_series: Callable[..., Any]) -> None:
    series = head_series("axial")
    association = associate(node)
    for path in series.paths:
        assert c_store(association, dcmread(path)).Status == 0x0000
    association.release()
    assert node.count(len(series.paths)) == len(series.paths)
    for path in series.paths:
        source = dcmread(path)
        stored = node.spool.object_path(str(source.SOPInstanceUID))
        header = read_file_header(stored)
        assert stored.read_bytes()[header.data_offset :] == raw_data_set(path)
        assert header.ae_title == "CT1"
        assert dcmread(stored) == source


def test_same_object_again_is_success_and_is_not_doubled(
    node: Node, head_series: Callable[..., Any]
) -> None:
    path = head_series("axial").paths[0]
    association = associate(node)
    assert [c_store(association, dcmread(path)).Status for _ in range(3)] == [0, 0, 0]
    association.release()
    assert node.count(1) == 1
    with node.ledger.read() as view:
        assert view.studies.list()[0].instances == 1


def test_other_content_under_a_known_uid_is_quarantined(
    node: Node, head_series: Callable[..., Any]
) -> None:
    path = head_series("axial").paths[0]
    other = dcmread(path)
    other.PixelData = bytes(len(other.PixelData))
    association = associate(node)
    assert c_store(association, dcmread(path)).Status == 0x0000
    answer = c_store(association, other)
    assert answer.Status == 0xA900
    assert "other content" in answer.ErrorComment
    assert association.send_c_echo().Status == 0x0000
    association.release()
    (kept,) = node.spool.quarantine.iterdir()
    assert dcmread(kept).PixelData == other.PixelData
    stored = node.spool.object_path(str(other.SOPInstanceUID))
    assert dcmread(stored).PixelData == dcmread(path).PixelData
    assert node.audit("object-refused")[-1].detail["code"] == "conflicting-instance"


BAD = {
    "a text file": (lambda data: b"This is no image. " * 40, 0xC000, "cannot-understand"),
    "two bytes": (lambda data: data[:2], 0xC000, "cannot-understand"),
    "cut in the pixels": (lambda data: data[: len(data) * 3 // 4], 0xC000, "cannot-understand"),
    "cut in the header": (lambda data: data[:300], 0xC000, "cannot-understand"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_object_gets_a_status_and_the_association_lives_on(
    node: Node, head_series: Callable[..., Any], kind: str
) -> None:
    spoil, status, code = BAD[kind]
    good = head_series("axial").paths
    association = associate(node)
    uid = str(dcmread(good[0]).SOPInstanceUID)
    with capture_logs() as lines:
        answer = send_raw(association, spoil(raw_data_set(good[0])), uid)
    assert answer.Status == status
    assert answer.ErrorComment
    assert c_store(association, dcmread(good[1])).Status == 0x0000
    association.release()
    assert node.count(1) == 1
    (row,) = node.audit("object-refused")
    assert (row.detail["code"], row.detail["status"]) == (code, status)
    assert [line["code"] for line in lines if line["event"] == "object refused"] == [code]
    assert not list(node.spool.incoming.iterdir())


def test_data_set_that_names_another_object_is_refused(
    node: Node, head_series: Callable[..., Any]
) -> None:
    path = head_series("axial").paths[0]
    association = associate(node)
    assert send_raw(association, raw_data_set(path), "1.2.3.4").Status == 0xA900
    association.release()
    assert node.count(0) == 0


def test_image_without_pixels_is_refused(node: Node, head_series: Callable[..., Any]) -> None:
    dataset = dcmread(head_series("axial").paths[0])
    del dataset.PixelData
    association = associate(node)
    assert c_store(association, dataset).Status == 0xA900
    association.release()


@pytest.mark.parametrize(
    ("calling", "called", "diagnostic", "code"),
    [
        ("STRANGER", "SECONDREAD", 3, "unknown-calling-ae"),
        ("CT2", "SECONDREAD", 3, "wrong-address"),
        ("CT1", "OTHERNODE", 7, "unknown-called-ae"),
    ],
)
def test_stranger_is_refused_with_the_right_reason(
    node: Node, calling: str, called: str, diagnostic: int, code: str
) -> None:
    association = associate(node, calling, called)
    assert association.is_rejected
    answer = association.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, diagnostic)
    (row,) = node.audit("association-refused")
    assert row.detail["code"] == code
    assert (row.detail["calling"], row.detail["called"]) == (calling, called)
    assert row.detail["address"] == "127.0.0.1"


def test_one_association_too_many_may_try_again(node: Node) -> None:
    open_ones = [associate(node), associate(node)]
    third = associate(node)
    assert third.is_rejected
    answer = third.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
    for association in open_ones:
        assert association.send_c_echo().Status == 0x0000
        association.release()


def test_with_too_little_space_an_association_is_told_to_come_again(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with running(tmp_path, free_port(), minimum_free_bytes=1 << 60) as node:
        association = associate(node)
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 1)
        assert node.audit("disk-low")
        assert node.audit("association-refused")[0].detail["code"] == "disk-low"


def test_file_without_a_row_is_adopted_after_a_power_cut(
    tmp_path: Path, free_port: Callable[[], int], head_series: Callable[..., Any]
) -> None:
    paths = head_series("axial").paths[:3]
    with running(tmp_path, free_port()) as node:
        association = associate(node)
        for path in paths:
            c_store(association, dcmread(path))
        association.release()
        assert node.count(3) == 3
        whole = node.spool.object_path(str(dcmread(paths[0]).SOPInstanceUID)).read_bytes()
    # What a power cut leaves at worst: files without rows, half a file, something in writing.
    ledger, spool = Ledger.open(tmp_path), Spool(tmp_path)
    with ledger.begin() as change:
        change.instances._connection.exec_driver_sql("DELETE FROM instance")
        change.instances._connection.exec_driver_sql("DELETE FROM study")
    ledger.close()
    (spool.objects / "aa" / "junk.dcm").write_bytes(b"half a file")
    (spool.objects / "ab" / "half.dcm").write_bytes(whole[: len(whole) // 2])
    (spool.incoming / "partial").write_bytes(b"x")
    with running(tmp_path, free_port()) as node:
        assert node.count(3) == 3
        assert len(node.audit("object-refused", 2)) == 2
        assert not list(node.spool.incoming.iterdir())
        assert len(list(node.spool.quarantine.iterdir())) == 2
        with node.ledger.read() as view:
            (study,) = view.studies.list()
            assert (study.peer, study.instances) == ("ct", 3)
    with running(tmp_path, free_port()) as node:
        assert node.count(3) == 3
        assert len(node.audit("object-refused", 2)) == 2


def test_object_that_a_worker_looks_at_is_not_touched_by_what_comes_meanwhile(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, at_work, complete = threading.Event(), threading.Event(), Reception.complete

    def wait(reception: Reception) -> Arrival:
        if reception.walks_late:
            at_work.set()
            assert free.wait(WAIT_S)
        return complete(reception)

    monkeypatch.setattr(Reception, "complete", wait)
    objects = {STORE_DEFLATED: MrObject("1.2.3.1"), STORE: MrObject("1.2.3.2", rows=200)}
    sent = {STORE_DEFLATED: deflated(objects[STORE_DEFLATED].encode(), 0)}
    sent[STORE] = objects[STORE].encode()
    with open_association(node.port, "CT1") as first, open_association(node.port, "CT1") as second:
        uid = objects[STORE_DEFLATED].uid
        first.send(message(STORE_DEFLATED, store_rq(uid), sent[STORE_DEFLATED]))
        assert at_work.wait(WAIT_S)
        second.send(message(STORE, store_rq(objects[STORE].uid), sent[STORE]))
        assert second.answer().status == 0x0000
        free.set()
        assert first.answer().status == 0x0000
    for context, one in objects.items():
        assert raw_data_set(node.spool.object_path(one.uid)) == sent[context]


def test_dcmtk_clients_are_served(
    node: Node, head_series: Callable[..., Any], dcmtk: Callable[[str], str]
) -> None:
    series = head_series("sagittal")
    place = ["-aet", "CT1", "-aec", "SECONDREAD", "127.0.0.1", str(node.port)]
    subprocess.run([dcmtk("echoscu"), *place], check=True, timeout=30)
    files = [str(path) for path in series.paths]
    subprocess.run([dcmtk("storescu"), *place, *files[:4]], check=True, timeout=60)
    subprocess.run([dcmtk("dcmsend"), *place, *files], check=True, timeout=60)
    assert node.count(len(files)) == len(files)
    refused = subprocess.run(
        [dcmtk("echoscu"), "-aet", "NOBODY", "-aec", "SECONDREAD", "127.0.0.1", str(node.port)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert refused.returncode != 0
    assert "Calling AE Title Not Recognized" in refused.stderr + refused.stdout
