"""Counting a study's objects at an archive: a real Orthanc, and peers that answer badly."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage, StudyRootQueryRetrieveInformationModelFind

from secondread.access.tls import client_context
from secondread.delivery.address import Address
from secondread.delivery.association import Identity
from secondread.delivery.find_scu import count_objects
from secondread.delivery.reach import Security
from secondread.delivery.store_scu import send_files
from secondread.domain.clock import SystemClock
from secondread.domain.destination import Destination
from secondread.domain.instance import Instance
from secondread.errors import PeerRefusedError, PeerUnreachableError
from secondread.pipeline.archives import Archives
from secondread.store import Ledger
from secondread.store.archive_counts import ArchiveCount
from tests.certificates import Certificates
from tests.echo_peers import ours
from tests.query_peers import dcmqrscp
from tests.web_peers import tls_before

WAIT_S = 10.0
STUDY = "1.2.3"
Answers = Callable[[Dataset], Iterator[tuple[int, Dataset | None]]]


def archive(handler: Callable[[Any], Any]) -> Any:
    """A query SCP whose answers the test decides; on a free loopback port."""
    entity = AE("PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    return entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, handler)]
    )


def address_of(server: Any, timeout_s: float = 5.0) -> Address:
    """Where that SCP listens."""
    return Address("127.0.0.1", server.server_address[1], "PACS", "SECONDREAD", timeout_s)


def matches(*attributes: dict[str, Any]) -> Iterator[tuple[int, Dataset | None]]:
    """Pending answers with these attributes."""
    for one in attributes:
        answer = Dataset()
        for keyword, value in one.items():
            setattr(answer, keyword, value)
        yield 0xFF00, answer


def test_orthanc_counts_as_objects_come(
    orthanc: Callable[..., Any], head_series: Callable[..., Any]
) -> None:
    pacs = orthanc()
    address = Address(pacs.host, pacs.port, pacs.ae_title, "SECONDREAD")
    first, second = head_series(seed="count 1"), head_series(seed="count 2", study="count 1")
    uid = str(dcmread(first.paths[0]).StudyInstanceUID)
    assert count_objects(uid, address) == 0
    assert all(result.stored for result in send_files(first.paths, address))
    assert count_objects(uid, address) == len(first.paths)
    assert all(result.stored for result in send_files(second.paths[:3], address))
    assert count_objects(uid, address) == len(first.paths) + 3


def test_dcmtk_says_the_same(
    orthanc: Callable[..., Any],
    head_series: Callable[..., Any],
    dcmtk: Callable[[str], str],
    tmp_path: Path,
) -> None:
    pacs = orthanc()
    made = head_series(seed="dcmtk counts", size=(7, 16, 16))
    address = Address(pacs.host, pacs.port, pacs.ae_title, "SECONDREAD")
    assert all(result.stored for result in send_files(made.paths, address))
    uid = str(dcmread(made.paths[0]).StudyInstanceUID)
    keys = ["QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={uid}", "SOPInstanceUID"]
    series = str(dcmread(made.paths[0]).SeriesInstanceUID)
    command = [dcmtk("findscu"), "-S", "-X", "-od", str(tmp_path), "-aet", "SECONDREAD"]
    command += ["-aec", pacs.ae_title, pacs.host, str(pacs.port)]
    for key in (*keys, f"SeriesInstanceUID={series}"):
        command += ["-k", key]
    subprocess.run(command, check=True, capture_output=True)
    assert count_objects(uid, address) == len(list(tmp_path.glob("rsp*.dcm"))) == 7


def test_an_archive_without_numbers_is_counted_series_by_series() -> None:
    levels: list[str] = []

    def answer(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        levels.append(query.QueryRetrieveLevel)
        assert query.StudyInstanceUID == STUDY
        if query.QueryRetrieveLevel == "STUDY":
            yield from matches({"StudyInstanceUID": STUDY, "QueryRetrieveLevel": "STUDY"})
        elif query.QueryRetrieveLevel == "SERIES":
            yield from matches(
                {"SeriesInstanceUID": "1.1", "NumberOfSeriesRelatedInstances": 5},
                {"SeriesInstanceUID": "1.2"},
            )
        else:
            assert query.SeriesInstanceUID == "1.2"
            yield from matches(*({"SOPInstanceUID": f"1.2.{n}"} for n in range(3)))

    server = archive(answer)
    assert count_objects(STUDY, address_of(server)) == 8
    server.shutdown()
    assert levels == ["STUDY", "SERIES", "IMAGE"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(0xA700, PeerUnreachableError), (0xA900, PeerRefusedError), (0xC001, PeerRefusedError)],
)
def test_a_refusal_is_a_sentence(status: int, error: type[Exception]) -> None:
    def refuse(_event: Any) -> Iterator[tuple[int, Dataset | None]]:
        yield status, None

    server = archive(refuse)
    with pytest.raises(error, match=f"answered the query with 0x{status:04X}: it "):
        count_objects(STUDY, address_of(server))
    server.shutdown()


def test_an_answer_that_is_lost_is_asked_for_again() -> None:
    times: list[float] = []

    def answer(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        times.append(time.monotonic())
        if len(times) == 1:
            event.assoc.abort()
            return
        yield from matches({"NumberOfStudyRelatedInstances": 4})

    server = archive(answer)
    assert count_objects(STUDY, address_of(server)) == 4
    server.shutdown()
    assert len(times) == 2


def test_silence_has_an_end() -> None:
    go_on = threading.Event()

    def answer(_event: Any) -> Iterator[tuple[int, Dataset | None]]:
        go_on.wait(WAIT_S)
        yield 0x0000, None

    server = archive(answer)
    with pytest.raises(PeerUnreachableError, match="did not answer"):
        count_objects(STUDY, address_of(server, timeout_s=0.5))
    go_on.set()
    server.shutdown()


def test_an_archive_is_asked_over_tls_both_ways(
    dcmtk: Callable[[str], str],
    free_port: Callable[[], int],
    certificates: Certificates,
    head_series: Callable[..., Any],
    tmp_path: Path,
) -> None:
    with dcmqrscp(dcmtk("dcmqrscp"), tmp_path / "archive", free_port(), {}) as there:
        made = head_series(seed="queries over TLS", size=(4, 16, 16))
        assert all(result.stored for result in send_files(made.paths, there.address()))
        uid = str(dcmread(made.paths[0]).StudyInstanceUID)
        with tls_before(there.port, certificates) as port:
            address = Address("localhost", port, "PACS", "SECONDREAD", 5.0)
            known = Security(client_context(ours(certificates)))
            assert count_objects(uid, address, known) == 4
            stranger = Security(client_context(ours(certificates)), certificate_sha256="0" * 64)
            with pytest.raises(PeerRefusedError, match="certificate_sha256"):
                count_objects(uid, address, stranger)
            with pytest.raises(PeerUnreachableError):
                count_objects(uid, address)


def test_an_archive_that_asks_who_calls_is_told() -> None:
    told: list[tuple[bytes, bytes]] = []

    def learn(event: Any) -> tuple[bool, None]:
        told.append((event.primary_field, event.secondary_field))
        return True, None

    entity = AE("PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    handlers: Any = [
        (evt.EVT_C_FIND, lambda _: matches({"NumberOfStudyRelatedInstances": 4})),
        (evt.EVT_USER_ID, learn),
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert count_objects(STUDY, address_of(server), identity=Identity("node", "secret")) == 4
    server.shutdown()
    assert told == [(b"node", b"secret")]


def test_a_peer_that_takes_no_queries_is_a_sentence() -> None:
    entity = AE("PACS")
    entity.add_supported_context(MRImageStorage)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    with pytest.raises(PeerRefusedError, match="no presentation context for C-FIND"):
        count_objects(STUDY, address_of(server))
    server.shutdown()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with one study that waits."""
    found = Ledger.open(tmp_path)
    one = Instance(f"{STUDY}.1", "1.2", STUDY, "1.1", "1.2", "p", 1, "0", "ct", 1e12)
    with found.begin() as change:
        change.studies.add_instances([one], lambda _: 5.0)
    yield found
    found.close()


def answered(ledger: Ledger, destination: str) -> ArchiveCount:
    """The archive's answer, once it is there."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with ledger.read() as view:
            for count in view.archive_counts.of_study(1):
                if count.destination == destination:
                    return count
        time.sleep(0.02)
    raise AssertionError("no answer")


def test_answers_reach_the_ledger_and_the_study_is_looked_at(
    ledger: Ledger, free_port: Callable[[], int]
) -> None:
    server = archive(lambda _: matches({"NumberOfStudyRelatedInstances": 9}))
    at = server.server_address[1]
    destinations = {
        "pacs": Destination(
            name="pacs",
            ae_title="PACS",
            host="127.0.0.1",
            port=at,
            calling_ae_title="SECONDREAD",
            timeout_s=5.0,
            attempts_max=3,
        ),
        "gone": Destination(
            name="gone",
            ae_title="PACS",
            host="127.0.0.1",
            port=free_port(),
            calling_ae_title="SECONDREAD",
            timeout_s=5.0,
            attempts_max=3,
        ),
    }
    archives = Archives(ledger, SystemClock(), destinations)
    archives.start()
    with ledger.read() as view:
        study = view.studies.get(1)
    try:
        for name in ("pacs", "gone", "nobody"):
            archives.ask(study, name)
        assert (answered(ledger, "pacs").objects, answered(ledger, "pacs").reason) == (9, "")
        assert answered(ledger, "gone").objects is None
        assert "nobody listens" in answered(ledger, "gone").reason
        assert "no destination 'nobody'" in answered(ledger, "nobody").reason
        with ledger.read() as view:
            assert view.studies.get(1).due_at < study.due_at
    finally:
        archives.stop()
        server.shutdown()
