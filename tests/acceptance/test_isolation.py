"""Associations know nothing of one another, and packets have no meaning."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from .attacking import UID
from .hostile import Client, open_association
from .intake_node import (
    ATTACKER,
    HONEST,
    HONEST_ADDRESS,
    IntakeNode,
    honest_store,
    running_intake,
    under_attack,
)
from .wire import (
    STORE,
    STORE_IMPLICIT,
    AssociationRequest,
    MrObject,
    message,
    store_rq,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IntakeNode]:
    """One process for all of these tests."""
    with running_intake(tmp_path_factory.mktemp("isolation")) as running:
        yield running


def test_nothing_leaks_between_associations(node: IntakeNode) -> None:
    """Two associations byte by byte in turn; each has its own object stored and answered."""
    first, second = f"{UID}.20.{time.time_ns()}", f"{UID}.21.{time.time_ns()}"
    objects = {first: MrObject(first, patient_name="First^One").encode()}
    objects[second] = MrObject(second, patient_name="Second^One", fill=b"\x11\x22").encode(
        implicit=True
    )
    one = open_association(node.port, ATTACKER)
    two = open_association(node.port, HONEST, HONEST_ADDRESS)
    streams = (
        message(STORE, store_rq(first, 11), objects[first], size=100),
        message(STORE_IMPLICIT, store_rq(second, 22), objects[second], size=170),
    )
    with under_attack(node), one, two:
        for at in range(max(map(len, streams))):
            for client, stream in zip((one, two), streams, strict=True):
                if at < len(stream):
                    client.send(stream[at : at + 1])
        answers = one.answer(), two.answer()
        assert [(a.context, a.message_id, a.status) for a in answers] == [
            (STORE, 11, 0),
            (STORE_IMPLICIT, 22, 0),
        ]
        # A message of one of them must not end that of the other.
        one.send(streams[0][:300])
        assert two.echo(5) == 0
        one.reset()
        assert two.echo(6) == 0
        two.release()
    for uid, data in objects.items():
        row = node.row(uid)
        assert row.data() == data
        assert row.is_exact()


def test_nothing_but_whole_objects_is_left(node: IntakeNode) -> None:
    """Every file among the objects has its row and is what the row says."""
    honest_store(node, f"{UID}.22.{time.time_ns()}")
    node.settle()
    rows = node.rows()
    assert {row.path for row in rows.values()} == set(node.object_files())
    assert all(row.is_exact() for row in rows.values())
    assert not node.incoming()


def test_pdu_in_small_packets_is_understood(node: IntakeNode) -> None:
    """The boundaries of packets mean nothing, not even in a header."""
    uid = f"{UID}.23.{time.time_ns()}"
    content = AssociationRequest(HONEST).encode()
    with Client(node.port, HONEST_ADDRESS) as client:
        for at in range(0, len(content), 3):
            client.send(content[at : at + 3])
        assert client.receive() is not None
        content = message(STORE, store_rq(uid), MrObject(uid).encode())
        for at in range(0, len(content), 7):
            client.send(content[at : at + 7])
        assert client.answer().status == 0
        client.release()
    assert node.row(uid).data() == MrObject(uid).encode()
