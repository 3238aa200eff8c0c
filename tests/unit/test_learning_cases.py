"""Cases, folds and leaks: nobody lies in two folds, under whatever name."""

from __future__ import annotations

import random
from pathlib import Path

import nibabel
import numpy as np
import pytest

from secondread.errors import DataError
from secondread.learning import leaks
from secondread.learning.case import Case
from secondread.learning.readers.nifti import NiftiLayout, find_cases, load_case
from secondread.learning.splits import grouped_folds

LAYOUT = NiftiLayout(images="images", labels="labels", subject=r"^scan_(\d+)")


def write_image(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def made_values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, (4, 5, 6)).astype(np.int16)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        write_image(tmp_path / "images" / f"scan_{number}.nii.gz", made_values(number))
        labels = (made_values(number) > 500).astype(np.uint8)
        write_image(tmp_path / "labels" / f"scan_{number}.nii.gz", labels)
    return tmp_path


def made_case(path: Path | None, subject: str, name: str) -> Case:
    return Case(name, subject, path, None, None, {})


def test_folds_are_those_of_the_rule_whatever_the_order_of_cases():
    subjects = [f"{n:03}" for n in range(23)]
    expected = sorted(subjects)
    random.Random(7).shuffle(expected)
    folds = grouped_folds([*reversed(subjects), *subjects], 5, 7)
    assert folds == tuple(frozenset(expected[k::5]) for k in range(5))
    assert sorted(name for fold in folds for name in fold) == subjects


@pytest.mark.parametrize(("count", "said"), [(1, "at least two"), (4, "only 3 subjects")])
def test_folds_that_cannot_be_are_refused(count, said):
    with pytest.raises(DataError, match=said):
        grouped_folds(["a", "b", "c"], count, 0)


def test_nifti_pairs_are_found_with_padded_subjects(data):
    cases = find_cases(data, LAYOUT)
    assert [(c.id, c.subject) for c in cases] == [
        ("scan_1", "001"),
        ("scan_10", "010"),
        ("scan_2", "002"),
    ]
    loaded = load_case(cases[0])
    assert np.array_equal(loaded.image, made_values(1))
    assert np.array_equal(loaded.labels, made_values(1) > 500)


def test_an_image_is_turned_to_the_right_anterior_and_head(data):
    turned = np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = 3
    write_image(data / "images" / "scan_1.nii.gz", made_values(1)[::-1], turned)
    loaded = load_case(find_cases(data, LAYOUT)[0])
    assert np.array_equal(loaded.image, made_values(1))
    assert np.allclose(loaded.affine_ras, np.eye(4))


def test_a_missing_label_map_is_named(data):
    (data / "labels" / "scan_2.nii.gz").unlink()
    with pytest.raises(DataError, match="'scan_2' has no label map"):
        find_cases(data, LAYOUT)


def test_a_label_map_on_another_grid_is_refused(data):
    elsewhere = np.eye(4)
    elsewhere[:3, 3] = 5
    write_image(data / "labels" / "scan_1.nii.gz", np.zeros((4, 5, 6), np.uint8), elsewhere)
    with pytest.raises(DataError, match="does not lie on the grid"):
        load_case(find_cases(data, LAYOUT)[0])


def test_a_broken_image_is_refused_in_words(data):
    path = data / "images" / "scan_1.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="scan_1.nii.gz cannot be read"):
        load_case(find_cases(data, LAYOUT)[0])


def test_a_name_without_a_subject_is_refused(data):
    write_image(data / "images" / "other.nii.gz", made_values(3))
    with pytest.raises(DataError, match="finds no subject in 'other'"):
        find_cases(data, LAYOUT)


def test_the_same_subject_in_two_folds_is_a_leak():
    folds = [[made_case(None, "1", "a")], [made_case(None, "1", "b"), made_case(None, "2", "c")]]
    assert leaks.find(folds) == [leaks.Leak("subject", ("a", "b"), (0, 1))]
    with pytest.raises(DataError, match="a, b come from the same subject"):
        leaks.refuse(folds)


def test_the_same_pixels_under_another_name_form_and_orientation_are_a_leak(data):
    turned = np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = 3
    copy = data / "images" / "scan_77.nii"
    write_image(copy, made_values(2)[::-1].astype(np.float32), turned)
    folds = [
        [made_case(data / "images" / "scan_1.nii.gz", "001", "scan_1")],
        [made_case(data / "images" / "scan_2.nii.gz", "002", "scan_2")],
        [made_case(copy, "077", "scan_77")],
    ]
    assert leaks.find(folds) == [leaks.Leak("pixels", ("scan_2", "scan_77"), (1, 2))]
    with pytest.raises(DataError, match="scan_2, scan_77 have the same pixels"):
        leaks.refuse(folds)


def test_two_images_of_a_subject_in_one_fold_are_no_leak(data):
    path = data / "images" / "scan_1.nii.gz"
    leaks.refuse([[made_case(path, "1", "a"), made_case(path, "1", "b")], []])
