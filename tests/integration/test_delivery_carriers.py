"""The ways to a destination: C-STORE with TLS, STOW-RS and folders, driven by the courier."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.demo import pacs as demo_pacs
from secondread.domain.destination import (
    CallSecurity,
    Destination,
    Way,
)
from secondread.domain.drop_folder import DropFolder
from secondread.domain.line import LineState
from secondread.domain.web_target import WebTarget
from tests.certificates import Certificates
from tests.echo_peers import server_side, storescp
from tests.house import StillClock
from tests.lying_pacs import lying_pacs
from tests.outbox_cases import Outbox, line_of, to, work_off
from tests.web_peers import Asked, Conversation, WebPeer, store_all, web_peer

LOCAL = "127.0.0.1"


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox whose clock the test moves."""
    made = Outbox(tmp_path / "still", StillClock())
    yield made
    made.close()


# --- Real peers


def test_storescp_with_mutual_tls(
    still: Outbox, dcmtk: Callable[[str], str], certificates: Certificates, tmp_path: Path
) -> None:
    own, ca = certificates.server, certificates.ca.certificate
    options = ("+tls", str(own.key), str(own.certificate), "+cf", str(ca))
    pair = certificates.client
    with storescp(dcmtk("storescp"), tmp_path, *options) as port:
        there = Destination(
            name="pacs",
            ae_title="PACS",
            host=LOCAL,
            port=port,
            calling_ae_title="SECONDREAD",
            security=CallSecurity(ca, pair.certificate, pair.key),
        )
        still.fill("pacs", jobs=4)
        courier = still.courier(there)
        still.destinations["pacs"] = replace(there, security=CallSecurity(ca))
        work_off(courier)
        assert line_of(still).state is LineState.OPEN
        assert set(still.states()) == {"ready"}
        still.destinations["pacs"] = there
        still.clock.time += 4000
        work_off(courier)
        courier.close()
    assert set(still.states()) == {"sent"}
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("CT.")]) == 12


def test_storescp_with_tls_that_asks_for_no_certificate(
    still: Outbox, dcmtk: Callable[[str], str], certificates: Certificates, tmp_path: Path
) -> None:
    own, ca = certificates.server, certificates.ca.certificate
    options = ("+tls", str(own.key), str(own.certificate), "-ic")
    with storescp(dcmtk("storescp"), tmp_path, *options) as port:
        there = Destination(
            name="pacs",
            ae_title="PACS",
            host=LOCAL,
            port=port,
            calling_ae_title="SECONDREAD",
            timeout_s=5.0,
            security=CallSecurity(ca),
        )
        still.fill("pacs")
        work_off(courier := still.courier(there))
        courier.close()
        assert line_of(still).reason == ""
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("CT.")]) == 3


def test_certificate_that_is_missing_here_opens_the_line_until_it_is_back(
    still: Outbox, certificates: Certificates, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    context = server_side(certificates, certificates.server, wants=False)
    with lying_pacs(tls=context) as pacs:
        still.fill("pacs")
        courier = still.courier(to(pacs, security=CallSecurity(ca)))
        work_off(courier)
        assert str(ca) in line_of(still).reason
        ca.write_bytes(certificates.ca.certificate.read_bytes())
        still.clock.time += 4000
        work_off(courier)
        assert set(still.states()) == {"sent"}


def test_orthanc_by_c_store_and_by_stow(still: Outbox, tmp_path: Path) -> None:
    program = demo_pacs.orthanc_program()
    if program is None or not demo_pacs.DICOMWEB_PLUGIN.exists():
        pytest.skip("no Orthanc with DICOMweb: install the packages orthanc, orthanc-dicomweb")
    server = demo_pacs.OrthancPacs(
        program, tmp_path / "orthanc", ("SECONDREAD",), dicomweb=demo_pacs.DICOMWEB_PLUGIN
    )
    try:
        by_store = Destination(
            name="store",
            ae_title=server.ae_title,
            host=LOCAL,
            port=server.port,
            calling_ae_title="SECONDREAD",
        )
        url = f"http://127.0.0.1:{server.http_port}/dicom-web"
        by_web = Destination(name="web", way=Way.STOW, web=WebTarget("web", url))
        courier = still.courier(by_store, by_web)
        still.fill("store", jobs=2)
        still.fill("web", jobs=2)
        work_off(courier, "store")
        work_off(courier, "web")
        courier.close()
        assert set(still.states()) == {"sent"}
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/instances") as answer:
            assert len(json.load(answer)) == 12
    finally:
        server.close()


# --- Over the web and into a folder


def test_stow_keeps_the_order_within_a_job_and_takes_jobs_together(still: Outbox) -> None:
    uids = still.fill("web", jobs=3)
    with web_peer(store_all) as peer:
        work_off(still.courier(on_the_web(peer)), "web")
        assert [asked.uids for asked in peer.asked] == [uids[0::3], uids[1::3], uids[2::3]]
    assert set(still.states()) == {"sent"}


def test_server_that_asks_for_a_pause_gets_it(still: Outbox) -> None:
    still.fill("web")

    def be_busy(talk: Conversation, _: Asked) -> None:
        talk.say(503, Retry_After="1200")

    with web_peer(be_busy) as peer:
        work_off(still.courier(on_the_web(peer)), "web")
    line = line_of(still, "web")
    assert line.next_at == still.clock.now() + 1200
    assert {item.attempts for item in still.items()} == {0}


@pytest.mark.parametrize(("status", "opens_again"), [(401, False), (404, True), (200, True)])
def test_probe_over_the_web(still: Outbox, status: int, opens_again: bool) -> None:
    still.fill("web")

    def answer(talk: Conversation, asked: Asked) -> None:
        if asked.method == "GET":
            talk.say(status, b"[]", Content_Type="application/dicom+json")
        elif len(peer.asked) == 1:
            talk.say(401)
        else:
            store_all(talk, asked)

    with web_peer(answer) as peer:
        courier = still.courier(on_the_web(peer))
        work_off(courier, "web")
        assert line_of(still, "web").state is LineState.OPEN
        still.clock.time += 4000
        work_off(courier, "web")
    assert (set(still.states()) == {"sent"}) == opens_again


def test_folder_is_read_back_at_once_and_says_when_a_job_is_there(
    still: Outbox, tmp_path: Path
) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    (uids, job) = (still.fill("folder", jobs=2), 1)
    courier = still.courier(in_a_folder(folder))
    work_off(courier, "folder")
    assert {(item.state.value, item.proof) for item in still.items()} == {("safe", "read-back")}
    done = (folder / f"2.25.{job}.done").read_text().split()
    assert done == [f"2.25.{job}/2.25.{job}.2/{uid}.dcm" for uid in uids[:3]]
    with still.ledger.read() as view:
        changes = [(row.before, row.after) for row in view.trail.of_event("delivery", 2)]
    assert changes == [("ready", "sent"), ("sent", "safe")]


def test_folder_that_is_gone_opens_the_line_until_it_is_back(still: Outbox, tmp_path: Path) -> None:
    folder = tmp_path / "share"
    still.fill("folder")
    courier = still.courier(in_a_folder(folder))
    work_off(courier, "folder")
    assert line_of(still, "folder").state is LineState.OPEN
    assert "is not there: mount the share" in line_of(still, "folder").reason
    still.clock.time += 4000
    assert not courier.step("folder")
    folder.mkdir()
    still.clock.time += 4000
    work_off(courier, "folder")
    assert set(still.states()) == {"safe"}


def on_the_web(peer: WebPeer) -> Destination:
    return Destination(name="web", way=Way.STOW, web=WebTarget("web", peer.url))


def in_a_folder(folder: Path) -> Destination:
    return Destination(name="folder", way=Way.FOLDER, folder=DropFolder("folder", folder))
