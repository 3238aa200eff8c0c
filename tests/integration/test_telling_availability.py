"""Notices of availability: our own port, pynetdicom, and peers that break off."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from secondread.access.tls import client_context
from secondread.delivery.reach import Security
from secondread.delivery.telling.availability import Availability, notify
from secondread.domain.commitment import Reference
from secondread.errors import PeerRefusedError, PeerUnreachableError, ServiceMissingError
from tests.acceptance.intake_node import LEDGER, PEERS, IntakeNode, Place
from tests.acceptance.wire import release_rq, us
from tests.certificates import Certificates
from tests.echo_peers import LIVENESS_S, server_side, storescp, tcp_server
from tests.lying_wire import Heard, Line
from tests.service_cases import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tests.telling_peers import NODE, address, notice_taker, response_to, rude_peer

SAID = Availability("1.2.3", {"1.2.3.1": (Reference(SegmentationStorage, "1.2.3.1.1"),)}, "ARCHIVE")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[IntakeNode]:
    """An intake process that knows a sender of notices."""
    peer = {
        "name": "other",
        "ae_title": NODE,
        "addresses": ["127.0.0.0/8"],
        "quiet_s": 3600.0,
        "may": ["echo", "notices"],
    }
    found = IntakeNode(Place(tmp_path, tmp_path / "data", peers=(*PEERS, peer)))
    found.start()
    yield found
    found.stop()


def test_our_own_port_takes_a_notice_once(node: IntakeNode) -> None:
    there = address(node.port, called="SECONDREAD")
    assert notify(there, SAID) == ""
    assert notify(there, SAID) == "it had the notice already"
    with closing(sqlite3.connect(node.data_dir / LEDGER, timeout=10)) as ledger:
        rows = ledger.execute(
            "SELECT sop_instance_uid, study_instance_uid, status, objects FROM notice"
        ).fetchall()
    ((uid, study, status, objects),) = rows
    assert (uid, study, status) == (SAID.sop_instance_uid, "1.2.3", "ONLINE")
    assert "1.2.3.1.1" in objects


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_pynetdicom_reads_the_notice_in_the_syntax_that_it_takes(syntax: str) -> None:
    told: list[tuple[str, Dataset]] = []

    def take(uid: str, content: Dataset) -> int:
        told.append((uid, content))
        return 0x0000

    with notice_taker(take, syntaxes=(syntax,)) as port:
        assert notify(address(port), SAID) == ""
    ((uid, content),) = told
    assert uid == SAID.sop_instance_uid
    (item,) = content.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert (item.RetrieveAETitle, item.InstanceAvailability) == ("ARCHIVE", "ONLINE")


@pytest.mark.parametrize(
    ("status", "remark"),
    [
        (0x0111, "it had the notice already"),
        (0x0116, "0x0116: attribute value out of range"),
        (0x0001, "0x0001: optional attributes are not supported"),
    ],
)
def test_duplicates_and_warnings_count_as_told(status: int, remark: str) -> None:
    with notice_taker(lambda *_: status) as port:
        assert notify(address(port), SAID) == remark


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (0x0110, PeerUnreachableError, "0x0110: processing failure"),
        (0x0213, PeerUnreachableError, "resource limitation"),
        (0xA700, PeerUnreachableError, "out of resources"),
        (0x0106, PeerRefusedError, "invalid attribute value"),
        (0x0119, PeerRefusedError, "class and instance do not match"),
        (0x0120, PeerRefusedError, "missing attribute"),
        (0x0124, PeerRefusedError, "not authorised"),
        (0x0122, ServiceMissingError, "SOP class not supported"),
        (0xC999, PeerRefusedError, "0xC999: refused"),
    ],
)
def test_refusals_are_told_apart(status: int, error: type[Exception], words: str) -> None:
    with notice_taker(lambda *_: status) as port, pytest.raises(error, match=words) as raised:
        notify(address(port), SAID)
    assert type(raised.value) is error
    assert "1.2.3" not in str(raised.value)


def test_lost_answer_may_be_asked_for_again() -> None:
    known: set[str] = set()

    def take(uid: str, _: Dataset) -> int:
        if uid in known:
            return 0x0111
        known.add(uid)
        return -1

    with notice_taker(take) as port:
        with pytest.raises(PeerUnreachableError, match="Nobody knows whether"):
            notify(address(port), SAID)
        assert notify(address(port), SAID) == "it had the notice already"
    assert known == {SAID.sop_instance_uid}


def test_peer_that_never_answers_is_given_up() -> None:
    over = threading.Event()
    started = time.monotonic()
    with notice_taker(lambda *_: 0 * over.wait(LIVENESS_S)) as port:
        with pytest.raises(PeerUnreachableError, match="did not answer in time"):
            notify(address(port, timeout_s=0.5), SAID)
        assert time.monotonic() - started < LIVENESS_S
        over.set()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "web server"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "TLS"),
        (b"what is that for a port", "not DICOM"),
    ],
)
def test_what_is_no_dicom_peer_is_said(content: bytes, words: str) -> None:
    def serve(connection: Any) -> None:
        connection.recv(4096)
        connection.sendall(content)
        connection.close()

    either = (PeerRefusedError, PeerUnreachableError)
    with tcp_server(serve) as port, pytest.raises(either, match=words):
        notify(address(port, timeout_s=1.0), SAID)


def test_peer_without_the_service(dcmtk: Any, tmp_path: Path) -> None:
    with (
        storescp(dcmtk("storescp"), tmp_path) as port,
        pytest.raises(ServiceMissingError) as raised,
    ):
        notify(address(port), SAID)
    assert "Instance Availability Notification" in str(raised.value)


def test_nobody_there(free_port: Any) -> None:
    with pytest.raises(PeerUnreachableError, match="refuses connections"):
        notify(address(free_port()), SAID)


def test_stranger_is_rejected() -> None:
    with notice_taker(lambda *_: 0) as port, pytest.raises(PeerRefusedError, match="called AE"):
        notify(address(port, called="OTHER"), SAID)


def test_tls(certificates: Certificates) -> None:
    security = Security(client_context(certificates.settings()))
    context = server_side(certificates, certificates.server)
    with notice_taker(lambda *_: 0, context=context) as port:
        assert notify(address(port), SAID, security) == ""
        with pytest.raises((PeerRefusedError, PeerUnreachableError)):
            notify(address(port, timeout_s=1.0), SAID)


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (lambda line, heard: line.say(heard.context_id, response_to(heard, e0900=None)), "answer"),
        (lambda line, heard: line.say(heard.context_id, response_to(heard, e0120=us(9))), "answer"),
        (
            lambda line, heard: line.say(heard.context_id, response_to(heard, e0100=us(0x8001))),
            "answer",
        ),
        (lambda line, heard: line.say(77, response_to(heard)), "answer"),
        (lambda line, heard: line.send(release_rq()), "asked to end the association"),
        (lambda line, heard: line.send(b"\x04\x00\x00\x00\x00\xff" + b"x" * 255), "answer"),
        (lambda line, heard: line.send(b"\x04\x00\x7f\xff\xff\xff"), "answer"),
        (lambda line, heard: line.send(response_to(heard)[:9]), "answer"),
        (lambda line, heard: line.close(), "closed the connection"),
    ],
)
def test_answers_that_are_none_are_no_success(
    respond: Callable[[Line, Heard], None], words: str
) -> None:
    with rude_peer(respond) as port, pytest.raises(PeerUnreachableError, match=words) as raised:
        notify(address(port, timeout_s=1.0), SAID)
    assert "told again" in str(raised.value)


def test_a_sound_answer_of_the_same_peer_is_a_success() -> None:
    with rude_peer(lambda line, heard: line.say(heard.context_id, response_to(heard))) as port:
        assert notify(address(port), SAID) == ""
