"""What intake finds out about an object: its UIDs, its pixels, and facts for later stages."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from secondread.dicom.walk import PIXEL_DATA, Outline
from secondread.errors import CannotUnderstandError, DataSetMismatchError
from secondread.intake.examine import Announcement, Examined, examine

EXPLICIT, JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"
MR = "1.2.840.10008.5.1.4.1.1.4"
UIDS = {
    0x00080016: MR.encode() + b"\0",
    0x00080018: b"1.2.3\0",
    0x0020000D: b"1.2.4 ",
    0x0020000E: b"1.2.5\0",
}
IMAGE = {
    **UIDS,
    0x00080008: b"ORIGINAL\\PRIMARY\\M ",
    0x00080060: b"MR",
    0x00180050: b"1.5 ",
    0x00200011: b"7 ",
    0x00200013: b"12",
    0x00200032: b"-1.5\\2e1\\ 3 ",
    0x00200037: b"1\\0\\0\\0\\1\\0 ",
    0x00200052: b"1.2.6\0",
    0x00201002: b"192 ",
    0x00280002: b"\1\0",
    0x00280004: b"MONOCHROME2 ",
    0x00280010: b"\4\0",
    0x00280011: b"\3\0",
    0x00280030: b"0.5\\0.25",
    0x00280100: b"\x10\0",
    0x00280101: b"\x0c\0",
    0x00280102: b"\x0b\0",
    0x00280103: b"\0\0",
    0x00281052: b"-1024 ",
    0x00281053: b"1.0 ",
}


def outline_of(values: dict[int, bytes], pixel_length: int = 24) -> Outline:
    """An outline as the walker gives it; no pixels where their length is 0."""
    noted = frozenset({PIXEL_DATA} if pixel_length else ())
    return Outline(values, noted, 500 if pixel_length else -1, pixel_length or -1, True)


def examine_image(changes: dict[int, bytes], **pixels: int) -> Examined:
    return examine(outline_of(IMAGE | changes, **pixels), Announcement(MR, "1.2.3", EXPLICIT))


def facts_of(changes: dict[int, bytes]) -> dict[str, Any]:
    return examine_image(changes, pixel_length=1 << 60).facts


def test_an_image_is_described_for_later_stages() -> None:
    found = examine_image({})
    assert found.identity.study_instance_uid == "1.2.4"
    assert (found.pixel_offset, found.pixel_length) == (500, 24)
    assert found.facts == {
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "Modality": "MR",
        "SliceThickness": 1.5,
        "SeriesNumber": 7,
        "InstanceNumber": 12,
        "ImagePositionPatient": [-1.5, 20.0, 3.0],
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "FrameOfReferenceUID": "1.2.6",
        "ImagesInAcquisition": 192,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 4,
        "Columns": 3,
        "PixelSpacing": [0.5, 0.25],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1.0",
    }


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (0x00200032, b"1\\2"),
        (0x00200032, b"1\\2\\nan"),
        (0x00200032, b"1\\2\\inf"),
        (0x00200032, b"1\\2\\1e999"),
        (0x00200032, b"1\\2\\1_0"),
        (0x00200032, b"\\\\"),
        (0x00200032, b"1\\2\\" + b"3" * 4000),
        (0x00200011, b"seven"),
        (0x00200011, b"9" * 4096),
        (0x00200011, "７".encode()),
        (0x00280101, b"\1"),
        (0x00080008, b"ORIGINAL\\\xc4"),
        (0x00080008, b"A" * 4096),
        (0x00080060, b"MR\nMR"),
        (0x00200052, b"1.2/../3"),
        (0x00200052, b"1." * 60),
    ],
)
def test_a_value_that_cannot_be_read_is_left_out(tag: int, value: bytes) -> None:
    whole, found = facts_of({}), facts_of({tag: value})
    assert len(found) == len(whole) - 1
    assert found.items() <= whole.items()
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "value", [b"1\\2", b"0." + b"3" * 4000, b"", b"x", b"nan", b"1e999", b"1_0"]
)
@pytest.mark.parametrize("tag", [0x00281052, 0x00281053])
def test_a_rescale_that_cannot_be_read_is_not_an_absent_one(tag: int, value: bytes) -> None:
    keyword = "RescaleIntercept" if tag == 0x00281052 else "RescaleSlope"
    assert facts_of({tag: value})[keyword] == ""
    absent = outline_of({key: value for key, value in IMAGE.items() if key != tag})
    assert keyword not in examine(absent, Announcement(MR, "1.2.3", EXPLICIT)).facts


@pytest.mark.parametrize(
    ("tag", "keyword"),
    [(0x00283000, "ModalityLUTSequence"), (0x52009230, "PerFrameFunctionalGroupsSequence")],
)
def test_sequences_that_matter_are_noted(tag: int, keyword: str) -> None:
    outline = Outline(IMAGE, frozenset({PIXEL_DATA, tag}), 500, 24, True)
    found = examine(outline, Announcement(MR, "1.2.3", EXPLICIT))
    assert found.facts[keyword] is True


def test_what_tells_volumes_of_one_series_apart_is_a_fact() -> None:
    found = facts_of(
        {
            0x00080032: b"101530.5",
            0x00180081: b"4.60",
            0x00180086: b"2 ",
            0x00181210: b"H31s",
            0x00189087: struct.pack("<d", 1000),
            0x00189089: struct.pack("<3d", 0, 0.6, 0.8),
            0x00200012: b"4 ",
            0x00200100: b"3 ",
        }
    )
    assert found["AcquisitionTime"] == 36930.5
    assert (found["EchoTime"], found["EchoNumbers"]) == (4.6, 2.0)
    assert found["ConvolutionKernel"] == "H31S"
    assert found["DiffusionBValue"] == 1000.0
    assert found["DiffusionGradientOrientation"] == "0.000\\0.600\\0.800"
    assert (found["AcquisitionNumber"], found["TemporalPositionIdentifier"]) == (4, 3.0)


def test_facts_are_small_whatever_the_values() -> None:
    found = facts_of({tag: b"1" * 4096 for tag in IMAGE if tag not in UIDS})
    assert len(json.dumps(found)) < 2048


def test_nobody_is_named_in_the_facts() -> None:
    found = facts_of({0x0008103E: b"DOE^JOHN HEAD ", 0x00081030: b"DOE^JOHN"})
    assert "DOE" not in json.dumps(found)


@pytest.mark.parametrize("tag", sorted(UIDS))
@pytest.mark.parametrize(
    "value",
    [
        *(b"1.2/3", b"../../etc/passwd", b"..", b"1..2", b".1", b"1.", b"1.2\0.3", b"\0001.2"),
        *(b"1.2\n", b"1.2\\1.3", b"1.2a", "１.2".encode(), b"1" * 65),
    ],
)
def test_what_is_no_uid_is_refused(tag: int, value: bytes) -> None:
    announced = Announcement(MR, "1.2.3", EXPLICIT)
    with pytest.raises(CannotUnderstandError, match="is not a UID"):
        examine(outline_of(IMAGE | {tag: value}), announced)


@pytest.mark.parametrize("tag", sorted(UIDS))
@pytest.mark.parametrize("value", [b"", b"\0", b"  "])
def test_a_missing_uid_is_refused(tag: int, value: bytes) -> None:
    with pytest.raises(CannotUnderstandError, match="has no"):
        examine_image({tag: value})


def test_a_uid_of_64_characters_is_one() -> None:
    uid = "1." + "2" * 62
    found = examine_image({0x0020000D: uid.encode()})
    assert found.identity.study_instance_uid == uid


def test_another_object_than_announced_is_a_mismatch() -> None:
    with pytest.raises(DataSetMismatchError, match="SOP Class UID"):
        examine(outline_of(IMAGE), Announcement("1.2", "1.2.3", EXPLICIT))
    with pytest.raises(DataSetMismatchError, match="SOP Instance UID"):
        examine(outline_of(IMAGE), Announcement(MR, "1.2.33", EXPLICIT))


def test_an_image_without_pixels_is_a_mismatch() -> None:
    with pytest.raises(DataSetMismatchError, match="no pixel data"):
        examine_image({}, pixel_length=0)


@pytest.mark.parametrize("frames", [b"1 ", b"0 ", b"x ", b""])
def test_native_pixels_fill_their_frames(frames: bytes) -> None:
    assert examine_image({0x00280008: frames}).pixel_length == 24
    with pytest.raises(CannotUnderstandError, match="22 bytes where the attributes promise 24"):
        examine_image({0x00280008: frames}, pixel_length=22)


def test_encapsulated_pixels_may_be_short() -> None:
    announced = Announcement(MR, "1.2.3", JPEG_2000)
    assert examine(outline_of(IMAGE, pixel_length=-1), announced).pixel_length == -1


def test_a_report_has_neither_pixels_nor_many_facts() -> None:
    found = examine(
        outline_of(UIDS | {0x00080060: b"SR"}, pixel_length=0), Announcement(MR, "1.2.3", EXPLICIT)
    )
    assert (found.pixel_offset, found.facts) == (-1, {"Modality": "SR"})
