"""The C-FIND SCP: two numbers for who knows the study, nothing for everybody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from secondread.domain.network import Service
from secondread.intake.dimse import C_FIND_RQ, PENDING, SUCCESS
from secondread.intake.status import STUDY_ROOT_FIND, StatusProvider, handlers
from tests.service_cases import (
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

KEY = (STUDY_ROOT_FIND, C_FIND_RQ)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A node with five objects in two series of one study and one in another."""
    found = open_place(tmp_path)
    found.store(["1.1", "1.2", "1.3"], "1.2.3", "1.2.3.1")
    found.store(["1.4", "1.5"], "1.2.3", "1.2.3.2")
    found.store(["1.6"], "1.2.4", "1.2.4.1")
    return found


def asker(place: Place) -> Asker:
    return Asker(handlers(StatusProvider(place.ledger, place.peer_of)))


def query(study: Any, **values: Any) -> Dataset:
    return dataset_of(**{"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study, **values})


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG])
def test_study_is_counted(place: Place, syntax: str) -> None:
    pending, last = asker(place).ask(KEY, query("1.2.3"), syntax=syntax).answers
    assert (pending.status, last.status, last.data) == (PENDING, SUCCESS, None)
    found = decoded(pending.data, syntax)
    assert {element.keyword: element.value for element in found} == {
        "QueryRetrieveLevel": "STUDY",
        "RetrieveAETitle": "",
        "InstanceAvailability": "ONLINE",
        "StudyInstanceUID": "1.2.3",
        "NumberOfStudyRelatedSeries": 2,
        "NumberOfStudyRelatedInstances": 5,
    }


def test_several_studies_are_asked_about_at_once(place: Place) -> None:
    *pending, last = asker(place).ask(KEY, query(["1.2.4", "1.2.3", "1.2.5"])).answers
    counts = [decoded(answer.data).NumberOfStudyRelatedInstances for answer in pending]
    assert (counts, last.status) == ([5, 1], SUCCESS)


def test_study_that_is_not_here_gives_no_match(place: Place) -> None:
    assert asker(place).status(KEY, query("1.2.5")) == SUCCESS


def test_keys_without_a_value_are_left_out(place: Place) -> None:
    keys = {"PatientName": "", "PatientID": "", "StudyDate": "", "InstanceAvailability": ""}
    asked = query("1.2.3", SpecificCharacterSet="ISO_IR 192", RetrieveAETitle="", **keys)
    pending, _ = asker(place).ask(KEY, asked).answers
    assert "PatientName" not in decoded(pending.data)


@pytest.mark.parametrize(
    "asked",
    [
        query(""),
        query("*"),
        query("1.2.*"),
        query("1.2.?"),
        query(["1.2.3", "*"]),
        query([f"1.2.{number}" for number in range(101)]),
        query("1.2.3", QueryRetrieveLevel="SERIES"),
        query("1.2.3", QueryRetrieveLevel="PATIENT"),
        query("1.2.3", QueryRetrieveLevel=""),
        query("1.2.3", PatientName="DOE^*"),
        query("1.2.3", PatientID="4711"),
        query("1.2.3", StudyDate="20260101-"),
        query("1.2.3", NumberOfStudyRelatedInstances="5"),
        dataset_of(QueryRetrieveLevel="STUDY"),
        dataset_of(StudyInstanceUID="1.2.3"),
        None,
        b"no data set at all",
        encoded(query("1.2.3"))[:-1],
    ],
)
def test_anything_else_is_refused(place: Place, asked: Any) -> None:
    assert asker(place).status(KEY, asked) == 0xA900


def test_peer_without_the_right_is_told_so(place: Place) -> None:
    place.change_peer(may=frozenset({Service.STORE}))
    assert asker(place).status(KEY, query("1.2.3")) == 0x0124
