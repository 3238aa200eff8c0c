"""What a notice of availability says, and which one it is."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.uid import CTImageStorage, SegmentationStorage

from secondread.delivery.telling.availability import OBJECTS_MAX, Availability, encode
from secondread.domain import notice
from secondread.domain.commitment import Reference
from tests.service_cases import EXPLICIT_LITTLE, IMPLICIT_LITTLE, decoded

SEG = Reference(SegmentationStorage, "1.2.3.1.1")
IMAGES = (Reference(CTImageStorage, "1.2.3.2.1"), Reference(CTImageStorage, "1.2.3.2.2"))


def availability(**values: Any) -> Availability:
    known: dict[str, Any] = {
        "study_instance_uid": "1.2.3",
        "series": {"1.2.3.1": (SEG,), "1.2.3.2": IMAGES},
        "retrieve_ae_title": "ARCHIVE",
    }
    return Availability(**{**known, **values})


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_content_is_that_of_the_standard(syntax: str) -> None:
    content = decoded(encode(availability(), syntax), syntax)
    assert [element.keyword for element in content] == [
        "ReferencedPerformedProcedureStepSequence",
        "ReferencedSeriesSequence",
        "StudyInstanceUID",
    ]
    assert list(content.ReferencedPerformedProcedureStepSequence) == []
    assert content.StudyInstanceUID == "1.2.3"
    first, second = content.ReferencedSeriesSequence
    assert (first.SeriesInstanceUID, second.SeriesInstanceUID) == ("1.2.3.1", "1.2.3.2")
    (item,) = first.ReferencedSOPSequence
    assert {element.keyword: element.value for element in item} == {
        "RetrieveAETitle": "ARCHIVE",
        "InstanceAvailability": "ONLINE",
        "ReferencedSOPClassUID": SegmentationStorage,
        "ReferencedSOPInstanceUID": "1.2.3.1.1",
    }
    assert [one.ReferencedSOPInstanceUID for one in second.ReferencedSOPSequence] == [
        "1.2.3.2.1",
        "1.2.3.2.2",
    ]


def test_a_retry_names_the_same_notice_and_other_content_another() -> None:
    uid = availability().sop_instance_uid
    turned = {"1.2.3.2": IMAGES[::-1], "1.2.3.1": (SEG,)}
    assert availability(series=turned).sop_instance_uid == uid
    others = {
        availability(series={"1.2.3.1": (SEG,)}).sop_instance_uid,
        availability(retrieve_ae_title="OTHER").sop_instance_uid,
        availability(state=notice.Availability.OFFLINE).sop_instance_uid,
        availability(study_instance_uid="1.2.4").sop_instance_uid,
        availability(uid_root="1.2.826.0.1").sop_instance_uid,
    }
    assert len(others | {uid}) == 6
    assert max(map(len, others)) <= 64


@pytest.mark.parametrize(
    "values",
    [
        {"series": {}},
        {"series": {"1.2.3.1": ()}},
        {"series": {"1.2.3.1": (SEG,) * (OBJECTS_MAX + 1)}},
        {"series": {"one": (SEG,)}},
        {"study_instance_uid": "Doe"},
        {"retrieve_ae_title": " "},
        {"retrieve_ae_title": "A" * 17},
    ],
)
def test_what_no_peer_could_take_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="^A"):
        availability(**values)
