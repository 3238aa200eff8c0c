"""Objects far larger than what the node may keep in memory."""

from __future__ import annotations

import hashlib
import struct
import time
from pathlib import Path

import pytest

from .attacking import UID
from .hostile import Client
from .intake_node import HONEST, HONEST_ADDRESS, running_intake, under_attack
from .wire import (
    STORE,
    AssociationRequest,
    MrObject,
    Proposal,
    element,
    p_data,
    pdv,
    store_rq,
)

pytestmark = [pytest.mark.acceptance]

SUCCESS = 0x0000
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def send_large(client: Client, uid: str, frames: int) -> str:
    """Store a multi-frame object of half a MiB per frame, made on the way; its sha256."""
    plain = MrObject(uid, rows=512, fill=bytes(512 * 512 * 2), sop_class=ENHANCED_MR).encode()
    head = plain[: plain.rindex(b"\xe0\x7f\x10\x00")]
    at = head.index(b"\x28\x00\x10\x00")
    count = element(0x00280008, "IS", str(frames))
    pixels = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", frames * 512 * 1024)
    head = head[:at] + count + head[at:] + pixels
    digest = hashlib.sha256(head)
    client.send(p_data(pdv(STORE, store_rq(uid, sop_class=ENHANCED_MR), command=True)))
    client.send(p_data(pdv(STORE, head, last=False)))
    for frame in range(frames):
        content = hashlib.sha256(str(frame).encode()).digest() * (512 * 1024 // 32)
        digest.update(content)
        for start in range(0, len(content), 65536):
            last = frame == frames - 1 and start + 65536 == len(content)
            client.send(p_data(pdv(STORE, content[start : start + 65536], last=last)))
    return digest.hexdigest()


def check_large(folder: Path, frames: int, growth_mib: float) -> None:
    """A multi-frame object goes through a node whose memory does not grow with it."""
    limits = {"max_object_mib": 4096}
    context = (
        Proposal(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
        Proposal(STORE, ENHANCED_MR),
    )
    uid = f"{UID}.99.{time.time_ns()}"
    with running_intake(folder, {"dicom": limits}) as node:
        with (
            under_attack(node, growth_mib),
            Client(node.port, HONEST_ADDRESS, timeout_s=300.0) as client,
        ):
            client.associate(AssociationRequest(HONEST, contexts=context))
            sha256 = send_large(client, uid, frames)
            # However long the disk takes: a peer that waits for its answer is not silent.
            assert client.answer(300.0).status == SUCCESS
            client.release()
        row = node.row(uid, 60.0)
        assert row.size > frames * 512 * 1024
        assert row.sha256 == sha256
        assert row.is_exact()
        row.path.unlink()


def test_large_object_does_not_cost_memory(tmp_path: Path) -> None:
    check_large(tmp_path, 400, 60.0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_object_of_two_gibibytes_does_not_cost_memory(tmp_path: Path) -> None:
    check_large(tmp_path, 4096, 150.0)
