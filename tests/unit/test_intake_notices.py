"""MPPS and availability notices: what is taken down, and the few things that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from secondread.domain.network import Service
from secondread.domain.notice import Notice, NoticeKind
from secondread.intake.dimse import N_CREATE_RQ, N_SET_RQ, SUCCESS, Caller
from secondread.intake.notices import (
    INSTANCE_AVAILABILITY,
    MODALITY_PERFORMED_PROCEDURE_STEP,
    NoticeProvider,
    handlers,
)
from tests.service_cases import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Asker,
    Place,
    dataset_of,
    encoded,
    open_place,
)

CREATE = (MODALITY_PERFORMED_PROCEDURE_STEP, N_CREATE_RQ)
SET = (MODALITY_PERFORMED_PROCEDURE_STEP, N_SET_RQ)
AVAILABLE = (INSTANCE_AVAILABILITY, N_CREATE_RQ)
STEP, STUDY = "1.2.77", "1.2.3"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_place(tmp_path)


def asker(place: Place, peer: str = "ct") -> Asker:
    provider = NoticeProvider(place.ledger, place.peer_of, place.clock)
    return Asker(handlers(provider), Caller(peer, "X", "127.0.0.1", "SECONDREAD"))


def created(*studies: str, **values: Any) -> Dataset:
    """The data set of an N-CREATE with what scanners send besides."""
    steps = [dataset_of(StudyInstanceUID=uid, AccessionNumber="A1") for uid in studies]
    return dataset_of(
        **{
            "SpecificCharacterSet": "ISO_IR 100",
            "PatientName": "Doe^Jane",
            "PatientID": "4711",
            "Modality": "CT",
            "PerformedProcedureStepStatus": "IN PROGRESS",
            "PerformedProcedureStepID": "1",
            "ScheduledStepAttributesSequence": steps,
            "PerformedSeriesSequence": [],
            **values,
        }
    )


def ended(status: str = "COMPLETED", images: tuple[str, ...] = (), **values: Any) -> Dataset:
    """The data set of an N-SET with one series of these images."""
    series = dataset_of(
        SeriesInstanceUID="1.2.3.4",
        ReferencedImageSequence=[
            dataset_of(ReferencedSOPClassUID="1.2.840", ReferencedSOPInstanceUID=uid)
            for uid in images
        ],
        ReferencedNonImageCompositeSOPInstanceSequence=[
            dataset_of(ReferencedSOPClassUID="1.2.841", ReferencedSOPInstanceUID="1.2.88")
        ],
    )
    values = {"PerformedSeriesSequence": [series], **values}
    return dataset_of(PerformedProcedureStepStatus=status, **values)


def availability(*values: str, study: str = STUDY) -> Dataset:
    """The data set of an availability notice: one object with each of these values."""
    items = [
        dataset_of(
            ReferencedSOPClassUID="1.2.840",
            ReferencedSOPInstanceUID=f"1.2.{number}",
            InstanceAvailability=value,
            RetrieveAETitle="PACS",
        )
        for number, value in enumerate(values)
    ]
    return dataset_of(
        StudyInstanceUID=study,
        ReferencedSeriesSequence=[
            dataset_of(SeriesInstanceUID="1.2.3.4", ReferencedSOPSequence=items)
        ],
    )


def notices(place: Place, study: str = STUDY) -> list[Notice]:
    with place.ledger.read() as view:
        return list(view.notices.of_study(study))


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG])
def test_step_from_its_beginning_to_its_end(place: Place, syntax: str) -> None:
    ask = asker(place)
    assert ask.status(CREATE, created(STUDY), STEP, syntax=syntax) == SUCCESS
    (said,) = notices(place)
    assert (said.kind, said.peer, said.status) == (NoticeKind.MPPS, "ct", "IN PROGRESS")
    assert (said.at, said.objects) == (place.clock.at, ())
    place.clock.at += 100
    assert ask.status(SET, ended(images=("1.2.1", "1.2.2")), STEP, syntax=syntax) == SUCCESS
    (said,) = notices(place)
    assert (said.status, said.at) == ("COMPLETED", place.clock.at)
    assert said.objects == ("1.2.1", "1.2.2", "1.2.88")


def test_nothing_of_the_patient_is_written_down(place: Place, tmp_path: Path) -> None:
    assert asker(place).status(CREATE, created(STUDY), STEP) == SUCCESS
    place.ledger.close()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"Doe" not in content
            assert b"4711" not in content


def test_step_of_two_studies_is_a_hint_for_both(place: Place) -> None:
    ask = asker(place)
    assert ask.status(CREATE, created("1.2.3", "1.2.4", "1.2.3"), STEP) == SUCCESS
    assert ask.status(SET, ended("DISCONTINUED"), STEP) == SUCCESS
    for study in ("1.2.3", "1.2.4"):
        assert [said.status for said in notices(place, study)] == ["DISCONTINUED"]


def test_objects_stay_when_a_message_does_not_name_them(place: Place) -> None:
    ask = asker(place)
    ask.status(CREATE, created(STUDY), STEP)
    ask.status(SET, ended("IN PROGRESS", ("1.2.1",)), STEP)
    ask.status(SET, dataset_of(PerformedProcedureStepStatus="COMPLETED"), STEP)
    (said,) = notices(place)
    assert (said.status, said.objects) == ("COMPLETED", ("1.2.1", "1.2.88"))


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED", "DOING"])
def test_step_is_created_in_progress(place: Place, status: str) -> None:
    data = created(STUDY, PerformedProcedureStepStatus=status)
    assert asker(place).status(CREATE, data, STEP) == 0x0106
    assert notices(place) == []


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED"])
def test_step_that_has_ended_may_no_longer_be_updated(place: Place, status: str) -> None:
    ask = asker(place)
    ask.status(CREATE, created(STUDY), STEP)
    assert ask.status(SET, ended(status), STEP) == SUCCESS
    (answer,) = ask.ask(SET, ended("COMPLETED", ("1.2.1",)), STEP).answers
    assert answer.status == 0x0110
    assert answer.comment == "Performed Procedure Step Object may no longer be updated"
    assert notices(place)[0].status == status


def test_step_is_created_once(place: Place) -> None:
    assert asker(place).status(CREATE, created(STUDY), STEP) == SUCCESS
    assert asker(place).status(CREATE, created(STUDY), STEP) == 0x0111
    assert asker(place, "mr").status(CREATE, created(STUDY), STEP) == 0x0111
    assert len(notices(place)) == 1


def test_step_is_set_by_the_peer_that_created_it(place: Place) -> None:
    assert asker(place).status(SET, ended(), STEP) == 0x0112
    asker(place).status(CREATE, created(STUDY), STEP)
    assert asker(place, "mr").status(SET, ended(), STEP) == 0x0112
    assert asker(place).status(SET, ended("DOING"), STEP) == 0x0106
    assert notices(place)[0].status == "IN PROGRESS"


def test_sloppy_scanners_are_not_refused(place: Place) -> None:
    ask = asker(place)
    assert ask.status(CREATE, dataset_of(Modality="CT"), "1.2.1") == SUCCESS
    assert ask.status(CREATE, None, "1.2.2") == SUCCESS
    assert ask.status(CREATE, created("", "no uid", STUDY), "1.2.3") == SUCCESS
    assert ask.status(SET, ended(images=("1.2.1", "", "../x")), "1.2.3") == SUCCESS
    (said,) = notices(place)
    assert said.objects == ("1.2.1", "1.2.88")
    # A step without a study can still come to its end.
    assert ask.status(SET, dataset_of(PerformedProcedureStepStatus="COMPLETED"), "1.2.1") == 0
    with place.ledger.read() as view:
        (said,) = view.notices.find(NoticeKind.MPPS, "1.2.1")
    assert (said.study_instance_uid, said.status) == ("", "COMPLETED")


def test_step_without_a_uid_gets_one(place: Place) -> None:
    (answer,) = asker(place).ask(CREATE, created(STUDY), "").answers
    assert answer.status == SUCCESS
    assert asker(place).status(SET, ended(), answer.sop_instance_uid) == SUCCESS
    assert asker(place).status(CREATE, created(STUDY), "../../x") == 0x0117


def test_bytes_that_are_no_data_set_are_refused(place: Place) -> None:
    ask = asker(place)
    ask.status(CREATE, created(STUDY), STEP)
    for key in (CREATE, SET, AVAILABLE):
        assert ask.status(key, encoded(ended())[:-3], STEP) == 0x0110
    assert len(notices(place)) == 1


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG])
@pytest.mark.parametrize(
    ("values", "status"),
    [
        (["ONLINE", "ONLINE"], "ONLINE"),
        (["ONLINE", "OFFLINE", "NEARLINE"], "OFFLINE"),
        (["UNAVAILABLE", "ONLINE"], "UNAVAILABLE"),
        (["ONLINE", ""], "UNKNOWN"),
        ([], "UNKNOWN"),
    ],
)
def test_notice_of_availability(place: Place, values: list[str], status: str, syntax: str) -> None:
    ask = asker(place)
    assert ask.status(AVAILABLE, availability(*values), STEP, syntax=syntax) == SUCCESS
    (said,) = notices(place)
    assert (said.kind, said.status) == (NoticeKind.AVAILABILITY, status)
    assert said.objects == tuple(f"1.2.{number}" for number in range(len(values)))
    assert ask.status(AVAILABLE, availability(*values), STEP, syntax=syntax) == 0x0111


def test_notice_of_availability_names_its_study(place: Place) -> None:
    assert asker(place).status(AVAILABLE, availability("ONLINE", study=""), STEP) == 0x0120
    assert asker(place).status(AVAILABLE, None, STEP) == 0x0120


def test_peer_without_the_right_is_told_so(place: Place) -> None:
    place.change_peer(may=frozenset({Service.STORE, Service.COMMITMENT}))
    for key in (CREATE, SET, AVAILABLE):
        assert asker(place).status(key, created(STUDY), STEP) == 0x0124
