"""Look-up tables and other bulk numbers: real ones stay, and no text hides among them."""

from __future__ import annotations

import struct

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from secondread.deid.export import Export, export
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.number_tables import is_number_table
from secondread.deid.profile.options import BASIC, RESEARCH
from secondread.errors import ExportRefusedError
from tests.unit.test_deid_profile_export import make_slice, save

LUT, LUT_DESCRIPTOR, RED, RED_DESCRIPTOR = 0x00283006, 0x00283002, 0x00281201, 0x00281101
SEGMENTED_RED, GRID, SPECTRA = 0x00281221, 0x00640009, 0x56000020
TEXT = b"SMITH^JOHN 1970 "


def descriptor(entries: int, bits: int) -> bytes:
    return struct.pack("<3H", entries % 65536, 0, bits)


def words(entries: object) -> bytes:
    return np.asarray(entries, "<u2").tobytes()


def keeps(value: bytes, entries: int, bits: int) -> bool:
    return is_number_table(LUT, value, {LUT_DESCRIPTOR: descriptor(entries, bits)})


STEPS = np.linspace(0.0, 1.0, 256)
EIGHT_BITS = {
    "grey": STEPS,
    "gamma": STEPS**2.2,
    "inverse gamma": STEPS**0.45,
    "inverse": 1 - STEPS,
    "sigmoid": 1 / (1 + np.exp(-12 * (STEPS - 0.5))),
    "hot red": np.clip(STEPS * 8 / 3, 0, 1),
    "hot blue": np.clip(STEPS * 4 - 3, 0, 1),
    "jet": np.clip(1.5 - np.abs(4 * STEPS - 2), 0, 1),
    "sine": (1 + np.sin(9 * STEPS)) / 2,
    "plateaus": np.floor(STEPS * 15.99) / 15,
}


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_the_usual_tables_stay_however_they_are_written(name: str) -> None:
    octets = np.round(EIGHT_BITS[name] * 255).astype(np.uint8)
    assert keeps(octets.tobytes(), 256, 8)
    assert keeps(words(octets), 256, 8)
    assert keeps(words(octets * np.uint16(256)), 256, 16)
    assert keeps(words(octets * np.uint16(257)), 256, 16)
    assert keeps(words(np.round(EIGHT_BITS[name] * 65535)), 256, 16)


@pytest.mark.parametrize("entries", [1024, 4096, 65536])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_long_tables_stay(entries: int, bits: int) -> None:
    steps = np.linspace(0.0, 1.0, entries)
    for curve in (steps, steps**1.7, 1 / (1 + np.exp(-10 * (steps - 0.5)))):
        assert keeps(words(np.round(curve * ((1 << bits) - 1))), entries, bits)


@pytest.mark.parametrize(
    ("hide", "entries", "bits"),
    [
        (lambda table: TEXT + table[16:], 256, 16),
        (lambda table: table[:101] + TEXT + table[117:], 256, 16),
        (lambda table: table[:200] + words(list(TEXT)) + table[232:], 256, 16),
        (lambda table: table[:199] + words(list(TEXT)) + table[231:], 256, 16),
        (lambda table: words(list(TEXT) * 16), 256, 8),
        (lambda table: words([letter << 8 for letter in TEXT] * 16), 256, 16),
        (lambda table: words([letter * 257 for letter in TEXT] * 16), 256, 16),
        (lambda table: table[:128] + TEXT + table[144:256], 256, 8),
        (lambda table: table + TEXT, 256, 16),
        (lambda table: table[:-2], 256, 16),
        (lambda table: table, 256, 10),
        (lambda table: table, 256, 7),
        (lambda table: TEXT[:6], 0, 16),
        (lambda table: bytes(255) + b"!", 255, 8),
    ],
)
def test_a_text_in_a_table_or_a_table_that_does_not_fit_goes(hide, entries, bits) -> None:
    assert not keeps(hide(words(np.arange(256) * 257)), entries, bits)


def test_a_table_without_its_descriptor_goes() -> None:
    assert not is_number_table(LUT, bytes(512), {})
    assert not is_number_table(LUT, bytes(512), {LUT_DESCRIPTOR: b"\0\1"})


def segmented(value: bytes, entries: int, bits: int = 16) -> bool:
    return is_number_table(SEGMENTED_RED, value, {RED_DESCRIPTOR: descriptor(entries, bits)})


def test_segments_are_counted_out() -> None:
    sound = words([0, 2, 0, 300, 1, 254, 65535])
    assert segmented(sound, 256)
    assert segmented(bytes([0, 1, 7, 1, 255, 200]), 256, 8)
    assert not segmented(sound, 255)
    assert not segmented(sound, 256, 12)
    assert not segmented(words([0, 16, 7]), 16)
    assert not segmented(words([2, 1, 0, 0]), 256)
    assert not segmented(b"", 256)
    assert not segmented(words([0, 8]) + TEXT, 8)
    assert not segmented(bytes([0, 16]) + TEXT, 16, 8)


def test_grids_and_spectra_are_as_long_as_they_say() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(0, 30, (20, 30, 40, 3)).astype("<f4").tobytes()
    beside = {0x00640007: struct.pack("<3I", 40, 30, 20)}
    assert is_number_table(GRID, vectors, beside)
    assert not is_number_table(GRID, vectors[:-4], beside)
    assert not is_number_table(GRID, TEXT * 2 + vectors[32:], beside)
    assert not is_number_table(GRID, vectors[:-4] + struct.pack("<f", np.nan), beside)
    assert not is_number_table(GRID, vectors, {})
    points = {
        0x00280010: struct.pack("<H", 4),
        0x00280011: struct.pack("<H", 4),
        0x00289001: struct.pack("<I", 1),
        0x00289002: struct.pack("<I", 512),
        0x00289108: b"COMPLEX ",
    }
    spectra = rng.normal(0, 1e5, 2 * 16 * 512).astype("<f4").tobytes()
    assert is_number_table(SPECTRA, spectra, points)
    assert not is_number_table(SPECTRA, spectra, points | {0x00289108: b"REAL"})
    assert not is_number_table(SPECTRA, spectra, points | {0x00280008: b"x"})


def with_table(value: bytes, keyword: str = "VOILUTSequence") -> Dataset:
    dataset, item = make_slice(), Dataset()
    item.LUTDescriptor, item.LUTData = [256, 0, 16], value
    item["LUTData"].VR = "OW"
    if keyword == "ModalityLUTSequence":
        del dataset.RescaleIntercept, dataset.RescaleSlope
        item.ModalityLUTType = "HU"
    setattr(dataset, keyword, [item])
    return dataset


def send(tmp_path, dataset, profile=BASIC, syntax=ExplicitVRLittleEndian) -> bytes:
    save(dataset, tmp_path / "source.dcm", syntax)
    export(Export([tmp_path / "source.dcm"], tmp_path / "out", profile, ProjectKey("a", b"1" * 32)))
    return next((tmp_path / "out").rglob("*.dcm")).read_bytes()


RAMP = words(np.arange(256) * 257)
HIDDEN = words(np.arange(64)) + TEXT + words(np.arange(184))


@pytest.mark.parametrize("profile", [BASIC, RESEARCH], ids=lambda each: each.name)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_display_table_stays_or_goes_with_its_item(tmp_path, profile, syntax) -> None:
    (tmp_path / "sound").mkdir()
    assert RAMP in send(tmp_path / "sound", with_table(RAMP), profile, syntax)
    left = send(tmp_path, with_table(HIDDEN), profile, syntax)
    assert b"SMITH" not in left
    after = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    assert "VOILUTSequence" not in after


def test_an_object_that_means_nothing_without_its_table_is_refused(tmp_path) -> None:
    (tmp_path / "sound").mkdir()
    assert RAMP in send(tmp_path / "sound", with_table(RAMP, "ModalityLUTSequence"))
    with pytest.raises(ExportRefusedError, match="1 because the look-up table of its pixels"):
        send(tmp_path, with_table(HIDDEN, "ModalityLUTSequence"))
    assert not (tmp_path / "out").exists()


def test_a_palette_is_looked_at_for_each_object_with_its_own_descriptor(tmp_path) -> None:
    paths = []
    for number, entries in enumerate((256, 128), start=1):
        dataset = make_slice(number)
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for colour in ("Red", "Green", "Blue"):
            name = f"{colour}PaletteColorLookupTable"
            setattr(dataset, f"{name}Descriptor", [entries, 0, 16])
            setattr(dataset, f"{name}Data", RAMP)
        paths.append(tmp_path / f"{number}.dcm")
        save(dataset, paths[-1])
    key = ProjectKey("a", b"1" * 32)
    export(Export(paths[:1], tmp_path / "sound", BASIC, key))
    with pytest.raises(ExportRefusedError, match="1 because the look-up table of its pixels"):
        export(Export(paths, tmp_path / "out", BASIC, key))
