"""Attacks on the services besides storage, while an honest peer must be served."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterator, Mapping

import pytest

from .attacking import (
    UID,
    Attack,
    attack,
    withstand,
)
from .hostile import EndedError, open_association
from .intake_node import (
    ATTACKER,
    IntakeNode,
    running_intake,
)
from .wire import (
    C_FIND_RQ,
    COMMIT,
    COMMITMENT,
    ECHO,
    HAS_DATA,
    MPPS,
    MR,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_SET_RQ,
    STEP,
    STORE,
    VERIFICATION,
    MrObject,
    command_set,
    element,
    message,
    p_data,
    pdv,
    request_rq,
    store_rq,
    uid_value,
    us,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


def some_object(number: str) -> tuple[str, bytes]:
    """A UID and an object of about 3 kB."""
    uid = f"{UID}.{number}.{time.time_ns()}"
    return uid, MrObject(uid, rows=36).encode()


def services_on_the_wrong_context(node: IntakeNode) -> None:
    """No request is served on a context that was negotiated for another class."""
    uid, data = some_object("10")
    wrong = (
        message(ECHO, store_rq(uid, sop_class=MR), data),
        message(ECHO, store_rq(uid, sop_class=VERIFICATION), data),
        message(STORE, request_rq(N_ACTION_RQ, COMMITMENT, "1.2.840.10008.1.20.1.1"), b""),
        message(
            STORE,
            command_set(
                {0x0002: uid_value(MR), 0x0100: us(C_FIND_RQ), 0x0110: us(1), 0x0800: us(HAS_DATA)}
            ),
            b"",
        ),
    )
    for content in wrong:
        with open_association(node.port, ATTACKER) as client:
            client.send(content)
            with contextlib.suppress(EndedError):
                assert client.answer().status not in {0x0000, 0xFF00}
    node.expect_absent(uid)


def large_data_sets_of_other_services(node: IntakeNode) -> None:
    """What is no object goes to memory, so it has a limit of its own: 4 MiB."""
    requests = (
        (COMMIT, request_rq(N_ACTION_RQ, COMMITMENT, "1.2.840.10008.1.20.1.1")),
        (STEP, request_rq(N_CREATE_RQ, MPPS, f"{UID}.11")),
        (STEP, request_rq(N_SET_RQ, MPPS, f"{UID}.11")),
    )
    piece = bytes(65536)
    for context, command in requests:
        with open_association(node.port, ATTACKER) as client:
            client.send(p_data(pdv(context, command, command=True)))
            try:
                for _ in range(1600):
                    client.send(p_data(pdv(context, piece, last=False)))
                client.send(p_data(pdv(context, b"")))
                assert client.answer().status != 0
            except EndedError:
                pass


def broken_data_sets_of_other_services(node: IntakeNode) -> None:
    """Data sets that other services cannot read are answered, and served peers live on."""
    deep = b"\xff\xfe\xe0\x00\xff\xff\xff\xff".join([b"\x08\x00\x99\x11\xff\xff\xff\xff"] * 3000)
    broken = (
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
        element(0x00081195, "UI", "../../etc/passwd", implicit=True),
        element(0x00081195, "UI", "1.2.3\n4", implicit=True),
        element(0x00081199, "SQ", b"\xff" * 400, implicit=True),
        struct.pack("<HHI", 0x0008, 0x1199, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * 900,
        deep,
    )
    requests = (
        (COMMIT, lambda n: request_rq(N_ACTION_RQ, COMMITMENT, "1.2.840.10008.1.20.1.1", n)),
        (COMMIT, lambda n: request_rq(N_ACTION_RQ, COMMITMENT, "1.2.3", n, type_id=99)),
        (STEP, lambda n: request_rq(N_CREATE_RQ, MPPS, f"{UID}.12.{n}", n)),
        (STEP, lambda n: request_rq(N_SET_RQ, MPPS, "../../x\n\x1b[2J", n)),
    )
    for context, command in requests:
        for number, data in enumerate(broken, 1):
            with open_association(node.port, ATTACKER) as client:
                client.send(message(context, command(number), data))
                with contextlib.suppress(EndedError):
                    client.answer(4.0)
                    client.release()


ATTACKS: Mapping[str, Attack] = {
    "service on another's context": attack(services_on_the_wrong_context),
    "large data set of another service": attack(large_data_sets_of_other_services),
    "broken data set of another service": attack(broken_data_sets_of_other_services),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IntakeNode]:
    """One process for all attacks: whatever one of them leaves behind, the next ones meet."""
    with running_intake(tmp_path_factory.mktemp("services")) as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(node: IntakeNode, name: str) -> None:
    withstand(node, ATTACKS[name])
