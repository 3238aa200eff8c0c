"""The allow-list, with the triples of PS3.8 table 9-21."""

from __future__ import annotations

import pytest

from secondread.access.peers import AccessList, Refusal, over_limit
from secondread.domain.network import Peer

SCANNER = Peer("mr1", "MR1", ("10.1.2.3", "10.9.0.0/16", "2001:db8::/64"), 30.0)
LIST = AccessList([SCANNER, Peer("ct1", "CT1", ("10.1.2.4/32",), 5.0)], "SECONDREAD")


def triple(refusal: Refusal) -> tuple[int, int, int]:
    return refusal.result, refusal.source, refusal.diagnostic


@pytest.mark.parametrize(
    ("calling", "called", "address"),
    [
        ("MR1", "SECONDREAD", "10.1.2.3"),
        ("MR1             ", "SECONDREAD      ", "10.9.255.1"),
        ("MR1", "SECONDREAD", "::ffff:10.1.2.3"),
        ("MR1", "SECONDREAD", "2001:db8::7"),
    ],
)
def test_a_known_peer_gets_in(calling: str, called: str, address: str) -> None:
    assert LIST.admit(calling, called, address) is SCANNER


@pytest.mark.parametrize(
    ("calling", "called", "address", "expected", "code", "words"),
    [
        ("ROGUE", "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "[[peers]]"),
        ("mr1", "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "'mr1'"),
        ("", "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "[[peers]]"),
        ("MR1", "SECONDREAD", "10.1.2.4", (1, 1, 3), "wrong-address", "calls from 10.1.2.4"),
        ("CT1", "SECONDREAD", "10.1.2.3", (1, 1, 3), "wrong-address", "10.1.2.4/32"),
        ("MR1", "SECONDREAD", "not-an-address", (1, 1, 3), "wrong-address", "not-an-address"),
        ("MR1", "OTHER", "10.1.2.3", (1, 1, 7), "unknown-called-ae", "this node is 'SECONDREAD'"),
        ("ROGUE", "OTHER", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "[[peers]]"),
    ],
)
def test_everybody_else_is_refused_for_the_right_reason(
    calling: str,
    called: str,
    address: str,
    expected: tuple[int, int, int],
    code: str,
    words: str,
) -> None:
    refusal = LIST.admit(calling, called, address)
    assert isinstance(refusal, Refusal)
    assert triple(refusal) == expected
    assert refusal.code == code
    assert words in refusal.reason
    assert refusal.reason.endswith(".")


def test_an_empty_list_lets_nobody_in() -> None:
    assert isinstance(AccessList([], "SECONDREAD").admit("MR1", "SECONDREAD", "127.0.0.1"), Refusal)


def test_a_strangers_text_cannot_forge_a_log_line() -> None:
    refusal = LIST.admit("A\nB\x1b[31m" + "X" * 200, "SECONDREAD", "10.1.2.3")
    assert isinstance(refusal, Refusal)
    assert refusal.reason.isprintable()
    assert len(refusal.reason) < 200


def test_one_association_too_many_is_transient() -> None:
    assert triple(over_limit(50)) == (2, 3, 2)
    assert "50" in over_limit(50).reason
