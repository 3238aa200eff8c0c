"""Asking for commitment: Orthanc, pynetdicom, archives that do not know it, and one that lies."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from secondread.access.tls import client_context
from secondread.delivery.address import Address
from secondread.delivery.commitment_scu import (
    Asked,
    Enquiry,
    NotNowError,
    ask,
)
from secondread.delivery.reach import Security
from secondread.dicom.commitment_report import Refusal, Remedy, Report, judge
from secondread.domain.commitment import Reference
from secondread.errors import (
    LedgerError,
    PeerRefusedError,
    PeerUnreachableError,
    ServiceMissingError,
)
from tests.certificates import Certificates
from tests.echo_peers import ours, server_side, storescp
from tests.lying_manners import OTHER_TRANSACTION, STRANGER, By, Commit, Hang
from tests.lying_pacs import LyingPacs, lying_pacs
from tests.report_door import NODE, Door, open_door
from tests.service_cases import EXPLICIT_LITTLE, IMPLICIT_LITTLE

TRANSACTION = "1.2.99"
OBJECTS = tuple((MRImageStorage, f"1.2.{number}") for number in range(4))
SAFE = tuple(Reference(*pair) for pair in OBJECTS)
TIMEOUT_S = 2.0
LONG_S = 20.0


@pytest.fixture
def pacs() -> Iterator[LyingPacs]:
    with lying_pacs() as found:
        yield found


def address(port: int, called: str = "PACS", **more: Any) -> Address:
    return Address("127.0.0.1", port, called, NODE, **{"timeout_s": TIMEOUT_S, **more})


def enquiry(wait_s: float = LONG_S, transaction: str = TRANSACTION) -> Enquiry:
    return Enquiry(transaction, OBJECTS, wait_s)


def has(pacs: LyingPacs, *numbers: int) -> None:
    """The PACS has got these of the objects."""
    for number in numbers:
        pacs._keep(*OBJECTS[number], b"content")


def report(found: Asked | Report) -> Report:
    assert isinstance(found, Report)
    assert found.transaction_uid == TRANSACTION
    return found


# --- what the lying PACS says ---


@pytest.mark.parametrize("by", [By.SAME, By.SAME_FIRST])
def test_report_on_the_same_association_is_taken_and_confirmed(pacs: LyingPacs, by: By) -> None:
    has(pacs, 0, 1, 2)
    pacs.behave(by=by)
    verdict = judge(report(ask(address(pacs.port), enquiry())), SAFE)
    assert verdict.safe == SAFE[:3]
    assert verdict.refused == (Refusal(SAFE[3], 0x0112),)
    assert verdict.refused[0].remedy is Remedy.SEND_AGAIN
    pacs.wait_for("released")
    assert pacs.events[-2].kind == "confirmed"
    assert pacs.events[-2].status == 0x0000


@pytest.mark.parametrize(
    ("commit", "safe", "reasons", "strangers"),
    [
        (Commit.NOTHING, [], [0x0213] * 4, 0),
        (Commit.HALF, [1, 3], [0x0213] * 2, 0),
        (Commit.STRANGERS, [0, 1, 2, 3], [], 1),
    ],
)
def test_lies_about_objects(
    pacs: LyingPacs, commit: Commit, safe: list[int], reasons: list[int], strangers: int
) -> None:
    has(pacs, 0, 1, 2, 3)
    pacs.behave(commit=commit, failure_reason=0x0213)
    found = report(ask(address(pacs.port), enquiry()))
    verdict = judge(found, SAFE)
    assert verdict.safe == tuple(SAFE[number] for number in safe)
    assert [refusal.reason for refusal in verdict.refused] == reasons
    assert (verdict.unmentioned, verdict.strangers) == ((), strangers)
    assert (Reference(*STRANGER) in found.committed) == bool(strangers)


def test_commitment_to_what_it_never_got_cannot_be_told_from_the_truth(pacs: LyingPacs) -> None:
    pacs.behave(commit=Commit.EVERYTHING)
    assert judge(report(ask(address(pacs.port), enquiry())), SAFE).safe == SAFE
    assert pacs.kept == {}


def test_another_transaction_is_not_taken_for_ours(pacs: LyingPacs) -> None:
    has(pacs, 0, 1, 2, 3)
    pacs.behave(commit=Commit.WRONG_TRANSACTION)
    found = ask(address(pacs.port), enquiry(wait_s=0.5))
    assert isinstance(found, Asked)
    pacs.wait_for("confirmed")
    assert [event.status for event in pacs.events if event.kind == "confirmed"] == [0x0115]


def test_older_transaction_is_taken_by_whoever_knows_it(pacs: LyingPacs) -> None:
    pacs.behave(commit=Commit.WRONG_TRANSACTION)
    told: list[Report] = []

    def hear(said: Report) -> bool:
        told.append(said)
        return said.transaction_uid == OTHER_TRANSACTION

    assert isinstance(ask(address(pacs.port), enquiry(wait_s=0.5), hear), Asked)
    assert [said.transaction_uid for said in told] == [OTHER_TRANSACTION]
    pacs.wait_for("confirmed")
    assert [event.status for event in pacs.events if event.kind == "confirmed"] == [0x0000]


def test_report_that_cannot_be_written_down_is_not_confirmed(pacs: LyingPacs) -> None:
    def hear(said: Report) -> bool:
        raise LedgerError("The ledger could not be written: disk full.")

    with pytest.raises(LedgerError):
        ask(address(pacs.port), enquiry(), hear)
    pacs.wait_for("lost")
    assert pacs.count("confirmed") == 0


def test_who_never_reports_has_taken_the_request_on_all_the_same(pacs: LyingPacs) -> None:
    pacs.behave(commit=Commit.NEVER)
    before = time.time()
    found = ask(address(pacs.port), enquiry(wait_s=0.3))
    assert isinstance(found, Asked)
    assert (found.transaction_uid, before <= found.at <= time.time()) == (TRANSACTION, True)
    pacs.wait_for("released")


def test_without_a_wait_the_association_ends_at_once(pacs: LyingPacs) -> None:
    pacs.behave(commit=Commit.NEVER)
    assert isinstance(ask(address(pacs.port), enquiry(wait_s=0.0)), Asked)
    pacs.wait_for("released")


def test_down_and_hanging_it_may_be_asked_again(pacs: LyingPacs) -> None:
    pacs.behave(hang=Hang.ASSOCIATION)
    with pytest.raises(PeerUnreachableError, match="did not answer in time.*may be asked again"):
        ask(address(pacs.port, timeout_s=0.5), enquiry())
    pacs.behave(hang=Hang.CONNECTION)
    with pytest.raises(PeerUnreachableError, match="silent"):
        ask(address(pacs.port, timeout_s=0.5), enquiry())
    pacs.go_down()
    with pytest.raises(PeerUnreachableError, match="refuses connections"):
        ask(address(pacs.port), enquiry())


def test_who_accepts_no_context_has_no_commitment(pacs: LyingPacs) -> None:
    pacs.behave(refused=frozenset({StorageCommitmentPushModel}))
    with pytest.raises(ServiceMissingError, match="no presentation context for Storage Commitment"):
        ask(address(pacs.port), enquiry())


@pytest.mark.parametrize("rejects", [(1, 1, 3), (2, 3, 2)])
def test_rejection_is_final_or_not_as_it_says(
    pacs: LyingPacs, rejects: tuple[int, int, int]
) -> None:
    pacs.behave(rejects=rejects)
    expected = PeerRefusedError if rejects[0] == 1 else PeerUnreachableError
    with pytest.raises(expected, match="rejected the association"):
        ask(address(pacs.port), enquiry())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (0x0110, NotNowError),
        (0x0112, NotNowError),
        (0x0213, NotNowError),
        (0xA700, NotNowError),
        (0x0122, ServiceMissingError),
        (0x0211, ServiceMissingError),
        (0x0124, PeerRefusedError),
        (0x4711, PeerRefusedError),
    ],
)
def test_status_of_the_answer_says_what_to_do(
    pacs: LyingPacs, status: int, error: type[Exception]
) -> None:
    pacs.behave(action_status=status)
    with pytest.raises(error, match=f"0x{status:04X}") as raised:
        ask(address(pacs.port), enquiry())
    assert raised.type is error


def test_slow_it_is_waited_for(pacs: LyingPacs) -> None:
    has(pacs, 0, 1, 2, 3)
    pacs.behave(bytes_per_s=2_000.0)
    assert judge(report(ask(address(pacs.port, timeout_s=10.0), enquiry())), SAFE).safe == SAFE


def test_thousands_of_objects_in_one_enquiry(pacs: LyingPacs) -> None:
    many = tuple((MRImageStorage, f"1.2.826.0.1.3680043.8.498.1{n:031d}") for n in range(5_000))
    pacs.behave(commit=Commit.NOTHING)
    found = report(ask(address(pacs.port, timeout_s=10.0), Enquiry(TRANSACTION, many, LONG_S)))
    assert len(judge(found, [Reference(*pair) for pair in many]).refused) == 5_000


@pytest.mark.parametrize(
    "answer",
    [
        b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",
        b"\x04\x00\x00\x00\x00\x08\x00\x00\x00\xff\x01\x03ab",
        b"\x04\x00\x00\x00\x00\x0a\x00\x00\x00\x06\x01\x03abcd",
        b"\x04\x00\x00\x00\x00\x08\x00\x00\x00\x04\x01\x02ab",
        b"\x04\x00\x7f\xff\xff\xff",
        b"\x04\x00\x00",
        b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00",
        b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x01",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
    ],
)
def test_answers_that_are_none_are_told_in_words(pacs: LyingPacs, answer: bytes) -> None:
    """The peer is honest up to the acceptance of the association."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def relay() -> None:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", pacs.port)) as server:
                server.sendall(client.recv(65536))
                client.sendall(server.recv(65536))
                client.recv(65536)
                client.sendall(answer)
                with suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        with pytest.raises(PeerUnreachableError, match="may be asked again"):
            ask(address(listener.getsockname()[1], timeout_s=1.0), enquiry())
        thread.join(10)


def test_tls(certificates: Certificates) -> None:
    security = Security(client_context(ours(certificates)))
    with lying_pacs(tls=server_side(certificates, certificates.server)) as pacs:
        has(pacs, 0, 1, 2, 3)
        found = ask(address(pacs.port), enquiry(), security=security)
        assert judge(report(found), SAFE).safe == SAFE
        stranger = Security(client_context(ours(certificates, certificates.other_client)))
        with pytest.raises(PeerRefusedError, match="does not know the CA"):
            ask(address(pacs.port), enquiry(), security=stranger)


# --- reports on new associations ---


@pytest.fixture
def door(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Door]:
    with open_door(tmp_path / "node", free_port(), "PACS", "DEMOPACS") as found:
        yield found


@pytest.mark.parametrize("by", [By.NEW, By.LATER])
def test_report_comes_to_the_port_of_the_node(door: Door, by: By) -> None:
    with lying_pacs(node=("127.0.0.1", door.port, NODE)) as pacs:
        has(pacs, 0, 1)
        door.known.add(TRANSACTION)
        pacs.behave(by=by)
        found = ask(address(pacs.port), enquiry(wait_s=0.2))
        assert isinstance(found, Asked)
        if by is By.LATER:
            assert pacs.report_owed() == [0x0000]
        title, said = door.next()
        assert title == "PACS"
        verdict = judge(report(said), SAFE)
        assert verdict.safe == SAFE[:2]
        assert [refusal.reason for refusal in verdict.refused] == [0x0112, 0x0112]
        pacs.wait_for("reported")
        assert [event.status for event in pacs.events if event.kind == "reported"] == [0x0000]


def test_report_on_no_transaction_of_ours_is_refused_at_the_port(door: Door) -> None:
    with lying_pacs(node=("127.0.0.1", door.port, NODE)) as pacs:
        door.known.add(TRANSACTION)
        pacs.behave(by=By.LATER, commit=Commit.WRONG_TRANSACTION)
        ask(address(pacs.port), enquiry(wait_s=0.0))
        assert pacs.report_owed() == [0x0115]


def test_archive_that_is_not_on_the_list_reports_nothing(door: Door) -> None:
    with lying_pacs(ae_title="STRANGE", node=("127.0.0.1", door.port, NODE)) as pacs:
        door.known.add(TRANSACTION)
        pacs.behave(by=By.LATER)
        ask(address(pacs.port), enquiry(wait_s=0.0))
        assert pacs.report_owed() == [-1]
        assert door.told.empty()


# --- real archives ---


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_pynetdicom_reports_on_the_same_association(syntax: str) -> None:
    statuses: Queue[int] = Queue()

    def commit(event: Any) -> tuple[int, None]:
        asked = event.action_information

        def tell() -> None:
            del asked.RetrieveAETitle
            where = (StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
            answer, _ = event.assoc.send_n_event_report(asked, 1, *where)
            statuses.put(answer.Status)

        asked.RetrieveAETitle = "PACS"
        threading.Timer(0.2, tell).start()
        return 0x0000, None

    entity = AE("PACS")
    entity.add_supported_context(StorageCommitmentPushModel, syntax)
    server: Any = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, commit)]
    )
    try:
        found = ask(address(server.server_address[1]), enquiry())
        assert judge(report(found), SAFE).safe == SAFE
        assert statuses.get(timeout=5) == 0x0000
    finally:
        server.shutdown()


def test_storescp_has_no_commitment(dcmtk: Callable[[str], str], tmp_path: Path) -> None:
    with storescp(dcmtk("storescp"), tmp_path) as port, pytest.raises(ServiceMissingError):
        ask(address(port), enquiry())


def test_orthanc_commits_to_what_it_has(
    door: Door, orthanc: Callable[..., Any], head_series: Callable[..., Any]
) -> None:
    """It calls back to the host and port that are entered there for the node."""
    pacs = orthanc()
    _rest(
        pacs, "PUT", "/modalities/SECONDREAD", {"AET": NODE, "Host": "127.0.0.1", "Port": door.port}
    )
    paths = head_series(seed="commitment").paths[:3]
    for path in paths[:2]:
        _rest(pacs, "POST", "/instances", path.read_bytes())
    headers = [dcmread(path, stop_before_pixels=True) for path in paths]
    objects = [(str(header.SOPClassUID), str(header.SOPInstanceUID)) for header in headers]
    door.known.add("2.25.99")
    where = address(pacs.port, pacs.ae_title, timeout_s=LONG_S)
    assert isinstance(ask(where, Enquiry("2.25.99", objects, 0.5)), Asked)
    title, said = door.next()
    assert (title, said.transaction_uid) == (pacs.ae_title, "2.25.99")
    references = [Reference(*pair) for pair in objects]
    verdict = judge(said, references)
    assert verdict.safe == tuple(references[:2])
    assert [(item.reference, item.reason) for item in verdict.refused] == [(references[2], 0x0112)]


def _rest(pacs: Any, method: str, path: str, body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://127.0.0.1:{pacs.http_port}{path}"
    request = urllib.request.Request(url, data=content, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        answer.read()
