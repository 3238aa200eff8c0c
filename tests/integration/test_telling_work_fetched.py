"""Work of a worklist from its claim to its end, the images fetched from Orthanc in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import pacs as demo_pacs
from secondread.delivery.address import Address
from secondread.delivery.performer import Performer
from secondread.delivery.store_scu import send_files
from secondread.domain.destination import Destination
from secondread.domain.worklist import WorklistKind, WorklistTerms
from tests.fetching_scene import MovingOrthanc, Node, make_node, study_of
from tests.integration.test_telling_performer import work
from tests.proof_cases import NODE
from tests.telling_peers import COMPLETED, SEGMENT, STATION, Manager, dimse_manager

SIZE = (20, 32, 32)


def call(name: str, port: int, ae_title: str) -> Destination:
    return Destination(
        name=name, ae_title=ae_title, host="127.0.0.1", port=port, calling_ae_title=NODE
    )


@pytest.fixture
def archive(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[tuple[Node, Destination]]:
    """A node, and an Orthanc that may move to it."""
    program = demo_pacs.orthanc_program()
    if program is None:
        pytest.skip("no Orthanc: install the package orthanc")
    port = free_port()
    MovingOrthanc.destination_port = port
    server = MovingOrthanc(program, tmp_path / "orthanc", (NODE,))
    pacs = call("pacs", server.port, server.ae_title)
    node = make_node(tmp_path / "data", port, pacs, server.ae_title)
    yield node, pacs
    server.close()
    node.house.place.ledger.close()


def test_images_that_nobody_sent_are_fetched_analysed_and_the_results_told(
    archive: tuple[Node, Destination], head_series: Callable[..., Any]
) -> None:
    node, pacs = archive
    series = head_series(size=SIZE, seed="worklist")
    there = Address(pacs.host, pacs.port, pacs.ae_title, NODE)
    assert all(result.stored for result in send_files(series.paths, there))
    manager = Manager()
    manager.add(work("1.2.77", study_of(series)))
    place = node.house.place
    with dimse_manager(manager) as port, node.intake():
        terms = WorklistTerms(
            name="ris",
            kind=WorklistKind.DICOM,
            workitem_codes=(SEGMENT,),
            station=STATION,
            call=call("ris", port, "MANAGER"),
            source="pacs",
        )
        made = Performer(
            place.ledger, place.spool, (terms,), lambda: {"pacs": pacs}, place.clock, b"s" * 32
        )

        def is_over() -> bool:
            made.step(terms)
            return manager.state("1.2.77") == COMPLETED

        node.work(is_over)
    assert node.count(study_of(series)) == SIZE[0]
    (done,) = manager.items["1.2.77"].UnifiedProcedureStepPerformedProcedureSequence
    outputs = done.OutputInformationSequence
    assert len(outputs) == 2, "the segmentation and the report"
    assert {str(one.StudyInstanceUID) for one in outputs} == {study_of(series)}
    assert {str(one.DICOMRetrievalSequence[0].RetrieveAETitle) for one in outputs} == {
        pacs.ae_title
    }
