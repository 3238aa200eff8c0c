"""Exports as a whole: what links, what is refused, what stays the same."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from secondread.deid.export import Export, export
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.options import BASIC, RESEARCH
from secondread.deid.profile.pixels import Region
from secondread.deid.profile.risks import Overrides
from secondread.errors import CannotUnderstandError, ExportRefusedError

KEY, OTHER_KEY = ProjectKey("one", b"1" * 32), ProjectKey("two", b"2" * 32)
KEPT = (
    "Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelSpacing SliceThickness "
    "ImagePositionPatient ImageOrientationPatient RescaleSlope RescaleIntercept KVP ImageType "
    "PatientPosition ConvolutionKernel Modality SOPClassUID InstanceNumber"
).split()


def make_slice(number=1, patient="P1", study="1.2.3", date="20240301", **changes):
    """A chest slice of 16 by 16 with a reference to the one before."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID = f"Doe^{patient}", patient
    dataset.PatientAge, dataset.PatientSex = "093Y", "F"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
    dataset.SOPInstanceUID, dataset.FrameOfReferenceUID = f"{study}.1.{number}", f"{study}.9"
    dataset.StudyDate, dataset.StudyTime, dataset.ContentDate = date, "101112", date
    dataset.StudyDescription, dataset.BodyPartExamined = "CT Thorax of Mrs Doe", "CHEST"
    dataset.PatientPosition, dataset.KVP, dataset.ConvolutionKernel = "HFS", "120", "B30f"
    dataset.InstanceNumber, dataset.SliceThickness = number, "2.5"
    dataset.PixelSpacing = ["0.5", "0.5"]
    dataset.ImagePositionPatient = ["-4", "-4", str(number)]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope = "-1024", "1"
    reference = Dataset()
    reference.ReferencedSOPClassUID = CTImageStorage
    reference.ReferencedSOPInstanceUID = f"{study}.1.{number - 1}"
    dataset.ReferencedImageSequence = [reference]
    dataset.add_new("PixelData", "OW", (np.arange(256, dtype="<i2") * number).tobytes())
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset, path, syntax=ExplicitVRLittleEndian):
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)
    return path


def run(tmp_path, *datasets, profile=BASIC, key=KEY, name="out", **more):
    """(the data sets that were written, in the order of their instance numbers; the manifest)."""
    (tmp_path / f"{name}-source").mkdir()
    paths = [
        save(dataset, tmp_path / f"{name}-source" / f"{number}.dcm")
        for number, dataset in enumerate(datasets)
    ]
    manifest = export(Export(paths, tmp_path / name, profile, key, **more))
    written = [pydicom.dcmread(path) for path in (tmp_path / name).rglob("*.dcm")]
    return sorted(written, key=lambda each: int(each.InstanceNumber)), manifest


def test_geometry_acquisition_and_pixels_stay(tmp_path):
    before = make_slice(3)
    (after,), _ = run(tmp_path, before)
    for keyword in KEPT:
        assert after[keyword].value == before[keyword].value, keyword
    assert after.PixelData == before.PixelData


def test_references_and_series_hold_together(tmp_path):
    (first, second), _ = run(tmp_path, make_slice(1), make_slice(2))
    assert second.ReferencedImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != "1.2.3.1"
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID


def test_an_object_says_what_was_done_to_it(tmp_path):
    (after,), _ = run(tmp_path, make_slice(), profile=RESEARCH)
    assert after.PatientIdentityRemoved == "YES"
    assert after.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [item.CodeValue for item in after.DeidentificationMethodCodeSequence]
    assert codes == [value for value, _ in RESEARCH.codes()]
    assert after.StudyDescription == "CT Thorax of"
    assert (after.PatientAge, after.PatientSex) == ("090Y", "F")


def test_intervals_stay_and_dates_do_not(tmp_path):
    slices = [make_slice(1, study="1.2.3"), make_slice(2, study="1.2.4", date="20240415")]
    (first, second), _ = run(tmp_path, *slices, profile=RESEARCH)
    assert first.StudyDate != "20240301"
    before = np.datetime64("2024-04-15") - np.datetime64("2024-03-01")
    moved = [
        np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:]}") for d in (first.StudyDate, second.StudyDate)
    ]
    assert moved[1] - moved[0] == before
    assert first.StudyTime == "101112"
    assert first.PatientID == second.PatientID


def test_two_exports_with_one_key_link_and_with_two_do_not(tmp_path):
    (one,), _ = run(tmp_path, make_slice(1), name="a", profile=RESEARCH)
    (same,), _ = run(tmp_path, make_slice(2), name="b", profile=RESEARCH)
    (other,), _ = run(tmp_path, make_slice(1), name="c", profile=RESEARCH, key=OTHER_KEY)
    for keyword in ("PatientID", "StudyInstanceUID", "StudyDate"):
        assert one[keyword].value == same[keyword].value != other[keyword].value, keyword


def test_two_patients_are_two_people_whatever_else_is_equal(tmp_path):
    first, second = make_slice(1), make_slice(2, patient="P2")
    third = make_slice(3)
    third.IssuerOfPatientID = "Elsewhere"
    written, _ = run(tmp_path, first, second, third)
    assert len({each.PatientID for each in written}) == 3


def test_without_a_patient_id_two_studies_are_two_people(tmp_path):
    nobody = {"patient": "", "PatientName": ""}
    written, _ = run(tmp_path, make_slice(1, **nobody), make_slice(2, study="1.2.4", **nobody))
    assert len({each.PatientID for each in written}) == 2


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_transfer_syntaxes_give_the_same(tmp_path, syntax):
    plain, other = save(make_slice(), tmp_path / "a"), save(make_slice(), tmp_path / "b", syntax)
    for name, path in (("x", plain), ("y", other)):
        export(Export([path], tmp_path / name, RESEARCH, KEY))
    one, two = (next((tmp_path / name).rglob("*.dcm")).read_bytes() for name in "xy")
    assert one == two


def test_compressed_pixels_stay_as_they_are(tmp_path):
    before = make_slice()
    before.file_meta = FileMetaDataset()
    before.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    before.compress(RLELossless, generate_instance_uid=False)
    path = save(before, tmp_path / "rle.dcm", RLELossless)
    export(Export([path], tmp_path / "out", BASIC, KEY))
    after = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    assert after.file_meta.TransferSyntaxUID == RLELossless
    assert np.array_equal(after.pixel_array, make_slice_pixels())


def make_slice_pixels():
    return np.arange(256, dtype="<i2").reshape(16, 16)


def secondary(**changes):
    """A secondary capture that says nothing of burned-in text."""
    return make_slice(SOPClassUID=SecondaryCaptureImageStorage, Modality="OT", **changes)


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (make_slice(BurnedInAnnotation="YES"), "burned into its pixels"),
        (secondary(), "does not say that it has none"),
        (make_slice(ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"]), "does not say that it has"),
        (make_slice(BodyPartExamined="HEAD"), "shows a head"),
        (make_slice(BodyPartExamined="", SeriesDescription="T1 brain"), "shows a head"),
        (make_slice(BodyPartExamined="", StudyDescription="Routine"), "may be a head"),
        (make_slice(SOPClassUID="1.2.840.10008.5.1.4.1.1.66"), "are not exported"),
        (make_slice(SOPClassUID="1.3.12.2.1107.5.9.1"), "are not exported"),
        (make_slice(SOPClassUID="1.2.840.10008.5.1.4.1.1.9.1.1"), "are not exported"),
    ],
)
def test_an_object_that_may_tell_is_refused_and_nothing_is_written(tmp_path, dataset, sentence):
    with pytest.raises(ExportRefusedError, match=sentence) as refused:
        run(tmp_path, make_slice(2), dataset)
    assert "Doe" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["out-source"]


@pytest.mark.parametrize(
    "dataset",
    [
        secondary(BurnedInAnnotation="NO"),
        make_slice(BodyPartExamined="HEAD", RecognizableVisualFeatures="NO"),
        make_slice(BodyPartExamined="KNEE"),
    ],
)
def test_what_is_known_to_tell_nothing_goes(tmp_path, dataset):
    written, _ = run(tmp_path, dataset)
    assert len(written) == 1


def test_an_override_is_on_the_record(tmp_path):
    overrides = Overrides(faces="A phantom.", burned_in="Looked at each of them.")
    datasets = make_slice(1, BodyPartExamined="HEAD"), make_slice(2, BurnedInAnnotation="YES")
    _, manifest = run(tmp_path, *datasets, overrides=overrides)
    assert manifest.overrides == {
        "faces": {"reason": "A phantom.", "objects": 1},
        "burned_in": {"reason": "Looked at each of them.", "objects": 1},
    }


def test_an_override_does_not_cover_what_never_goes(tmp_path):
    overrides = Overrides(faces="x", burned_in="x")
    raw = make_slice(SOPClassUID="1.2.840.10008.5.1.4.1.1.66")
    with pytest.raises(ExportRefusedError):
        run(tmp_path, raw, overrides=overrides)


REGION = Region("CT", ".*", ".*", "AXIAL", 16, 16, ((4, 0, 8, 2),))


@pytest.mark.parametrize("is_compressed", [False, True])
def test_known_text_is_blanked_and_then_the_object_may_go(tmp_path, is_compressed):
    dataset = make_slice(BurnedInAnnotation="YES", Manufacturer="X", ManufacturerModelName="Y")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = tmp_path / "source.dcm"
    if is_compressed:
        dataset.compress(RLELossless, generate_instance_uid=False)
        save(dataset, path, RLELossless)
    else:
        save(dataset, path)
    cleaning = replace(BASIC, clean_pixels=True)
    manifest = export(Export([path], tmp_path / "out", cleaning, KEY, regions=(REGION,)))
    after = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    expected = make_slice_pixels().copy()
    expected[0:2, 4:12] = -32768
    assert np.array_equal(after.pixel_array, expected)
    assert after.BurnedInAnnotation == "NO"
    assert manifest.blanked == 1
    with pytest.raises(ExportRefusedError):
        export(Export([path], tmp_path / "basic", BASIC, KEY, regions=(REGION,)))


def test_the_manifest_names_attributes_and_never_values(tmp_path):
    dataset = make_slice()
    block = dataset.private_block(0x0009, "DOE HOSPITAL", create=True)
    block.add_new(0x01, "LO", "Doe")
    run(tmp_path, dataset)
    text = (tmp_path / "out" / "manifest.json").read_text()
    manifest = json.loads(text)
    done = {entry["path"]: entry["done"] for entry in manifest["attributes"]}
    assert done["00100010"] == "pseudonym"
    assert done["00081140.00081155"] == "UID replaced"
    assert done["00091001"] == "removed"
    assert manifest["objects"] == 1
    assert not [word for word in ("Doe", "DOE", "1.2.3", "P1", "2024") if f'"{word}' in text]
    assert "DOE HOSPITAL" not in text


def test_safe_private_numbers_stay_under_their_option(tmp_path):
    dataset = make_slice()
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "800")
    block.add_new(0x0D, "CS", "DOE")
    block.add_new(0x0E, "FD", [0.5, 0.5, 0.7])
    other = dataset.private_block(0x0019, "DOE", create=True)
    other.add_new(0x0C, "IS", "5")
    (after,), _ = run(tmp_path, dataset, profile=replace(BASIC, retain_safe_private=True))
    kept = [element.tag for element in after if element.tag.is_private]
    assert kept == [0x00190010, 0x0019100C, 0x0019100E]
    assert after[0x0019100C].value == 800


def test_progress_is_told_after_each_object(tmp_path):
    told = []
    run(tmp_path, make_slice(1), make_slice(2), progress=lambda *at: told.append(at))
    assert told == [(1, 2), (2, 2)]


def test_a_folder_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="name a new one"):
        run(tmp_path, make_slice())


@pytest.mark.parametrize("length", [0, 100, 200, 400, 700])
def test_half_a_file_is_an_error_and_leaves_nothing(tmp_path, length):
    content = io.BytesIO()
    save(make_slice(), content)
    path = tmp_path / "half.dcm"
    path.write_bytes(content.getvalue()[:length])
    with pytest.raises((CannotUnderstandError, ExportRefusedError)):
        export(Export([path], tmp_path / "out", BASIC, KEY))
    assert [each.name for each in tmp_path.iterdir()] == ["half.dcm"]


def test_a_transfer_syntax_that_nobody_knows_is_refused_without_a_word_of_it(tmp_path):
    path = save(make_slice(), tmp_path / "a.dcm")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.SMITH.1.2.1\0", 1))
    with pytest.raises(ExportRefusedError, match="does not know") as refused:
        export(Export([path], tmp_path / "out", BASIC, KEY))
    assert "SMITH" not in str(refused.value)


def test_the_same_object_twice_is_refused(tmp_path):
    with pytest.raises(ExportRefusedError, match="same SOP Instance UID"):
        run(tmp_path, make_slice(1), make_slice(1))
    assert not (tmp_path / "out").exists()


def test_an_export_done_again_gives_the_same_bytes(tmp_path):
    paths = [save(make_slice(), tmp_path / "a.dcm")]
    for name in "xy":
        export(Export(paths, tmp_path / name, RESEARCH, KEY))
    one, two = (
        {
            p.relative_to(tmp_path / name): p.read_bytes()
            for p in (tmp_path / name).rglob("*.*")
            if p.is_file()
        }
        for name in "xy"
    )
    assert one == two
