"""Archives of others and the node as it runs: Orthanc, storescp, dcmqrscp; plain and by TLS."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from deploy.demo import pacs as demo_pacs
from secondread.domain.states import StudyState
from tests.certificates import Certificates
from tests.echo_peers import server_side, storescp, tcp_server
from tests.query_peers import dcmqrscp

from .conftest import RunningNode, Target
from .delivery_node import (
    NODE,
    DeliveryNode,
    Filled,
    Place,
    Templates,
    Values,
    delivery_node,
    make_templates,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

JOBS = 3
OBJECTS = 2 * JOBS
PROOF = {"delay_s": 0.2, "wait_s": 0.5}
LIMIT_MIB = 1
BALLAST_BYTES = 600_000
RESERVED = "outbox:reserved"
SLOW = pytest.mark.slow
Deliver = Callable[..., tuple[DeliveryNode, Filled]]


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return make_templates(tmp_path_factory.mktemp("made"))


@pytest.fixture
def deliver(templates: Templates, tmp_path: Path) -> Iterator[Deliver]:
    """``deliver(values, tables, reporters=(), port=None)`` has results on their way to a peer."""
    with ExitStack() as stack:

        def start(
            values: Values, tables: Mapping[str, Values] | None = None, **settings: Any
        ) -> tuple[DeliveryNode, Filled]:
            jobs = settings.pop("jobs", JOBS)
            places = [Place("pacs", {"timeout_s": 20, **values}, tables or {"proof": PROOF})]
            settings = {"folder": tmp_path / "node", "places": places, **settings}
            node, ledger = stack.enter_context(delivery_node(templates, **settings))
            ledger.fill_with_results("pacs", jobs)
            node.start()
            return node, ledger

        yield start


def wait_for(node: DeliveryNode, ledger: Filled, state: str, count: int = OBJECTS) -> None:
    """Wait until all objects are in a state, and their jobs delivered."""
    try:
        node.wait_until(lambda: ledger.tally("pacs") == {state: count}, f"all to be {state}")
    except AssertionError as error:
        said = {(item.state.value, item.reason) for item in ledger.items_for("pacs")}
        raise AssertionError(f"{sorted(said)}, line {node.line('pacs')}. {error}") from None
    ledger.check_jobs("pacs", "delivered")
    ledger.check_trail()


def wait_for_words(node: DeliveryNode, ledger: Filled, words: str) -> None:
    """Wait until the reason of each object says so."""

    def said() -> bool:
        items = [item for item in ledger.items_for("pacs") if item.state != "reserved"]
        return all(words in item.reason for item in items)

    node.wait_until(said, f"each object to say '{words}'")


def sent_uids(ledger: Filled) -> list[str]:
    """The SOP Instance UIDs that should be there, sorted."""
    found = [item for item in ledger.items_for("pacs") if item.state != "reserved"]
    return sorted(item.sop_instance_uid for item in found)


def proofs(ledger: Filled) -> set[str]:
    """What has proven it."""
    return {item.proof for item in ledger.items_for("pacs") if item.state != "reserved"}


def held_uids(pacs: demo_pacs.Pacs) -> list[str]:
    """The SOP Instance UIDs that an Orthanc has, sorted; one that it has twice is there twice."""
    return sorted(one.sop_instance_uid for one in pacs.held())


def called(pacs: demo_pacs.Pacs) -> Values:
    """Where a PACS is."""
    return {"ae_title": pacs.ae_title, "host": pacs.host, "port": pacs.port}


def rest(pacs: Any, method: str, path: str, body: Any = None) -> Any:
    """Ask Orthanc over its own interface."""
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{pacs.http_port}{path}", data=content, method=method
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def introduce(pacs: Any, port: int) -> None:
    """Tell Orthanc where the node listens, as its administrator would."""
    rest(pacs, "PUT", "/modalities/SECONDREAD", {"AET": NODE, "Host": "127.0.0.1", "Port": port})


class OwnOrthanc(demo_pacs.OrthancPacs):
    """An Orthanc with something else in its configuration."""

    def __init__(self, folder: Path, **more: Any) -> None:
        program = demo_pacs.orthanc_program()
        if program is None:
            pytest.skip("no Orthanc: install the package orthanc")
        self._more = more
        web = demo_pacs.DICOMWEB_PLUGIN
        super().__init__(program, folder, (NODE,), dicomweb=web if web.exists() else None)

    def _configuration(self, folder: Path, callers: tuple[str, ...]) -> dict[str, Any]:
        return super()._configuration(folder, callers) | self._more


@contextmanager
def own_orthanc(folder: Path, **more: Any) -> Iterator[OwnOrthanc]:
    pacs = OwnOrthanc(folder, **more)
    try:
        yield pacs
    finally:
        pacs.close()


@contextmanager
def tls_front(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """TLS before a server that has none of its own, as DCMTK's dcmqrscp."""

    def serve(connection: socket.socket) -> None:
        threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        connection.settimeout(60.0)
        with (
            suppress(OSError),
            context.wrap_socket(connection, server_side=True) as outside,
            socket.create_connection(("127.0.0.1", port), 20) as inside,
        ):
            back = threading.Thread(target=pour, args=(inside, outside), daemon=True)
            back.start()
            pour(outside, inside)
            back.join(60.0)

    def pour(source: socket.socket, drain: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(65536):
                drain.sendall(some)
        with suppress(OSError):
            drain.shutdown(socket.SHUT_WR)

    with tcp_server(serve) as outer:
        yield outer


# --- Orthanc ---


def test_orthanc_commits_to_what_it_got_and_reports_to_the_node(
    deliver: Deliver, orthanc: Callable[..., Any], free_port: Callable[[], int]
) -> None:
    pacs, port = orthanc((NODE,)), free_port()
    introduce(pacs, port)
    node, ledger = deliver(called(pacs), reporters=[pacs.ae_title], port=port)
    wait_for(node, ledger, "safe")
    assert proofs(ledger) == {"commitment"}
    assert held_uids(pacs) == sent_uids(ledger)


@SLOW
def test_orthanc_that_cannot_report_leaves_it_sent_and_says_what_to_do(
    deliver: Deliver, orthanc: Callable[..., Any]
) -> None:
    pacs = orthanc((NODE,))
    node, ledger = deliver(called(pacs))
    wait_for(node, ledger, "sent")
    wait_for_words(node, ledger, "its report is awaited")
    node.let_pass(3700.0, "pacs")
    wait_for_words(node, ledger, "Check that the node is entered there with its host and port")


def test_orthanc_is_delivered_to_and_read_back_by_mutual_tls(
    deliver: Deliver, certificates: Certificates, tmp_path: Path
) -> None:
    tls = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificates.server.certificate),
        "DicomTlsPrivateKey": str(certificates.server.key),
        "DicomTlsTrustedCertificates": str(certificates.ca.certificate),
        "DicomTlsRemoteCertificateRequired": True,
    }
    with own_orthanc(tmp_path / "orthanc", **tls) as pacs:
        tables = {"tls": ours(certificates), "proof": {**PROOF, "kind": "read-back"}}
        node, ledger = deliver(called(pacs), tables)
        wait_for(node, ledger, "safe")
        assert proofs(ledger) == {"read-back"}
        assert held_uids(pacs) == sent_uids(ledger)


def ours(certificates: Certificates) -> Values:
    """[destinations.tls] for mutual TLS."""
    own = certificates.client
    return {
        "ca": str(certificates.ca.certificate),
        "certificate": str(own.certificate),
        "key": str(own.key),
    }


def test_orthanc_takes_it_over_the_web_and_is_read_back(deliver: Deliver, tmp_path: Path) -> None:
    if not demo_pacs.DICOMWEB_PLUGIN.exists():
        pytest.skip("Orthanc without DICOMweb: install the package orthanc-dicomweb")
    with own_orthanc(tmp_path / "orthanc") as pacs:
        web = {"url": f"http://127.0.0.1:{pacs.http_port}/dicom-web"}
        node, ledger = deliver({"kind": "stow"}, {"web": web, "proof": PROOF})
        wait_for(node, ledger, "safe")
        assert proofs(ledger) == {"read-back"}
        assert held_uids(pacs) == sent_uids(ledger)


def test_orthanc_whose_storage_limit_is_reached_gets_the_rest_when_there_is_room(
    deliver: Deliver, templates: Templates, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """It recycles other patients before it refuses; here everything is of one patient."""
    port = free_port()
    with own_orthanc(tmp_path / "orthanc", MaximumStorageSize=LIMIT_MIB) as pacs:
        introduce(pacs, port)
        ballast = rest(pacs, "POST", "/instances", make_ballast(templates, tmp_path))["ID"]
        settings = {"reporters": [pacs.ae_title], "port": port, "jobs": 20}
        node, ledger = deliver(called(pacs), **settings)

        def is_full() -> bool:
            items = ledger.items_for("pacs")
            return any(item.state == "ready" and item.attempts for item in items)

        node.wait_until(is_full, "Orthanc to be full")
        waiting = [item for item in ledger.items_for("pacs") if item.attempts]
        assert all("0xA700" in item.reason for item in waiting), waiting[0].reason
        assert node.line("pacs")[0] == "closed"
        assert "dead" not in ledger.tally("pacs")
        rest(pacs, "DELETE", f"/instances/{ballast}")
        node.let_pass(60.0, "pacs")
        wait_for(node, ledger, "safe", 40)
        assert held_uids(pacs) == sent_uids(ledger)


def make_ballast(templates: Templates, folder: Path) -> bytes:
    """Another object of the same patient, large enough to leave little room."""
    folder = folder / "ballast"
    folder.mkdir()
    made = templates.write(templates.seg, 999_999_999, folder)
    found = dcmread(made.path)
    found.add_new(0x00420011, "OB", bytes(BALLAST_BYTES))
    found.save_as(made.path)
    return Path(made.path).read_bytes()


def test_study_that_a_whole_node_has_analysed_is_safe_in_orthanc(
    orthanc: Callable[..., Any],
    head_series: Callable[..., Any],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    pacs, port = orthanc((NODE,)), free_port()
    introduce(pacs, port)
    folder = tmp_path / "whole"
    folder.mkdir()
    target = Target(pacs.ae_title, pacs.host, pacs.port)
    node = RunningNode(folder, port, target, "bright_head", 0.6)
    reporter = (
        f'[[peers]]\nname = "{pacs.ae_title}"\nae_title = "{pacs.ae_title}"\n'
        'addresses = ["127.0.0.1"]\nquiet_s = 3600.0\nmay = ["echo", "commitment"]\n'
    )
    text = node.config.read_text()
    proof = "[destinations.proof]\ndelay_s = 0.2\nwait_s = 0.5\n"
    text = text.replace("[[rules]]", f"{proof}[[rules]]").replace("[[dest", f"{reporter}[[dest")
    node.config.write_text(text)
    try:
        node.start()
        node.send(head_series("axial").folder)
        assert node.wait_until_ended() == [StudyState.DONE]
        node.wait_until(
            lambda: node.states() == {"study:done", "job:delivered", "outbox:safe", RESERVED},
            60.0,
            "all to be safe",
        )
    finally:
        node.stop()
    assert {one.modality for one in pacs.held()} == {"SEG", "SR"}
    assert len(pacs.held()) == 2


# --- DCMTK ---


@pytest.mark.parametrize(
    "tls", [pytest.param(False, marks=SLOW), True], ids=["plain", "mutual-tls"]
)
def test_storescp_gets_everything_and_offers_no_proof(
    *,
    tls: bool,
    deliver: Deliver,
    certificates: Certificates,
    dcmtk: Callable[[str], str],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "storescp"
    folder.mkdir()
    server, ca = certificates.server, certificates.ca.certificate
    secure = ["+tls", str(server.key), str(server.certificate), "+cf", str(ca)] if tls else []
    with storescp(dcmtk("storescp"), folder, "+B", *secure) as port:
        values = {"ae_title": "PACS", "host": "127.0.0.1", "port": port}
        tables = {"proof": PROOF, **({"tls": ours(certificates)} if tls else {})}
        node, ledger = deliver(values, tables)
        wait_for(node, ledger, "sent")
        wait_for_words(node, ledger, "offers no proof")
        found = [dcmread(path, stop_before_pixels=True) for path in folder.glob("*.2.25.*")]
        assert sorted(str(one.SOPInstanceUID) for one in found) == sent_uids(ledger)


@pytest.mark.parametrize(
    "tls", [False, pytest.param(True, marks=SLOW)], ids=["plain", "behind-mutual-tls"]
)
def test_dcmqrscp_is_read_back_by_query(
    *,
    tls: bool,
    deliver: Deliver,
    certificates: Certificates,
    dcmtk: Callable[[str], str],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        archive = stack.enter_context(dcmqrscp(dcmtk("dcmqrscp"), tmp_path, free_port(), {}))
        port = archive.port
        tables: dict[str, Values] = {"proof": PROOF}
        if tls:
            context = server_side(certificates, certificates.server)
            port = stack.enter_context(tls_front(archive.port, context))
            tables["tls"] = ours(certificates)
        values = {"ae_title": "PACS", "host": "127.0.0.1", "port": port}
        node, ledger = deliver(values, tables)
        wait_for(node, ledger, "safe")
        assert proofs(ledger) == {"read-back"}
        assert sorted(archive.data_sets()) == sent_uids(ledger)
