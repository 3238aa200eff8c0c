"""The lying PACS tells each of its lies, and the truth when it is told to; pynetdicom listens."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import build_role
from pynetdicom.sop_class import (
    ComprehensiveSRStorage,
    MRImageStorage,
    SegmentationStorage,
    StorageCommitmentPushModel,
    Verification,
)

from tests.lying_manners import OTHER_TRANSACTION, STRANGER, Break, By, Commit, Hang, always, each
from tests.lying_pacs import WELL_KNOWN, LyingPacs, lying_pacs
from tests.service_cases import dataset_of
from tests.store_scu import c_store

CLASSES = (MRImageStorage, SegmentationStorage, StorageCommitmentPushModel, Verification)
TIMEOUT_S = 1.0
Heard = Queue[tuple[int, Dataset]]


@pytest.fixture
def pacs() -> Iterator[LyingPacs]:
    with lying_pacs() as found:
        yield found


def associate(pacs: LyingPacs, heard: Heard | None = None, *roles: Any) -> Any:
    entity = AE("SECONDREAD")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = TIMEOUT_S
    for sop_class in CLASSES:
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)

    def hear(event: Any) -> tuple[int, None]:
        assert heard is not None
        heard.put((event.request.EventTypeID, event.event_information))
        return 0x0000, None

    return entity.associate(
        pacs.host, pacs.port, evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)], ext_neg=list(roles)
    )


def image(number: int, sop_class: str = MRImageStorage, size: int = 100) -> Dataset:
    found = dataset_of(SOPClassUID=sop_class, SOPInstanceUID=f"1.2.{number}", PixelData=bytes(size))
    found["PixelData"].VR = "OW"
    found.file_meta = Dataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return found


def store(association: Any, number: int, **options: Any) -> int:
    answer = c_store(association, image(number, **options))
    return int(getattr(answer, "Status", -1))


def send(pacs: LyingPacs, number: int, **options: Any) -> int:
    """Send one object on an association of its own; -1 where there was no answer."""
    association = associate(pacs)
    if not association.is_established:
        return -1
    status = store(association, number, **options)
    if association.is_established:
        association.release()
    return status


def ask(pacs: LyingPacs, numbers: list[int], heard: Heard, transaction: str = "1.2.99") -> int:
    association = associate(pacs, heard)
    items = [
        dataset_of(ReferencedSOPClassUID=MRImageStorage, ReferencedSOPInstanceUID=f"1.2.{number}")
        for number in numbers
    ]
    request = dataset_of(TransactionUID=transaction, ReferencedSOPSequence=items)
    answer, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, WELL_KNOWN)
    if pacs._behaviour.by is By.SAME and not answer.Status:
        pacs.wait_for("reported")
        pacs.wait_for("confirmed")
    association.release()
    return int(answer.Status)


def committed(content: Dataset) -> list[str]:
    return [str(i.ReferencedSOPInstanceUID) for i in content.get("ReferencedSOPSequence", [])]


def failed(content: Dataset) -> dict[str, int]:
    return {
        str(item.ReferencedSOPInstanceUID): int(item.FailureReason)
        for item in content.get("FailedSOPSequence", [])
    }


def test_honest_it_keeps_what_comes_and_says_so(pacs: LyingPacs) -> None:
    association = associate(pacs)
    assert association.send_c_echo().Status == 0x0000
    assert [store(association, number) for number in (1, 2)] == [0x0000, 0x0000]
    association.release()
    pacs.wait_for("released")
    assert pacs.uids("stored") == ["1.2.1", "1.2.2"]
    assert pacs.kept["1.2.1"].sop_class == MRImageStorage
    assert (pacs.doubled, pacs.conflicting) == ({}, set())


def test_what_comes_twice_is_counted_and_a_conflict_is_seen(pacs: LyingPacs) -> None:
    for size in (100, 100, 102):
        assert send(pacs, 1, size=size) == 0x0000
    assert pacs.doubled == {"1.2.1": 3}
    assert pacs.conflicting == {"1.2.1"}


def test_down_it_refuses_connections_and_comes_back_on_the_same_port(pacs: LyingPacs) -> None:
    association = associate(pacs)
    pacs.go_down()
    assert store(association, 1) == -1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((pacs.host, pacs.port), 1)
    pacs.come_up()
    assert send(pacs, 1) == 0x0000


@pytest.mark.parametrize("hang", [Hang.CONNECTION, Hang.ASSOCIATION])
def test_hanging_it_says_nothing_and_ends_with_the_test(pacs: LyingPacs, hang: Hang) -> None:
    pacs.behave(hang=hang)
    started = time.monotonic()
    assert send(pacs, 1) == -1
    assert time.monotonic() - started >= TIMEOUT_S
    assert pacs.count("associated") == (hang is Hang.ASSOCIATION)
    pacs.behave()
    assert send(pacs, 1) == 0x0000


@pytest.mark.parametrize(
    ("breaks", "status", "kept"),
    [
        (Break.IN_OBJECT, -1, []),
        (Break.IN_ANSWER, -1, ["1.2.1"]),
        (Break.BEFORE_SUCCESS, -1, ["1.2.1"]),
        (Break.AFTER_SUCCESS, 0x0000, ["1.2.1"]),
    ],
)
def test_it_breaks_where_it_is_told_to(
    pacs: LyingPacs, breaks: Break, status: int, kept: list[str]
) -> None:
    pacs.behave(breaks=breaks, breaks_left=1)
    association = associate(pacs)
    assert store(association, 1, size=300_000) == status
    association.join(5)
    assert not association.is_established
    pacs.wait_for("broken")
    assert list(pacs.kept) == kept
    assert send(pacs, 1) == 0x0000


def test_it_refuses_the_contexts_of_a_class(pacs: LyingPacs) -> None:
    pacs.behave(refused=frozenset({SegmentationStorage}))
    association = associate(pacs)
    assert store(association, 1) == 0x0000
    with pytest.raises(ValueError, match="No presentation context"):
        store(association, 2, sop_class=SegmentationStorage)
    association.release()


def test_it_rejects_associations(pacs: LyingPacs) -> None:
    pacs.behave(rejects=(2, 3, 2))
    assert associate(pacs).is_rejected


def test_statuses_come_in_turn_and_what_fails_is_not_kept(pacs: LyingPacs) -> None:
    pacs.behave(status=each(3, 0xA700))
    association = associate(pacs)
    found = [store(association, number) for number in range(1, 7)]
    assert found == [0x0000, 0x0000, 0xA700] * 2
    association.release()
    assert list(pacs.kept) == ["1.2.1", "1.2.2", "1.2.4", "1.2.5"]
    assert pacs.uids("refused") == ["1.2.3", "1.2.6"]


@pytest.mark.parametrize(("status", "kept"), [(0xB000, 1), (0xC000, 0), (0x0122, 0)])
def test_any_status_can_be_had(pacs: LyingPacs, status: int, kept: int) -> None:
    pacs.behave(status=always(status))
    assert send(pacs, 1) == status
    assert len(pacs.kept) == kept


def test_slow_it_takes_its_time(pacs: LyingPacs) -> None:
    pacs.behave(bytes_per_s=20_000.0)
    started = time.monotonic()
    assert send(pacs, 1, size=8_000) == 0x0000
    assert time.monotonic() - started > 0.3


@pytest.mark.parametrize(
    ("commit", "safe", "unsafe"),
    [
        (Commit.TRUTH, ["1.2.1", "1.2.2"], {"1.2.3": 0x0112}),
        (Commit.NOTHING, [], {"1.2.1": 0x0213, "1.2.2": 0x0213, "1.2.3": 0x0213}),
        (Commit.HALF, ["1.2.2"], {"1.2.1": 0x0213, "1.2.3": 0x0213}),
        (Commit.EVERYTHING, ["1.2.1", "1.2.2", "1.2.3"], {}),
        (Commit.STRANGERS, ["1.2.1", "1.2.2", STRANGER[1]], {"1.2.3": 0x0112}),
    ],
)
def test_it_commits_as_it_is_told_to(
    pacs: LyingPacs, commit: Commit, safe: list[str], unsafe: dict[str, int]
) -> None:
    for number in (1, 2):
        send(pacs, number)
    pacs.behave(commit=commit, failure_reason=0x0213)
    heard: Heard = Queue()
    assert ask(pacs, [1, 2, 3], heard) == 0x0000
    event_type, content = heard.get(timeout=5)
    assert content.TransactionUID == "1.2.99"
    assert (committed(content), failed(content)) == (safe, unsafe)
    assert event_type == (2 if unsafe else 1)


def test_it_names_another_transaction(pacs: LyingPacs) -> None:
    pacs.behave(commit=Commit.WRONG_TRANSACTION)
    heard: Heard = Queue()
    ask(pacs, [1], heard)
    assert heard.get(timeout=5)[1].TransactionUID == OTHER_TRANSACTION


def test_it_reports_never_or_refuses_to_be_asked(pacs: LyingPacs) -> None:
    pacs.behave(commit=Commit.NEVER, by=By.NEW)
    heard: Heard = Queue()
    assert ask(pacs, [1], heard) == 0x0000
    pacs.behave(action_status=0x0110)
    assert ask(pacs, [1], heard) == 0x0110
    assert heard.empty()
    assert pacs.count("reported") == 0


@pytest.mark.parametrize("by", [By.NEW, By.LATER])
def test_it_reports_on_a_new_association(free_port: Callable[[], int], by: By) -> None:
    heard: Heard = Queue()
    entity = AE("SECONDREAD")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)

    def hear(event: Any) -> tuple[int, None]:
        heard.put((event.request.EventTypeID, event.event_information))
        return 0x0000, None

    port = free_port()
    server: Any = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)]
    )
    try:
        with lying_pacs(node=("127.0.0.1", port, "SECONDREAD")) as pacs:
            send(pacs, 1)
            pacs.behave(by=by)
            assert ask(pacs, [1], Queue()) == 0x0000
            if by is By.LATER:
                assert heard.empty()
                assert pacs.report_owed() == [0x0000]
            assert committed(heard.get(timeout=5)[1]) == ["1.2.1"]
            pacs.wait_for("reported")
            assert pacs.owed == []
    finally:
        server.shutdown()


def test_nothing_of_it_is_left(pacs: LyingPacs) -> None:
    pacs.behave(hang=Hang.ASSOCIATION)
    send(pacs, 1)
    before = [thread for thread in pacs._threads if thread.is_alive()]
    assert before
    pacs.close()
    pacs.close()
    assert not any(thread.is_alive() for thread in before)
    assert not any(thread in threading.enumerate() for thread in before)


def test_roles_and_further_classes_are_no_trouble(pacs: LyingPacs) -> None:
    role = build_role(ComprehensiveSRStorage, scu_role=True, scp_role=True)
    association = associate(pacs, None, role)
    assert association.is_established
    association.release()
