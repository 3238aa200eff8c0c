"""The sender against storescp and Orthanc, plain and with TLS, and against a peer that lies."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from secondread.access.tls import client_context
from secondread.delivery.address import Address
from secondread.delivery.association import Identity
from secondread.delivery.object_file import Kind, kinds_of
from secondread.delivery.reach import Security
from secondread.delivery.sender import Sender, Sent
from secondread.domain.network import TlsSettings, Urgency
from secondread.errors import (
    DeliveryError,
    KindRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
)
from tests.bench import wire
from tests.bench.scu import read_pdu
from tests.certificates import Certificates, fingerprint
from tests.echo_peers import nothing, saying, server_side, storescp, tcp_server
from tests.sender_peers import (
    CT,
    EXPLICIT,
    PATIENCE_S,
    SEG,
    Behaviour,
    answering,
    dripping,
    dropping,
    lying,
    resetting,
    silent,
    telling,
    write_object,
)

TIMEOUT_S = 1.0
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
DEFLATED = "1.2.840.10008.1.2.1.99"
RELEASE_REQUEST = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
ABORT_BY_PROVIDER = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small CT."""
    write_object(tmp_path / "small.dcm", "1.2.3.1")
    return tmp_path / "small.dcm"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A segmentation larger than what the sockets of both sides hold."""
    write_object(tmp_path / "large.dcm", "1.2.3.2", 32 << 20, sop_class=SEG)
    return tmp_path / "large.dcm"


def address(port: int, timeout_s: float = PATIENCE_S, called: str = "PACS") -> Address:
    return Address("127.0.0.1", port, called, "SECONDREAD", timeout_s)


def stored(folder: Path) -> list[bytes]:
    """The files that a storescp has, without its log."""
    return [path.read_bytes() for path in folder.iterdir() if path.suffix != ".log"]


# --- DCMTK


@pytest.mark.parametrize("options", [(), ("-pdu", "4096"), ("-pdu", "131072")])
def test_storescp_gets_everything_bit_for_bit(
    dcmtk: Callable[[str], str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    sizes = [0, 2, 16370, 16378, 20_000, 1 << 18, 3_000_000, *[5000] * 60]
    paths, sent = [], []
    for number, size in enumerate(sizes):
        paths.append(tmp_path / f"{number}.dcm")
        sop_class = SEG if number % 2 else CT
        sent.append(write_object(paths[-1], f"1.2.3.{number}", size, sop_class=sop_class))
    with storescp(dcmtk("storescp"), home, "+B", *options) as port:
        with Sender(address(port), kinds_of(paths), echoes=True) as sender:
            sender.echo()
            assert all(sender.send(path, Urgency.HIGH) == Sent(0) for path in paths)
            assert sender.is_open
            sender.echo()
        assert not sender.is_open
        # Once more, over another association of the same sender.
        sender.open()
        assert sender.send(paths[0]) == Sent(0)
        sender.release()
    found = stored(home)
    assert len(found) == len(sent)
    assert all(any(content.endswith(data) for content in found) for data in sent)


def test_real_objects_are_what_was_sent(
    dcmtk: Callable[[str], str], head_series: Callable[..., Any], tmp_path: Path
) -> None:
    paths = head_series().paths
    home = tmp_path / "home"
    home.mkdir()
    with (
        storescp(dcmtk("storescp"), home, "+B") as port,
        Sender(address(port), kinds_of(paths)) as sender,
    ):
        assert all(sender.send(path) == Sent(0) for path in paths)
    found = stored(home)
    for path in paths:
        content = path.read_bytes()
        start = 144 + int.from_bytes(content[140:144], "little")
        assert sum(kept.endswith(content[start:]) for kept in found) == 1


def test_an_echo_needs_no_files(dcmtk: Callable[[str], str], tmp_path: Path) -> None:
    with storescp(dcmtk("storescp"), tmp_path) as port:
        with Sender(address(port)) as sender:
            sender.echo()
        with pytest.raises(PeerUnreachableError, match="no association"):
            sender.echo()


def test_storescp_that_aborts_in_the_middle_of_an_object(
    dcmtk: Callable[[str], str], tmp_path: Path, large: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with storescp(dcmtk("storescp"), home, "--abort-during") as port:
        sender = Sender(address(port), kinds_of([large]))
        sender.open()
        with pytest.raises(PeerUnreachableError, match="tried again"):
            sender.send(large)
        assert not sender.is_open
    with (
        storescp(dcmtk("storescp"), home, "--refuse") as port,
        pytest.raises(DeliveryError, match="it rejected the association"),
    ):
        Sender(address(port), kinds_of([large])).open()


def tls_options(certificates: Certificates) -> tuple[str, ...]:
    own = certificates.server
    return ("+tls", str(own.key), str(own.certificate), "+cf", str(certificates.ca.certificate))


def secured(certificates: Certificates, own: str = "client", **more: Any) -> Security:
    pair = getattr(certificates, own)
    settings = TlsSettings(
        certificate=pair.certificate, key=pair.key, ca=certificates.ca.certificate
    )
    return Security(client_context(settings), **more)


def test_storescp_with_tls_gets_everything_bit_for_bit(
    dcmtk: Callable[[str], str], certificates: Certificates, tmp_path: Path, large: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    data = write_object(tmp_path / "b.dcm", "1.2.3.9")
    kinds = kinds_of([large, tmp_path / "b.dcm"])
    with storescp(dcmtk("storescp"), home, "+B", *tls_options(certificates)) as port:
        known = secured(
            certificates, certificate_sha256=fingerprint(certificates.server.certificate)
        )
        with Sender(address(port), kinds, security=known) as sender:
            assert sender.send(large) == Sent(0)
            assert sender.is_open
            assert sender.send(tmp_path / "b.dcm") == Sent(0)
        with pytest.raises(PeerRefusedError, match="does not show the certificate"):
            other = secured(certificates, certificate_sha256="0" * 64)
            Sender(address(port), kinds, security=other).open()
        with pytest.raises(PeerRefusedError, match="does not know the CA"):
            Sender(address(port), kinds, security=secured(certificates, "other_client")).open()
        with pytest.raises(PeerRefusedError, match="without a certificate of ours"):
            bare = client_context(TlsSettings(ca=certificates.ca.certificate))
            Sender(address(port), kinds, security=Security(bare, has_certificate=False)).open()
        with pytest.raises(DeliveryError):
            Sender(address(port), kinds).open()
    found = stored(home)
    assert len(found) == 2
    assert any(content.endswith(data) for content in found)
    assert any(content.endswith(large.read_bytes()[-(32 << 20) :]) for content in found)


def test_tls_asked_of_a_plain_port(
    dcmtk: Callable[[str], str], certificates: Certificates, tmp_path: Path
) -> None:
    with storescp(dcmtk("storescp"), tmp_path) as port:
        sender = Sender(address(port), security=secured(certificates))
        with pytest.raises(PeerUnreachableError, match="does not speak TLS on this port"):
            sender.open()


def test_a_certificate_that_is_not_trusted(certificates: Certificates) -> None:
    def serve(connection: socket.socket) -> None:
        context = server_side(certificates, certificates.expired_server, wants=False)
        with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    with tcp_server(serve) as port, pytest.raises(PeerRefusedError, match="has expired"):
        Sender(address(port), security=secured(certificates)).open()


# --- Orthanc


def test_orthanc_stores_and_refuses_by_kind(orthanc: Callable[..., Any], tmp_path: Path) -> None:
    pacs = orthanc()
    ct, label_map = tmp_path / "ct.dcm", tmp_path / "labels.dcm"
    write_object(ct, "1.2.3.77")
    write_object(label_map, "1.2.3.78", sop_class=LABEL_MAP)
    kinds = kinds_of([ct, label_map])
    where = address(pacs.port, called=pacs.ae_title)
    with Sender(where, kinds, echoes=True) as sender:
        sender.echo()
        assert sender.send(ct) == Sent(0)
        if Kind(LABEL_MAP, EXPLICIT) in sender.refused:
            with pytest.raises(KindRefusedError, match="does not take this SOP class"):
                sender.send(label_map)
            # A refused kind is no fault: the association goes on.
            assert sender.send(ct) == Sent(0)
    assert "1.2.3.77" in {held.sop_instance_uid for held in pacs.held()}
    with pytest.raises(PeerRefusedError, match="'OTHER' is not the called AE title"):
        Sender(address(pacs.port, called="OTHER"), kinds).open()


# --- A peer that lies


FAULTS = {
    "never answers": (silent, "silent for 1 s before it answered"),
    "drips": (dripping, "silent for 1 s, in the middle of a PDU,"),
    "half a PDU": (telling(b"\x04\x00\x00\x00\x00\x54\x00\x00", closes=True), "middle of a PDU"),
    "half a PDU and silence": (telling(b"\x04\x00\x00\x00\x00\x54\x00"), "middle of a PDU"),
    "giant PDU": (telling(b"\x04\x00\xff\xff\xff\xff\x00\x00"), "4294967295 bytes"),
    "garbage": (telling(bytes(range(200, 250))), "not DICOM"),
    "garbage in a PDU": (telling(b"\x04\x00\x00\x00\x00\x08" + b"\xff" * 8), "outside its PDU"),
    "wrong message id": (answering(message=4711), "a message that was not sent"),
    "closes": (dropping, "closed the connection before it answered"),
    "resets": (resetting, "closed the connection"),
    "aborts": (telling(ABORT_BY_PROVIDER), "a parameter value that is not valid"),
    "releases": (telling(RELEASE_REQUEST), "asked to end the association"),
    "talks TLS suddenly": (telling(b"\x16\x03\x01" + bytes(5)), "not DICOM"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_and_ends_the_association(fault: str, small: Path) -> None:
    behaviour, said = FAULTS[fault]
    with lying(behaviour) as (port, liar):
        sender = Sender(address(port, TIMEOUT_S), kinds_of([small]))
        sender.open()
        started = time.monotonic()
        with pytest.raises(PeerUnreachableError) as raised:
            sender.send(small)
        assert time.monotonic() - started < PATIENCE_S
        assert said in str(raised.value)
        assert "nobody knows whether it has stored the object" in str(raised.value)
        assert str(raised.value).endswith("It may be tried again.")
        assert not sender.is_open
        with pytest.raises(PeerUnreachableError, match="no association"):
            sender.send(small)
        assert (liar.associations, liar.whole) == (1, 1)


def test_a_peer_that_stops_reading(large: Path) -> None:
    with lying(lambda *_: time.sleep(PATIENCE_S), reads=False) as (port, _):
        sender = Sender(address(port, TIMEOUT_S), kinds_of([large]))
        sender.open()
        with pytest.raises(PeerUnreachableError, match="stopped reading for 1 s") as raised:
            sender.send(large)
        assert "it has not been stored" in str(raised.value)
        assert not sender.is_open


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (telling(ABORT_BY_PROVIDER), "aborted because of a parameter value"),
        (dropping, "closed the connection while the object was being sent"),
        (resetting, "closed the connection while the object was being sent"),
        # It cannot have stored what it has not got.
        (answering(closes=True), "closed the connection while the object was being sent"),
    ],
)
def test_a_peer_that_ends_it_in_the_middle_of_an_object(
    large: Path, behaviour: Behaviour, said: str
) -> None:
    with lying(behaviour, reads=False) as (port, _):
        sender = Sender(address(port), kinds_of([large]))
        sender.open()
        with pytest.raises(PeerUnreachableError, match=said) as raised:
            sender.send(large)
        assert "it has not been stored" in str(raised.value)
        assert not sender.is_open


def test_an_early_refusal_is_heard(large: Path) -> None:
    with lying(answering(0xA700, closes=True), reads=False) as (port, _):
        sender = Sender(address(port), kinds_of([large]))
        sender.open()
        with pytest.raises(PeerUnreachableError, match="0xA700|closed the connection"):
            sender.send(large)
        assert not sender.is_open


def test_a_connection_that_ends_after_success_has_delivered(small: Path) -> None:
    with lying(answering(closes=True)) as (port, liar):
        sender = Sender(address(port), kinds_of([small]))
        for _ in range(3):
            sender.open()
            assert sender.send(small) == Sent(0)
            until = time.monotonic() + PATIENCE_S
            while sender.is_open and time.monotonic() < until:
                time.sleep(0.01)
            assert not sender.is_open
        assert (liar.associations, liar.whole) == (3, 3)


def test_an_abort_after_success_is_noticed_before_the_next(small: Path) -> None:
    with lying(answering(then=ABORT_BY_PROVIDER)) as (port, _):
        sender = Sender(address(port), kinds_of([small]))
        sender.open()
        assert sender.send(small) == Sent(0)
        until = time.monotonic() + PATIENCE_S
        while sender.is_open and time.monotonic() < until:
            time.sleep(0.01)
        assert not sender.is_open


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (0xA700, PeerUnreachableError),
        (0xA701, PeerUnreachableError),
        (0x0213, PeerUnreachableError),
        (0x0110, PeerUnreachableError),
        (0xA900, KindRefusedError),
        (0xC123, KindRefusedError),
        (0x0122, KindRefusedError),
        (0x0124, PeerRefusedError),
        (0xFF00, PeerRefusedError),
        (0x1234, PeerRefusedError),
    ],
)
def test_a_refusal_is_an_answer_and_the_association_goes_on(
    small: Path, status: int, error: type[DeliveryError]
) -> None:
    with (
        lying(answering(status)) as (port, liar),
        Sender(address(port), kinds_of([small])) as sender,
    ):
        for _ in range(3):
            with pytest.raises(error, match=f"answered 0x{status:04X}") as raised:
                sender.send(small)
            assert type(raised.value) is error
        assert sender.is_open
    assert (liar.associations, liar.whole) == (1, 3)


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_counts_as_stored(small: Path, status: int) -> None:
    with lying(answering(status)) as (port, _), Sender(address(port), kinds_of([small])) as sender:
        found = sender.send(small)
        assert found.status == status
        assert found.remark.startswith("stored, ")
        assert sender.is_open


def test_what_cannot_be_sent_does_no_harm(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.dcm"
    write_object(other, "1.2.3.5", sop_class=SEG, syntax=DEFLATED)
    (tmp_path / "text.dcm").write_text("no")
    with (
        lying(answering()) as (port, liar),
        Sender(address(port), kinds_of([small])) as sender,
    ):
        with pytest.raises(DeliveryError, match="not a DICOM file"):
            sender.send(tmp_path / "text.dcm")
        with pytest.raises(DeliveryError, match="cannot be read"):
            sender.send(tmp_path / "nowhere.dcm")
        assert not sender.asks_for(Kind(SEG, DEFLATED))
        with pytest.raises(PeerUnreachableError, match="not opened for objects of this kind"):
            sender.send(other)
        assert sender.send(small) == Sent(0)
    assert (liar.associations, liar.whole) == (1, 1)


# --- No association


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"\x03\x00\x00\x00\x00\x04\x00\x01\x01\x03", PeerRefusedError, r"source 1, reason 3\)"),
        (
            b"\x03\x00\x00\x00\x00\x04\x00\x02\x03\x02",
            PeerUnreachableError,
            "too many associations",
        ),
        (ABORT_BY_PROVIDER, PeerUnreachableError, r"source 2, reason 6\)"),
        (b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00", PeerUnreachableError, "no answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", PeerRefusedError, "web server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", PeerUnreachableError, "not DICOM"),
        (b"", PeerUnreachableError, "closed the connection instead of answering"),
    ],
)
def test_why_there_is_no_association(content: bytes, error: type[DeliveryError], said: str) -> None:
    with tcp_server(saying(content)) as port, pytest.raises(error, match=said) as raised:
        Sender(address(port, TIMEOUT_S)).open()
    assert str(raised.value).startswith(f"'PACS' at 127.0.0.1:{port}: ")


def test_a_peer_that_is_silent_or_not_there(free_port: Callable[[], int]) -> None:
    silence = pytest.raises(PeerUnreachableError, match="silent for 1 s instead of answering")
    with tcp_server(nothing) as port, silence:
        Sender(address(port, TIMEOUT_S)).open()
    with pytest.raises(PeerUnreachableError, match="nobody listens on that port"):
        Sender(address(free_port())).open()
    with pytest.raises(PeerUnreachableError, match="'pacs.invalid'"):
        Sender(Address("pacs.invalid", 104, "PACS", "SECONDREAD", PATIENCE_S)).open()


def test_no_kind_is_accepted(small: Path) -> None:
    def serve(connection: socket.socket) -> None:
        answer = bytearray(wire.accept_everything(read_pdu(connection)))
        at = answer.index(b"\x21\x00", 74)
        answer[at + 6] = 3
        connection.sendall(answer)
        connection.settimeout(TIMEOUT_S)
        assert read_pdu(connection)[0] == wire.RELEASE_RQ
        connection.sendall(wire.RELEASE_REPLY)

    refusal = pytest.raises(KindRefusedError, match="none of the SOP classes offered: the SOP cl")
    with tcp_server(serve) as port, refusal:
        Sender(address(port), kinds_of([small])).open()


def test_a_peer_that_takes_crumbs_only(small: Path) -> None:
    def serve(connection: socket.socket) -> None:
        answer = wire.accept_everything(read_pdu(connection))
        whole = struct.pack(">I", wire.MAXIMUM_PDU_BYTES)
        connection.sendall(answer.replace(b"\x51\x00\x00\x04" + whole, b"\x51\x00\x00\x04\0\0\0\7"))

    refusal = pytest.raises(PeerRefusedError, match="PDUs of 7 bytes at the most")
    with tcp_server(serve) as port, refusal:
        Sender(address(port), kinds_of([small])).open()


def test_who_asks_may_be_told(small: Path) -> None:
    asked: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        asked.append(read_pdu(connection))
        connection.sendall(wire.accept_everything(asked[0]))

    with tcp_server(serve) as port:
        sender = Sender(address(port), kinds_of([small]), identity=Identity("node", "secret"))
        sender.open()
        sender.abort()
    assert b"\x58\x00\x00\x10\x02\x00\x00\x04node\x00\x06secret" in asked[0]


def test_a_body_that_fails_leaves_no_association(small: Path) -> None:
    with lying(answering()) as (port, _):
        with pytest.raises(ZeroDivisionError), Sender(address(port), kinds_of([small])) as sender:
            1 / 0  # noqa: B018
        assert not sender.is_open
