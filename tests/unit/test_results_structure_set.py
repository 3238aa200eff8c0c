"""RT Structure Sets: what their outlines enclose, and what they refer to."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from conformance.validators import run_dciodvfy, without_quirks
from secondread.domain.form import Form, SegmentationKind
from secondread.results.analysis import Analysis
from secondread.results.companions.contours import find_contours
from secondread.results.companions.structure_set import make_structure_set
from secondread.results.made import Made
from secondread.results.measurement.measurements import measure
from secondread.results.segmentation.documents import make_segmentations
from secondread.results.write import write_results
from tests.matrix_cases import PLANES, SIZE, SOURCES, make_matrix_case
from tests.result_cases import make_case

RINGS = """
    . . . . . . . . . . . .
    . 1 1 1 1 1 1 1 1 1 . .
    . 1 . . . . . . . 1 . 2
    . 1 . 1 1 1 1 1 . 1 . .
    . 1 . 1 . . 2 1 . 1 1 .
    . 1 . 1 . 1 . 1 . 1 . .
    . 1 . 1 1 1 1 1 . 1 . .
    . 1 . . . . . . . 1 . .
    1 1 1 1 1 1 1 1 1 1 . 1
    1 . 1 . 1 . 1 . 1 . 1 .
    1 1 1 1 1 1 1 1 1 1 1 1
"""
"""Rings in rings, holes in a row, holes that touch at a corner, pixels that do."""
STEPS = """
    1 1 1 1 1 1
    1 . 1 1 . 1
    1 1 . . 1 1
    1 1 1 . 1 1
    1 . 1 1 . 1
    1 1 1 1 1 1
"""


def plane_of(drawing):
    rows = [line.split() for line in drawing.strip().splitlines()]
    return np.array([[0 if sign == "." else int(sign) for sign in row] for row in rows], np.uint8)


def count_turns(corners, points):
    """How often a polygon goes around each point, and how often a ray from it meets an edge."""
    (x1, y1), (x2, y2) = corners.T[:, :, None], np.roll(corners, -1, axis=0).T[:, :, None]
    x, y = points.T[:, None]
    up, down = (y1 <= y) & (y2 > y), (y2 <= y) & (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = x1 + (y - y1) * (x2 - x1) / (y2 - y1) > x
    return (up & meets).sum(axis=0) - (down & meets).sum(axis=0), ((up | down) & meets).sum(axis=0)


def is_inside(polygons, points):
    """Whether each point is inside an odd number of polygons."""
    return sum(count_turns(corners, points)[1] for corners in polygons) % 2 == 1


def centres(shape):
    rows, columns = np.indices(shape)
    return np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=-1)


def ragged(size, seed=1):
    """Structures 1 to 3 that are full of holes and crumbs, and slices with drawings."""
    labels = np.random.default_rng(seed).choice([0, 1, 1, 1, 2, 3], size).astype(np.uint8)
    for index, drawing in ((1, RINGS), (2, STEPS)):
        plane = plane_of(drawing)
        labels[index] = 0
        labels[index, 3 : 3 + len(plane), 5 : 5 + len(plane[0])] = plane
    labels[3:-1] = 0
    labels[3, 0, 0] = labels[3, -1, -1] = 1
    labels[5] = 1
    return labels


@pytest.mark.parametrize("drawing", [RINGS, STEPS], ids=["rings", "steps"])
def test_what_the_contours_of_a_drawing_enclose_is_the_drawing(drawing):
    plane = plane_of(drawing)
    check_plane(plane, find_contours(plane[None]))


def test_what_contours_enclose_is_the_mask_however_ragged():
    rng = np.random.default_rng(8)
    for _ in range(40):
        plane = rng.choice([0, 1, 1, 1, 2], rng.integers(1, 14, 2)).astype(np.uint8)
        check_plane(plane, find_contours(plane[None]))


def check_plane(plane, contours):
    points = centres(plane.shape)
    own = {}
    for contour in contours:
        own.setdefault(contour.value, []).append(contour.corners)
    assert set(own) == set(np.unique(plane).tolist()) - {0}
    for value, polygons in own.items():
        mask = (plane == value).ravel()
        assert (is_inside(polygons, points) == mask).all()
        # Each by itself and all together, for readers unite contours or let them cancel out.
        around = np.array([count_turns(corners, points)[0] for corners in polygons])
        assert (np.abs(around).sum(axis=0) == mask).all()


def points_of(contour):
    """Its points, without an object for each number."""
    values = contour.get_item("ContourData").value.split(b"\\")
    return np.array(values, float).reshape(-1, 3)


def make(context, analysis, folder):
    segmentations = make_segmentations(context, analysis)
    measured = measure(context.analysed, analysis.labels, context.manifest.labels)
    made = Made(segmentations, measured, segmentations)
    (document,) = make_structure_set(context, analysis, made)
    path = folder / "rtstruct.dcm"
    with path.open("wb") as file:
        document.write(file)
    return pydicom.dcmread(path), path


@pytest.fixture
def case(tmp_path):
    found = make_case(tmp_path / "series", "oblique", (9, 16, 20))
    return replace(found, context=replace(found.context, form=Form(structure_set=True)))


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("source", SOURCES)
def test_outlines_filled_again_are_the_mask(source, plane, tmp_path):
    given = make_matrix_case(tmp_path / "series", source, plane, SegmentationKind.BINARY, 3)
    context = replace(given.context, form=Form(structure_set=True))
    labels = ragged(SIZE)
    found, path = make(context, Analysis(labels), tmp_path)
    # Of its own first slice, for a tilted stack's affine is sheared.
    affine, volume = context.analysed.affine_lps, context.analysed
    grid = np.zeros_like(labels)
    points = centres(SIZE[1:])
    by_image = {(one.sop_instance_uid, one.frame): at for at, one in enumerate(volume.sources)}
    is_enhanced = len(context.sources) == 1
    for roi in found.ROIContourSequence:
        polygons = {}
        for contour in roi.ContourSequence:
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            data = points_of(contour)
            assert len(data) == contour.NumberOfContourPoints
            (image,) = contour.ContourImageSequence
            frame = image.ReferencedFrameNumber if is_enhanced else 1
            assert is_enhanced or "ReferencedFrameNumber" not in image
            at = by_image[image.ReferencedSOPInstanceUID, frame]
            indices = (data - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
            assert np.abs(indices[:, 0] - at).max() < 1e-3
            polygons.setdefault(at, []).append(indices[:, [2, 1]] + 0.5)
        for at, own in polygons.items():
            inside = is_inside(own, points).reshape(SIZE[1:])
            assert not (grid[at] & inside).any()
            grid[at][inside] = roi.ReferencedROINumber
    assert (grid == labels).all()
    assert not [one for one in without_quirks(run_dciodvfy(path)) if one.severity == "error"]


def test_regions_say_what_they_are_and_refer_to_their_segments(case, tmp_path):
    found, _ = make(case.context, Analysis(case.labels), tmp_path)
    assert (found.Modality, found.ApprovalStatus) == ("RTSTRUCT", "UNAPPROVED")
    (segmentation,) = make_segmentations(case.context, Analysis(case.labels))
    wanted = [label for label in case.context.manifest.labels if (case.labels == label.value).any()]
    for label, roi, outline, seen in zip(
        wanted,
        found.StructureSetROISequence,
        found.ROIContourSequence,
        found.RTROIObservationsSequence,
        strict=True,
    ):
        assert roi.ROINumber == outline.ReferencedROINumber == seen.ReferencedROINumber
        assert roi.ROINumber == label.value
        assert (roi.ROIName, roi.ROIGenerationAlgorithm) == (label.meaning, "AUTOMATIC")
        volume_ml = (case.labels == label.value).sum() * case.context.analysed.voxel_mm3 / 1000
        assert float(roi.ROIVolume) == pytest.approx(volume_ml)
        (source,) = roi.DefinitionSourceSequence
        assert source.ReferencedSOPInstanceUID == segmentation.sop_instance_uid
        assert segmentation.segments[source.ReferencedSegmentNumber] == label
        assert tuple(outline.ROIDisplayColor) == label.color_rgb
        (kind,) = seen.RTROIIdentificationCodeSequence
        assert (kind.CodeValue, seen.RTROIInterpretedType) == (label.type.value, "ORGAN")
        sides = [one.CodeMeaning.lower() for one in kind.get(MODIFIERS, ())]
        assert sides == ([label.laterality] if label.laterality else [])


MODIFIERS = "SegmentedPropertyTypeModifierCodeSequence"


def test_every_image_of_the_volume_is_listed_by_study_and_series(case, tmp_path):
    found, _ = make(case.context, Analysis(case.labels), tmp_path)
    (frame,) = found.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == case.context.reference.FrameOfReferenceUID
    (study,) = frame.RTReferencedStudySequence
    assert study.ReferencedSOPInstanceUID == case.context.reference.StudyInstanceUID
    (series,) = study.RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == case.context.reference.SeriesInstanceUID
    listed = [image.ReferencedSOPInstanceUID for image in series.ContourImageSequence]
    assert listed == [header.SOPInstanceUID for header in case.context.sources]


def test_labels_that_share_a_meaning_keep_their_own_names(case, tmp_path):
    labels = tuple(replace(one, meaning="Hippocampus") for one in case.context.manifest.labels[:2])
    manifest = replace(case.context.manifest, labels=labels + case.context.manifest.labels[2:])
    found, _ = make(replace(case.context, manifest=manifest), Analysis(case.labels), tmp_path)
    names = [roi.ROIName for roi in found.StructureSetROISequence]
    assert names[:3] == ["left_hippocampus", "right_hippocampus", "Brain stem"]


def test_an_outline_with_more_text_than_64_kib_is_whole(tmp_path):
    case = make_case(tmp_path / "series", "oblique", (2, 80, 80))
    labels = np.zeros((2, 80, 80), np.uint8)
    labels[0] = 1
    labels[0, 1:-1:2, 1:-1:2] = 0
    context = replace(case.context, form=Form(structure_set=True))
    found, path = make(context, Analysis(labels), tmp_path)
    (contour,) = found.ROIContourSequence[0].ContourSequence
    assert contour.NumberOfContourPoints > 3000
    assert len(contour.get_item("ContourData").value) > 1 << 16
    assert not [one for one in without_quirks(run_dciodvfy(path)) if one.severity == "error"]


def test_without_structures_or_without_being_asked_there_is_none(case):
    empty = Analysis(np.zeros_like(case.labels))
    nothing = Made((), (), ())
    assert make_structure_set(case.context, empty, nothing) == ()
    context = replace(case.context, form=Form())
    assert make_structure_set(context, Analysis(case.labels), nothing) == ()


def test_it_goes_with_the_other_results_through_the_gate(case, tmp_path):
    written = write_results(case.context, Analysis(case.labels), tmp_path)
    assert [Path(one.path).name for one in written].count("rtstruct.dcm") == 1


def test_twice_are_the_same_bytes(case, tmp_path):
    first = make(case.context, Analysis(case.labels), tmp_path)[1].read_bytes()
    assert make(case.context, Analysis(case.labels), tmp_path)[1].read_bytes() == first


def test_dcmtk_reads_it(case, tmp_path, dcmtk):
    _, path = make(case.context, Analysis(case.labels), tmp_path)
    done = subprocess.run([dcmtk("drtdump"), path], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("RT Structure Set object")


@pytest.mark.slow
def test_plastimatch_fills_the_outlines_to_the_same_masks(tmp_path, installed_program):
    program = installed_program("plastimatch", "plastimatch")
    case = make_case(tmp_path / "series", "axial", (9, 30, 34))
    context = replace(case.context, form=Form(structure_set=True))
    labels = ragged((9, 30, 34))
    _, path = make(context, Analysis(labels), tmp_path)
    geometry = SimpleITK.GetImageFromArray(case.context.analysed.voxels)
    affine = case.context.analysed.affine_lps
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    geometry.SetSpacing(spacing[::-1].tolist())
    geometry.SetOrigin(affine[:3, 3].tolist())
    SimpleITK.WriteImage(geometry, str(tmp_path / "fixed.nrrd"))
    command = [program, "convert", "--input", path, "--fixed", tmp_path / "fixed.nrrd"]
    command += ["--output-prefix", tmp_path / "filled", "--prefix-format", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    for label in context.manifest.labels[:3]:
        filled = SimpleITK.ReadImage(str(Path(tmp_path / "filled" / f"{label.meaning}.nrrd")))
        assert ((SimpleITK.GetArrayFromImage(filled) > 0) == (labels == label.value)).all()
