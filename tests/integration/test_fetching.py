"""Fetching priors and missing images from real archives, end to end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    MRImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from deploy.demo import pacs as demo_pacs
from secondread.app.deliver import run_deliver
from secondread.config.settings import Settings
from secondread.delivery.address import Address
from secondread.delivery.find_scu import count_objects
from secondread.delivery.store_scu import send_files
from secondread.domain.completeness import Completeness
from secondread.domain.destination import Destination, Way
from secondread.domain.fetch import FetchKind, FetchState
from secondread.domain.states import JobState, StudyState
from secondread.domain.web_target import WebTarget
from secondread.pipeline import write as write_stage
from secondread.pipeline.archives import Archives
from secondread.pipeline.complete import Complete
from tests.fetching_scene import MovingOrthanc, Node, make_node, study_of
from tests.query_peers import dcmqrscp

Make = Callable[..., Any]
SIZE = (20, 32, 32)


def destination(address: Address) -> Destination:
    return Destination(
        name="pacs",
        ae_title=address.called,
        host=address.host,
        port=address.port,
        calling_ae_title="SECONDREAD",
        timeout_s=10.0,
    )


@pytest.fixture
def orthanc_node(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[tuple[Node, Address]]:
    """A node, and an Orthanc that may move to it."""
    program = demo_pacs.orthanc_program()
    if program is None:
        pytest.skip("no Orthanc: install the package orthanc")
    port = free_port()
    MovingOrthanc.destination_port = port
    server = MovingOrthanc(
        program, tmp_path / "orthanc", ("SECONDREAD",), dicomweb=demo_pacs.DICOMWEB_PLUGIN
    )
    address = Address(server.host, server.port, server.ae_title, "SECONDREAD")
    node = make_node(tmp_path / "data", port, destination(address), server.ae_title)
    node.house.place.spool.root.joinpath("url").write_text(
        f"http://127.0.0.1:{server.http_port}/dicom-web"
    )
    yield node, address
    server.close()
    node.house.place.ledger.close()


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each report that is written, whether it was compared with an earlier one."""
    found: list[bool] = []
    real = write_stage.write_results

    def write(context: Any, analysis: Any, folder: Path) -> Any:
        found.append(analysis.earlier is not None)
        return real(context, analysis, folder)

    monkeypatch.setattr(write_stage, "write_results", write)
    return found


def put(address: Address, series: Any) -> str:
    assert all(result.stored for result in send_files(series.paths, address))
    return study_of(series)


def test_a_prior_is_fetched_analysed_and_compared_and_no_strangers(
    orthanc_node: tuple[Node, Address], head_series: Make, compared: list[bool]
) -> None:
    node, address = orthanc_node
    before = put(address, head_series(size=SIZE, seed="before", study_date="20230101"))
    put(address, head_series(size=SIZE, seed="older", study_date="20220101"))
    put(address, head_series(size=SIZE, seed="later", study_date="20250101"))
    put(address, head_series(size=SIZE, seed="else", patient_id="OTHER", study_date="20230601"))
    put(address, head_series(size=SIZE, seed="ct", modality="CT", study_date="20230601"))
    now = head_series(size=SIZE, seed="now")
    node.want(priors=1, wait_s=600.0)
    with node.intake():
        node.house.receive(now.paths)
        node.work(lambda: node.house.study.state is StudyState.DONE)
    assert set(node.studies) == {study_of(now), before}
    assert node.count(before) == SIZE[0]
    search, prior = node.rows()
    assert (search.kind, search.state) == (FetchKind.SEARCH, FetchState.DONE)
    assert (prior.kind, prior.study_instance_uid, prior.objects) == ("prior", before, SIZE[0])
    assert node.rows(node.studies[before].id) == (), "what was fetched has no priors of its own"
    assert compared[0] is False
    assert compared[-1] is True
    assert node.said() == [
        "'pacs' has 2 earlier studies of the patient; 1 of the newest 1 to be fetched.",
        f"Fetched from 'pacs': an earlier study, {SIZE[0]} objects.",
    ]


@pytest.mark.slow
def test_what_is_here_already_is_not_fetched_again(
    orthanc_node: tuple[Node, Address], head_series: Make
) -> None:
    node, address = orthanc_node
    before = head_series(size=SIZE, seed="before", study_date="20230101")
    put(address, before)
    node.want(priors=2)
    node.house.receive(before.paths)
    with node.intake():
        node.work(lambda: node.house.study.state is StudyState.DONE)
        node.house.receive(head_series(size=SIZE, seed="now").paths)
        node.work(lambda: all(s.state is StudyState.DONE for s in node.studies.values()))
    assert [row.kind for row in node.rows(2)] == [FetchKind.SEARCH]
    assert "none of the newest 1" in node.said(2)[0]


def test_a_prior_by_wado_comes_in_through_the_hand_over_folder(
    orthanc_node: tuple[Node, Address], head_series: Make, compared: list[bool], tmp_path: Path
) -> None:
    if not demo_pacs.DICOMWEB_PLUGIN.exists():
        pytest.skip("Orthanc without DICOMweb: install the package orthanc-dicomweb")
    node, address = orthanc_node
    before = put(address, head_series(size=SIZE, seed="before", study_date="20230101"))
    put(address, head_series(size=SIZE, seed="else", patient_id="OTHER", study_date="20230601"))
    url = (node.house.place.spool.root / "url").read_text()
    archive = Destination(name="pacs", way=Way.STOW, web=WebTarget("pacs", url))
    node.fetcher._destinations = lambda: {"pacs": archive}
    node.want(priors=1)
    with node.intake():
        node.house.receive(head_series(size=SIZE, seed="now").paths)
        node.work(lambda: node.house.study.state is StudyState.DONE)
    assert (node.count(before), node.studies[before].peer) == (SIZE[0], "destination:pacs")
    assert len(node.studies) == 2
    assert compared[-1] is True
    assert not list(node.fetcher._terms.dock.handed.waiting())


def test_an_archive_that_is_down_holds_the_report_up_for_its_time_and_no_longer(
    tmp_path: Path, free_port: Callable[[], int], head_series: Make, compared: list[bool]
) -> None:
    gone = destination(Address("127.0.0.1", free_port(), "PACS", "SECONDREAD"))
    node = make_node(tmp_path / "data", free_port(), gone, "PACS")
    node.want(priors=1, wait_s=3.0)
    with node.intake():
        node.house.receive(head_series(size=SIZE, seed="now").paths)
        node.work(lambda: node.house.study.state is StudyState.DONE)
    assert compared
    assert not any(compared)
    (text,) = node.said()
    assert text.startswith("The report goes on after 3 s without an earlier study.")
    (search,) = node.rows()
    assert search.state is FetchState.READY
    node.house.place.ledger.close()


def test_missing_images_are_fetched_and_nothing_else(
    tmp_path: Path,
    free_port: Callable[[], int],
    dcmtk: Callable[[str], str],
    head_series: Make,
) -> None:
    port = free_port()
    made = head_series(size=SIZE, seed="whole")
    with dcmqrscp(dcmtk("dcmqrscp"), tmp_path, free_port(), {"SECONDREAD": port}) as archive:
        address = archive.address()
        uid = put(address, made)
        pacs = destination(address)
        node = make_node(tmp_path / "data", port, pacs, "PACS")
        terms = Completeness(quiet_s=1.0, ask="pacs", counts=False, wait_max_s=300.0)
        (peer,) = node.peers
        asking = {"ct": replace(peer, name="ct", quiet_s=1.0, complete=terms)}
        node.house.place = replace(node.house.place, peers=asking)
        node.want(missing=True)
        archives = Archives(node.house.place.ledger, node.house.clock, {"pacs": pacs})
        archives.start()
        node.house.complete = Complete(node.house.place, archives)
        with node.intake():
            node.house.receive(made.paths[3:])
            node.work(lambda: node.house.study.state is StudyState.DONE)
        archives.stop()
    assert node.count(uid) == len(made.paths) == SIZE[0]
    (row,) = node.rows()
    assert (row.kind, row.state, row.objects) == (FetchKind.MISSING, FetchState.DONE, 3)
    assert "17 of 20 objects that 'pacs' has are here; the others are fetched." in node.said()
    assert node.house.job.state is JobState.DELIVERED
    node.house.place.ledger.close()


def test_an_archive_without_c_move_is_asked_by_c_get(
    tmp_path: Path, free_port: Callable[[], int], head_series: Make
) -> None:
    made = head_series(size=(5, 16, 16), seed="get")
    uid, held = study_of(made), [dcmread(path) for path in made.paths]

    def on_get(event: Any) -> Iterator[Any]:
        wanted = [one for one in held if one.StudyInstanceUID == event.identifier.StudyInstanceUID]
        yield len(wanted)
        for one in wanted:
            yield 0xFF00, one

    entity = AE("PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_supported_context(MRImageStorage, scu_role=True, scp_role=True)
    server: Any = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, on_get)]
    )
    there = destination(Address("127.0.0.1", server.server_address[1], "PACS", "SECONDREAD"))
    node = make_node(tmp_path / "data", free_port(), there, "CT1")
    try:
        with node.intake():
            node.house.receive(head_series(size=(3, 16, 16), seed="now").paths)
            node.ask(FetchKind.PRIOR, uid)
            assert node.fetcher.step()
            node.until(lambda: node.count(uid) == 5)
    finally:
        server.shutdown()
    (row,) = node.rows()
    assert (row.state, row.objects, row.reason) == (
        FetchState.DONE,
        5,
        "Fetched from 'pacs': an earlier study, 5 objects.",
    )
    node.house.place.ledger.close()


def test_a_node_that_the_archive_does_not_know_says_what_to_enter(
    tmp_path: Path,
    free_port: Callable[[], int],
    dcmtk: Callable[[str], str],
    head_series: Make,
) -> None:
    with dcmqrscp(dcmtk("dcmqrscp"), tmp_path, free_port(), {}) as archive:
        uid = put(archive.address(), head_series(size=(3, 16, 16), seed="there"))
        node = make_node(tmp_path / "data", free_port(), destination(archive.address()), "PACS")
        node.house.receive(head_series(size=(3, 16, 16), seed="now").paths)
        node.ask(FetchKind.PRIOR, uid)
        assert node.fetcher.step()
        assert count_objects(uid, archive.address()) == 3
    (row,) = node.rows()
    assert row.state is FetchState.FAILED
    assert "enter 'SECONDREAD' there" in row.reason
    node.house.place.ledger.close()


def test_the_role_deliver_fetches_and_ends_while_an_archive_says_nothing(
    tmp_path: Path, free_port: Callable[[], int], head_series: Make
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = Address("127.0.0.1", silent.getsockname()[1], "PACS", "SECONDREAD")
        pacs = replace(destination(there), timeout_s=1.0)
        node = make_node(tmp_path / "data", free_port(), pacs, "PACS")
        place = node.house.place
        node.house.receive(head_series(size=(3, 16, 16), seed="now").paths)
        node.ask(FetchKind.PRIOR, "2.25.7")
        with place.ledger.begin() as change:
            # A process that was killed has left its claim behind.
            assert change.fetches.claim("deliver:9:dead", time.time(), 1e6) is not None
        half = node.fetcher._terms.dock.handed.folder_of("pacs") / "arrival-1.part"
        half.write_bytes(b"half")
        settings = Settings(data_dir=place.spool.root, destinations=(pacs,), rules=place.rules)
        stop = threading.Event()
        role = threading.Thread(
            target=run_deliver, args=(settings, place.ledger, place.spool, stop, "deliver:1")
        )
        role.start()
        try:
            node.until(lambda: node.rows()[0].attempts > 0)
        finally:
            stop.set()
            role.join(30.0)
        assert not role.is_alive()
    assert node.rows()[0].state is FetchState.READY
    assert not half.exists()
    place.ledger.close()
