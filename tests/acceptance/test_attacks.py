"""Attacks on connections and PDUs, while an honest peer must be served as ever."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .attacking import (
    AT_ONCE_S,
    LATE_S,
    UID,
    Attack,
    aborted,
    assert_aborted,
    assert_turned_away,
    attack,
    last_word,
    request,
    turned_away,
    withstand,
)
from .hostile import Client, EndedError, open_association
from .intake_node import (
    ATTACKER,
    HONEST,
    HONEST_ADDRESS,
    VERIFY,
    IntakeNode,
    running_intake,
)
from .wire import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    ECHO,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    STORE,
    AssociationRequest,
    MrObject,
    abort,
    async_window,
    echo_rq,
    message,
    p_data,
    pdu,
    pdv,
    release_rq,
    store_rq,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


# --- time ---


def silent_connections(node: IntakeNode) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(node.port)) for _ in range(200)]
        until = time.monotonic() + LATE_S
        for client in clients:
            assert client.drain(max(until - time.monotonic(), 0.1)) == []


def slow_header(node: IntakeNode) -> None:
    with Client(node.port) as client:
        assert client.send_slowly(request()[:6], 0.8, LATE_S) < LATE_S


def slow_request(node: IntakeNode) -> None:
    content = request()
    with Client(node.port) as client:
        client.send(content[:40])
        assert client.send_slowly(content[40:], 0.1, LATE_S) < LATE_S


def slow_header_of_data(node: IntakeNode) -> None:
    with open_association(node.port, ATTACKER) as client:
        assert client.send_slowly(message(ECHO, echo_rq())[:6], 1.2, 6.5) < 6.5


def slow_body_of_data(node: IntakeNode) -> None:
    content = message(STORE, store_rq(f"{UID}.1"), bytes(4000))
    with open_association(node.port, ATTACKER) as client:
        client.send(content[:400])
        assert client.send_slowly(content[400:], 0.1, LATE_S) < LATE_S


def slow_on_many_connections(node: IntakeNode) -> None:
    """Three bytes on each of a hundred connections: with stock software a total outage."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(node.port)) for _ in range(100)]
        for client in clients:
            with contextlib.suppress(EndedError):
                client.send(b"\x01\x00\x00")
        until = time.monotonic() + LATE_S
        for client in clients:
            client.drain(max(until - time.monotonic(), 0.1))


def silent_association(node: IntakeNode) -> None:
    with open_association(node.port, ATTACKER) as client:
        assert_aborted(client, 7.5)


def will_not_close(node: IntakeNode) -> None:
    """After the node's A-ABORT the caller is to close; the node does not wait for that."""
    with open_association(node.port, ATTACKER) as client:
        client.send(p_data(pdv(2, b"x")))
        client.socket.settimeout(8.0)
        while client.socket.recv(4096):
            continue


# --- PDUs ---


def giant_pdu_before_association(node: IntakeNode) -> None:
    turned_away(node, pdu(ASSOCIATE_RQ, bytes(100), length=0xFFFFFFF0))


def giant_pdu_with_its_body(node: IntakeNode) -> None:
    """Declares 1 GiB, and sends as much of it as is taken; the memory is looked at meanwhile."""
    until = time.monotonic() + LATE_S
    with Client(node.port) as client, contextlib.suppress(EndedError, TimeoutError):
        client.send(pdu(ASSOCIATE_RQ, length=1 << 30))
        while time.monotonic() < until:
            client.send(bytes(1 << 20))
        raise AssertionError(f"the node still takes it after {LATE_S} s")


def request_over_the_limit(node: IntakeNode) -> None:
    turned_away(node, pdu(ASSOCIATE_RQ, length=(256 << 10) + 1))


def giant_pdu_on_association(node: IntakeNode) -> None:
    for kind in (P_DATA, RELEASE_RQ, ABORT, ASSOCIATE_RQ):
        with open_association(node.port, ATTACKER) as client:
            client.send(pdu(kind, bytes(4), length=0xFFFFFFF0))
            assert_turned_away(client)


def data_over_the_negotiated_length(node: IntakeNode) -> None:
    aborted(node, pdu(P_DATA, b"", length=(128 << 10) + 4096))


def data_before_association(node: IntakeNode) -> None:
    turned_away(node, message(ECHO, echo_rq()))


def release_before_association(node: IntakeNode) -> None:
    turned_away(node, release_rq())


def unknown_pdu(node: IntakeNode) -> None:
    for kind in (0x00, 0x08, 0x09, 0x16, 0x47, 0xFF):
        turned_away(node, pdu(kind, bytes(4)))
        aborted(node, pdu(kind, bytes(4)))


def other_protocol(node: IntakeNode) -> None:
    turned_away(node, b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
    turned_away(node, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300))


def pdus_of_an_acceptor(node: IntakeNode) -> None:
    for content in (
        pdu(ASSOCIATE_AC, AssociationRequest(ATTACKER).body()),
        pdu(ASSOCIATE_RJ, b"\0\x01\x01\x01"),
        pdu(RELEASE_RP, bytes(4)),
    ):
        turned_away(node, content)
        aborted(node, content)


def second_request(node: IntakeNode) -> None:
    aborted(node, request())


def short_control_pdus(node: IntakeNode) -> None:
    for content in (
        pdu(RELEASE_RQ),
        pdu(RELEASE_RQ, bytes(5)),
        pdu(P_DATA),
        pdu(P_DATA, bytes(3)),
    ):
        aborted(node, content)
    for content in (pdu(ABORT), pdu(ABORT, bytes(400))):
        with open_association(node.port, ATTACKER) as client:
            client.send(content)
            last_word(client, AT_ONCE_S)


# --- numbers ---


def connection_flood(node: IntakeNode) -> None:
    """500 connections at once, from an address of the list and from one that is not."""
    for source in ("127.0.0.1", "127.0.0.77"):
        with contextlib.ExitStack() as stack:
            for _ in range(500):
                stack.enter_context(Client(node.port, source))
            time.sleep(0.5)


def flood_from_many_addresses(node: IntakeNode) -> None:
    """Silent connections of forty addresses, so that all the waiting places are taken."""
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            for number in range(400):
                source = f"127.0.1.{1 + number % 40}"
                stack.enter_context(Client(node.port, source))
            time.sleep(0.3)


def connect_and_reset(node: IntakeNode) -> None:
    for number in range(500):
        client = Client(node.port)
        if number % 2:
            with contextlib.suppress(EndedError):
                client.send(request()[: number % 80])
        client.reset()


def association_flood(node: IntakeNode) -> None:
    """Over the peer's own limit of 12; the honest peer does not notice."""
    with contextlib.ExitStack() as stack:
        answers = []
        for _ in range(40):
            client = stack.enter_context(Client(node.port))
            answers.append((client, client.associate(AssociationRequest(ATTACKER))))
        accepted = [client for client, answer in answers if answer.kind == ASSOCIATE_AC]
        rejected = [answer for _, answer in answers if answer.kind != ASSOCIATE_AC]
        assert len(accepted) == 12
        assert {answer.rejection for answer in rejected} == {(2, 3, 2)}
        for client in accepted:
            assert client.echo() == 0
            client.release()


def rejected_again_and_again(node: IntakeNode) -> None:
    for number in range(300):
        with Client(node.port, "127.0.0.3") as client:
            answer = client.associate(AssociationRequest(f"NOBODY{number}"))
            assert answer.rejection == (1, 1, 3)


def never_reads(node: IntakeNode) -> None:
    """Asks as much as it can and reads no answer: the node must not keep the answers."""
    with open_association(node.port, ATTACKER, user_items=async_window(0, 0)) as client:
        client.socket.settimeout(2.0)
        content = b"".join(message(ECHO, echo_rq(number)) for number in range(1, 1000))
        with contextlib.suppress(EndedError, TimeoutError):
            for _ in range(2000):
                client.send(content)
            raise AssertionError("the node took 2,000,000 requests whose answers nobody read")


def flood_of_requests(node: IntakeNode) -> None:
    """Twelve associations that ask without end, and read the answers."""
    content = b"".join(message(ECHO, echo_rq(number)) for number in range(1, 300))
    until = time.monotonic() + 3.0
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(
                open_association(node.port, ATTACKER, user_items=async_window(0, 1))
            )
            for _ in range(12)
        ]
        for client in clients:
            client.socket.setblocking(False)
        while time.monotonic() < until:
            for client in clients:
                with contextlib.suppress(BlockingIOError):
                    client.socket.send(content)
                with contextlib.suppress(BlockingIOError):
                    client.socket.recv(1 << 20)
            time.sleep(0.001)


def aborts_at_every_phase(node: IntakeNode) -> None:
    whole = message(STORE, store_rq(f"{UID}.2"), MrObject(f"{UID}.2").encode(), size=200)
    for end in (Client.close, Client.reset, _abort_and_close, _half_close_and_wait):
        for cut in (0, 3, 6, 70, 200):
            client = Client(node.port)
            client.send(request()[:cut])
            end(client)
        for cut in (0, 3, 6, 8, 40, 150, 200, 400, len(whole) - 20):
            client = open_association(node.port, ATTACKER)
            client.send(whole[:cut])
            end(client)
        client = open_association(node.port, ATTACKER)
        client.send(release_rq())
        end(client)
    node.expect_absent(f"{UID}.2")


def _abort_and_close(client: Client) -> None:
    client.send(abort())
    client.close()


def _half_close_and_wait(client: Client) -> None:
    client.stop_sending()
    try:
        last_word(client, AT_ONCE_S)
    finally:
        client.close()


ATTACKS: Mapping[str, Attack] = {
    "silent connections": attack(silent_connections),
    "slow header": attack(slow_header),
    "slow association request": attack(slow_request),
    "slow header of data": attack(slow_header_of_data),
    "slow body of data": attack(slow_body_of_data),
    "three bytes on many connections": attack(slow_on_many_connections),
    "silent association": attack(silent_association),
    "will not close after the abort": attack(will_not_close),
    "giant PDU before association": attack(giant_pdu_before_association),
    "giant PDU with its body": attack(giant_pdu_with_its_body),
    "association request over the limit": attack(request_over_the_limit),
    "giant PDU on an association": attack(giant_pdu_on_association),
    "data over the negotiated length": attack(data_over_the_negotiated_length),
    "data before association": attack(data_before_association),
    "release before association": attack(release_before_association),
    "unknown PDU": attack(unknown_pdu),
    "another protocol": attack(other_protocol),
    "PDUs of an acceptor": attack(pdus_of_an_acceptor),
    "second association request": attack(second_request),
    "control PDUs of a wrong length": attack(short_control_pdus),
    "connection flood": attack(connection_flood),
    "flood from many addresses": attack(flood_from_many_addresses, "evicted"),
    "connect and reset": attack(connect_and_reset),
    "association flood": attack(association_flood, "too-many-associations"),
    "rejected again and again": attack(rejected_again_and_again, "unknown-calling-ae"),
    "reader that never reads": attack(never_reads),
    "flood of requests": attack(flood_of_requests),
    "ends at every phase": attack(aborts_at_every_phase),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IntakeNode]:
    """One process for all attacks: whatever one of them leaves behind, the next ones meet."""
    with running_intake(tmp_path_factory.mktemp("attacks")) as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(node: IntakeNode, name: str) -> None:
    withstand(node, ATTACKS[name])


def test_no_association_left_when_all_are_taken(tmp_path: Path) -> None:
    """Over the limit of the node: told to try again, and served when there is room."""
    peers = (
        {"name": "honest", "ae_title": HONEST, "addresses": [HONEST_ADDRESS]},
        {"name": "attacker", "ae_title": ATTACKER, "addresses": ["127.0.0.1"]},
    )
    with running_intake(tmp_path, {"dicom": {"max_associations": 6}}, peers) as small:
        with Client(small.port, HONEST_ADDRESS) as honest, contextlib.ExitStack() as stack:
            honest.associate(AssociationRequest(HONEST, contexts=VERIFY))
            clients, answers = [], []
            for _ in range(20):
                clients.append(stack.enter_context(Client(small.port)))
                answers.append(clients[-1].associate(AssociationRequest(ATTACKER)))
            kinds = [answer.kind for answer in answers]
            assert kinds == [ASSOCIATE_AC] * 5 + [ASSOCIATE_RJ] * 15
            assert {answer.rejection for answer in answers[5:]} == {(2, 3, 2)}
            assert honest.echo() == 0
            clients[0].release()
            with open_association(small.port, ATTACKER) as late:
                assert late.echo() == 0
        small.wait_for(lambda: "too-many-associations" in small.codes(), 3.0, "the reason")
        small.check_log()
