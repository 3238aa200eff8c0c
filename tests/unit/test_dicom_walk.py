"""The walk through a data set: whole, cut short, nested, deflated."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from secondread.dicom.headers import read_slice
from secondread.dicom.walk import (
    DEFLATED,
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    PIXEL_DATA,
    VALUE_MAX,
    WANTED,
    Outline,
    Walker,
    outline,
)
from secondread.errors import CannotUnderstandError, OutOfResourcesError
from tests.slices import make_slice, store

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


def walk_in_pieces(content: bytes, syntax: str, size: int) -> Outline:
    """Feed ``size`` bytes at a time."""
    walker = Walker(syntax, LIMIT)
    for at in range(0, len(content), size):
        walker.feed(memoryview(content)[at : at + size])
    return walker.finish()


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element in Explicit VR Little Endian; ``length`` is what its header says."""
    length = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT"}:
        return head + struct.pack("<2xI", length) + value
    return head + struct.pack("<H", length) + value


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED])
def test_whole_data_set_is_walked_to_its_end(syntax: str) -> None:
    found = outline(memoryview(encode(sample(), syntax)), syntax, LIMIT)
    assert found.text(0x00080018) == "1.2.3"
    assert found.number(0x00280010) == 4
    assert found.integer(0x00280008, 1) == 3
    assert found.noted == {PIXEL_DATA}
    assert found.pixel_length == 16
    assert 0x00100010 not in found.values


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 11, 12, 13, 64])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED])
def test_pieces_of_any_size_give_the_same_outline(syntax: str, size: int) -> None:
    content = encode(sample(), syntax)
    assert walk_in_pieces(content, syntax, size) == outline(memoryview(content), syntax, LIMIT)


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
        assert found.values.items() <= walked.values.items()
        boundaries.add(length)
    assert len(boundaries) == len(sample())


def test_cut_deflated_data_set_is_noticed() -> None:
    content = encode(sample(), DEFLATED)
    with pytest.raises(CannotUnderstandError, match="cut short"):
        outline(memoryview(content[:-4]), DEFLATED, LIMIT)


@pytest.mark.parametrize("surplus", [1, 9])
def test_padding_after_a_deflated_data_set_is_passed_over(surplus: int) -> None:
    content = encode(sample(), DEFLATED) + bytes(surplus)
    for size in (1, 8, len(content)):
        assert walk_in_pieces(content, DEFLATED, size).pixel_length == 16


def test_bytes_after_a_deflated_data_set_are_refused() -> None:
    content = encode(sample(), DEFLATED) + bytes(10)
    for size in (1, 8, len(content)):
        with pytest.raises(CannotUnderstandError, match="followed by other bytes"):
            walk_in_pieces(content, DEFLATED, size)


def test_damaged_deflated_data_set_is_refused() -> None:
    with pytest.raises(CannotUnderstandError, match="damaged"):
        outline(memoryview(b"\xff" * 64), DEFLATED, LIMIT)


def test_deflated_pixels_have_no_place_in_what_came() -> None:
    found = outline(memoryview(encode(sample(), DEFLATED)), DEFLATED, LIMIT)
    assert (found.pixel_offset, found.pixel_length) == (-1, 16)


def test_deflate_bomb_is_refused_before_it_grows() -> None:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = element(0x00091001, b"OB", b"", LIMIT * 8) + bytes(LIMIT * 8)
    bomb = machine.compress(content) + machine.flush()
    with pytest.raises(OutOfResourcesError, match="larger than"):
        outline(memoryview(bomb), DEFLATED, LIMIT)


def test_millions_of_elements_in_a_few_bytes_are_refused() -> None:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 100_000
    bomb = machine.compress(element(0x00081140, b"SQ", b"", 0xFFFFFFFF))
    bomb += b"".join(machine.compress(items) for _ in range(11)) + machine.flush()
    assert len(bomb) < 1 << 16
    with pytest.raises(OutOfResourcesError, match="elements"):
        outline(memoryview(bomb), DEFLATED, 1 << 30)


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


def test_memory_does_not_grow_with_what_comes() -> None:
    # A value that is wanted but long, a private one of 8 MiB, encapsulated pixels, a bomb.
    long_value = element(0x00080008, b"UT", bytes(VALUE_MAX + 1))
    large = element(0x00091001, b"OB", b"", 8 << 20) + bytes(8 << 20)
    pixels = (
        element(PIXEL_DATA, b"OB", b"", 0xFFFFFFFF)
        + (struct.pack("<HHI", 0xFFFE, 0xE000, 4 << 20) + bytes(4 << 20)) * 2
    )
    content = long_value + large + pixels + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = machine.compress(content) + machine.flush()
    for syntax, stream in ((EXPLICIT, content), (DEFLATED, deflated)):
        view = memoryview(stream)
        walker = Walker(syntax, 64 << 20)
        tracemalloc.start()
        for at in range(0, len(view), 1 << 16):
            walker.feed(view[at : at + (1 << 16)])
        found = walker.finish()
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (found.values, found.pixel_length) == ({}, -1)
        assert peak_bytes < 1 << 20


def test_only_what_is_wanted_is_kept() -> None:
    private = b"".join(
        element(group << 16 | number, b"LO", b"a value ")
        for group in range(0x0009, 0x0400, 2)
        for number in range(8)
    )
    walker = Walker(EXPLICIT, LIMIT)
    walker.feed(memoryview(element(0x00080018, b"UI", b"1.2.3\0") + private))
    assert walker.finish().values == {0x00080018: b"1.2.3\0"}
    # Who the patient is, and texts in which it may be said.
    assert not [tag for tag in WANTED if tag >> 16 == 0x0010]
    assert not WANTED & {0x00080050, 0x00080090, 0x00081030, 0x0008103E, 0x00204000}


@pytest.mark.parametrize("value", [b"\1\2\3", b"\1", b"", b"\1\2"])
def test_wrong_lengths_are_walked_over(value: bytes) -> None:
    content = element(0x00280010, b"US", value) + element(0x00280030, b"DS", b"1\\1")
    found = outline(memoryview(content), EXPLICIT, LIMIT)
    assert found.number(0x00280010) == (0x0201 if len(value) > 1 else 0)
    assert found.text(0x00280030) == "1\\1"


def test_padding_at_the_end_is_an_element() -> None:
    content = encode(sample(), EXPLICIT) + element(0xFFFCFFFC, b"OB", bytes(16))
    assert outline(memoryview(content), EXPLICIT, LIMIT).pixel_length == 16


def test_unknown_vr_of_undefined_length_is_implicit_inside() -> None:
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    inside = struct.pack("<HHI", 0x0008, 0x0100, 4) + b"T-A1"
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + inside
    content = element(0x00091001, b"UN", b"", 0xFFFFFFFF) + item + end
    content += element(0x00280010, b"US", b"\4\0")
    assert outline(memoryview(content), EXPLICIT, LIMIT).number(0x00280010) == 4


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (struct.pack("<HHI", 0x0008, 0x0100, 4) + b"T-A1", "no item"),
        (struct.pack("<HHI", 0xFFFE, 0xE00D, 0), "no item"),
        (struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) * 2, "not in order"),
        (struct.pack("<HHI", 0xFFFE, 0xE000, 4) + b"abc", "cut short"),
        (struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF), "cut short"),
    ],
)
def test_damaged_sequences_are_refused(inside: bytes, words: str) -> None:
    content = element(0x00081140, b"SQ", b"", 0xFFFFFFFF) + inside
    for size in (1, 5, len(content)):
        with pytest.raises(CannotUnderstandError, match=words):
            walk_in_pieces(content, EXPLICIT, size)


def test_text_of_undefined_length_is_refused() -> None:
    content = element(0x00080008, b"UT", b"", 0xFFFFFFFF)
    with pytest.raises(CannotUnderstandError, match="undefined length"):
        outline(memoryview(content), EXPLICIT, LIMIT)


def test_fragments_without_a_length_are_refused() -> None:
    content = element(PIXEL_DATA, b"OB", b"", 0xFFFFFFFF)
    content += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(CannotUnderstandError, match="fragment"):
        outline(memoryview(content), EXPLICIT, LIMIT)


def test_deep_nesting_is_refused() -> None:
    one = struct.pack("<HH2s2xI", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    with pytest.raises(CannotUnderstandError, match="deep"):
        outline(memoryview(one * 10_000), EXPLICIT, LIMIT)


def test_deep_nesting_that_was_passed_over_is_refused_when_it_is_read(tmp_path: Path) -> None:
    one = element(0x00081140, b"SQ", b"", 0xFFFFFFFF)
    one += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    inside = one * 10_000 + ends * 10_000
    inside = struct.pack("<HHI", 0xFFFE, 0xE000, len(inside)) + inside
    path = store(make_slice(np.zeros((2, 2), np.int16), (0, 0, 0)), tmp_path)
    content = path.read_bytes()
    pixels_at = content.rindex(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    groups = element(0x52009230, b"SQ", inside)
    path.write_bytes(content[:pixels_at] + groups + content[pixels_at:])
    with pytest.raises(CannotUnderstandError, match="RecursionError"):
        read_slice(path)


@pytest.mark.parametrize(
    "junk",
    [
        b"this is a text file and no data set at all, whatever its name says",
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        struct.pack("<HH2sH", 0x0002, 0x0010, b"UI", 0),
        struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", 0) * 2,
        struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", 400) + b"short",
        struct.pack("<HH2sH", 0xFFFE, 0xE000, b"PN", 0),
        struct.pack("<HH2sH", 0xFFFF, 0x0010, b"PN", 0),
        struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", 0) + b"\x10\0",
    ],
    ids=[
        *("text", "png", "file meta", "twice the same tag", "lying length", "item", "no group"),
        "half a header",
    ],
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
