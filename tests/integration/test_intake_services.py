"""The services of a running intake process, asked by pynetdicom, by DCMTK and by Orthanc."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    MRImageStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
)

from tests.acceptance.intake_node import PEERS, IntakeNode
from tests.acceptance.intake_node import Place as NodePlace
from tests.service_cases import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, dataset_of
from tests.store_scu import c_store

WELL_KNOWN = "1.2.840.10008.1.20.1.1"
NODE = "SECONDREAD"
SERVICES = (
    StorageCommitmentPushModel,
    ModalityPerformedProcedureStep,
    InstanceAvailabilityNotification,
    StudyRootQueryRetrieveInformationModelFind,
)
SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)


@dataclass
class Scanner:
    """A modality: it stores and asks as SCU, and listens for reports at a port of its own.

    With ``new_only`` it takes no report on the association on which it asked; nor does it take
    that of the transaction ``refused``. It answers none before ``ready`` is set.
    """

    reports: Queue[tuple[str, int, Dataset]] = field(default_factory=Queue)
    server: Any = None
    port: int = 0
    new_only: bool = False
    refused: str = ""
    ready: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        entity = AE("CT1")
        entity.require_called_aet = True
        entity.require_calling_aet = [NODE]
        entity.add_supported_context(
            StorageCommitmentPushModel, list(SYNTAXES), scu_role=False, scp_role=True
        )
        heard = [(evt.EVT_N_EVENT_REPORT, self._hear, ["new"])]
        self.server = entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=heard)
        self.port = int(self.server.server_address[1])

    def shut(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server = None

    def associate(self, node: IntakeNode, syntax: str = EXPLICIT_LITTLE) -> Any:
        entity = AE("CT1")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
        for sop_class in SERVICES:
            entity.add_requested_context(sop_class, syntax)
        entity.add_requested_context(MRImageStorage, EXPLICIT_LITTLE)
        association = entity.associate(
            "127.0.0.1",
            node.port,
            ae_title=NODE,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._hear, ["same"])],
        )
        assert association.is_established
        return association

    def report(self, within_s: float = 20.0) -> tuple[str, int, Dataset]:
        """(association, Event Type ID, event information) of the next report."""
        return self.reports.get(timeout=within_s)

    def _hear(self, event: Any, association: str) -> tuple[int, None]:
        content = event.event_information
        if association == "same":
            self.ready.wait(timeout=10)
            if self.new_only or content.TransactionUID == self.refused:
                return 0x0110, None
        self.reports.put((association, event.request.EventTypeID, content))
        return 0x0000, None


@pytest.fixture
def scanner(free_port: Callable[[], int]) -> Iterator[Scanner]:
    found = Scanner(port=free_port())
    found.ready.set()
    found.listen()
    yield found
    found.shut()


@pytest.fixture
def node(tmp_path: Path, scanner: Scanner) -> Iterator[IntakeNode]:
    """An intake process that knows the scanner CT1, its port, and a peer that may only store."""
    peer = {"addresses": ["127.0.0.0/8"], "quiet_s": 3600.0}
    peers = (
        *PEERS,
        {**peer, "name": "ct", "ae_title": "CT1", "port": scanner.port},
        {**peer, "name": "old", "ae_title": "OLD", "may": ["echo", "store"]},
    )
    found = IntakeNode(NodePlace(tmp_path, tmp_path / "data", peers=peers))
    found.start()
    yield found
    if found.is_running():
        found.stop()


def store(association: Any, paths: list[Path]) -> list[Dataset]:
    """C-STORE these files; their data sets."""
    datasets = [dcmread(path) for path in paths]
    for dataset in datasets:
        assert c_store(association, dataset).Status == 0x0000
    return datasets


def commitment_request(transaction: str, datasets: list[Dataset]) -> Dataset:
    return dataset_of(
        TransactionUID=transaction,
        ReferencedSOPSequence=[
            dataset_of(
                ReferencedSOPClassUID=dataset.SOPClassUID,
                ReferencedSOPInstanceUID=dataset.SOPInstanceUID,
            )
            for dataset in datasets
        ],
    )


def ask(association: Any, request: Dataset) -> int:
    answer, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, WELL_KNOWN)
    return int(answer.Status)


def state_of(node: IntakeNode, transaction: str) -> str:
    query = "SELECT state FROM commitment WHERE transaction_uid = ?"
    return str(node.select(query, transaction)[0][0])


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_commitment_on_the_same_association(
    node: IntakeNode, scanner: Scanner, head_series: Callable[..., Any], syntax: str
) -> None:
    association = scanner.associate(node, syntax)
    datasets = store(association, head_series().paths[:5])
    # Asked right after Success, when the rows may not be in the ledger yet.
    assert ask(association, commitment_request("1.2.77", datasets)) == 0x0000
    where, kind, content = scanner.report()
    assert (where, kind, content.TransactionUID) == ("same", 1, "1.2.77")
    assert len(content.ReferencedSOPSequence) == 5
    node.wait_for(lambda: state_of(node, "1.2.77") == "reported", 10, "the end of the request")
    association.release()
    with pytest.raises(Empty):
        scanner.report(1.0)


# A scanner that aborts while its own thread answers the report on that association: pynetdicom, its
# stand-in, says so from that thread (Evt9 in Sta13). It is the very moment that the test is about.
ABORTING = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.mark.parametrize("aborts", [pytest.param(True, marks=ABORTING), False])
def test_commitment_on_a_new_association(
    node: IntakeNode, scanner: Scanner, head_series: Callable[..., Any], aborts: bool
) -> None:
    paths = head_series().paths
    association = scanner.associate(node)
    datasets = [*store(association, paths[:3]), dcmread(paths[3])]
    scanner.new_only = True
    assert ask(association, commitment_request("1.2.78", datasets)) == 0x0000
    if aborts:
        association.abort()
    where, kind, content = scanner.report()
    assert (where, kind, content.TransactionUID) == ("new", 2, "1.2.78")
    (failed,) = content.FailedSOPSequence
    assert failed.ReferencedSOPInstanceUID == datasets[3].SOPInstanceUID
    assert failed.FailureReason == 0x0112
    node.wait_for(lambda: state_of(node, "1.2.78") == "reported", 10, "the end of the request")
    if not aborts:
        association.release()


def test_commitment_survives_a_kill(
    node: IntakeNode, scanner: Scanner, head_series: Callable[..., Any]
) -> None:
    scanner.new_only = True
    scanner.shut()
    association = scanner.associate(node)
    datasets = store(association, head_series().paths[:3])
    assert ask(association, commitment_request("1.2.79", datasets)) == 0x0000
    node.kill()
    association.abort()
    scanner.listen()
    node.start()
    where, kind, content = scanner.report(30.0)
    assert (where, kind, content.TransactionUID) == ("new", 1, "1.2.79")
    node.wait_for(lambda: state_of(node, "1.2.79") == "reported", 10, "the end of the request")


def test_requests_in_a_row_each_get_their_report(
    node: IntakeNode, scanner: Scanner, head_series: Callable[..., Any]
) -> None:
    association = scanner.associate(node)
    datasets = store(association, head_series().paths[:3])
    for number, dataset in enumerate(datasets):
        assert ask(association, commitment_request(f"1.2.8.{number}", [dataset])) == 0x0000
    wanted = {f"1.2.8.{number}" for number in range(3)}
    deadline = time.monotonic() + 30
    while wanted and time.monotonic() < deadline:
        wanted.discard(str(scanner.report()[2].TransactionUID))
    assert not wanted
    for number in range(3):
        # The scanner must have confirmed a report before it releases (PS3.7 D.3.3.4).
        node.wait_for(lambda n=number: state_of(node, f"1.2.8.{n}") == "reported", 10, "the end")
    association.release()


def test_reports_of_two_requests_are_told_apart(
    node: IntakeNode, scanner: Scanner, head_series: Callable[..., Any]
) -> None:
    association = scanner.associate(node)
    datasets = store(association, head_series().paths[:2])
    scanner.refused = "1.2.9.0"
    # The scanner is still busy with the first report when it asks again.
    scanner.ready.clear()
    for number, dataset in enumerate(datasets):
        assert ask(association, commitment_request(f"1.2.9.{number}", [dataset])) == 0x0000
    scanner.ready.set()
    heard = [scanner.report() for _ in range(2)]
    told = {str(content.TransactionUID): where for where, _, content in heard}
    assert told == {"1.2.9.0": "new", "1.2.9.1": "same"}
    for transaction in ("1.2.9.0", "1.2.9.1"):
        node.wait_for(lambda t=transaction: state_of(node, t) == "reported", 10, "the end")
    assert association.is_established
    association.release()
    assert scanner.reports.empty()


def test_steps_and_availability_are_shown_with_the_study(
    node: IntakeNode, scanner: Scanner, head_series: Callable[..., Any]
) -> None:
    association = scanner.associate(node)
    datasets = store(association, head_series().paths[:2])
    study = str(datasets[0].StudyInstanceUID)
    images = [
        dataset_of(ReferencedSOPClassUID=item.SOPClassUID, ReferencedSOPInstanceUID=uid)
        for item in datasets[:1]
        for uid in (*(one.SOPInstanceUID for one in datasets), "1.2.3.4")
    ]
    series = dataset_of(SeriesInstanceUID="1.2", ReferencedImageSequence=images)
    created = dataset_of(
        PatientName="Doe^Jane",
        PerformedProcedureStepStatus="IN PROGRESS",
        ScheduledStepAttributesSequence=[dataset_of(StudyInstanceUID=study)],
    )
    ended = dataset_of(PerformedProcedureStepStatus="COMPLETED", PerformedSeriesSequence=[series])
    step = (ModalityPerformedProcedureStep, "1.2.90")
    assert association.send_n_create(created, *step)[0].Status == 0x0000
    assert association.send_n_create(created, *step)[0].Status == 0x0111
    assert association.send_n_set(ended, *step)[0].Status == 0x0000
    answer, _ = association.send_n_set(ended, *step)
    assert answer.Status == 0x0110
    assert "may no longer be updated" in answer.ErrorComment
    unknown = (ModalityPerformedProcedureStep, "1.2.91")
    assert association.send_n_set(ended, *unknown)[0].Status == 0x0112
    images[0].InstanceAvailability = "ONLINE"
    here = dataset_of(
        StudyInstanceUID=study,
        ReferencedSeriesSequence=[dataset_of(ReferencedSOPSequence=images[:1])],
    )
    answer, _ = association.send_n_create(here, InstanceAvailabilityNotification, "1.2.92")
    assert answer.Status == 0x0000
    association.release()
    shown = subprocess.run(
        ["secondread", "study", "show", study, "--config", str(node.config)],
        executable=str(Path(sys.executable).with_name("secondread")),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "peer 'ct', procedure step: COMPLETED, 3 objects named, 2 of them here" in shown
    assert "peer 'ct', availability: ONLINE, 1 objects named, 1 of them here" in shown
    assert "Doe" not in shown


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_status_of_a_study(
    node: IntakeNode, scanner: Scanner, head_series: Callable[..., Any], syntax: str
) -> None:
    association = scanner.associate(node, syntax)
    datasets = store(association, head_series().paths[:4])
    study = datasets[0].StudyInstanceUID

    def find(**values: Any) -> list[tuple[int, Any]]:
        query = dataset_of(**{"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study, **values})
        model = StudyRootQueryRetrieveInformationModelFind
        return [(answer.Status, found) for answer, found in association.send_c_find(query, model)]

    (pending, found), (success, nothing) = find()
    assert (pending, success, nothing) == (0xFF00, 0x0000, None)
    assert found.NumberOfStudyRelatedInstances == 4
    assert found.NumberOfStudyRelatedSeries == 1
    assert [status for status, _ in find(StudyInstanceUID="1.2.3.4.5")] == [0x0000]
    assert [status for status, _ in find(StudyInstanceUID="*")] == [0xA900]
    assert [status for status, _ in find(PatientName="*")] == [0xA900]
    association.release()


def test_findscu_is_answered(
    node: IntakeNode,
    scanner: Scanner,
    head_series: Callable[..., Any],
    dcmtk: Callable[[str], str],
) -> None:
    association = scanner.associate(node)
    datasets = store(association, head_series().paths[:4])
    association.release()

    def find(study: str) -> str:
        keys = ("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}")
        keys += ("NumberOfStudyRelatedInstances", "PatientName")
        place = ["-aet", "CT1", "-aec", NODE, "127.0.0.1", str(node.port)]
        options = [word for key in keys for word in ("-k", key)]
        done = subprocess.run(
            [dcmtk("findscu"), "-v", "-S", *options, *place],
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout + done.stderr

    answer = find(str(datasets[0].StudyInstanceUID))
    assert "(0020,1208) IS [4 ]" in answer
    refused = find("*")
    assert "DoesNotMatchSOPClass" in refused
    assert "(0020,1208) IS [4 ]" not in refused


def test_peer_that_may_only_store_gets_no_other_context(node: IntakeNode, scanner: Scanner) -> None:
    entity = AE("OLD")
    for sop_class in (*SERVICES, MRImageStorage):
        entity.add_requested_context(sop_class, EXPLICIT_LITTLE)
    association = entity.associate("127.0.0.1", node.port, ae_title=NODE)
    assert [cx.abstract_syntax for cx in association.accepted_contexts] == [MRImageStorage]
    association.release()


def test_orthanc_asks_for_commitment(
    tmp_path: Path, head_series: Callable[..., Any], orthanc: Callable[..., Any]
) -> None:
    """Orthanc is an SCU that waits for its report on a new association, and says what it got."""
    pacs = orthanc()

    def rest(method: str, path: str, body: Any = None) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{pacs.http_port}{path}",
            data=None if method == "GET" else content,
            method=method,
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    peers = (
        *PEERS,
        {
            "name": "pacs",
            "ae_title": pacs.ae_title,
            "addresses": ["127.0.0.1"],
            "quiet_s": 3600.0,
            "port": pacs.port,
        },
    )
    node = IntakeNode(NodePlace(tmp_path, tmp_path / "data", peers=peers))
    node.start()
    try:
        rest("PUT", "/modalities/SECONDREAD", {"AET": NODE, "Host": "127.0.0.1", "Port": node.port})
        paths = head_series().paths[:4]
        stored = [rest("POST", "/instances", path.read_bytes())["ID"] for path in paths]
        rest("POST", "/modalities/SECONDREAD/store", stored[:3])
        asked = rest("POST", "/modalities/SECONDREAD/storage-commitment", {"Resources": stored})

        def reported() -> Any:
            found = rest("GET", f"/storage-commitment/{asked['ID']}")
            return found if found["Status"] != "Pending" else None

        found = node.wait_for(reported, 30, "Orthanc to hear of it")
        assert found["Status"] == "Failure"
        assert len(found["Success"]) == 3
        (failed,) = found["Failures"]
        assert failed["SOPInstanceUID"] == dcmread(paths[3]).SOPInstanceUID
        assert failed["FailureReason"] == 0x0112, failed
        told = "SELECT state FROM commitment"
        node.wait_for(lambda: node.select(told) == [("reported",)], 10, "the end of the request")
    finally:
        node.stop()
