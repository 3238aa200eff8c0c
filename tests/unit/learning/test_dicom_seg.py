"""DICOM series with their Segmentations, read as cases that NIfTI files of the same would give."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK

from secondread.domain.form import SegmentationKind
from secondread.errors import DataError
from secondread.learning import leaks
from secondread.learning.case import Case
from secondread.learning.readers import nifti
from secondread.learning.readers.dicom_labels import LabelTable
from secondread.learning.readers.dicom_seg import DicomLayout, find_cases, load_case, read_key
from tests import segmentation_cases
from tests.result_cases import LABELS, make_case

KEY = b"a key that nobody but the site has"
LAYOUT = DicomLayout("dicom", key=KEY)
TABLE = LabelTable(
    (
        ("SCT:5366008 left",),
        ("SCT:5366008 right",),
        ("SCT:119238007", "SCT:119406000 left"),
    )
)
# What the recipe's table makes of the answer's structures.
MERGED = {1: 1, 2: 2, 3: 3, 4: 0, 5: 3}


def write_case(
    data: Path, name: str = "one", plane: str = "axial", kind=SegmentationKind.BINARY, **fields: str
):
    """A series and its segmentation in one folder; gives what went into them."""
    folder = data / "dicom" / name
    made = make_case(folder, plane, **fields)
    (document,) = segmentation_cases.make(made, kind)
    shutil.move(segmentation_cases.written(document, data), folder / "seg.dcm")
    return made


def as_nifti(folder: Path, made) -> nifti.Loaded:
    """The same case from NIfTI files: (column, row, slice), to RAS."""
    volume = made.context.volume
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine_lps[:, [2, 1, 0, 3]]
    labels = np.array([0, *(MERGED[n] for n in range(1, 6))], np.uint8)[made.labels]
    paths = []
    for name, values in (("image", volume.voxels), ("labels", labels)):
        paths.append(folder / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), affine), paths[-1])
    return nifti.load_case(Case("same", "same", paths[0], paths[1], None, {}))


@pytest.mark.parametrize("kind", [SegmentationKind.BINARY, SegmentationKind.LABELMAP])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique"])
def test_a_series_with_its_segmentation_is_read_as_nifti_files_of_the_same_are(
    tmp_path, plane, kind
):
    made = write_case(tmp_path, plane=plane, kind=kind)
    (case,) = find_cases(tmp_path, LAYOUT)
    found, expected = load_case(case, TABLE), as_nifti(tmp_path, made)
    assert found.image.dtype == np.float32
    assert found.labels is not None
    assert found.labels.dtype == np.uint8
    assert np.array_equal(found.image, expected.image)
    assert np.array_equal(found.labels, expected.labels)
    assert np.allclose(found.affine_ras, expected.affine_ras, atol=1e-3)
    assert set(np.unique(found.labels)) == {0, 1, 2, 3}


def test_of_probabilities_a_half_and_more_counts(tmp_path):
    made = write_case(tmp_path, kind=SegmentationKind.FRACTIONAL)
    (case,) = find_cases(tmp_path, LAYOUT)
    label = LABELS[2]
    probability = segmentation_cases.make_probabilities(made)[2]
    labels = load_case(case, LabelTable(((label.meaning.upper(),),))).labels
    assert labels is not None
    assert labels.sum() == (probability >= 127.5).sum() > 0


def test_what_a_case_says_of_itself_does_not_say_who_the_patient_is(tmp_path):
    for name, patient in (("a", "MEIER^1960"), ("b", "MEIER^1960"), ("c", "OTHER")):
        write_case(tmp_path, name, seed=name, patient_id=patient)
    (tmp_path / "dicom" / "notes.txt").write_text("no DICOM")
    cases = find_cases(tmp_path, LAYOUT)
    assert len(cases) == 3
    assert len({case.subject for case in cases}) == 2
    assert sorted(case.id for case in cases) == sorted(
        f"{subject}_{number}"
        for subject in {case.subject for case in cases}
        for number in range(1, 1 + sum(case.subject == subject for case in cases))
    )
    assert not any(
        word in f"{c.id} {c.subject} {c.values}" for c in cases for word in ("MEI", "OTH")
    )
    assert cases[0].values["modality"] == "MR"
    other = find_cases(tmp_path, DicomLayout("dicom", key=KEY + b"!"))
    assert not {case.subject for case in cases} & {case.subject for case in other}
    assert (
        find_cases(tmp_path, DicomLayout("dicom", key=KEY, leave_out=(cases[0].id,))) == cases[1:]
    )


def test_without_a_key_a_part_of_the_folder_is_the_subject(tmp_path):
    write_case(tmp_path, "patient7/mr")
    layout = DicomLayout("dicom", subject=r"^patient(\d+)/")
    assert [(case.id, case.subject) for case in find_cases(tmp_path, layout)] == [("007_1", "007")]


def test_the_same_pixels_under_two_names_are_a_leak(tmp_path):
    write_case(tmp_path, "a", patient_id="P1", seed="a")
    write_case(tmp_path, "b", patient_id="P2", seed="b")
    one, other = find_cases(tmp_path, LAYOUT)
    assert [leak.kind for leak in leaks.find([[one], [other]])] == ["pixels"]


def change(path: Path, **values: object) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_a_segmentation_without_its_series_is_named(tmp_path):
    write_case(tmp_path)
    for path in (tmp_path / "dicom" / "one").glob("MR*.dcm"):
        path.unlink()
    with pytest.raises(DataError, match="'one/seg.dcm' is not in the folder"):
        find_cases(tmp_path, LAYOUT)


def test_two_segmentations_of_one_series_are_named(tmp_path):
    write_case(tmp_path)
    folder = tmp_path / "dicom" / "one"
    shutil.copy(folder / "seg.dcm", folder / "seg2.dcm")
    with pytest.raises(DataError, match=r"seg2.dcm' and 'one/seg.dcm' are segmentations of one"):
        find_cases(tmp_path, LAYOUT)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"FrameOfReferenceUID": "1.2.3.4"}, "not in one space"),
        ({"PatientID": "SOMEBODY ELSE"}, "two patients"),
        ({"ReferencedSeriesSequence": []}, "does not say which series"),
    ],
)
def test_a_segmentation_that_is_not_of_its_series_is_refused(tmp_path, values, said):
    write_case(tmp_path)
    change(tmp_path / "dicom" / "one" / "seg.dcm", **values)
    with pytest.raises(DataError, match=said):
        find_cases(tmp_path, LAYOUT)


def test_missing_slices_are_said(tmp_path):
    made = write_case(tmp_path)
    (case,) = find_cases(tmp_path, LAYOUT)
    made.paths[4].unlink()
    with pytest.raises(DataError, match=rf"{case.id} is not one sound volume: .*missing"):
        load_case(case, TABLE)


def test_a_segmentation_beyond_its_series_is_refused(tmp_path):
    made = write_case(tmp_path)
    (case,) = find_cases(tmp_path, LAYOUT)
    for path in made.paths[-4:]:
        path.unlink()
    with pytest.raises(DataError, match="reaches beyond the images"):
        load_case(case, TABLE)


def test_a_segmentation_on_another_grid_is_refused(tmp_path):
    write_case(tmp_path)
    path = tmp_path / "dicom" / "one" / "seg.dcm"
    dataset = pydicom.dcmread(path)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        x, y, z = place.ImagePositionPatient
        place.ImagePositionPatient = [x + 0.7, y, z]
    dataset.save_as(path)
    (case,) = find_cases(tmp_path, LAYOUT)
    with pytest.raises(DataError, match="another grid"):
        load_case(case, TABLE)


def test_segments_that_nobody_named_are_said(tmp_path):
    write_case(tmp_path)
    (case,) = find_cases(tmp_path, LAYOUT)
    with pytest.raises(DataError, match="none of its segments .* it has 'Left hippocampus'"):
        load_case(case, LabelTable((("SCT:10200004",),)))


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ({"liver": ("SCT:10200004",)}, "does not say which segments are 'spleen'"),
        ({"liver": ("a",), "spleen": ("b",), "lung": ("c",)}, "'lung', which is no label"),
    ],
)
def test_a_table_of_segments_names_every_label_and_no_other(segments, said):
    with pytest.raises(DataError, match=said):
        LabelTable.read(segments, ("liver", "spleen"))


def test_a_key_is_asked_for_in_words(tmp_path):
    with pytest.raises(DataError, match="head -c 32"):
        read_key(tmp_path / "subjects.key")
    (tmp_path / "subjects.key").write_bytes(b"short\n")
    with pytest.raises(DataError, match="fewer than 16"):
        read_key(tmp_path / "subjects.key")


@pytest.mark.parametrize(
    ("images", "segmentation", "drawn", "name"),
    [
        ("ct-3slice", "liver.dcm", "liver_seg.nrrd", "SRT:T-62000"),
        ("24x38x3/image", "24x38x3/seg/label.seg", "24x38x3/nrrd/label.nrrd", "liver"),
    ],
)
def test_segmentations_of_another_writer_are_what_somebody_drew(
    shared_data, tmp_path, images, segmentation, drawn, name
):
    source = shared_data("seg_sr_objects") / "dcmqi" / "segmentations"
    shutil.copytree(source / images, tmp_path / "dicom" / "one")
    shutil.copy(source / segmentation, tmp_path / "dicom" / "one")
    (case,) = find_cases(tmp_path, LAYOUT)
    found = load_case(case, LabelTable(((name,),)))
    answer = SimpleITK.ReadImage(str(source / drawn))
    at = np.argwhere(found.labels)
    places_lps = (at @ found.affine_ras[:3, :3].T + found.affine_ras[:3, 3]) * (-1, -1, 1)
    assert len(at) == np.count_nonzero(SimpleITK.GetArrayViewFromImage(answer)) > 0
    indices = [answer.TransformPhysicalPointToIndex(place) for place in places_lps[::53].tolist()]
    assert all(answer.GetPixel(*index) for index in indices)
