"""Results as other people's programs see them."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from itertools import product

import numpy as np
import pydicom
import pytest

from conformance.validators import (
    REPORT_CHECKS,
    SEGMENTATION_CHECKS,
    ToolAbsentError,
    find_program,
    run_dcentvfy,
    run_dciodvfy,
    run_dsrdump,
    run_pixelmed,
    without_quirks,
)
from secondread.domain.volume import SourceSlice, Volume
from secondread.results.analysis import Analysis
from secondread.results.context import Predecessor
from secondread.results.reading.transcript import read_report
from secondread.results.report.document import COMPREHENSIVE_3D_SR_STORAGE
from secondread.results.write import write_refusal, write_results
from tests.result_cases import LABELS, PLANES, in_patient_space, make_case, make_job


def left_by(check, *arguments):
    """What a validator finds besides its known quirks; a skip where it is not installed."""
    try:
        return without_quirks(check(*arguments))
    except ToolAbsentError as absent:
        pytest.skip(str(absent))


# PixelMed takes some ten seconds for each file.
QUICK_REPORT_CHECKS = [check for check in REPORT_CHECKS if check is not run_pixelmed]


@pytest.fixture(scope="module", params=list(PLANES))
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    case = make_case(folder / "series", request.param)
    objects = write_results(case.context, Analysis(case.labels), folder)
    return case, [folder / item.path for item in objects]


@pytest.mark.parametrize("check", SEGMENTATION_CHECKS, ids=lambda check: check.__name__)
def test_segmentation(written, check):
    assert left_by(check, written[1][0]) == []


@pytest.mark.parametrize("check", QUICK_REPORT_CHECKS, ids=lambda check: check.__name__)
def test_report(written, check):
    assert left_by(check, written[1][1]) == []


def test_results_are_of_the_sources_patient_and_study(written):
    case, paths = written
    assert left_by(run_dcentvfy, case.paths, paths) == []


def write_kind(kind, folder):
    """A report of this kind."""
    case = make_case(folder / "series")
    if kind == "a new version":
        study = str(case.context.sources[0].StudyInstanceUID)
        before = Predecessor(study, "2.25.11", COMPREHENSIVE_3D_SR_STORAGE, "2.25.12")
        job = replace(case.context.job, version=2, predecessor_id=1)
        context = replace(case.context, job=job, predecessor=before)
        objects = write_results(context, Analysis(case.labels), folder)
    elif kind == "refused":
        objects = write_refusal(replace(case.context, volume=None), "It is a pear.", folder)
    else:
        labels = case.labels if kind == "measured" else np.zeros_like(case.labels)
        objects = write_results(case.context, Analysis(labels), folder)
    return folder / objects[-1].path


@pytest.mark.parametrize("check", QUICK_REPORT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", ["refused", "nothing found", "a new version"])
def test_reports_of_other_kinds(tmp_path, check, kind):
    assert left_by(check, write_kind(kind, tmp_path)) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["measured", "refused", "nothing found", "a new version"])
def test_reports_against_their_template(tmp_path, kind):
    assert left_by(run_pixelmed, write_kind(kind, tmp_path)) == []


def test_dcmqi_sees_every_segment_where_the_answer_has_it(written, tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="no nibabel: install the extra [demo]")
    case, (segmentation, _) = written
    try:
        program = find_program("segimage2itkimage", "dcmqi")
    except ToolAbsentError as absent:
        pytest.skip(str(absent))
    command = [program, "--inputDICOM", str(segmentation), "--outputDirectory", str(tmp_path)]
    subprocess.run(
        [*command, "--outputType", "nii", "--prefix", "s"], check=True, capture_output=True
    )
    values = [label.value for label in LABELS if (case.labels == label.value).any()]
    found = set()
    for number, value in enumerate(values, start=1):
        image = nibabel.load(tmp_path / f"s-{number}.nii.gz")
        mask = np.asarray(image.dataobj) > 0
        # NIfTI's axes point right, anterior and superior: the first two are turned for LPS.
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
        found |= in_patient_space(mask.astype(np.uint8) * np.uint8(value), affine)
    expected = in_patient_space(case.labels, case.context.volume.affine_lps)
    missing = {voxel for voxel in expected if not near(voxel, found)}
    assert (len(found), missing) == (len(expected), set())


def near(voxel, found):
    """Whether a voxel is there to a fiftieth of a millimetre: NIfTI keeps its affine in float32."""
    value, *at = voxel
    steps = product((-1, 0, 1), repeat=3)
    return any((value, *(a + b for a, b in zip(at, step, strict=True))) in found for step in steps)


@pytest.fixture(scope="module")
def real_head(shared_data):
    """A real T1 head with its own headers, and an answer made of shells and wedges."""
    paths = sorted(shared_data("mr_t1_siemens_skyra_child").rglob("*.dcm"))
    images = [pydicom.dcmread(path) for path in paths]
    orientation = np.array(images[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    images.sort(
        key=lambda image: float(np.dot(normal, np.array(image.ImagePositionPatient, float)))
    )
    first, last = (np.array(images[i].ImagePositionPatient, float) for i in (0, -1))
    spacing = np.array(images[0].PixelSpacing, float)
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (len(images) - 1)
    affine[:3, 1], affine[:3, 2] = orientation[3:] * spacing[0], orientation[:3] * spacing[1]
    affine[:3, 3] = first
    voxels = np.stack([image.pixel_array for image in images]).astype(np.int16)
    sources = tuple(SourceSlice(str(i.SOPInstanceUID), str(i.SOPClassUID), 1) for i in images)
    return images, Volume(voxels, affine, sources), paths


@pytest.mark.filterwarnings("ignore:The value length")
def test_a_real_head_with_its_own_headers(real_head, tmp_path):
    images, volume, paths = real_head
    context = replace(
        make_case(tmp_path / "unused").context,
        job=make_job(str(images[0].SeriesInstanceUID)),
        sources=tuple(images),
        volume=volume,
    )
    slices, rows, columns = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in volume.voxels.shape)]
    radius = slices**2 + rows**2 + columns**2
    labels = np.where(radius < 0.6, 1 + (columns > 0) + 2 * (rows > 0), 0).astype(np.uint8)
    labels[radius < 0.1] = 5
    started = time.process_time()
    objects = write_results(context, Analysis(labels), tmp_path)
    seconds = time.process_time() - started
    written = [tmp_path / item.path for item in objects]
    assert left_by(run_dciodvfy, written[0]) == []
    assert left_by(run_dciodvfy, written[1]) == []
    assert left_by(run_dsrdump, written[1]) == []
    assert left_by(run_dcentvfy, paths, written) == []
    assert len(read_report(written[1]).groups) == 5
    # About 2 s on two quiet cores; the bound is for busy ones.
    assert seconds < 15


def test_the_harness_sees_what_is_broken(written, tmp_path):
    """A harness that finds nothing must be shown to be able to find something."""
    found = pydicom.dcmread(written[1][0])
    del found.SegmentSequence[0].SegmentAlgorithmType
    found.PatientBirthDate = "19110101"
    broken = tmp_path / "seg.dcm"
    found.save_as(broken)
    assert any(finding.severity == "error" for finding in left_by(run_dciodvfy, broken))
    assert left_by(run_dcentvfy, written[0].paths, [broken]) != []
    (tmp_path / "sr.dcm").write_bytes(b"not a report")
    assert left_by(run_dsrdump, tmp_path / "sr.dcm") != []
