"""Data sets of messages: as pydicom writes them, as nobody should write them, and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from secondread.dicom.messages import (
    ITEMS_MAX,
    MESSAGE_SYNTAXES,
    is_uid,
    read_message,
    write_message,
)
from secondread.errors import CannotUnderstandError
from tests.service_cases import EXPLICIT_LITTLE, dataset_of, decoded, encoded

REFERENCED, CLASS, INSTANCE = 0x00081199, 0x00081150, 0x00081155
TRANSACTION, NAME = 0x00081195, 0x00100010


def reference(number: int) -> Dataset:
    return dataset_of(ReferencedSOPClassUID="1.2.840", ReferencedSOPInstanceUID=f"1.2.{number}")


def action(*, undefined: bool) -> Dataset:
    """A commitment request, with other sequences and text around what is wanted."""
    items = [reference(number) for number in range(3)]
    for item in items:
        item.is_undefined_length_sequence_item = undefined
    inner = dataset_of(PurposeOfReferenceCodeSequence=[dataset_of(CodeValue="121")])
    dataset = dataset_of(
        SpecificCharacterSet="ISO_IR 100",
        TransactionUID="1.2.99",
        ReferencedSOPSequence=Sequence(items),
        ReferencedImageSequence=[inner],
        PatientName="Müller^Jörg",
        PixelData=b"\0" * 10,
    )
    dataset["PixelData"].VR = "OB"
    dataset["ReferencedSOPSequence"].is_undefined_length = undefined
    dataset["ReferencedImageSequence"].is_undefined_length = undefined
    return dataset


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", MESSAGE_SYNTAXES)
def test_what_pydicom_writes_is_read(syntax: str, undefined: bool) -> None:
    content = read_message(encoded(action(undefined=undefined), syntax), syntax, {REFERENCED})
    assert content.text(TRANSACTION) == "1.2.99"
    assert content.text(NAME) == "Müller^Jörg"
    assert [item.text(INSTANCE) for item in content.items(REFERENCED)] == [
        "1.2.0",
        "1.2.1",
        "1.2.2",
    ]
    assert set(content.sequences) == {REFERENCED}
    assert content.items(0x0008114A) == ()


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", MESSAGE_SYNTAXES)
def test_data_set_cut_short_anywhere_is_an_error_or_a_shorter_data_set(
    syntax: str, undefined: bool
) -> None:
    data = encoded(action(undefined=undefined), syntax)
    refused = 0
    for end in range(len(data)):
        try:
            read_message(data[:end], syntax, {REFERENCED})
        except CannotUnderstandError:
            refused += 1
    # Only between two elements of the top level does a cut leave a data set.
    assert refused >= len(data) - 6


@pytest.mark.parametrize("syntax", MESSAGE_SYNTAXES)
def test_what_is_written_pydicom_reads(syntax: str) -> None:
    items = [((CLASS, "UI", "1.2.840"), (INSTANCE, "UI", f"1.2.{n}")) for n in range(3)]
    elements = (
        (0x00080052, "CS", "STUDY"),
        (0x00081195, "UI", "1.2.3"),
        (0x00081197, "US", 0x0112),
        (REFERENCED, "SQ", items),
        (0x00201208, "IS", "7"),
    )
    content = write_message(elements, syntax)
    found = decoded(content, syntax)
    assert (found.QueryRetrieveLevel, found.TransactionUID) == ("STUDY", "1.2.3")
    assert found.FailureReason == 0x0112
    assert found.NumberOfStudyRelatedInstances == 7
    assert [item.ReferencedSOPInstanceUID for item in found.ReferencedSOPSequence] == [
        "1.2.0",
        "1.2.1",
        "1.2.2",
    ]
    assert len(content) % 2 == 0
    back = read_message(content, syntax, {REFERENCED})
    assert [item.text(INSTANCE) for item in back.items(REFERENCED)] == ["1.2.0", "1.2.1", "1.2.2"]


@pytest.mark.parametrize("depth", [33, 10_000])
@pytest.mark.parametrize("hidden", [False, True])
def test_nesting_is_bounded(depth: int, hidden: bool) -> None:
    start = struct.pack("<HH2sHI", 0x0008, 0x1199, b"SQ", 0, 0xFFFFFFFF)
    data = (start + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)) * depth
    if hidden:  # within a sequence that says how long it is
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data
        data = struct.pack("<HH2sHI", 0x0008, 0x1199, b"SQ", 0, len(item)) + item
    with pytest.raises(CannotUnderstandError, match="more than 32 deep"):
        read_message(data, EXPLICIT_LITTLE, {REFERENCED})


def test_number_of_items_is_bounded() -> None:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    content = item * (ITEMS_MAX + 1)
    data = struct.pack("<HH2sHI", 0x0008, 0x1199, b"SQ", 0, len(content)) + content
    with pytest.raises(CannotUnderstandError, match="100000 items"):
        read_message(data, EXPLICIT_LITTLE, {REFERENCED})


def test_length_that_lies_is_refused() -> None:
    for length in (100, 0xFFFFFFFE, 0xFFFFFFFF):
        data = struct.pack("<HH2sHI", 0x0008, 0x1195, b"UT", 0, length) + b"1.2."
        with pytest.raises(CannotUnderstandError):
            read_message(data, EXPLICIT_LITTLE, {REFERENCED})


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(MESSAGE_SYNTAXES))
def test_any_bytes_are_read_or_not_understood(data: bytes, syntax: str) -> None:
    try:
        read_message(data, syntax, {REFERENCED, 0, 0x00080008})
    except CannotUnderstandError as error:
        assert str(error).endswith(".")


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(MESSAGE_SYNTAXES), st.booleans())
def test_damaged_data_sets_are_read_or_not_understood(
    data: st.DataObject, syntax: str, undefined: bool
) -> None:
    content = bytearray(encoded(action(undefined=undefined), syntax))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_message(bytes(content), syntax, {REFERENCED})
    except CannotUnderstandError as error:
        assert str(error).endswith(".")


@pytest.mark.parametrize(
    ("value", "sound"),
    [
        ("1.2.840.10008", True),
        ("1", True),
        ("", False),
        ("1." * 32 + "1", False),
        ("1.2.*", False),
        ("1.2.", False),
        ("../../etc/passwd", False),
        ("1.2\n", False),
    ],
)
def test_uid_is_digits_and_dots(value: str, sound: bool) -> None:
    assert is_uid(value) is sound
