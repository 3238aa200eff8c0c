"""WADO-RS against a real PACS, and against servers that lie."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from deploy.demo import pacs as demo_pacs
from secondread.delivery import stow
from secondread.delivery.arrival import Landing, Received
from secondread.delivery.multipart import PartReader, read_boundary
from secondread.delivery.query import TooMuchError
from secondread.delivery.wado import WadoOrder, retrieve
from secondread.delivery.wanted import Wanted
from secondread.delivery.web_wording import PeerBusyError
from secondread.domain.network import TlsSettings
from secondread.domain.web_target import Credentials, Scheme, WebTarget
from secondread.errors import (
    CannotUnderstandError,
    OutOfResourcesError,
    PeerRefusedError,
    PeerUnreachableError,
)
from tests.certificates import Certificates
from tests.query_peers import Inbox, data_set
from tests.sender_peers import write_object
from tests.web_peers import (
    PATIENT,
    QUICK,
    Asked,
    Conversation,
    target,
    tls_before,
    web_peer,
)

STUDY, SERIES = "1.2.3", "1.2.4"
BOUNDARY = "a-boundary.of_ours"
Pacs = tuple[demo_pacs.OrthancPacs, WebTarget]


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    found = Inbox(tmp_path / "landing")
    yield found
    assert found.leftovers == []


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """A real Orthanc with DICOMweb."""
    program = demo_pacs.orthanc_program()
    if program is None:
        pytest.skip("no Orthanc: install the package orthanc")
    if not demo_pacs.DICOMWEB_PLUGIN.exists():
        pytest.skip("Orthanc without DICOMweb: install the package orthanc-dicomweb")
    server = demo_pacs.OrthancPacs(
        program,
        tmp_path_factory.mktemp("orthanc"),
        ("SECONDREAD",),
        dicomweb=demo_pacs.DICOMWEB_PLUGIN,
    )
    url = f"http://127.0.0.1:{server.http_port}/dicom-web"
    yield server, WebTarget("pacs", url, limits=PATIENT)
    server.close()


def put(there: WebTarget, paths: list[Path]) -> Any:
    assert all(answer.stored for answer in stow.store(paths, there))
    return dcmread(paths[0], stop_before_pixels=True)


def held_by(server: demo_pacs.OrthancPacs, folder: Path) -> dict[str, bytes]:
    return dict(data_set(path) for path in server.export(folder))


def test_orthanc_gives_a_study_bit_for_bit(
    pacs: Pacs, head_series: Callable[..., Any], inbox: Inbox, tmp_path: Path
) -> None:
    server, there = pacs
    one = head_series(seed="wado 1", size=(5, 16, 16))
    two = head_series(seed="wado 2", study="wado 1", size=(3, 16, 16))
    header = put(there, [*one.paths, *two.paths])
    study, series = str(header.StudyInstanceUID), str(header.SeriesInstanceUID)
    result = retrieve(there, WadoOrder(Wanted(study), inbox.landing), inbox)
    held = held_by(server, tmp_path / "export")
    sent = dict(data_set(path) for path in (*one.paths, *two.paths))
    assert inbox.kept == {uid: held[uid] for uid in sent} == sent
    assert (result.received, result.is_complete) == (8, True)
    assert "has sent 8 objects" in result.sentence

    inbox.kept.clear()
    assert retrieve(there, WadoOrder(Wanted(study, series), inbox.landing), inbox).received == 5
    uids = [data_set(path)[0] for path in one.paths]
    assert set(inbox.kept) == set(uids)

    inbox.kept.clear()
    objects = Wanted(study, series, (uids[3], uids[1]))
    assert retrieve(there, WadoOrder(objects, inbox.landing), inbox).received == 2
    assert list(inbox.kept) == [uids[3], uids[1]]


def test_orthanc_gives_compressed_objects_as_they_are(
    pacs: Pacs, head_series: Callable[..., Any], inbox: Inbox, tmp_path: Path
) -> None:
    server, there = pacs
    (path,) = head_series(seed="compressed", size=(1, 32, 32)).paths
    image = dcmread(path)
    image.compress("1.2.840.10008.1.2.5")
    image.save_as(path)
    header = put(there, [path])
    wanted = Wanted(str(header.StudyInstanceUID))
    kinds = []

    def take(received: Received) -> None:
        kinds.append(received.kind.transfer_syntax_uid)
        inbox(received)

    retrieve(there, WadoOrder(wanted, inbox.landing), take)
    assert kinds == ["1.2.840.10008.1.2.5"]
    uid, content = data_set(path)
    assert inbox.kept[uid] == held_by(server, tmp_path / "export")[uid] == content


def test_orthanc_that_has_not_got_it_says_so(
    pacs: Pacs, head_series: Callable[..., Any], inbox: Inbox
) -> None:
    _, there = pacs
    header = put(there, head_series(seed="missing", size=(2, 8, 8)).paths)
    result = retrieve(there, WadoOrder(Wanted("1.2.3.88"), inbox.landing), inbox)
    assert (result.received, inbox.kept) == (0, {})
    assert "nothing that matches" in result.sentence
    study, series = str(header.StudyInstanceUID), str(header.SeriesInstanceUID)
    wanted = Wanted(study, series, (str(header.SOPInstanceUID), "1.2.3.88"))
    result = retrieve(there, WadoOrder(wanted, inbox.landing), inbox)
    assert (result.received, result.failed_uids) == (1, {"1.2.3.88"})
    assert not result.is_complete


def test_orthanc_with_another_address_is_a_sentence(pacs: Pacs, inbox: Inbox) -> None:
    _, there = pacs
    wrong = replace(there, url=there.url.replace("dicom-web", "elsewhere"))
    with pytest.raises(PeerRefusedError, match="no such service: correct 'url'"):
        retrieve(wrong, WadoOrder(Wanted(STUDY), inbox.landing), inbox)


def test_orthanc_behind_tls_gets_our_certificate(
    pacs: Pacs, certificates: Certificates, head_series: Callable[..., Any], inbox: Inbox
) -> None:
    server, there = pacs
    paths = head_series(seed="wado tls", size=(3, 32, 32)).paths
    header = put(there, paths)
    ours = TlsSettings(
        certificate=certificates.client.certificate,
        key=certificates.client.key,
        ca=certificates.ca.certificate,
    )
    with tls_before(server.http_port, certificates) as port:
        secure = WebTarget("pacs", f"https://localhost:{port}/dicom-web", tls=ours, limits=PATIENT)
        wanted = Wanted(str(header.StudyInstanceUID))
        assert retrieve(secure, WadoOrder(wanted, inbox.landing), inbox).received == 3
    assert inbox.kept == dict(data_set(path) for path in paths)


def files(tmp_path: Path, *uids: str, size: int = 20_000) -> list[bytes]:
    """DICOM files of one series."""
    found = []
    for uid in uids:
        write_object(tmp_path / f"{uid}.dcm", uid, size)
        found.append((tmp_path / f"{uid}.dcm").read_bytes())
    return found


def multipart(*contents: bytes, head: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    mark = f"--{BOUNDARY}".encode()
    parts = (mark + b"\r\n" + head + b"\r\n" + content + b"\r\n" for content in contents)
    return b"".join(parts) + mark + b"--\r\n"


TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def saying(body: bytes, status: int = 200, kind: str = TYPE) -> Callable[..., None]:
    def respond(talk: Conversation, _: Asked) -> None:
        talk.say(status, body, Content_Type=kind)

    return respond


def order(inbox: Inbox, wanted: Wanted | None = None, **landing: int) -> WadoOrder:
    return WadoOrder(wanted or Wanted(STUDY), Landing(inbox.landing.folder, **landing))


def test_what_is_asked_for(tmp_path: Path, inbox: Inbox) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with web_peer(saying(multipart(*files(tmp_path, "1.9.1")))) as peer:
        there = target(peer, credentials=Credentials(Scheme.BEARER, file=token))
        retrieve(there, order(inbox, Wanted(STUDY, SERIES, ("1.9.1",))), inbox)
    (asked,) = peer.asked
    assert (asked.method, asked.path) == (
        "GET",
        f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/1.9.1",
    )
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert asked.headers["Accept"] == accept
    assert asked.headers["Authorization"] == "Bearer secret"


def test_a_body_in_chunks_and_with_a_preamble_is_read(tmp_path: Path, inbox: Inbox) -> None:
    contents = files(tmp_path, "1.9.1", "1.9.2")
    body = b"who reads this?\r\n" + multipart(*contents) + b"nor this"

    def respond(talk: Conversation, _: Asked) -> None:
        talk.send_response(206)
        talk.send_header("Content-Type", TYPE)
        talk.send_header("Transfer-Encoding", "chunked")
        talk.end_headers()
        for at in range(0, len(body), 777):
            part = body[at : at + 777]
            talk.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        talk.wfile.write(b"0\r\n\r\n")

    with web_peer(respond) as peer:
        result = retrieve(target(peer), order(inbox), inbox)
    assert (result.received, result.is_complete) == (2, False)
    assert "could not send all" in result.sentence
    assert inbox.kept == dict(data_set(tmp_path / f"{uid}.dcm") for uid in inbox.kept)


def test_a_body_is_cut_at_its_boundaries_however_it_comes(tmp_path: Path, inbox: Inbox) -> None:
    from secondread.delivery.arrival import Arrivals

    body = multipart(*files(tmp_path, "1.9.1", "1.9.2", size=300))
    for step in (1, 2, 3, 7, 64, len(body)):
        inbox.kept.clear()
        arrivals = Arrivals(Wanted(STUDY), inbox.landing, inbox)
        reader = PartReader(BOUNDARY, arrivals)
        for at in range(0, len(body), step):
            reader.feed(body[at : at + step])
        assert reader.has_ended
        assert sorted(inbox.kept) == ["1.9.1", "1.9.2"]


def test_a_part_that_is_no_object_costs_the_others_nothing(tmp_path: Path, inbox: Inbox) -> None:
    good, short, other = files(tmp_path, "1.9.1", "1.9.2", "1.9.3")
    other = other.replace(b"1.2.3\0", b"1.2.9\0")
    body = multipart(b"garbage", short[:-9], other, good)
    with web_peer(saying(body)) as peer:
        result = retrieve(target(peer), order(inbox), inbox)
    assert (list(inbox.kept), result.refused) == (["1.9.1"], 3)
    assert "3 were not taken" in result.sentence


def test_a_part_of_another_media_type_is_no_object(tmp_path: Path, inbox: Inbox) -> None:
    body = multipart(*files(tmp_path, "1.9.1"), head=b"Content-Type: image/jpeg\r\n")
    with web_peer(saying(body)) as peer:
        assert retrieve(target(peer), order(inbox), inbox).refused == 1


def test_a_part_without_fields_is_looked_at(tmp_path: Path, inbox: Inbox) -> None:
    with web_peer(saying(multipart(*files(tmp_path, "1.9.1"), head=b""))) as peer:
        assert retrieve(target(peer), order(inbox), inbox).received == 1


def test_a_body_that_breaks_off_says_what_came(tmp_path: Path, inbox: Inbox) -> None:
    one, two = files(tmp_path, "1.9.1", "1.9.2")
    body = multipart(one, two)
    cuts = {
        "in an object": body[:-5000],
        "before the end": body[: -len(BOUNDARY) - 4],
    }
    for cut in cuts.values():
        inbox.kept.clear()
        for promised in (len(body), len(cut)):

            def respond(talk: Conversation, _: Asked, cut: bytes = cut, n: int = promised) -> None:
                talk.send_response(200)
                talk.send_header("Content-Type", TYPE)
                talk.send_header("Content-Length", str(n))
                talk.end_headers()
                talk.wfile.write(cut)
                talk.hang_up()

            with (
                web_peer(respond) as peer,
                pytest.raises(PeerUnreachableError, match="Before that 1 object came and stayed"),
            ):
                retrieve(target(peer), order(inbox), inbox)
        assert list(inbox.kept) == ["1.9.1"]


def test_silence_in_an_object_has_an_end(tmp_path: Path, inbox: Inbox) -> None:
    body = multipart(*files(tmp_path, "1.9.1"))

    def respond(talk: Conversation, _: Asked) -> None:
        talk.send_response(200)
        talk.send_header("Content-Type", TYPE)
        talk.end_headers()
        talk.wfile.write(body[:9000])
        talk.wfile.flush()
        talk.connection.settimeout(10)
        talk.rfile.read(1)

    with web_peer(respond) as peer, pytest.raises(PeerUnreachableError, match="in time"):
        retrieve(target(peer, limits=QUICK), order(inbox), inbox)


@pytest.mark.parametrize("limit", [{"object_bytes_max": 1 << 20}, {"bytes_max": 1 << 20}])
def test_an_object_without_end_is_cut_off(inbox: Inbox, limit: dict[str, int]) -> None:
    def respond(talk: Conversation, _: Asked) -> None:
        talk.send_response(200)
        talk.send_header("Content-Type", TYPE)
        talk.end_headers()
        talk.wfile.write(multipart(b"")[: -len(BOUNDARY) - 8])
        while True:
            talk.wfile.write(bytes(65536))

    with web_peer(respond) as peer, pytest.raises(TooMuchError, match="1 MiB"):
        retrieve(target(peer), order(inbox, **limit), inbox)


def test_objects_without_end_are_cut_off(tmp_path: Path, inbox: Inbox) -> None:
    contents = files(tmp_path, *(f"1.9.{number}" for number in range(6)), size=10)
    with web_peer(saying(multipart(*contents))) as peer, pytest.raises(TooMuchError, match="3 obj"):
        retrieve(target(peer), order(inbox, objects_max=3), inbox)
    assert len(inbox.kept) == 3


def test_a_head_without_end_is_cut_off(inbox: Inbox) -> None:
    body = f"--{BOUNDARY}\r\n".encode() + b"X: y" * 100_000
    with (
        web_peer(saying(body)) as peer,
        pytest.raises(PeerUnreachableError, match="head of a part"),
    ):
        retrieve(target(peer), order(inbox), inbox)


@pytest.mark.parametrize(
    ("status", "kind", "error", "says"),
    [
        (200, "text/html", PeerRefusedError, "text/html"),
        (200, "application/dicom+json", PeerUnreachableError, "cannot be read"),
        (200, "multipart/related", PeerRefusedError, "multipart"),
        (401, "text/plain", PeerRefusedError, "401"),
        (403, "text/plain", PeerRefusedError, "403"),
        (406, "text/plain", PeerRefusedError, "C-MOVE or C-GET"),
        (500, "text/plain", PeerUnreachableError, "500"),
        (503, "text/plain", PeerUnreachableError, "503"),
    ],
)
def test_every_answer_is_a_sentence(
    status: int, kind: str, error: type[Exception], says: str, inbox: Inbox
) -> None:
    with web_peer(saying(b"nothing", status, kind)) as peer, pytest.raises(error, match=says):
        retrieve(target(peer), order(inbox), inbox)


def test_a_server_that_is_busy_says_when(inbox: Inbox) -> None:
    def respond(talk: Conversation, _: Asked) -> None:
        talk.say(503, b"", Retry_After="17")

    with web_peer(respond) as peer, pytest.raises(PeerBusyError) as caught:
        retrieve(target(peer), order(inbox), inbox)
    assert caught.value.retry_after_s == 17


def test_no_content_is_nothing(inbox: Inbox) -> None:
    with web_peer(saying(b"", 204)) as peer:
        assert retrieve(target(peer), order(inbox), inbox).received == 0


def test_a_404_of_a_server_with_studies_is_a_study_that_is_not_there(inbox: Inbox) -> None:
    def respond(talk: Conversation, asked: Asked) -> None:
        if asked.path.startswith("/dicom-web/studies?"):
            talk.say(200, json.dumps([]).encode(), Content_Type="application/dicom+json")
        else:
            talk.say(404)

    with web_peer(respond) as peer:
        assert "nothing" in retrieve(target(peer), order(inbox), inbox).sentence


def test_whoever_takes_objects_may_refuse_one_or_end_it(tmp_path: Path, inbox: Inbox) -> None:
    body = multipart(*files(tmp_path, "1.9.1", "1.9.2"))

    def choose(received: Received) -> None:
        if received.sop_instance_uid == "1.9.1":
            raise CannotUnderstandError("Not this one.")
        inbox(received)

    def full(_: Received) -> None:
        raise OutOfResourcesError("There is no room.")

    with web_peer(saying(body)) as peer:
        assert retrieve(target(peer), order(inbox), choose).refused == 1
        with pytest.raises(OutOfResourcesError, match="no room"):
            retrieve(target(peer), order(inbox), full)
    assert list(inbox.kept) == ["1.9.2"]


def test_memory_does_not_grow_with_an_object(tmp_path: Path, inbox: Inbox) -> None:
    size = 48 << 20
    write_object(tmp_path / "large.dcm", "1.9.1", size)
    uid, _ = data_set(tmp_path / "large.dcm")
    sizes = []

    def respond(talk: Conversation, _: Asked) -> None:
        start, end = multipart(b"|").split(b"|")
        talk.send_response(200)
        talk.send_header("Content-Type", TYPE)
        talk.end_headers()
        talk.wfile.write(start)
        with (tmp_path / "large.dcm").open("rb") as file:
            while part := file.read(1 << 16):
                talk.wfile.write(part)
        talk.wfile.write(end)

    with web_peer(respond) as peer:
        tracemalloc.start()
        try:
            retrieve(target(peer), order(inbox), lambda found: sizes.append(found.size_bytes))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert sizes[0] > size
    assert uid == "1.9.1"
    assert peak < size / 4


@pytest.mark.parametrize(
    ("field", "boundary"),
    [
        (TYPE, BOUNDARY),
        ('Multipart/Related; boundary="a b"; type=application/dicom', "a b"),
        ("multipart/related", None),
        ("multipart/form-data; boundary=x", None),
        (f"multipart/related; boundary={'x' * 71}", None),
        ('multipart/related; boundary="ä"', None),
        ("", None),
    ],
)
def test_the_boundary_is_that_of_the_field(field: str, boundary: str | None) -> None:
    assert read_boundary(field) == boundary
