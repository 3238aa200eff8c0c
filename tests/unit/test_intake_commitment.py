"""Storage commitment as SCP: what is promised, what is refused, and what is written down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage

from secondread.dicom.commitment_report import STORAGE_COMMITMENT_PUSH, WELL_KNOWN_INSTANCE
from secondread.domain.commitment import Commitment, CommitmentState
from secondread.domain.network import Service
from secondread.errors import LedgerError
from secondread.intake import commitment
from secondread.intake.commitment import SAME_ASSOCIATION_S, CommitmentProvider, handlers
from secondread.intake.dimse import (
    N_ACTION_RQ,
    N_EVENT_REPORT_RQ,
    SUCCESS,
    Caller,
    Context,
    Reply,
    Report,
    Request,
)
from tests.service_cases import (
    CALLER,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Asker,
    Place,
    dataset_of,
    decoded,
    encoded,
    open_place,
)

KEY = (STORAGE_COMMITMENT_PUSH, N_ACTION_RQ)
TRANSACTION = "1.2.99.1"
Pairs = Sequence[tuple[str, str]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_place(tmp_path)


def action(pairs: Pairs, transaction: str = TRANSACTION) -> Dataset:
    """The data set of a request for these (SOP class, SOP instance)."""
    items = [
        dataset_of(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance)
        for sop_class, instance in pairs
    ]
    return dataset_of(TransactionUID=transaction, ReferencedSOPSequence=items)


def cts(*uids: str) -> Pairs:
    return [(CTImageStorage, uid) for uid in uids]


def asker(place: Place, **caller: str) -> Asker:
    who = {"peer": "ct", "ae_title": "CT1", "address": "127.0.0.1", "called": "SECONDREAD"}
    provider = CommitmentProvider(place.ledger, place.spool, place.peer_of, place.clock)
    return Asker(handlers(provider), Caller(**{**who, **caller}))


def ask(place: Place, pairs: Pairs, transaction: str = TRANSACTION, **options: Any) -> Reply:
    data = action(pairs, transaction)
    return asker(place).ask(KEY, data, WELL_KNOWN_INSTANCE, type_id=1, **options)


def report_of(reply: Reply) -> Report:
    assert [answer.status for answer in reply.answers] == [SUCCESS]
    assert reply.report is not None
    return reply.report


def failures(report: Report, syntax: str = EXPLICIT_LITTLE) -> dict[str, int]:
    content = decoded(report.data, syntax)
    return {item.ReferencedSOPInstanceUID: item.FailureReason for item in content.FailedSOPSequence}


def row(place: Place, transaction: str = TRANSACTION, peer: str = "ct") -> Commitment:
    with place.ledger.read() as view:
        found = view.commitments.find(transaction, peer)
    assert found is not None
    return found


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG])
def test_objects_that_are_here_are_committed(place: Place, syntax: str) -> None:
    place.store(["1.1", "1.2"])
    report = report_of(ask(place, cts("1.1", "1.2"), syntax=syntax))
    assert (report.command, report.type_id) == (N_EVENT_REPORT_RQ, 1)
    assert report.sop_class_uid == STORAGE_COMMITMENT_PUSH
    assert report.sop_instance_uid == WELL_KNOWN_INSTANCE
    content = decoded(report.data, syntax)
    assert content.TransactionUID == TRANSACTION
    assert [
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for item in content.ReferencedSOPSequence
    ] == cts("1.1", "1.2")
    assert "FailedSOPSequence" not in content


def test_each_object_that_is_not_safe_is_named_with_its_reason(place: Place) -> None:
    place.store(["1.1", "1.2", "1.3", "1.4"])
    place.spool.object_path("1.2").unlink()
    with place.spool.object_path("1.3").open("ab") as file:
        file.write(b"x")
    with place.spool.object_path("1.4").open("r+b") as file:
        file.truncate(200)
    pairs = [*cts("1.1", "1.2", "1.3", "1.4", "1.5"), (MRImageStorage, "1.1"), ("1.9.9", "1.6")]
    report = report_of(ask(place, pairs))
    assert report.type_id == 2
    assert failures(report) == {
        "1.2": 0x0112,
        "1.3": 0x0112,
        "1.4": 0x0112,
        "1.5": 0x0112,
        "1.1": 0x0119,
        "1.6": 0x0122,
    }
    (safe,) = decoded(report.data).ReferencedSOPSequence
    assert safe.ReferencedSOPInstanceUID == "1.1"


def test_file_of_an_older_version_is_measured_by_its_own_header(place: Place) -> None:
    place.store(["1.1", "1.2"])
    with place.ledger.begin() as change:
        change.instances._connection.exec_driver_sql("UPDATE instance SET data_offset = 0")
    with place.spool.object_path("1.2").open("r+b") as file:
        file.truncate(250)
    assert failures(report_of(ask(place, cts("1.1", "1.2")))) == {"1.2": 0x0112}


def test_request_and_result_are_in_the_ledger_before_the_answer(place: Place) -> None:
    place.store(["1.1"])
    ask(place, cts("1.1", "1.2"))
    found = row(place)
    assert found.state is CommitmentState.ANSWERED
    assert (found.called_ae_title, found.host, found.port) == ("SECONDREAD", "127.0.0.1", 0)
    assert [reference.sop_instance_uid for reference in found.result.committed] == ["1.1"]
    assert [failure.reason for failure in found.result.failed] == [0x0112]
    assert found.next_at == place.clock.at + SAME_ASSOCIATION_S


def test_request_that_cannot_be_written_down_is_not_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise LedgerError("The ledger could not be written: disk full.")

    monkeypatch.setattr(place.ledger, "begin", full)
    reply = ask(place, cts("1.1"))
    assert [answer.status for answer in reply.answers] == [0x0213]
    assert reply.report is None


def test_report_on_the_same_association_ends_the_request(place: Place) -> None:
    report = report_of(ask(place, cts("1.1")))
    report.on_answer(SUCCESS)
    assert row(place).state is CommitmentState.REPORTED
    # An answer that comes late or twice changes nothing.
    report.on_answer(None)
    assert row(place).state is CommitmentState.REPORTED
    with place.ledger.read() as view:
        assert [(t.before, t.after) for t in view.trail.of_event("commitment")] == [
            ("", "answered"),
            ("answered", "reported"),
        ]


@pytest.mark.parametrize("status", [None, 0x0110, 0x0211])
def test_report_that_fails_is_due_on_a_new_association_at_once(
    place: Place, status: int | None
) -> None:
    report_of(ask(place, cts("1.1"))).on_answer(status)
    found = row(place)
    assert (found.state, found.next_at) == (CommitmentState.ANSWERED, place.clock.at)
    with place.ledger.read() as view:
        assert view.commitments.due(place.clock.at) == found


def test_same_transaction_again_is_answered_anew_and_not_doubled(place: Place) -> None:
    report_of(ask(place, cts("1.1"))).on_answer(SUCCESS)
    place.store(["1.1"])
    place.clock.at += 60
    assert report_of(ask(place, cts("1.1"))).type_id == 1
    found = row(place)
    assert (found.state, found.asked_at) == (CommitmentState.ANSWERED, place.clock.at)
    # The same again leaves no further row in the trail.
    ask(place, cts("1.1"))
    with place.ledger.read() as view:
        assert view.commitments.open_of_peer("ct") == 1
        told = [t for t in view.trail.of_event("commitment") if t.after == "answered"]
    assert len(told) == 2


def test_transaction_in_use_for_other_objects_is_a_duplicate(place: Place) -> None:
    place.store(["1.1", "1.2"])
    first = report_of(ask(place, cts("1.1")))
    second = report_of(ask(place, cts("1.2")))
    assert (second.type_id, failures(second)) == (2, {"1.2": 0x0131})
    second.on_answer(None)
    first.on_answer(SUCCESS)
    found = row(place)
    assert [reference.sop_instance_uid for reference in found.result.committed] == ["1.1"]
    assert found.state is CommitmentState.REPORTED
    # A scanner that begins to count anew after a restart is not shut out for ever.
    assert report_of(ask(place, cts("1.2"))).type_id == 1


def test_two_peers_may_have_the_same_transaction(place: Place) -> None:
    ask(place, cts("1.1"))
    other = asker(place, peer="mr", ae_title="MR1")
    other.ask(KEY, action(cts("1.2")), WELL_KNOWN_INSTANCE, type_id=1)
    assert row(place).id != row(place, peer="mr").id


def test_any_object_may_be_asked_about_whoever_sent_it(place: Place) -> None:
    place.store(["1.1"])
    reply = asker(place, peer="mr").ask(KEY, action(cts("1.1")), WELL_KNOWN_INSTANCE, type_id=1)
    assert report_of(reply).type_id == 1


@pytest.mark.parametrize(
    ("data", "instance", "type_id", "status"),
    [
        (action(cts("1.1")), "1.2.840.10008.1.20.1.2", 1, 0x0112),
        (action(cts("1.1")), WELL_KNOWN_INSTANCE, 2, 0x0123),
        (None, WELL_KNOWN_INSTANCE, 1, 0x0115),
        (b"no data set at all", WELL_KNOWN_INSTANCE, 1, 0x0115),
        (encoded(action(cts("1.1")))[:-1], WELL_KNOWN_INSTANCE, 1, 0x0115),
        (action([]), WELL_KNOWN_INSTANCE, 1, 0x0115),
        (action(cts("1.1"), ""), WELL_KNOWN_INSTANCE, 1, 0x0115),
        (action(cts("1.1", "")), WELL_KNOWN_INSTANCE, 1, 0x0115),
    ],
)
def test_request_that_cannot_be_carried_out_leaves_nothing(
    place: Place, data: Any, instance: str, type_id: int, status: int
) -> None:
    assert asker(place).status(KEY, data, instance, type_id=type_id) == status
    with place.ledger.read() as view:
        assert view.commitments.open_of_peer("ct") == 0


@pytest.mark.parametrize("uid", ["1.2.*", "../../etc/passwd", "1.2\n3", "1" * 65])
def test_uid_that_is_none_is_refused(place: Place, uid: str) -> None:
    data = encoded(action(cts("1.1"))).replace(b"1.1\0", uid.encode()[:4].ljust(4))
    if len(uid) > 60:
        data = encoded(action(cts("1." + "1" * 64)))
    assert asker(place).status(KEY, data, WELL_KNOWN_INSTANCE, type_id=1) == 0x0115


def test_peer_without_the_right_is_told_so(place: Place) -> None:
    place.change_peer(may=frozenset({Service.STORE}))
    arguments = (KEY, action(cts("1.1")), WELL_KNOWN_INSTANCE)
    assert asker(place).status(*arguments, type_id=1) == 0x0124
    del place.peers["ct"]
    assert asker(place).status(*arguments, type_id=1) == 0x0124


def test_request_belongs_to_its_presentation_context(place: Place) -> None:
    context = Context(1, STORAGE_COMMITMENT_PUSH, EXPLICIT_LITTLE)
    data = encoded(action(cts("1.1")))
    request = Request(N_ACTION_RQ, 1, CTImageStorage, WELL_KNOWN_INSTANCE, 1, context, data)
    (answer,) = asker(place).handlers[KEY](CALLER, request).answers
    assert answer.status == 0x0122


def test_results_that_nobody_takes_are_bounded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "OPEN_MAX", 2)
    report_of(ask(place, cts("1.1"), "1.2.1"))
    report_of(ask(place, cts("1.1"), "1.2.2"))
    reply = ask(place, cts("1.1"), "1.2.3")
    assert [answer.status for answer in reply.answers] == [0x0213]
    report_of(ask(place, cts("1.1"), "1.2.2"))


def test_thousands_of_objects_in_one_request(place: Place) -> None:
    uids = [f"1.2.{number}" for number in range(5_000)]
    place.store(uids[:3])
    report = report_of(ask(place, cts(*uids, *uids)))
    assert len(failures(report)) == 5_000 - 3


def test_study_of_the_objects_is_told_of_it(place: Place) -> None:
    place.store(["1.1"], "1.2.3")
    place.store(["1.2"], "1.2.4")
    ask(place, cts("1.1", "1.2", "1.3"))
    with place.ledger.read() as view:
        for uid in ("1.2.3", "1.2.4"):
            told = view.trail.of_study(view.studies.find(uid).id)[-1]
            assert told.text.endswith("2 objects are safe, 1 are not.")
            assert told.detail == {"commitment": row(place).id}
