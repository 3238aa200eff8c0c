"""The walk through a data set: whole, cut short, nested, deflated."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from secondread.dicom.walk import DEFLATED, EXPLICIT_BIG, IMPLICIT_LITTLE, PIXEL_DATA, outline
from secondread.errors import CannotUnderstandError, OutOfResourcesError

EXPLICIT = "1.2.840.10008.1.2.1"
LIMIT = 1 << 20


def encode(dataset: Dataset, syntax: str) -> bytes:
    """A data set as pydicom writes it."""
    target = DicomBytesIO()
    uid = UID(syntax)
    target.is_implicit_VR = uid.is_implicit_VR
    target.is_little_endian = uid.is_little_endian
    write_dataset(target, dataset)
    content = target.getvalue()
    if syntax != DEFLATED:
        return content
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(content) + machine.flush()


def sample() -> Dataset:
    """An image with sequences of both kinds of length."""
    dataset = Dataset()
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName = "A^B"
    inner = Dataset()
    inner.CodeValue = "1"
    inner.CodeMeaning = "one"
    outer = Dataset()
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    outer.PurposeOfReferenceCodeSequence.is_undefined_length = True
    outer.is_undefined_length_sequence_item = True
    dataset.SourceImageSequence = Sequence([outer, outer])
    dataset["SourceImageSequence"].is_undefined_length = True
    dataset.Rows = 4
    dataset.Columns = 2
    dataset.NumberOfFrames = "3"
    dataset.PixelData = bytes(range(16))
    dataset["PixelData"].VR = "OW"
    return dataset


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED])
def test_whole_data_set_is_walked_to_its_end(syntax: str) -> None:
    found = outline(memoryview(encode(sample(), syntax)), syntax, LIMIT)
    assert found.text(0x00080018) == "1.2.3"
    assert found.number(0x00280010) == 4
    assert found.integer(0x00280008, 1) == 3
    assert found.tags[-1] == PIXEL_DATA
    assert found.pixel_length == 16


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT_LITTLE, EXPLICIT_BIG])
def test_every_cut_is_noticed(syntax: str) -> None:
    content = encode(sample(), syntax)
    boundaries = {0}
    walked = outline(memoryview(content), syntax, LIMIT)
    for length in range(1, len(content)):
        try:
            found = outline(memoryview(content[:length]), syntax, LIMIT)
        except CannotUnderstandError:
            continue
        # Between two elements a shorter data set is a whole one; that is for examine to judge.
        assert found.tags == walked.tags[: len(found.tags)]
        boundaries.add(length)
    assert len(boundaries) == len(walked.tags)


def test_cut_deflated_data_set_is_noticed() -> None:
    content = encode(sample(), DEFLATED)
    with pytest.raises(CannotUnderstandError, match="cut short"):
        outline(memoryview(content[:-4]), DEFLATED, LIMIT)


def test_deflate_bomb_is_refused_before_it_grows() -> None:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = machine.compress(bytes(LIMIT * 8)) + machine.flush()
    with pytest.raises(OutOfResourcesError, match="larger than"):
        outline(memoryview(bomb), DEFLATED, LIMIT)


def test_encapsulated_pixels_are_walked_over() -> None:
    head = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF)
    fragments = b"".join(
        struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in (b"", b"\xff\xd8ab")
    )
    content = head + fragments + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    found = outline(memoryview(content), EXPLICIT, LIMIT)
    assert (found.pixel_offset, found.pixel_length) == (12, -1)
    with pytest.raises(CannotUnderstandError, match="cut short"):
        outline(memoryview(content[:-8]), EXPLICIT, LIMIT)


def test_deep_nesting_is_refused() -> None:
    one = struct.pack("<HH2s2xI", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    with pytest.raises(CannotUnderstandError, match="deep"):
        outline(memoryview(one * 10_000), EXPLICIT, LIMIT)


@pytest.mark.parametrize(
    "junk",
    [
        b"this is a text file and no data set at all, whatever its name says",
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        struct.pack("<HH2sH", 0x0002, 0x0010, b"UI", 0),
        struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", 0) * 2,
        struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", 400) + b"short",
    ],
    ids=["text", "png", "file meta", "twice the same tag", "lying length"],
)
def test_what_is_no_data_set_is_refused(junk: bytes) -> None:
    with pytest.raises(CannotUnderstandError):
        outline(memoryview(junk), EXPLICIT, LIMIT)


def test_wrong_transfer_syntax_is_refused() -> None:
    content = encode(sample(), IMPLICIT_LITTLE)
    with pytest.raises(CannotUnderstandError, match="transfer syntax"):
        outline(memoryview(content), EXPLICIT, LIMIT)


def test_pydicom_agrees_about_the_pixel_offset() -> None:
    content = encode(sample(), EXPLICIT)
    found = outline(memoryview(content), EXPLICIT, LIMIT)
    stream = io.BytesIO(content)
    stream.seek(found.pixel_offset)
    assert stream.read() == sample().PixelData
