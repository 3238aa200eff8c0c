"""STOW-RS against a real PACS, and what becomes of each object."""

from __future__ import annotations

import base64
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from deploy.demo import pacs as demo_pacs
from secondread.delivery import qido, stow
from secondread.delivery.stow_answer import StoreStatus
from secondread.domain.form import SegmentationKind
from secondread.domain.network import TlsSettings
from secondread.domain.web_target import Credentials, Scheme, StowForm, WebTarget
from secondread.errors import KindRefusedError, PeerRefusedError, PeerUnreachableError
from tests.certificates import Certificates
from tests.result_cases import make_case
from tests.segmentation_cases import make, written
from tests.web_peers import (
    JSON,
    PATIENT,
    XML,
    Asked,
    Conversation,
    exchange_bytes,
    make_large,
    response,
    response_xml,
    server_side,
    store_all,
    target,
    tls_before,
    uids_of,
    web_peer,
)

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
Pacs = tuple[demo_pacs.OrthancPacs, WebTarget]


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


@pytest.fixture
def paths(head_series: Callable[..., Any]) -> list[Path]:
    """Three small objects."""
    return list(head_series(size=(3, 8, 8)).paths)


class LockedPacs(demo_pacs.OrthancPacs):
    """An Orthanc that wants a password."""

    password = "pass wörd"

    def _configuration(self, folder: Path, callers: tuple[str, ...]) -> dict[str, Any]:
        return super()._configuration(folder, callers) | {
            "AuthenticationEnabled": True,
            "RegisteredUsers": {"node": self.password},
        }

    def _get(self, _path: str) -> bytes:
        # Whether it listens is all that is asked here.
        socket.create_connection(("127.0.0.1", self.http_port), timeout=5).close()
        return b""


def test_orthanc_stores_and_qido_reads_back(pacs: Pacs, head_series: Callable[..., Any]) -> None:
    server, there = pacs
    paths = head_series(seed="stow and qido").paths
    header = dcmread(paths[0])
    series = (str(header.StudyInstanceUID), str(header.SeriesInstanceUID))
    assert qido.find_instances(there, *series) == frozenset()
    answers = stow.store(paths, there)
    uids = uids_of(paths)
    assert [answer.sop_instance_uid for answer in answers] == uids
    assert {answer.status for answer in answers} == {StoreStatus.STORED}
    assert qido.find_instances(there, *series) == set(uids)
    assert set(uids) <= {held.sop_instance_uid for held in server.held()}


def test_orthanc_takes_the_same_objects_twice_and_by_study(
    pacs: Pacs, head_series: Callable[..., Any]
) -> None:
    server, there = pacs
    one, other = (
        head_series(seed="twice", size=(3, 8, 8)),
        head_series(seed="other", size=(2, 8, 8)),
    )
    paths = [*one.paths, *other.paths]
    for _ in range(2):
        answers = stow.store(paths, there, StowForm(names_study=True, objects_max=2))
        assert all(answer.stored for answer in answers)
    held = [held.sop_instance_uid for held in server.held()]
    assert all(held.count(uid) == 1 for uid in uids_of(paths))


def test_orthanc_takes_a_label_map_over_the_web(pacs: Pacs, tmp_path: Path) -> None:
    server, there = pacs
    (document,) = make(make_case(tmp_path / "series"), SegmentationKind.LABELMAP)
    path = written(document, tmp_path)
    assert dcmread(path).SOPClassUID == LABEL_MAP_STORAGE
    assert stow.store_one(path, there) == ""
    assert uids_of([path])[0] in {held.sop_instance_uid for held in server.held()}


def test_orthanc_that_cannot_read_one_object_gets_the_others(
    pacs: Pacs, head_series: Callable[..., Any]
) -> None:
    server, there = pacs
    good = head_series(seed="good", size=(4, 8, 8)).paths
    whole = good[1].read_bytes()
    # Sound to its UIDs, and broken off behind them.
    good[1].write_bytes(whole[: whole.index(b"\x28\x00\x10\x00") + 5])
    answers = stow.store(good, there)
    assert [answer.stored for answer in answers] == [True, False, True, True]
    assert isinstance(answers[1].refusal, PeerRefusedError)
    held = {held.sop_instance_uid for held in server.held()}
    assert {answer.sop_instance_uid for answer in answers if answer.stored} <= held


def test_orthanc_behind_tls_wants_our_certificate(
    pacs: Pacs, certificates: Certificates, head_series: Callable[..., Any]
) -> None:
    server, _ = pacs
    paths = head_series(seed="tls", size=(3, 32, 32)).paths
    ours = TlsSettings(
        certificate=certificates.client.certificate,
        key=certificates.client.key,
        ca=certificates.ca.certificate,
    )
    with tls_before(server.http_port, certificates) as port:
        url = f"https://127.0.0.1:{port}/dicom-web"
        answers = stow.store(paths, WebTarget("pacs", url, tls=ours, limits=PATIENT))
        assert all(answer.stored for answer in answers)
        nameless = WebTarget("pacs", url, ca=certificates.ca.certificate, limits=PATIENT)
        with pytest.raises(PeerRefusedError, match="certificate"):
            stow.store(paths, nameless)


@pytest.mark.parametrize("size_bytes", [1000, 50 * 2**20])
def test_orthanc_that_wants_a_password_says_so(
    pacs: Pacs, tmp_path: Path, paths: list[Path], size_bytes: int
) -> None:
    program = demo_pacs.orthanc_program()
    assert program is not None
    secret = tmp_path / "password"
    server = LockedPacs(program, tmp_path / "orthanc", ("X",), dicomweb=demo_pacs.DICOMWEB_PLUGIN)
    try:
        credentials = Credentials(Scheme.BASIC, "node", secret)
        url = f"http://localhost:{server.http_port}/dicom-web"
        there = WebTarget("pacs", url, credentials, limits=PATIENT)
        secret.write_text("wrong")
        path = make_large(paths[0], size_bytes)
        # It answers 401, and hangs up without reading the body.
        for _ in range(5):
            with pytest.raises(PeerRefusedError, match="user name and password"):
                stow.store_one(path, there)
        secret.write_text(LockedPacs.password)
        assert stow.store_one(path, there) == ""
        header = dcmread(path, stop_before_pixels=True)
        series = (str(header.StudyInstanceUID), str(header.SeriesInstanceUID))
        assert qido.find_instances(there, *series) == {str(header.SOPInstanceUID)}
        with pytest.raises(PeerRefusedError, match="who calls"):
            stow.store_one(path, replace(there, credentials=Credentials()))
    finally:
        server.close()


@pytest.mark.parametrize("names_study", [False, True])
def test_files_arrive_byte_for_byte(paths: list[Path], names_study: bool) -> None:
    with web_peer(store_all) as peer:
        stow.store(paths, target(peer), StowForm(names_study=names_study))
    (asked,) = peer.asked
    study = f"/{dcmread(paths[0]).StudyInstanceUID}" if names_study else ""
    assert (asked.method, asked.path) == ("POST", f"/dicom-web/studies{study}")
    assert asked.contents == [path.read_bytes() for path in paths]
    assert asked.headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
    assert asked.headers["Accept"].startswith(JSON)
    assert "Authorization" not in asked.headers


def test_requests_are_as_large_as_the_server_wants(paths: list[Path]) -> None:
    for form in (StowForm(objects_max=2), StowForm(bytes_max=2 * paths[0].stat().st_size + 10)):
        with web_peer(store_all) as peer:
            assert all(answer.stored for answer in stow.store(paths, target(peer), form))
        assert [len(asked.contents) for asked in peer.asked] == [2, 1]


def test_basic_and_bearer_are_read_from_their_files_each_time(
    paths: list[Path], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    basic = Credentials(Scheme.BASIC, "node", secret)
    bearer = Credentials(Scheme.BEARER, file=secret)
    with web_peer(store_all) as peer:
        secret.write_text("pass wörd\n")
        stow.store_one(paths[0], target(peer, credentials=basic))
        for token in ("first.token", "second.token"):
            secret.write_text(token)
            stow.store_one(paths[0], target(peer, credentials=bearer))
    said = [asked.headers["Authorization"] for asked in peer.asked]
    assert said[0] == f"Basic {base64.b64encode('node:pass wörd'.encode()).decode()}"
    assert said[1:] == ["Bearer first.token", "Bearer second.token"]


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", b"\xff\xfe", b"x\r\nHost: evil"])
def test_secret_that_cannot_be_used_is_said_without_it(
    paths: list[Path], tmp_path: Path, content: bytes | None
) -> None:
    secret = tmp_path / "token"
    if content is not None:
        secret.write_bytes(content)
    with web_peer(store_all) as peer:
        there = target(peer, credentials=Credentials(Scheme.BEARER, file=secret))
        with pytest.raises(PeerUnreachableError, match=str(secret)) as raised:
            stow.store(paths, there)
    assert peer.asked == []
    assert "two" not in str(raised.value) and "evil" not in str(raised.value)


def test_proxy_of_the_environment_is_not_asked_and_one_of_the_settings_is(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with web_peer(store_all) as peer:
        stow.store_one(paths[0], target(peer))
    with web_peer(store_all) as proxy:
        there = WebTarget("pacs", "http://pacs.example/web", proxy=f"127.0.0.1:{proxy.port}")
        stow.store_one(paths[0], there)
        assert proxy.asked[0].path == "http://pacs.example/web/studies"
        assert proxy.asked[0].headers["Host"] == "pacs.example"
    context = server_side(certificates)
    with web_peer(store_all, context=context) as peer, web_peer(pass_on) as proxy:
        there = target(peer, ca=certificates.ca.certificate, proxy=f"127.0.0.1:{proxy.port}")
        stow.store_one(paths[0], there)
        assert [asked.method for asked in proxy.asked] == ["CONNECT"]
        assert [asked.method for asked in peer.asked] == ["POST"]


def test_memory_stays_flat_for_large_objects(paths: list[Path]) -> None:
    def count(talk: Conversation, _: Asked) -> None:
        left = int(talk.headers["Content-Length"])
        sizes.append(left)
        while left:
            left -= len(talk.rfile.read(min(left, 2**20)))
        talk.say(200)

    large = make_large(paths[0], 50 * 2**20)
    sizes: list[int] = []
    with web_peer(count, reads=False) as peer:
        tracemalloc.start()
        assert stow.store([large], target(peer))[0].stored
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert sizes[0] > 50 * 2**20
    assert peak < 16 * 2**20


@pytest.mark.parametrize(("status", "kind"), [(202, JSON), (409, JSON), (200, XML), (409, "")])
def test_each_object_gets_its_own_answer(paths: list[Path], status: int, kind: str) -> None:
    def mixed(talk: Conversation, asked: Asked) -> None:
        first, second, third = asked.uids
        write = response_xml if kind == XML else response
        body = write({first: 0, second: 0xB000}, {third: 0xC122})
        talk.say(status, body, **({"Content_Type": f"{kind}; charset=utf-8"} if kind else {}))

    with web_peer(mixed) as peer:
        first, second, third = stow.store(paths, target(peer))
    assert first.status is StoreStatus.STORED and first.remark == ""
    assert second.status is StoreStatus.WARNING and "coercion" in second.remark
    assert third.status is StoreStatus.FAILED and "transfer syntax" in third.remark
    assert isinstance(third.refusal, KindRefusedError)
    assert len(peer.asked) == 1


def test_objects_that_a_server_does_not_name_are_asked_for_one_by_one(paths: list[Path]) -> None:
    def half(talk: Conversation, asked: Asked) -> None:
        known = [uid for uid in asked.uids if uid != bad]
        talk.say(400 if bad in asked.uids else 200, response(dict.fromkeys(known[:1], 0)))

    bad = uids_of(paths)[1]
    with web_peer(half) as peer:
        answers = stow.store(paths, target(peer))
    assert [answer.stored for answer in answers] == [True, False, True]
    assert [len(asked.contents) for asked in peer.asked] == [3, 1, 1]
    assert isinstance(answers[1].refusal, KindRefusedError)


@pytest.mark.parametrize("status", [400, 409, 413, 415, 500])
def test_one_bad_object_does_not_lose_the_others(paths: list[Path], status: int) -> None:
    def choosy(talk: Conversation, asked: Asked) -> None:
        if bad in asked.uids:
            talk.say(status, b"no", Content_Type="text/plain")
        else:
            store_all(talk, asked)

    bad = uids_of(paths)[2]
    with web_peer(choosy) as peer:
        answers = stow.store(paths, target(peer))
    assert [answer.stored for answer in answers] == [True, True, False]
    assert str(status) in answers[2].remark
    assert answers[2].refusal is not None
    assert answers[2].refusal.retryable == (status == 500)


def test_file_that_is_gone_does_not_lose_the_others(paths: list[Path]) -> None:
    paths[0].unlink()
    paths[1].write_bytes(b"not DICOM")
    with web_peer(store_all) as peer:
        gone, broken, sound = stow.store(paths, target(peer))
    assert "not on disk" in gone.remark
    assert "not DICOM" in broken.remark
    assert sound.stored


def test_two_files_of_one_object_are_not_taken_for_one(paths: list[Path]) -> None:
    other = paths[0].with_name("other.dcm")
    other.write_bytes(paths[0].read_bytes()[:-2] + b"??")
    with web_peer(store_all) as peer:
        answers = stow.store([paths[0], other, paths[0]], target(peer))
    assert [answer.stored for answer in answers] == [True, False, True]
    assert peer.asked[0].contents == [paths[0].read_bytes()]


def test_server_that_goes_in_between_keeps_what_it_has_said(paths: list[Path]) -> None:
    def once(talk: Conversation, asked: Asked) -> None:
        store_all(talk, asked) if len(peer.asked) == 1 else talk.hang_up()

    with web_peer(once) as peer:
        answers = stow.store(paths, target(peer), StowForm(objects_max=1))
    assert [answer.stored for answer in answers] == [True, False, False]
    assert all(answer.refusal.retryable for answer in answers[1:] if answer.refusal)
    assert len(peer.asked) == 2


def test_empty_success_counts_for_all(paths: list[Path]) -> None:
    with web_peer(lambda talk, _: talk.say(200)) as peer:
        answers = stow.store(paths, target(peer))
    assert all(answer.stored and "names none" in answer.remark for answer in answers)


def pass_on(talk: Conversation, asked: Asked) -> None:
    """A proxy that connects."""
    host, _, port = asked.path.partition(":")
    with socket.create_connection((host, int(port))) as onward:
        talk.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        exchange_bytes(talk.connection, onward)
    talk.close_connection = True
