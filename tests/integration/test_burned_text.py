"""Text burned into pixels is found by Tesseract and goes; what is no text stays to the bit."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

from secondread.deid.export import Export, export
from secondread.deid.profile import burned_text
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.options import BASIC
from secondread.deid.profile.risks import Overrides
from secondread.errors import ExportRefusedError, UsageError

KEY = ProjectKey("one", b"1" * 32)
LINES = ("Zimmermann, Friederike", "geb. 12.07.1953", "ID 84710926")
CLEANING = replace(BASIC, clean_pixels=True, find_text=True)
ALLOWED = Overrides(burned_in="A person has looked at it.")


@pytest.fixture(autouse=True)
def tesseract(installed_program):
    """The program, or a skip that names its package."""
    return installed_program("tesseract", "tesseract-ocr")


def draw(rows, columns, size_px):
    """What is ink of the lines, as ``(row, column)`` booleans."""
    page = Image.new("L", (columns, rows))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size_px)
    for number, line in enumerate(LINES):
        pen.text((12, 10 + number * (size_px + 6)), line, fill=255, font=font)
    return np.asarray(page)


def capture(kind, size_px=16):
    """A secondary capture with smooth anatomy in its lower half and the lines in its upper."""
    rows, columns = 256, 320
    ink = draw(rows, columns, size_px)
    row, column = np.mgrid[:rows, :columns]
    body = 90 * np.exp(-(((row - 190) / 40) ** 2 + ((column - 160) / 90) ** 2))
    grey = np.maximum(body, ink).astype(np.uint8)
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = SecondaryCaptureImageStorage, "OT"
    dataset.PatientName, dataset.PatientID = "Zimmermann^Friederike", "84710926"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    dataset.SOPInstanceUID, dataset.BurnedInAnnotation = "1.2.3.1.1", "YES"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.PixelRepresentation = 0
    if kind == "colour":
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration = 0
        pixels = np.stack([grey, grey, np.where(ink > 0, 40, grey).astype(np.uint8)], axis=-1)
    elif kind == "signed 16 bits":
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.PixelRepresentation = 1
        pixels = grey.astype("<i2") * 12 - 1000
    elif kind == "black on white":
        dataset.PhotometricInterpretation = "MONOCHROME1"
        pixels = grey
    else:
        pixels = grey
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    return dataset, pixels, ink > 0


def save(dataset, path):
    if "file_meta" not in dataset.__dict__:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def exported(folder):
    return pydicom.dcmread(next(folder.rglob("*.dcm")))


@pytest.mark.parametrize("kind", ["grey", "colour", "signed 16 bits", "black on white"])
def test_what_can_be_read_is_blanked_and_the_rest_stays(tmp_path, kind):
    dataset, before, ink = capture(kind)
    source = save(dataset, tmp_path / "source.dcm")
    manifest = export(Export([source], tmp_path / "out", CLEANING, KEY, ALLOWED))
    after = exported(tmp_path / "out")
    changed = after.pixel_array != before
    changed = changed.any(axis=-1) if changed.ndim == 3 else changed
    # Black on black does not change: under MONOCHROME1 that is the brightest value.
    black = {"black on white": 255, "signed 16 bits": -32768}.get(kind, 0)
    gone = after.pixel_array == black
    gone = gone.all(axis=-1) if gone.ndim == 3 else gone
    assert gone[ink].mean() > 0.99
    assert not changed[110:].any()
    # Said is what was looked for, and nothing is claimed about what was not found.
    assert (manifest.searched, manifest.blanked) == (1, 0)
    assert manifest.found >= len(LINES)
    assert after.BurnedInAnnotation == "YES"
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert told["words_found_and_blanked"] == manifest.found


def test_compressed_pixels_are_looked_at_too(tmp_path):
    dataset, _, ink = capture("grey")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.compress(RLELossless, generate_instance_uid=False)
    source = save(dataset, tmp_path / "source.dcm")
    export(Export([source], tmp_path / "out", CLEANING, KEY, ALLOWED))
    assert (exported(tmp_path / "out").pixel_array[ink] == 0).mean() > 0.99


def test_what_was_found_takes_nothing_away_from_the_refusal(tmp_path):
    source = save(capture("grey")[0], tmp_path / "source.dcm")
    with pytest.raises(ExportRefusedError, match="burned into its pixels"):
        export(Export([source], tmp_path / "out", CLEANING, KEY))
    assert not (tmp_path / "out").exists()


def test_without_the_option_nothing_is_looked_at(tmp_path):
    dataset, before, _ = capture("grey")
    source = save(dataset, tmp_path / "source.dcm")
    manifest = export(
        Export([source], tmp_path / "out", replace(BASIC, clean_pixels=True), KEY, ALLOWED)
    )
    assert np.array_equal(exported(tmp_path / "out").pixel_array, before)
    assert (manifest.searched, manifest.found) == (0, 0)


def test_no_pixels_go_into_a_temporary_file(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir()
    monkeypatch.setenv("TMPDIR", str(closed))
    closed.chmod(0o500)
    source = save(capture("grey")[0], tmp_path / "source.dcm")
    manifest = export(Export([source], tmp_path / "out", CLEANING, KEY, ALLOWED))
    assert manifest.found >= len(LINES)
    assert list(closed.iterdir()) == []


def test_without_the_program_it_says_which_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    source = save(capture("grey")[0], tmp_path / "source.dcm")
    with pytest.raises(UsageError, match="install the package tesseract-ocr"):
        export(Export([source], tmp_path / "out", CLEANING, KEY, ALLOWED))
    assert not (tmp_path / "out").exists()


def test_a_program_that_fails_is_a_refusal(tmp_path, monkeypatch):
    program = tmp_path / "bin" / burned_text.PROGRAM
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    source = save(capture("grey")[0], tmp_path / "source.dcm")
    with pytest.raises(ExportRefusedError, match="nobody knows"):
        export(Export([source], tmp_path / "out", CLEANING, KEY, ALLOWED))
    assert not (tmp_path / "out").exists()


def test_screens_that_a_scanner_sent_along(tmp_path, shared_data):
    """A rule leaves the titles of a real summary; with the option, hardly a word is left."""
    found = []
    for path in sorted(shared_data("ct_head_phantom_gantry_tilt").rglob("*")):
        if path.is_file() and path.name != "DICOMDIR":
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            if "PATIENT_INFO" in header.get("ImageType", ()):
                found.append(path)
    assert found
    manifest = export(
        Export(found[:1], tmp_path / "out", CLEANING, KEY, replace(ALLOWED, faces="A phantom."))
    )
    after = exported(tmp_path / "out")
    assert manifest.found > 10
    shape = burned_text.PixelShape(
        rows=after.Rows,
        columns=after.Columns,
        samples=after.SamplesPerPixel,
        frames=1,
        bits=after.BitsAllocated,
        bits_stored=after.BitsStored,
        is_signed=bool(after.PixelRepresentation),
        is_planar=bool(after.get("PlanarConfiguration", 0)),
        photometric=after.PhotometricInterpretation,
    )
    content = io.BytesIO(after.PixelData).getvalue()
    assert len(burned_text.find_text(content, shape)) <= manifest.found // 10
