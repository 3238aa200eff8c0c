"""Ports, TLS and what a peer may do: the keys, their limits, and what must hold between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from secondread.access.passcodes import hash_passcode
from secondread.access.tls import server_context
from secondread.config.checks import remarks
from secondread.config.explain import explain
from secondread.config.load import examine, load
from secondread.config.settings import GIB, MIB, Settings
from secondread.domain.completeness import Completeness
from secondread.domain.network import (
    USUAL_SERVICES,
    Peer,
    Quotas,
    Service,
    TlsSettings,
    Urgency,
)
from tests.certificates import Certificates

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"
PRIVATE = "1.2.276.0.7230010.3.1.0.1"
HASH = hash_passcode("let me in")
FINGERPRINT = "ab" * 32
PEER = '[[peers]]\nname = "mr1"\nae_title = "MR1"\naddresses = ["10.1.2.3"]\n'

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "secondread.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return put


@pytest.fixture
def tls(certificates: Certificates) -> str:
    """A sound [tls] table."""
    made = certificates.settings(2762)
    return (
        f"[tls]\nport = 2762\ncertificate = '{made.certificate}'\nkey = '{made.key}'\n"
        f"ca = '{made.ca}'\n"
    )


def faults_of(path: Path) -> list[str]:
    examined = examine(path, {})
    assert examined.settings is None
    told = [str(fault) for fault in examined.faults]
    assert all(sentence.startswith("line ") and sentence.endswith((".", ")")) for sentence in told)
    return told


def test_every_key_of_a_peer_becomes_its_record(
    write: Write, tls: str, certificates: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "ca.pem").write_bytes(certificates.ca.certificate.read_bytes())
    text = PEER + (
        "quiet_s = 12\n"
        'may = ["echo", "store"]\n'
        f'sop_classes = ["{CT}", "{MR}"]\n'
        f'transfer_syntaxes = ["{EXPLICIT}"]\n'
        "max_associations = 4\nassociations_per_hour = 100\nobjects_per_hour = 20000\n"
        "gib_per_hour = 1.5\n"
        'priority_max = "high"\n'
        f'certificate_sha256 = "{":".join(["AB"] * 32)}"\n'
        'certificate_ca = "peers/ca.pem"\n'
        f'username = "scanner"\npasscode_hash = "{HASH}"\n'
        'host = "mr1.hospital"\nport = 104\n'
    )
    (peer,) = load(write(tls + text), {}).peers
    assert peer == Peer(
        name="mr1",
        ae_title="MR1",
        addresses=("10.1.2.3",),
        quiet_s=12.0,
        may=frozenset({Service.ECHO, Service.STORE}),
        sop_classes=frozenset({CT, MR}),
        transfer_syntaxes=frozenset({EXPLICIT}),
        quotas=Quotas(4, 100, 20000, 3 * GIB // 2),
        priority_max=Urgency.HIGH,
        tls=True,
        certificate_sha256=FINGERPRINT,
        certificate_ca=str(tmp_path / "peers" / "ca.pem"),
        username="scanner",
        passcode_hash=HASH,
        host="mr1.hospital",
        port=104,
        complete=Completeness(quiet_s=12.0),
    )


def test_a_plain_peer_has_the_defaults_of_the_record(write: Write) -> None:
    (peer,) = load(write(PEER), {}).peers
    assert peer == Peer("mr1", "MR1", ("10.1.2.3",), 30.0, complete=Completeness())


def test_the_keys_of_dicom_and_tls_become_settings(
    write: Write, tls: str, certificates: Certificates
) -> None:
    settings = load(
        write(
            "[dicom]\nport = 0\nmax_associations = 7\nmax_waiting = 8\npdu_timeout_s = 9\n"
            f"request_timeout_s = 2.5\nmax_inflated_mib = 3\nsop_classes = ['{CT}']\n"
            f"extra_sop_classes = ['{PRIVATE}']\n" + tls + "warn_days = 14\n"
        ),
        {},
    )
    assert (settings.port, settings.max_associations, settings.max_waiting) == (0, 7, 8)
    assert (settings.pdu_timeout_s, settings.request_timeout_s) == (9.0, 2.5)
    assert settings.max_inflated_bytes == 3 * MIB
    assert (settings.sop_classes, settings.extra_sop_classes) == ({CT}, {PRIVATE})
    assert settings.tls == certificates.settings(2762, warn_days=14)
    server_context(settings.tls)


def test_without_a_port_the_files_need_not_be_there(write: Write, tmp_path: Path) -> None:
    settings = load(write("[tls]\ncertificate = 'absent.pem'\n"), {}).tls
    assert settings == TlsSettings(certificate=tmp_path / "absent.pem")


def test_paths_count_from_the_file(
    write: Write, tmp_path: Path, certificates: Certificates
) -> None:
    for name in ("certificate", "key"):
        source = getattr(certificates.server, name)
        (tmp_path / f"{name}.pem").write_bytes(source.read_bytes())
    text = (
        "[tls]\nport = 2762\ncertificate = 'certificate.pem'\nkey = './key.pem'\n"
        f"ca = '{certificates.ca.certificate}'\n"
    )
    settings = load(write(text), {}).tls
    assert settings.certificate == tmp_path / "certificate.pem"
    assert settings.key == tmp_path / "key.pem"


def test_lists_can_come_from_the_environment(write: Write) -> None:
    settings = load(write(""), {"SECONDREAD_DICOM__SOP_CLASSES": f"{CT}, {MR}"})
    assert settings.sop_classes == {CT, MR}
    assert load(write(""), {"SECONDREAD_DICOM__EXTRA_SOP_CLASSES": ""}).extra_sop_classes == set()
    (fault,) = examine(write(""), {"SECONDREAD_DICOM__SOP_CLASSES": "CT"}).faults
    assert str(fault).startswith("SECONDREAD_DICOM__SOP_CLASSES: ")
    assert "not a UID" in str(fault)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'may = ["move"]',
            "must be 'echo', 'store', 'commitment', 'notices', 'status' or 'feedback'",
        ),
        ("may = []", "'may' in [[peers]] 'mr1' must not be empty"),
        ('sop_classes = ["CT"]', "has 'CT', which is not a UID"),
        ('sop_classes = ["1.02.3"]', "which is not a UID"),
        (f'sop_classes = ["1.{"2" * 64}"]', "64 characters at the most"),
        ('transfer_syntaxes = ["1.2.3."]', "'transfer_syntaxes' in [[peers]] 'mr1' has '1.2.3.'"),
        ("max_associations = 0", "at least 1"),
        ("associations_per_hour = -1", "at least 0"),
        ("gib_per_hour = inf", "finite number"),
        ('priority_max = "urgent"', "'low', 'medium' or 'high'"),
        ("tls = 1", "true or false"),
        ('certificate_sha256 = "abcd"', "64 hex digits"),
        (f'certificate_sha256 = "{"xy" * 32}"', "64 hex digits"),
        ('username = "scanner"', "has 'username' but not 'passcode_hash'"),
        (f'passcode_hash = "{HASH}"', "has 'passcode_hash' but not 'username'"),
        ('passcode_hash = "let me in"', "not of the form scrypt"),
        ('username = "a\\u0007"\npasscode_hash = "x"', "printable"),
        ('host = "http://x"', "without port or scheme"),
        ("port = 65536", "at most 65535"),
        ("tls = true", "'tls' in [[peers]] 'mr1' asks for TLS, but [tls] has no port"),
        (f'certificate_sha256 = "{FINGERPRINT}"', "'certificate_sha256' in [[peers]] 'mr1' asks"),
        ('certificate_ca = "absent.pem"', "absent.pem', which cannot be read: No such file"),
        ('certificate_ca = "secondread.toml"', "holds no certificate in PEM form"),
        ('passcode = "x"', "did you mean 'passcode_hash'?"),
    ],
)
def test_each_mistake_of_a_peer_has_its_sentence(write: Write, line: str, expected: str) -> None:
    examined = examine(write(PEER + line + "\n"), {})
    told = [str(fault) for fault in examined.faults]
    assert any(expected in sentence for sentence in told), told


def test_a_passcode_in_the_place_of_its_hash_is_not_told(write: Write) -> None:
    told = faults_of(write(PEER + 'username = "u"\npasscode_hash = "open sesame"\n'))
    assert "open sesame" not in " ".join(told)


def test_a_hash_is_not_shown(write: Write) -> None:
    _, values = explain(write(PEER + f'username = "u"\npasscode_hash = "{HASH}"\n'))
    found = {value.key: (value.value, value.origin) for value in values}
    assert found["peers.mr1.passcode_hash"] == ("(set)", "secondread.toml:6")
    assert found["peers.mr1.username"] == ("u", "secondread.toml:5")
    assert found["peers.mr1.may"] == (
        [one.value for one in Service if one in USUAL_SERVICES],
        "default",
    )
    assert found["tls.port"] == (0, "default")


def test_some_port_must_be_open(write: Write, tls: str) -> None:
    (told,) = faults_of(write("[dicom]\nport = 0\n"))
    assert told.startswith("line 2: 'port' is 0 in [dicom] and in [tls]")
    (told,) = faults_of(write("[dicom]\nport = 2762\n" + tls))
    assert told.startswith("line 4: 'port' in [tls] is that of [dicom], 2762")


def test_a_tls_port_needs_its_files(write: Write) -> None:
    told = faults_of(write("[tls]\nport = 2762\n"))
    assert [
        f"needs the key '{key}'" in line
        for key, line in zip(("certificate", "key", "ca"), told, strict=True)
    ] == [True, True, True]


def test_files_that_are_no_certificates_are_told(
    write: Write, tls: str, certificates: Certificates, tmp_path: Path
) -> None:
    made = certificates.settings()
    locked = tmp_path / "locked.pem"
    locked.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    swapped = tls.replace(f"'{made.certificate}'", f"'{made.key}'")
    (told,) = faults_of(write(swapped))
    assert "'certificate' in [tls]" in told
    assert "holds no certificate" in told
    (told,) = faults_of(write(tls.replace(f"'{made.key}'", f"'{made.certificate}'")))
    assert "holds no private key" in told
    (told,) = faults_of(write(tls.replace(f"'{made.key}'", f"'{locked}'")))
    assert "needs a password" in told
    (told,) = faults_of(write(tls.replace(f"'{made.ca}'", f"'{tmp_path}'")))
    assert "cannot be read: Is a directory" in told


def test_a_faulty_tls_table_is_not_held_against_the_peers(write: Write) -> None:
    (told,) = faults_of(write("[tls]\nport = 70000\n" + PEER + "tls = true\n"))
    assert "at most 65535" in told


def remarked(*peers: Peer, **fields: object) -> list[str]:
    settings = Settings(peers=peers, **fields)
    about = ("Add your", "Add one", "Add a rule")
    return [r.sentence for r in remarks(settings) if not r.remedy.startswith(about)]


def peer(name: str = "mr1", **fields: object) -> Peer:
    return Peer(name, name.upper(), fields.pop("addresses", ("10.0.0.1",)), 30.0, **fields)


def test_a_certificate_makes_any_address_right() -> None:
    anywhere = ("0.0.0.0/0", "::/0")
    (told,) = remarked(peer(addresses=anywhere))
    assert "any address (0.0.0.0/0, ::/0) and needs no certificate" in told
    assert remarked(peer(addresses=anywhere, certificate_sha256=FINGERPRINT), port=0) == []


def test_an_open_plain_port_that_nobody_may_use_is_remarked() -> None:
    (told,) = remarked(peer(tls=True))
    assert "port 11112 is open without it" in told
    assert remarked(peer(tls=True), peer("ct1")) == []
    assert remarked(peer(tls=True), port=0) == []


def test_a_passcode_in_the_clear_is_remarked() -> None:
    (told,) = remarked(peer(username="u", passcode_hash=HASH))
    assert "without TLS" in told


def test_one_peer_that_may_shut_out_the_others_is_remarked() -> None:
    greedy = peer(quotas=Quotas(associations=100))
    assert remarked(greedy) == []
    (told,) = remarked(greedy, peer("ct1"))
    assert "alone may take all 100 associations" in told


def test_a_class_that_the_node_does_not_take_is_remarked() -> None:
    scanner = peer(sop_classes=frozenset({CT, PRIVATE}))
    assert remarked(scanner) == []
    (told,) = remarked(scanner, sop_classes=frozenset({CT}))
    assert PRIVATE in told
    assert remarked(scanner, sop_classes=frozenset({CT}), extra_sop_classes={PRIVATE}) == []
