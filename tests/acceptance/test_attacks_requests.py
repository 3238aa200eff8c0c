"""Attacks with association requests and with names, while an honest peer must be served."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping

import pytest

from .attacking import (
    AT_ONCE_S,
    Attack,
    attack,
    bent_request,
    request,
    turned_away,
    withstand,
)
from .hostile import Client, EndedError, open_association
from .intake_node import (
    ATTACKER,
    HONEST,
    IntakeNode,
    running_intake,
)
from .wire import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    CONTEXTS,
    EXPLICIT,
    IMPLICIT,
    MR,
    VERIFICATION,
    AssociationRequest,
    Proposal,
    abort,
    item,
    pdu,
    user_identity,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


# --- items ---


def many_contexts(node: IntakeNode) -> None:
    """128 is what PS3.8 9.3.2 allows, so they are accepted."""
    contexts = [Proposal(1, VERIFICATION, (IMPLICIT,))]
    contexts += [Proposal(number, MR, (EXPLICIT, IMPLICIT)) for number in range(3, 256, 2)]
    with open_association(node.port, ATTACKER, contexts=contexts) as client:
        assert client.echo() == 0
        client.release()
    with Client(node.port) as client:
        answer = client.associate(AssociationRequest(ATTACKER, contexts=contexts))
        assert answer.results == dict.fromkeys(range(1, 256, 2), 0)
        client.send(abort())


def too_many_contexts(node: IntakeNode) -> None:
    for count in (129, 300, 4000):
        contexts = [Proposal(number * 2 % 256 + 1, MR) for number in range(count)]
        turned_away(node, request(contexts=contexts))


def duplicate_context_ids(node: IntakeNode) -> None:
    contexts = (Proposal(1, VERIFICATION, (IMPLICIT,)), Proposal(3, MR), Proposal(3, VERIFICATION))
    turned_away(node, request(contexts=contexts))


def even_context_ids(node: IntakeNode) -> None:
    for number in (0, 2, 254):
        turned_away(node, request(contexts=(Proposal(number, MR), *CONTEXTS)))


def no_contexts(node: IntakeNode) -> None:
    turned_away(node, request(contexts=()))


def context_without_syntaxes(node: IntakeNode) -> None:
    turned_away(node, request(contexts=(Proposal(1, MR, ()),)))
    bare = item(0x20, bytes((1, 0, 0, 0)) + item(0x40, EXPLICIT.encode()))
    own = AssociationRequest(ATTACKER)
    turned_away(node, bent_request(item(0x10, b"1.2.840.10008.3.1.1.1") + bare))
    turned_away(node, pdu(ASSOCIATE_RQ, own.fixed() + bare + own.user_information()))


def many_transfer_syntaxes(node: IntakeNode) -> None:
    """A hundred unknown ones and one that the node knows are answered; 2,000 may be too many."""
    for count in (100, 2000):
        unknown = tuple(f"1.2.3.{number}" for number in range(count))
        contexts = (Proposal(1, VERIFICATION, (*unknown, IMPLICIT)),)
        with Client(node.port) as client:
            client.send(request(contexts=contexts))
            answer = client.receive(AT_ONCE_S)
            if count == 100:
                assert answer is not None
                assert answer.results == {1: 0}
                assert client.echo() == 0
                client.release()


def many_user_items(node: IntakeNode) -> None:
    """65,536 items of four bytes, which take more than one User Information item."""
    full = item(0x50, item(0x5A) * 16383)
    own = AssociationRequest(ATTACKER)
    first = item(0x10, own.application.encode()) + b"".join(c.encode() for c in CONTEXTS)
    for count in (3, 4):
        with Client(node.port) as client:
            with contextlib.suppress(EndedError):
                client.send(bent_request(first + full * count + item(0x50, item(0x5A) * 4)))
            answer = client.receive(AT_ONCE_S)
            if answer is not None and answer.kind == ASSOCIATE_AC:
                client.send(abort())
            assert answer is None or answer.kind in {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}
    with Client(node.port) as client:
        known = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3")
        client.send(bent_request(first + item(0x50, known + item(0x5A) * 16000)))
        answer = client.receive(AT_ONCE_S)
        assert answer is not None
        assert answer.kind in {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}
        client.send(abort())


def lying_item_lengths(node: IntakeNode) -> None:
    own = AssociationRequest(ATTACKER)
    application = item(0x10, own.application.encode())
    contexts = b"".join(context.encode() for context in CONTEXTS)
    user = own.user_information()
    bent = {
        "an item longer than the PDU": application + contexts + item(0x50, b"", length=0xFFFF),
        "an item's header cut": application + contexts + user + b"\x50\x00\x00",
        "a context shorter than its header": application + item(0x20, b"\x01") + user,
        "a syntax longer than its context": application
        + item(0x20, b"\x01\0\0\0" + item(0x30, MR.encode(), length=500))
        + user,
        "a context that ends in a syntax": application
        + item(0x20, b"\x01\0\0\0" + item(0x30, MR.encode()), length=12)
        + user,
        "a sub-item longer than its item": application
        + contexts
        + item(0x50, item(0x51, b"\0\0\x40\0", length=900)),
        "a role whose UID is too long": application
        + contexts
        + item(0x50, item(0x54, struct.pack(">H", 4000) + b"1.2\0\1")),
        "an identity longer than it is": application
        + contexts
        + item(0x50, item(0x58, b"\x02\x00\xff\xffuser")),
        "a body of 67 bytes": b"",
    }
    for what, items in bent.items():
        content = bent_request(items)
        if not items:
            content = pdu(ASSOCIATE_RQ, own.fixed()[:67])
        try:
            turned_away(node, content)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from None


def short_sub_items(node: IntakeNode) -> None:
    """A maximum length of two bytes, a window of one: refused, or as if they were not there."""
    own = AssociationRequest(ATTACKER)
    contexts = b"".join(context.encode() for context in CONTEXTS)
    for bent in (
        item(0x51, b"\0\0"),
        item(0x51),
        item(0x53, b"\0"),
        item(0x52),
        item(0x56, b"\xff"),
    ):
        first = item(0x10, own.application.encode()) + contexts
        with Client(node.port) as client:
            client.send(bent_request(first + item(0x50, bent)))
            answer = client.receive(AT_ONCE_S)
            if answer is not None and answer.kind == ASSOCIATE_AC:
                assert client.echo() == 0
                client.release()


def wrong_protocol_version(node: IntakeNode) -> None:
    """PS3.8 9.3.2: bit 0 is version 1, and other bits do not matter."""
    with Client(node.port) as client:
        assert client.associate(AssociationRequest(ATTACKER, version=2)).rejection == (1, 2, 2)
    with Client(node.port) as client:
        answer = client.associate(AssociationRequest(ATTACKER, version=0x8001))
        assert answer.kind == ASSOCIATE_AC
        client.send(abort())


def wrong_application_context(node: IntakeNode) -> None:
    with Client(node.port) as client:
        answer = client.associate(AssociationRequest(ATTACKER, application="1.2.3.4"))
        assert answer.rejection == (1, 1, 2)


def long_names(node: IntakeNode) -> None:
    """UIDs of 60,000 characters, and an identity that nobody asked for."""
    turned_away(node, request(application="1." * 30000))
    with Client(node.port) as client:
        client.send(request(contexts=(*CONTEXTS, Proposal(13, "9" * 60000))))
        answer = client.receive(AT_ONCE_S)
        assert answer is not None
        assert answer.kind in {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}
        client.send(abort())
    with Client(node.port) as client:
        items = user_identity(b"u" * 30000, b"p" * 30000)
        client.send(request(user_items=items))
        answer = client.receive(AT_ONCE_S)
        assert answer is not None
        assert answer.kind in {ASSOCIATE_AC, ASSOCIATE_RJ, ABORT}
        client.send(abort())


# --- names ---


def padded_titles(node: IntakeNode) -> None:
    """Spaces around a title do not count (PS3.8 9.3.2); these are welcome."""
    for calling in (ATTACKER, f" {ATTACKER}", f"   {ATTACKER}   "):
        for called in ("SECONDREAD", " SECONDREAD"):
            with Client(node.port) as client:
                answer = client.associate(AssociationRequest(calling, called))
                assert answer.kind == ASSOCIATE_AC
                client.release()


def almost_the_title(node: IntakeNode) -> None:
    for calling in ("attacker", "Attacker", "ATTACKE", "ATTACKERS", "ATTACKER\0", "ATT ACKER", ""):
        with Client(node.port) as client:
            answer = client.associate(AssociationRequest(calling))
            assert answer.rejection == (1, 1, 3), repr(calling)
    for called in ("secondread", "SECONDREAD\0", "SECOND READ", "", "OTHER"):
        with Client(node.port) as client:
            answer = client.associate(AssociationRequest(ATTACKER, called))
            assert answer.rejection == (1, 1, 7), repr(called)


def title_of_seventeen_characters(node: IntakeNode) -> None:
    """The field has sixteen bytes; the next belongs to the next field."""
    body = AssociationRequest("ATTACKER-OF-SIXT").body()
    with Client(node.port) as client:
        client.send(pdu(ASSOCIATE_RQ, body[:36] + b"E" + body[37:]))
        answer = client.receive()
        assert answer is not None
        assert answer.rejection == (1, 1, 3)


def titles_with_control_characters(node: IntakeNode) -> None:
    forms = (
        b'X\n{"event":"x"}',
        b"\x1b[2J\x1b[31mEVIL",
        b'","level":"x',
        b"\r\nFAKE LINE",
        b"\0" * 16,
        b"\xff\xfe\x85\x0c\x0b\x1c",
        b"%s%n{0}{x!r}$(id)",
    )
    for calling in forms:
        with Client(node.port) as client:
            answer = client.associate(AssociationRequest(calling))
            assert answer.rejection == (1, 1, 3)
        with Client(node.port) as client:
            answer = client.associate(AssociationRequest(ATTACKER, calling))
            assert answer.rejection == (1, 1, 7)


def spoofed_title(node: IntakeNode) -> None:
    with Client(node.port, "127.0.0.2") as client:
        assert client.associate(AssociationRequest(ATTACKER)).rejection == (1, 1, 3)
    with Client(node.port) as client:
        assert client.associate(AssociationRequest(HONEST)).rejection == (1, 1, 3)


ATTACKS: Mapping[str, Attack] = {
    "128 contexts": attack(many_contexts),
    "129 contexts and more": attack(too_many_contexts),
    "duplicate context ids": attack(duplicate_context_ids),
    "even context ids": attack(even_context_ids),
    "no contexts": attack(no_contexts),
    "contexts without syntaxes": attack(context_without_syntaxes),
    "2,000 transfer syntaxes": attack(many_transfer_syntaxes),
    "65,536 user items": attack(many_user_items),
    "lying item lengths": attack(lying_item_lengths),
    "sub-items of a wrong length": attack(short_sub_items),
    "wrong protocol version": attack(wrong_protocol_version),
    "wrong application context": attack(wrong_application_context),
    "very long names": attack(long_names),
    "AE titles with spaces around": attack(padded_titles),
    "AE titles of other case or length": attack(almost_the_title, "unknown-calling-ae"),
    "AE title of 17 characters": attack(title_of_seventeen_characters, "unknown-calling-ae"),
    "AE titles with control characters": attack(titles_with_control_characters),
    "spoofed AE title": attack(spoofed_title, "wrong-address"),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IntakeNode]:
    """One process for all attacks: whatever one of them leaves behind, the next ones meet."""
    with running_intake(tmp_path_factory.mktemp("attacks")) as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(node: IntakeNode, name: str) -> None:
    withstand(node, ATTACKS[name])
