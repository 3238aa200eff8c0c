"""The allow-list, with the triples of PS3.8 table 9-21."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from secondread.access.passcodes import PasscodeGuard, hash_passcode
from secondread.access.peers import AccessList, Caller, Identity, Refusal, disk_low, over_limit
from secondread.domain.network import Peer
from tests.certificates import Certificates

SCANNER = Peer("mr1", "MR1", ("10.1.2.3", "10.9.0.0/16", "2001:db8::/64"), 30.0)
LIST = AccessList([SCANNER, Peer("ct1", "CT1", ("10.1.2.4/32",), 5.0)], "SECONDREAD")
ANYWHERE = Peer("us1", "US1", ("0.0.0.0/0", "::/0"), 5.0)
HASH = hash_passcode("let me in")


def triple(refusal: Refusal) -> tuple[int, int, int]:
    return refusal.result, refusal.source, refusal.diagnostic


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def refused(decision: Peer | Refusal) -> tuple[str, tuple[int, int, int]]:
    assert isinstance(decision, Refusal), decision
    assert decision.reason.endswith(".")
    assert decision.reason.isprintable()
    return decision.code, triple(decision)


@pytest.mark.parametrize(
    ("calling", "called", "address"),
    [
        ("MR1", "SECONDREAD", "10.1.2.3"),
        ("MR1             ", "SECONDREAD      ", "10.9.255.1"),
        ("  MR1", " SECONDREAD", "10.9.255.1"),
        ("MR1", "SECONDREAD", "::ffff:10.1.2.3"),
        ("MR1", "SECONDREAD", "2001:db8::7"),
    ],
)
def test_a_known_peer_gets_in(calling: str, called: str, address: str) -> None:
    assert LIST.admit(Caller(calling, called, address)) is SCANNER


@pytest.mark.parametrize(
    ("calling", "called", "address", "expected", "code", "words"),
    [
        ("ROGUE", "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "[[peers]]"),
        ("mr1", "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "'mr1'"),
        ("M R1", "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "'M R1'"),
        ("", "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "[[peers]]"),
        ("MR1\0", "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "'MR1?'"),
        ("MR1\n", "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "'MR1?'"),
        ("MR1" + "X" * 14, "SECONDREAD", "10.1.2.3", (1, 1, 3), "unknown-calling-ae", "MR1XX"),
        ("MR1", "SECONDREAD", "10.1.2.4", (1, 1, 3), "wrong-address", "calls from 10.1.2.4"),
        ("MR1", "SECONDREAD", "::10.1.2.3", (1, 1, 3), "wrong-address", "::10.1.2.3"),
        ("CT1", "SECONDREAD", "10.1.2.3", (1, 1, 3), "wrong-address", "10.1.2.4/32"),
        ("MR1", "SECONDREAD", "not-an-address", (1, 1, 3), "wrong-address", "not-an-address"),
        ("MR1", "OTHER", "10.1.2.3", (1, 1, 7), "unknown-called-ae", "this node is 'SECONDREAD'"),
        ("MR1", "secondread", "10.1.2.3", (1, 1, 7), "unknown-called-ae", "'secondread'"),
        ("MR1", "", "10.1.2.3", (1, 1, 7), "unknown-called-ae", "''"),
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
    refusal = LIST.admit(Caller(calling, called, address))
    assert isinstance(refusal, Refusal)
    assert refused(refusal) == (code, expected)
    assert words in refusal.reason


def test_an_empty_list_lets_nobody_in() -> None:
    decision = AccessList([], "SECONDREAD").admit(Caller("MR1", "SECONDREAD", "127.0.0.1"))
    assert refused(decision)[0] == "unknown-calling-ae"


def test_a_peer_without_a_title_cannot_be_called_by_an_illegal_one() -> None:
    """What is no AE title must not become the title '' of a peer."""
    listed = AccessList([replace(ANYWHERE, ae_title="")], "N")
    assert refused(listed.admit(Caller("\0", "N", "10.0.0.1")))[0] == "unknown-calling-ae"
    assert refused(listed.admit(Caller("", "N", "10.0.0.1")))[0] == "unknown-calling-ae"


def test_a_strangers_text_cannot_forge_a_log_line() -> None:
    refusal = LIST.admit(Caller("A\nB\x1b[31m" + "X" * 200, "SECONDREAD", "10.1.2.3"))
    assert isinstance(refusal, Refusal)
    assert refusal.reason.isprintable()
    assert len(refusal.reason) < 200


def test_a_refusal_names_the_peer_whose_title_it_is() -> None:
    decisions = [
        LIST.admit(Caller(calling, "N", address))
        for calling, address in (("X", "10.1.2.3"), ("MR1", "10.1.2.4"), ("CT1", "10.1.2.4"))
    ]
    assert [isinstance(one, Refusal) and one.peer for one in decisions] == ["", "mr1", "ct1"]


def test_short_space_is_transient() -> None:
    assert triple(disk_low()) == (2, 3, 1)


def test_one_association_too_many_is_transient() -> None:
    assert triple(over_limit(50)) == (2, 3, 2)
    assert "50" in over_limit(50).reason


def test_another_list_applies_at_once() -> None:
    access = AccessList([SCANNER], "N")
    assert access.peer("mr1") is SCANNER
    moved = replace(SCANNER, addresses=("10.1.2.9",))
    access.replace([moved, ANYWHERE])
    assert refused(access.admit(Caller("MR1", "N", "10.1.2.3")))[0] == "wrong-address"
    assert access.admit(Caller("MR1", "N", "10.1.2.9")) is moved
    assert access.peer("us1") is ANYWHERE
    access.replace([])
    assert access.peer("mr1") is None
    assert refused(access.admit(Caller("US1", "N", "10.1.2.9")))[0] == "unknown-calling-ae"


def test_the_list_is_replaced_whole_while_others_ask() -> None:
    """Whoever asks meanwhile sees both peers of one list, never one of each."""
    lists = [
        [Peer("a", "A", (address,), 1.0), Peer("b", "B", (address,), 1.0)]
        for address in ("10.0.0.1", "10.0.0.2")
    ]
    access = AccessList(lists[0], "N")
    stop, odd = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            found = access.admit(Caller("A", "N", "10.0.0.1"))
            if isinstance(found, Refusal) and found.code != "wrong-address":
                odd.append(found)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(300):
        access.replace(lists[turn % 2])
    stop.set()
    for thread in threads:
        thread.join()
    assert odd == []


def test_a_peer_that_must_come_by_tls_is_refused_without(certificates: Certificates) -> None:
    shown = der(certificates.client.certificate)
    access = AccessList([replace(ANYWHERE, tls=True)], "N")
    assert refused(access.admit(Caller("US1", "N", "10.0.0.1"))) == ("tls-required", (1, 1, 1))
    assert isinstance(access.admit(Caller("US1", "N", "10.0.0.1", shown)), Peer)


def test_the_fingerprint_decides(certificates: Certificates) -> None:
    own, other = der(certificates.client.certificate), der(certificates.other_client.certificate)
    wanted = Caller("US1", "N", "10.0.0.1", own)
    access = AccessList([replace(ANYWHERE, certificate_sha256=wanted.fingerprint)], "N")
    assert isinstance(access.admit(wanted), Peer)
    stolen = replace(wanted, certificate=other)
    decision = access.admit(stolen)
    assert refused(decision) == ("wrong-certificate", (1, 1, 1))
    assert isinstance(decision, Refusal)
    assert stolen.fingerprint in decision.reason
    assert refused(access.admit(replace(wanted, certificate=None)))[0] == "tls-required"


def test_the_ca_decides(certificates: Certificates) -> None:
    access = AccessList([replace(ANYWHERE, certificate_ca=str(certificates.ca.certificate))], "N")

    def ask(path: Path) -> Peer | Refusal:
        return access.admit(Caller("US1", "N", "10.0.0.1", der(path)))

    assert isinstance(ask(certificates.client.certificate), Peer)
    for pair in (certificates.other_client, certificates.self_signed, certificates.other_ca):
        assert refused(ask(pair.certificate)) == ("wrong-certificate", (1, 1, 1))
    expired = ask(certificates.expired_client.certificate)
    assert refused(expired)[0] == "wrong-certificate"
    assert isinstance(expired, Refusal)
    assert "not valid today" in expired.reason
    broken = access.admit(Caller("US1", "N", "10.0.0.1", b"no certificate"))
    assert refused(broken)[0] == "wrong-certificate"


def test_a_certificate_that_may_not_sign_is_no_ca(certificates: Certificates) -> None:
    path = str(certificates.self_signed.certificate)
    access = AccessList([replace(ANYWHERE, certificate_ca=path)], "N")
    shown = der(certificates.self_signed.certificate)
    is_ca = _may_sign(certificates.self_signed.certificate)
    assert not is_ca, "the certificate of this test must be a leaf"
    assert refused(access.admit(Caller("US1", "N", "10.0.0.1", shown)))[0] == "wrong-certificate"


def _may_sign(path: Path) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def test_a_ca_file_is_read_again_when_it_changes(
    certificates: Certificates, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    access = AccessList([replace(ANYWHERE, certificate_ca=str(path))], "N")
    caller = Caller("US1", "N", "10.0.0.1", der(certificates.client.certificate))

    def put(source: Path) -> None:
        draft = tmp_path / "draft.pem"
        shutil.copy(source, draft)
        draft.replace(path)

    absent = access.admit(caller)
    assert refused(absent) == ("wrong-certificate", (1, 1, 1))
    assert isinstance(absent, Refusal)
    assert "cannot be read: No such file" in absent.reason
    put(certificates.ca.certificate)
    assert isinstance(access.admit(caller), Peer)
    put(certificates.other_ca.certificate)
    assert refused(access.admit(caller))[0] == "wrong-certificate"
    path.write_text("nothing")
    broken = access.admit(caller)
    assert isinstance(broken, Refusal)
    assert "no certificate in PEM form" in broken.reason
    both = certificates.other_ca.certificate.read_text() + certificates.ca.certificate.read_text()
    path.write_text(both)
    assert isinstance(access.admit(caller), Peer)


def test_user_name_and_passcode_decide_where_a_peer_has_them() -> None:
    peer = replace(ANYWHERE, username="scanner", passcode_hash=HASH)
    access = AccessList([peer], "N", PasscodeGuard(lambda: 0.0))

    def ask(identity: Identity | None, address: str = "10.0.0.1") -> Peer | Refusal:
        return access.admit(Caller("US1", "N", address, identity=identity))

    assert refused(ask(None)) == ("identity-missing", (1, 1, 1))
    assert ask(Identity("scanner", "let me in")) is peer
    assert refused(ask(Identity("scanner", "let me out"))) == ("wrong-identity", (1, 1, 1))
    assert refused(ask(Identity("Scanner", "let me in"))) == ("wrong-identity", (1, 1, 1))
    assert refused(ask(Identity("scanner"))) == ("wrong-identity", (1, 1, 1))
    for _ in range(3):
        refused(ask(Identity("scanner", "guess")))
    assert refused(ask(Identity("scanner", "let me in"))) == ("wrong-identity", (2, 1, 1))
    assert ask(Identity("scanner", "let me in"), "10.0.0.2") is peer


def test_an_identity_that_nobody_asked_for_does_no_harm() -> None:
    assert LIST.admit(Caller("MR1", "SECONDREAD", "10.1.2.3", identity=Identity("x"))) is SCANNER


def test_a_passcode_is_in_no_text() -> None:
    assert "let me in" not in repr(Caller("A", "B", "C", identity=Identity("u", "let me in")))


def test_what_is_wrong_first_is_told_and_nothing_else(certificates: Certificates) -> None:
    """From the titles to the identity: who fails early learns nothing about what comes after."""
    peer = Peer("p", "P", ("10.0.0.1",), 1.0, tls=True, username="u", passcode_hash=HASH)
    access = AccessList([peer], "N")
    caller = Caller("X", "Y", "10.0.0.2")
    told = [refused(access.admit(caller))[0]]
    shown = der(certificates.client.certificate)
    for step in (
        {"calling": "P"},
        {"address": "10.0.0.1"},
        {"certificate": shown},
        {"called": "N"},
        {"identity": Identity("u", "x")},
    ):
        caller = replace(caller, **step)
        told.append(refused(access.admit(caller))[0])
    assert told == [
        "unknown-calling-ae",
        "wrong-address",
        "tls-required",
        "unknown-called-ae",
        "identity-missing",
        "wrong-identity",
    ]
