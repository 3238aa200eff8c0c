"""'sent' and 'safe' with archives of others: Orthanc, DCMTK's dcmqrscp and storescp."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from deploy.demo import pacs as demo_pacs
from secondread.delivery import stow
from secondread.delivery.judging import LOOKS
from secondread.delivery.proof_desk import UNREPORTED_MAX
from secondread.domain.destination import Destination, Proof, ProofTerms, Way
from secondread.domain.states import JobState
from secondread.domain.web_target import WebTarget
from tests.acceptance.intake_node import PEERS, IntakeNode
from tests.acceptance.intake_node import Place as NodePlace
from tests.echo_peers import storescp
from tests.lying_manners import By, Commit
from tests.lying_pacs import lying_pacs
from tests.proof_cases import NODE, READY, SAFE, SENT, Node, open_node
from tests.query_peers import dcmqrscp

LONG_S = 30.0
TELLERS = tuple(
    {
        "name": title.lower(),
        "ae_title": title,
        "addresses": ["127.0.0.1/32"],
        "quiet_s": 3600.0,
        "may": ["echo", "commitment"],
    }
    for title in ("DEMOPACS", "PACS", "OTHER")
)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_node(tmp_path / "data") as found:
        yield found


@pytest.fixture
def intake(tmp_path: Path, node: Node) -> Iterator[IntakeNode]:
    """The node's own port, a process of its own over the same ledger."""
    folder = tmp_path / "intake"
    folder.mkdir()
    found = IntakeNode(NodePlace(folder, node.folder, peers=(PEERS[0], *TELLERS)))
    found.start()
    yield found
    assert found.stop() == 0


@pytest.fixture
def files(node: Node, head_series: Callable[..., Any], request: Any) -> list[Path]:
    """Four small images of one series, where the node keeps what it made."""
    made = head_series(size=(4, 8, 8), seed=f"proof {request.node.name}")
    found = []
    for path in made.paths:
        uid = dcmread(path, stop_before_pixels=True).SOPInstanceUID
        found.append(path.rename(node.folder / f"{uid}.dcm"))
    return found


def rest(pacs: Any, method: str, path: str, body: Any = None) -> Any:
    """Ask Orthanc over its own interface."""
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{pacs.http_port}{path}", data=content, method=method
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return answer.read()


def lose(pacs: Any, uid: str) -> None:
    """Delete an object from Orthanc."""
    key = next(held.key for held in pacs.held() if held.sop_instance_uid == uid)
    rest(pacs, "DELETE", f"/instances/{key}")


def add_orthanc(node: Node, pacs: Any, **terms: Any) -> None:
    node.add_pacs(pacs.port, ae_title=pacs.ae_title, timeout_s=LONG_S, **terms)


def until(node: Node, state: dict[Any, int]) -> None:
    """Step, while nothing becomes due, until what comes by itself has come."""
    deadline = time.monotonic() + LONG_S
    while node.states() != state and time.monotonic() < deadline:
        node.prover.step()
        time.sleep(0.05)
    assert node.states() == state, [item.reason for item in node.items()]


# --- Storage Commitment ---


def test_orthanc_commits_at_the_port_of_the_node(
    node: Node, intake: IntakeNode, orthanc: Callable[..., Any], files: list[Path]
) -> None:
    """What it loses after it answered Success is sent again, and is there once."""
    pacs = orthanc()
    where = {"AET": NODE, "Host": "127.0.0.1", "Port": intake.port}
    rest(pacs, "PUT", "/modalities/SECONDREAD", where)
    add_orthanc(node, pacs, wait_s=0.2)
    node.add_job(files)
    node.deliver()
    lost = files[2].stem
    lose(pacs, lost)
    node.prove()
    until(node, {SAFE: 3, READY: 1})
    node.deliver()
    node.prove()
    until(node, {SAFE: 4})
    assert node.job().state is JobState.DELIVERED
    assert {item.proof for item in node.items()} == {"commitment"}
    assert sorted(held.sop_instance_uid for held in pacs.held()) == sorted(
        path.stem for path in files
    )
    assert [item.sendings for item in node.items() if item.sop_instance_uid == lost] == [2]


def test_archive_that_does_not_know_where_the_node_is_is_read_back_in_the_end(
    node: Node, orthanc: Callable[..., Any], files: list[Path]
) -> None:
    """Nobody has entered the node's port there, so that no report can come."""
    pacs = orthanc()
    add_orthanc(node, pacs, wait_s=0.0, report_timeout_s=600.0)
    node.add_job(files)
    node.deliver()
    lose(pacs, files[3].stem)
    for _ in range(UNREPORTED_MAX):
        node.prove(60.0)
        assert node.states() == {SENT: 4}
        node.prove(600.0)
    node.prove(60.0)
    assert node.states() == {SAFE: 3, SENT: 1}
    assert {item.proof for item in node.items() if item.state is SAFE} == {"read-back"}


def test_reports_at_the_port_are_durable_and_those_of_strangers_are_refused(
    node: Node, intake: IntakeNode
) -> None:
    where = ("127.0.0.1", intake.port, NODE)
    with lying_pacs(node=where) as pacs, lying_pacs(ae_title="OTHER", node=where) as other:
        node.add_pacs(pacs.port, wait_s=0.0)
        node.add_objects(4)
        node.deliver()
        pacs.behave(by=By.LATER, commit=Commit.WRONG_TRANSACTION)
        node.prove()
        assert pacs.report_owed() == [0x0115]
        pacs.behave(by=By.LATER)
        node.prove(3600.0)
        node.prove(60.0)
        other.owed = list(pacs.owed)
        assert other.report_owed() == [0x0115]
        query = "SELECT count(*) FROM trail WHERE event = 'commitment-report-refused'"
        intake.wait_for(lambda: intake.select(query) == [(2,)], LONG_S, "both refusals to be told")
        assert pacs.report_owed() == [0x0000]
        # Success was said, so that not even kill -9 may take the report.
        intake.kill()
        node.prover = node.new_prover()
        node.prove(1.0)
        assert node.states() == {SAFE: 4}
        intake.start()


# --- reading back ---


def test_orthanc_is_read_back_by_query(
    node: Node, orthanc: Callable[..., Any], files: list[Path]
) -> None:
    pacs = orthanc()
    add_orthanc(node, pacs, proof=Proof.READ_BACK)
    node.add_job(files)
    node.deliver()
    lose(pacs, files[1].stem)
    node.prove()
    assert node.states() == {SAFE: 3, SENT: 1}
    for _ in range(LOOKS - 1):
        node.prove(60.0)
    assert node.states() == {SAFE: 3, READY: 1}
    node.deliver()
    node.prove()
    assert node.states() == {SAFE: 4}
    assert {(item.proof, item.remark) for item in node.items()} == {("read-back", "")}


def test_what_the_archive_changed_is_named_and_no_value_is(
    node: Node, orthanc: Callable[..., Any], files: list[Path]
) -> None:
    pacs = orthanc()
    add_orthanc(node, pacs, proof=Proof.READ_BACK)
    node.add_job(files[:1])
    node.deliver()
    [held] = [one for one in pacs.held() if one.sop_instance_uid == files[0].stem]
    changed = rest(
        pacs,
        "POST",
        f"/instances/{held.key}/modify",
        {
            "Replace": {"PatientID": "ZZSECRET"},
            "Keep": ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"],
            "Force": True,
        },
    )
    lose(pacs, files[0].stem)
    rest(pacs, "POST", "/instances", changed)
    node.prove()
    assert node.states() == {SAFE: 1}
    assert node.items()[0].remark == "changed Patient ID"
    assert "'pacs' changed Patient ID." in node.said()
    assert "ZZSECRET" not in repr((node.items(), node.said()))


def test_what_was_changed_is_looked_up_where_the_archive_says_so_and_commits(
    node: Node, intake: IntakeNode, orthanc: Callable[..., Any], files: list[Path]
) -> None:
    pacs = orthanc()
    where = {"AET": NODE, "Host": "127.0.0.1", "Port": intake.port}
    rest(pacs, "PUT", "/modalities/SECONDREAD", where)
    add_orthanc(node, pacs, wait_s=0.2)
    node.add_job(files[:1])
    other = dcmread(files[0])
    other.PatientID = "ZZSECRET"
    other.save_as(files[0].with_name("changed.dcm"))
    rest(pacs, "POST", "/instances", files[0].with_name("changed.dcm").read_bytes())
    node.mark_sent(node.items(), [0xB000])
    node.prove()
    until(node, {SAFE: 1})
    [item] = node.items()
    assert (item.proof, item.remark) == ("commitment", "changed Patient ID")


@pytest.fixture
def web_pacs(tmp_path: Path) -> Iterator[demo_pacs.OrthancPacs]:
    program = demo_pacs.orthanc_program()
    if program is None:
        pytest.skip("no Orthanc: install the package orthanc")
    if not demo_pacs.DICOMWEB_PLUGIN.exists():
        pytest.skip("Orthanc without DICOMweb: install the package orthanc-dicomweb")
    server = demo_pacs.OrthancPacs(
        program, tmp_path / "orthanc", (NODE,), dicomweb=demo_pacs.DICOMWEB_PLUGIN
    )
    yield server
    server.close()


def test_orthanc_is_read_back_over_the_web(
    node: Node, web_pacs: demo_pacs.OrthancPacs, files: list[Path]
) -> None:
    target = WebTarget("pacs", f"http://127.0.0.1:{web_pacs.http_port}/dicom-web")
    node.places["pacs"] = Destination(name="pacs", way=Way.STOW, web=target)
    node.add_job(files)
    for path in files[1:]:
        stow.store_one(path, target)
    node.mark_sent(node.items())
    node.prove()
    assert node.states() == {SAFE: 3, SENT: 1}
    for _ in range(LOOKS - 1):
        node.prove(60.0)
    assert node.states() == {SAFE: 3, READY: 1}
    assert {item.remark for item in node.items()} == {""}


def test_web_archive_that_changed_something_is_found_out(
    node: Node, web_pacs: demo_pacs.OrthancPacs, files: list[Path]
) -> None:
    target = WebTarget("pacs", f"http://127.0.0.1:{web_pacs.http_port}/dicom-web")
    node.places["pacs"] = Destination(name="pacs", way=Way.STOW, web=target)
    node.add_job(files[:1])
    other = dcmread(files[0])
    other.PatientName, other.AccessionNumber = "Zz^Secret", "ZZ1"
    path = files[0].with_name("changed.dcm")
    other.save_as(path)
    stow.store_one(path, target)
    node.mark_sent(node.items())
    node.prove()
    assert node.states() == {SAFE: 1}
    assert node.items()[0].remark == "changed Accession Number, Patient's Name"


def test_web_archive_without_queries_keeps_it_sent(node: Node, web_pacs: Any) -> None:
    target = WebTarget("pacs", f"http://127.0.0.1:{web_pacs.http_port}/nothing-here")
    node.places["pacs"] = Destination(name="pacs", way=Way.STOW, web=target)
    node.add_objects(1)
    node.mark_sent(node.items())
    node.prove()
    assert node.states() == {SENT: 1}
    assert "no queries (QIDO-RS)" in node.items()[0].reason


def test_dcmqrscp_has_no_commitment_and_is_read_back(
    node: Node,
    dcmtk: Callable[[str], str],
    tmp_path: Path,
    free_port: Callable[[], int],
    files: list[Path],
) -> None:
    with dcmqrscp(dcmtk("dcmqrscp"), tmp_path, free_port(), {}) as archive:
        node.add_pacs(archive.port, timeout_s=LONG_S)
        node.add_job(files)
        node.deliver()
        node.prove()
        assert node.states() == {SAFE: 4}, [item.reason for item in node.items()]
    assert {item.proof for item in node.items()} == {"read-back"}


def test_storescp_offers_no_proof(
    node: Node, dcmtk: Callable[[str], str], tmp_path: Path, files: list[Path]
) -> None:
    folder = tmp_path / "storescp"
    folder.mkdir()
    with storescp(dcmtk("storescp"), folder) as port:
        node.add_pacs(port, timeout_s=LONG_S)
        node.add_job(files)
        node.deliver()
        node.prove()
        assert node.states() == {SENT: 4}
        reason = node.items()[0].reason
        assert "offers no proof" in reason
        assert "neither Storage Commitment nor queries" in reason
        node.places["pacs"] = replace(node.places["pacs"], terms=ProofTerms(Proof.NONE))
        node.prove(86_401.0)
        assert {item.prove_at for item in node.items()} == {None}
    assert node.job().state is JobState.DELIVERED
