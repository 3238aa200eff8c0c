"""Attacks with P-DATA and messages on an association, while an honest peer must be served."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterator, Mapping

import pytest

from .attacking import (
    AT_ONCE_S,
    LATE_S,
    UID,
    Attack,
    aborted,
    assert_aborted,
    attack,
    last_word,
    withstand,
)
from .hostile import Client, EndedError, open_association
from .intake_node import (
    ATTACKER,
    MEBIBYTE,
    IntakeNode,
    running_intake,
)
from .wire import (
    ABORT,
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    C_STORE_RSP,
    CONTEXTS,
    ECHO,
    HAS_DATA,
    MR,
    NO_DATA,
    RELEASE_RP,
    STORE,
    STORE_IMPLICIT,
    VERIFICATION,
    AssociationRequest,
    MrObject,
    Proposal,
    async_window,
    command_set,
    echo_rq,
    element,
    message,
    p_data,
    pdv,
    release_rq,
    store_rq,
    uid_value,
    us,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

SILENCE_S = 7.5
"""Longer than a silent association lives."""


def some_object(number: str) -> tuple[str, bytes]:
    """A UID and an object of about 3 kB."""
    uid = f"{UID}.{number}.{time.time_ns()}"
    return uid, MrObject(uid, rows=36).encode()


# --- PDVs ---


def lying_pdv_lengths(node: IntakeNode) -> None:
    command = echo_rq()
    for length in (0, 1, len(command) + 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        aborted(node, p_data(pdv(ECHO, command, command=True, length=length)))
    # Shorter than it is, so that the rest is read as the next PDV.
    aborted(node, p_data(pdv(ECHO, b"\xff" * 60, command=True, length=20)))
    aborted(node, p_data(pdv(ECHO, command, command=True), b"\0\0\0"))


def empty_pdvs(node: IntakeNode) -> None:
    """A PDV without content is odd but legal; thousands of them are a way to keep a node busy."""
    empty = pdv(ECHO, b"", command=True, last=False)
    with open_association(node.port, ATTACKER) as client:
        client.send(p_data(*[empty] * 2000))
        with contextlib.suppress(EndedError):
            for _ in range(20):
                client.send(p_data(*[empty] * 15000))
        with contextlib.suppress(EndedError):
            client.echo()


def unknown_context(node: IntakeNode) -> None:
    for number in (0, 2, 13, 255):
        aborted(node, p_data(pdv(number, echo_rq(), command=True)))


def refused_context(node: IntakeNode) -> None:
    """A context that was proposed and not accepted."""
    with Client(node.port) as client:
        answer = client.associate(
            AssociationRequest(ATTACKER, contexts=(*CONTEXTS, Proposal(101, "1.2.3.4")))
        )
        assert answer.results[101] != 0
        client.send(p_data(pdv(101, store_rq(f"{UID}.1", sop_class="1.2.3.4"), command=True)))
        assert_aborted(client)


def long_command(node: IntakeNode) -> None:
    """More than 64 KiB of command, in one fragment and in many, with and without an end."""
    fill = command_set({0x0100: us(C_ECHO_RQ), 0x0110: us(1), 0x5000: bytes(70000)})
    aborted(node, p_data(pdv(ECHO, fill, command=True)))
    piece = p_data(pdv(ECHO, bytes(1000), command=True, last=False))
    aborted(node, piece * 80)


def many_small_fragments(node: IntakeNode) -> None:
    """Legal, if unfriendly: every fragment has one byte."""
    uid, data = some_object("2")
    command = store_rq(uid)

    def bytewise(content: bytes, *, is_command: bool) -> list[bytes]:
        end = len(content) - 1
        return [
            pdv(STORE, content[at : at + 1], command=is_command, last=at == end)
            for at in range(len(content))
        ]

    with open_association(node.port, ATTACKER) as client:
        parts = bytewise(command, is_command=True) + bytewise(data, is_command=False)
        client.send(p_data(*parts))
        assert client.answer().status == 0
        uid2, data2 = some_object("3")
        parts = bytewise(store_rq(uid2), is_command=True) + bytewise(data2, is_command=False)
        client.send(b"".join(p_data(part) for part in parts))
        assert client.answer().status == 0
        client.release()
    for known, content in ((uid, data), (uid2, data2)):
        row = node.row(known)
        assert row.data() == content


# --- messages ---


def command_without_data(node: IntakeNode) -> None:
    """A C-STORE after which nothing comes; and one after which another command comes."""
    begun = p_data(pdv(STORE, store_rq(f"{UID}.4"), command=True))
    aborted(node, begun, SILENCE_S)
    aborted(node, begun + message(ECHO, echo_rq(2)))
    aborted(node, begun + begun)


def data_without_command(node: IntakeNode) -> None:
    aborted(node, p_data(pdv(STORE, MrObject(f"{UID}.5").encode())))
    aborted(node, p_data(pdv(STORE, b"", last=True)))
    # C-ECHO has no data set.
    with open_association(node.port, ATTACKER) as client:
        client.send(message(ECHO, echo_rq()) + p_data(pdv(ECHO, bytes(20))))
        assert_aborted(client)


def data_that_was_not_announced(node: IntakeNode) -> None:
    """C-STORE that says it has no data set: refused with a status, or aborted."""
    uid, data = some_object("6")
    command = command_set(
        {
            0x0002: uid_value(MR),
            0x0100: us(C_STORE_RQ),
            0x0110: us(1),
            0x0700: us(0),
            0x0800: us(NO_DATA),
            0x1000: uid_value(uid),
        }
    )
    with open_association(node.port, ATTACKER) as client:
        client.send(message(STORE, command))
        with contextlib.suppress(EndedError):
            assert client.answer().status not in {0x0000, 0xB000, 0xB006, 0xB007}
    with open_association(node.port, ATTACKER) as client:
        client.send(message(STORE, command, data))
        assert last_word(client, AT_ONCE_S) == ABORT
    node.expect_absent(uid)


def interleaved_messages(node: IntakeNode) -> None:
    """PS3.8 E: the fragments of a message follow one another without any other between."""
    uid, data = some_object("7")
    start = p_data(pdv(STORE, store_rq(uid), command=True)) + p_data(
        pdv(STORE, data[:500], last=False)
    )
    other = p_data(pdv(STORE_IMPLICIT, data[500:]))
    aborted(node, start + message(ECHO, echo_rq(2)))
    aborted(node, start + other)
    aborted(node, p_data(pdv(STORE, store_rq(uid)[:20], command=True, last=False)) + other)
    half = pdv(STORE, store_rq(uid)[:20], command=True, last=False)
    aborted(node, p_data(half, pdv(ECHO, store_rq(uid)[20:], command=True)))
    node.expect_absent(uid)


def data_set_that_stops(node: IntakeNode) -> None:
    uid, data = some_object("8")
    start = p_data(pdv(STORE, store_rq(uid), command=True)) + p_data(pdv(STORE, data, last=False))
    aborted(node, start, SILENCE_S)
    node.expect_absent(uid)


def data_set_that_never_ends(node: IntakeNode) -> None:
    """Eight times the largest object: the rest is not kept, and the answer says why."""
    uid = f"{UID}.9"
    header = MrObject(uid).encode()
    pixels = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", 1 << 30)
    start = header[: header.rindex(b"\xe0\x7f\x10\x00")] + pixels
    piece = p_data(pdv(STORE, bytes(65536), last=False)) * 16
    most = 0
    with open_association(node.port, ATTACKER) as client:
        client.send(p_data(pdv(STORE, store_rq(uid), command=True)))
        client.send(p_data(pdv(STORE, start, last=False)))
        try:
            for _ in range(128):
                client.send(piece)
                most = max(most, node.incoming_bytes())
            client.send(p_data(pdv(STORE, b"\0\0")))
            assert client.answer().status == 0xA700
            assert client.echo(2) == 0
        except EndedError:
            pass
    assert most <= 18 * MEBIBYTE, f"{most} bytes of an object of at most 16 MiB were kept"


def commands_that_are_none(node: IntakeNode) -> None:
    """Broken command sets: aborted, or answered with a status that is no success."""
    good = {0x0002: uid_value(VERIFICATION), 0x0110: us(1), 0x0800: us(NO_DATA)}
    bent = {
        "no command field": command_set(good),
        "empty": b"",
        "text": b"GET / HTTP/1.1\r\n\r\n",
        "no message id": command_set({0x0100: us(C_ECHO_RQ), 0x0800: us(NO_DATA)}),
        "no data set type": command_set({0x0100: us(C_ECHO_RQ), 0x0110: us(1)}),
        "unknown command": command_set({**good, 0x0100: us(0x0999)}),
        "a response that nobody waits for": command_set(
            {**good, 0x0100: us(C_STORE_RSP), 0x0120: us(7), 0x0900: us(0)}
        ),
        "a field of one byte": command_set({**good, 0x0100: b"\x30"}),
        "an empty field": command_set({**good, 0x0100: b""}),
        "a field of 400 bytes": command_set({**good, 0x0100: us(C_ECHO_RQ) * 200}),
        "a wrong group length": command_set({**good, 0x0100: us(C_ECHO_RQ)}, group_length=9999),
        "an element longer than the command": command_set(good)
        + struct.pack("<HHI", 0, 0x0100, 0xFFFFFFF0),
        "cut in an element": command_set({**good, 0x0100: us(C_ECHO_RQ)})[:-1],
        "another group": command_set(good) + element(0x00080018, "UI", "1.2.3", implicit=True),
        "explicit VR": element(0x00000100, "US", us(C_ECHO_RQ)),
        "twice the same element": command_set(good) + command_set(good),
        "a class that is not the context's": echo_rq().replace(
            b"1.2.840.10008.1.1", b"1.2.3.4.5.6.7.8.9"
        ),
        "C-ECHO with a data set": command_set(
            {**good, 0x0100: us(C_ECHO_RQ), 0x0800: us(HAS_DATA)}
        ),
    }
    for what, content in bent.items():
        with open_association(node.port, ATTACKER) as client:
            client.send(p_data(pdv(ECHO, content, command=True)))
            client.stop_sending()
            try:
                last_word(client, AT_ONCE_S)
            except AssertionError as error:
                raise AssertionError(f"{what}: {error}") from None


def cancel_of_nothing(node: IntakeNode) -> None:
    """A C-CANCEL for a request that is not there has no answer, and does no harm."""
    cancel = command_set({0x0100: us(C_CANCEL_RQ), 0x0120: us(9), 0x0800: us(NO_DATA)})
    with open_association(node.port, ATTACKER) as client:
        client.send(message(ECHO, cancel))
        with contextlib.suppress(EndedError):
            assert client.echo(2) == 0
            client.release()


# --- order ---


def release_within_a_message(node: IntakeNode) -> None:
    uid, data = some_object("13")
    start = p_data(pdv(STORE, store_rq(uid), command=True)) + p_data(
        pdv(STORE, data[:500], last=False)
    )
    with open_association(node.port, ATTACKER) as client:
        client.send(start + release_rq())
        received = client.receive(AT_ONCE_S)
        assert received is None or received.kind in {RELEASE_RP, ABORT}
    node.expect_absent(uid)


def data_after_release(node: IntakeNode) -> None:
    uid, data = some_object("14")
    with open_association(node.port, ATTACKER) as client:
        client.send(release_rq() + message(STORE, store_rq(uid), data))
        kinds = [received.kind for received in client.drain(LATE_S)]
        assert kinds in ([RELEASE_RP], [RELEASE_RP, ABORT], [ABORT], []), kinds
    node.expect_absent(uid)


def reset_within_an_object(node: IntakeNode) -> None:
    uid, data = some_object("15")
    whole = p_data(pdv(STORE, store_rq(uid), command=True)) + p_data(
        pdv(STORE, data + bytes(300000)[:120000], last=False)
    )
    for number in range(40):
        client = open_association(node.port, ATTACKER)
        client.send(whole)
        if number % 2:
            time.sleep(0.02)
        client.reset()
    node.expect_absent(uid)


def reused_message_ids(node: IntakeNode) -> None:
    """One after the other they are in order; at the same time the second one is refused or done."""
    with open_association(node.port, ATTACKER) as client:
        for _ in range(3):
            assert client.echo(7) == 0
            uid, data = some_object("16")
            assert client.store(uid, data, message_id=7) == 0
        client.release()
    first, second = some_object("17"), some_object("18")
    with open_association(node.port, ATTACKER) as client:
        client.send(
            message(STORE, store_rq(first[0], 7), first[1])
            + message(STORE, store_rq(second[0], 7), second[1])
        )
        with contextlib.suppress(EndedError):
            statuses = [client.answer().status for _ in range(2)]
            assert set(statuses) <= {0x0000, 0x0210}
            for (uid, data), status in zip((first, second), statuses, strict=True):
                if status == 0:
                    assert node.row(uid).data() == data
                else:
                    node.expect_absent(uid)


def asks_without_waiting(node: IntakeNode) -> None:
    """With a window of 8 (PS3.7 D.3.3.3) and without one: whatever got Success is there."""
    for window in (async_window(8, 1), b""):
        objects = [some_object("19") for _ in range(24)]
        with open_association(node.port, ATTACKER, user_items=window) as client:
            content = [
                message(STORE, store_rq(uid, number), data)
                for number, (uid, data) in enumerate(objects, 1)
            ]
            client.send(b"".join(content))
            answered = {}
            try:
                for _ in objects:
                    answer = client.answer()
                    answered[answer.message_id] = answer.status
                client.release()
            except EndedError:
                assert not window, "a sender within its window was aborted"
        for number, status in answered.items():
            uid, data = objects[number - 1]
            row = node.row(uid)
            assert status == 0
            assert row.data() == data


def burst_of_tiny_objects(node: IntakeNode) -> None:
    """Thousands of requests at once: each of them must not cost a descriptor, a thread or more."""
    content, uids = [], []
    for number in range(2500):
        uid = f"{UID}.24.{time.time_ns()}.{number}"
        uids.append(uid)
        tiny = (
            element(0x00080016, "UI", MR)
            + element(0x00080018, "UI", uid)
            + element(0x0020000D, "UI", f"{UID}.25")
            + element(0x0020000E, "UI", f"{UID}.26")
        )
        content.append(
            p_data(pdv(STORE, store_rq(uid, number + 1), command=True), pdv(STORE, tiny))
        )
    with open_association(node.port, ATTACKER, user_items=async_window(0, 1)) as client:
        client.send(b"".join(content))
        answered: dict[int, int] = {}
        with contextlib.suppress(EndedError):
            while len(answered) < len(uids):
                answer = client.answer(30.0)
                answered[answer.message_id] = answer.status
    assert set(answered.values()) == {0}
    node.settle()
    rows = node.rows()
    assert all(uids[number - 1] in rows for number in answered)


ATTACKS: Mapping[str, Attack] = {
    "lying PDV lengths": attack(lying_pdv_lengths),
    "empty PDVs": attack(empty_pdvs),
    "context that was not proposed": attack(unknown_context),
    "context that was not accepted": attack(refused_context),
    "command longer than 64 KiB": attack(long_command),
    "fragments of one byte": attack(many_small_fragments),
    "command without a data set": attack(command_without_data),
    "data set without a command": attack(data_without_command),
    "data set that was not announced": attack(data_that_was_not_announced),
    "interleaved messages": attack(interleaved_messages),
    "data set that stops": attack(data_set_that_stops),
    "data set that never ends": attack(data_set_that_never_ends),
    "broken command sets": attack(commands_that_are_none),
    "C-CANCEL of nothing": attack(cancel_of_nothing),
    "A-RELEASE within a message": attack(release_within_a_message),
    "data after A-RELEASE": attack(data_after_release),
    "reset within an object": attack(reset_within_an_object),
    "reused message ids": attack(reused_message_ids),
    "requests without waiting": attack(asks_without_waiting),
    "burst of tiny objects": attack(burst_of_tiny_objects),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IntakeNode]:
    """One process for all attacks: whatever one of them leaves behind, the next ones meet."""
    with running_intake(tmp_path_factory.mktemp("messages")) as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(node: IntakeNode, name: str) -> None:
    withstand(node, ATTACKS[name])
