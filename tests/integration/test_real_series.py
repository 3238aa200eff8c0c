"""Series as scanners really wrote them, against what another reader makes of them.

The digests are of the int16 array that SimpleITK 2.5.7 (GDCM) reads from the same files, and the
corners are where it puts the first and the last voxel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from secondread.assembly.selection import plan
from secondread.assembly.series import SeriesHeaders, read_study
from secondread.assembly.summary import summarize
from secondread.assembly.volume import read_volume, same_pixels
from secondread.bundles.input import InputEnvelope
from secondread.bundles.manifest import Manifest
from secondread.dicom.geometry import stack
from secondread.dicom.headers import read_slice
from secondread.dicom.pixels import StoredPlane, read_voxels
from secondread.dicom.rectify import rectify, restore
from secondread.domain.instance import Instance
from secondread.domain.job import PlannedJob
from secondread.domain.network import Rule
from secondread.domain.states import StudyState
from secondread.domain.study import Study
from secondread.errors import CannotUnderstandError, GeometryError

ENVELOPE = InputEnvelope(("MR", "CT"), (), 20, 500, 0.3, 6.0, 100.0, ("DERIVED",))
MODEL = Manifest(
    *("m", "1", "the model", "", "", "", True, ENVELOPE, "torch", 60.0, 1, (), {}, Path(), "", {})
)
STUDY = Study(1, "2.25.1", StudyState.ASSEMBLING, "scanner", 0.0, 0.0, 0.0, 0.0, 0, 0, "")
RULE = Rule(name="r", model="m", destinations=())


def _instances(folder: Path) -> tuple[list[Instance], list[Path]]:
    """Every file of a folder that is DICOM, and those that are not."""
    found, others = [], []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            header = read_slice(path)
        except CannotUnderstandError:
            others.append(path)
            continue
        found.append(
            Instance(
                sop_instance_uid=header.sop_instance_uid,
                sop_class_uid=header.sop_class_uid,
                study_instance_uid="2.25.1",
                series_instance_uid=header.series_instance_uid,
                transfer_syntax_uid=header.pixels.transfer_syntax_uid,
                path=str(path.relative_to(folder)),
                size_bytes=path.stat().st_size,
                sha256="",
                peer="scanner",
                received_at=0.0,
            )
        )
    return found, others


def _series(folder: Path) -> tuple[SeriesHeaders, ...]:
    return read_study(_instances(folder)[0], folder)


def _plan(series: Sequence[SeriesHeaders], model: Manifest = MODEL) -> PlannedJob:
    (job,) = plan(STUDY, [summarize(item) for item in series], [RULE], {"m": model}).jobs
    return job


@pytest.mark.parametrize(
    ("name", "shape", "digest", "first_mm", "last_mm"),
    [
        (
            "mr_t1_siemens_skyra_child",
            (192, 256, 256),
            "810caf7501483436",
            (76.878, -112.237, 96.389),
            (-78.989, 165.074, -59.812),
        ),
        (
            "mr_ood_fruit_ge_hdxt",
            (196, 256, 256),
            "b60023b5a66e0b89",
            (121.394, -134.594, 160.811),
            (-112.606, 134.354, -108.137),
        ),
        (
            "mr_ood_phantom_ge_pioneer",
            (130, 256, 256),
            "27d999c48cde1814",
            (-109.305, -178.803, -77.184),
            (112.906, 99.3, 30.268),
        ),
        (
            "ct_chest_philips16_lungdx_a0001",
            (64, 512, 512),
            "2e2d5b070a62863f",
            (-228.037, -93.063, -439.0),
            (202.121, 337.095, -124.0),
        ),
        (
            "ct_totalsegmentator_ref",
            (20, 512, 512),
            "0d9f62d8433a424e",
            (-249.512, -437.512, -804.5),
            (249.512, 61.512, -766.5),
        ),
    ],
)
def test_a_whole_series_is_what_another_reader_sees(
    shared_data, name, shape, digest, first_mm, last_mm
):
    folder = shared_data(name)
    (series,) = _series(folder)
    volume = read_volume(series.instances, folder)
    assert volume.voxels.shape == shape
    assert volume.voxels.dtype == np.int16
    assert hashlib.sha256(volume.voxels.tobytes()).hexdigest().startswith(digest)
    last = (*(np.array(shape) - 1), 1)
    np.testing.assert_allclose((volume.affine_lps @ (0, 0, 0, 1))[:3], first_mm, atol=1e-3)
    np.testing.assert_allclose((volume.affine_lps @ last)[:3], last_mm, atol=1e-3)


def test_every_slice_of_a_volume_lies_where_its_source_says(shared_data):
    folder = shared_data("mr_t1_siemens_skyra_child")
    (series,) = _series(folder)
    volume = read_volume(series.instances, folder)
    by_uid = {header.sop_instance_uid: header for header in series.headers}
    assert len(by_uid) == len(volume.sources) == 192
    for index, source in enumerate(volume.sources):
        (plane,) = by_uid[source.sop_instance_uid].planes
        found = (volume.affine_lps @ (index, 0, 0, 1))[:3]
        np.testing.assert_allclose(found, plane.position_mm, atol=1e-6)


def test_a_complete_head_is_chosen(shared_data):
    folder = shared_data("mr_t1_siemens_skyra_child")
    instances, others = _instances(folder)
    assert {path.name for path in others} == {"README.md", "LICENSE"}
    job = _plan(read_study(instances, folder))
    assert job.refusal == ""
    assert job.candidates[0].reason == "Chosen: 192 slices, 0.90 x 0.86 x 0.86 mm."


def test_the_slices_that_are_missing_are_found(shared_data):
    folder = shared_data("mr_t1_t2_siemens_trio_missing_slice")
    series = _series(folder)
    assert [item.slices for item in series] == [175, 55, 1, 1]
    outcomes = []
    for item in series:
        with pytest.raises(GeometryError) as caught:
            read_volume(item.instances, folder)
        outcomes.append(caught.value.outcome)
    assert outcomes == ["missing-slices", "missing-slices", "mosaic", "mosaic"]
    job = _plan(series)
    assert job.series_instance_uid == series[0].series_instance_uid
    assert (
        "Series 5: One slice is missing: between image 114 at (-42.1, -133.1, 129.6) mm and "
        "image 116 at (-44.1, -133.0, 129.5) mm, which lie 2.00 mm apart instead of 1.00 mm."
    ) in job.refusal
    assert "Series 6: One slice is missing: between image 34 at" in job.refusal


def test_a_tilted_gantry_and_what_a_scanner_sends_along(shared_data):
    folder = shared_data("ct_head_phantom_gantry_tilt")
    series = _series(folder)
    job = _plan(series)
    chosen = next(item for item in series if item.series_instance_uid == job.series_instance_uid)
    assert (chosen.description, chosen.slices) == ("STD BRAIN 5MM", 28)
    reasons = [candidate.reason for candidate in job.candidates if not candidate.accepted]
    tilt = "Its slices are not at a right angle to their stack: the gantry was tilted by 18.5"
    assert sum(reason.startswith(tilt) for reason in reasons) == 1
    uneven_mm = "The distance between its slices varies from 1.08 to 7.00 mm"
    assert sum(reason.startswith(uneven_mm) for reason in reasons) == 1
    assert reasons.count("It is a localizer.") == 2
    assert reasons.count("It is a secondary capture.") == 1
    uneven, tilted = [item for item in series if item.slices in {28, 54} and item is not chosen]
    with pytest.raises(GeometryError) as caught:
        read_volume(uneven.instances, folder)
    assert caught.value.outcome == "uneven-spacing"
    assert stack(tilted.headers).tilt_degrees == pytest.approx(18.5, abs=1e-3)


def test_a_tilted_stack_is_straightened_only_where_the_model_takes_it(shared_data):
    folder = shared_data("ct_head_phantom_gantry_tilt")
    (series,) = [item for item in _series(folder) if item.slices == 54]
    assert "the gantry was tilted by 18.5 degrees" in _plan([series]).refusal
    takes = replace(MODEL, input=replace(ENVELOPE, gantry_tilt="resample"))
    assert _plan([series], takes).refusal == ""
    volume = read_volume(series.instances, folder)
    straight = rectify(volume)
    axes = straight.volume.affine_lps[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.diag(np.diag(axes.T @ axes)), atol=1e-9)
    assert straight.volume.voxel_mm3 == pytest.approx(volume.voxel_mm3)
    # What is bone on the straight grid is bone on the slices, but for half a voxel at its surface.
    bone = volume.voxels > 300
    returned = restore(straight.volume.voxels > 300, straight)
    assert returned.shape == bone.shape
    assert 2 * (returned & bone).sum() / (returned.sum() + bone.sum()) > 0.97


@pytest.mark.parametrize("lost", [[1], [100], [190], [50, 51], [20, 90, 91, 150]])
def test_slices_taken_out_of_a_real_series_are_named(shared_data, lost):
    folder = shared_data("mr_t1_siemens_skyra_child")
    (series,) = _series(folder)
    complete = stack(series.headers)
    order = [series.instances[item.header] for item in complete.planes]
    with pytest.raises(GeometryError) as caught:
        read_volume([one for at, one in enumerate(order) if at not in lost], folder)
    assert caught.value.outcome == "missing-slices"
    numbers = [series.headers[item.header].instance_number for item in complete.planes]
    edges = [at for at in lost if at - 1 not in lost]
    assert str(caught.value).startswith("One slice is" if len(lost) == 1 else f"{len(lost)} slices")
    for edge in edges:
        behind = next(at for at in range(edge, len(order)) if at not in lost)
        before, after = f"image {numbers[edge - 1]} at", f"image {numbers[behind]} at"
        assert f"between {before}" in str(caught.value)
        assert f"and {after}" in str(caught.value)


def test_a_real_slice_that_came_twice_is_left_out_or_refused(shared_data, tmp_path):
    source = shared_data("ct_head_phantom_gantry_tilt") / "In" / "Philips" / "S21570" / "S2010"
    for path in source.glob("I*"):
        (tmp_path / path.name).symlink_to(path)
    instances, _ = _instances(tmp_path)
    originals = read_volume(instances, tmp_path)
    again = dcmread(source / instances[9].path)
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "2.25.9"
    again.save_as(tmp_path / "again")
    more, _ = _instances(tmp_path)
    volume = read_volume(more, tmp_path)
    np.testing.assert_array_equal(volume.voxels, originals.voxels)
    headers = [read_slice(tmp_path / one.path) for one in more]
    (dropped,) = stack(headers, None, same_pixels(more, headers, tmp_path)).dropped
    assert headers[dropped.header].instance_number == again.InstanceNumber
    pixels = again.pixel_array.copy()
    pixels[100, 100] ^= 1
    again.PixelData = pixels.tobytes()
    again.save_as(tmp_path / "again")
    with pytest.raises(GeometryError) as caught:
        read_volume(more, tmp_path)
    assert caught.value.outcome == "duplicate-positions"


def test_two_echoes_of_a_real_series_are_two_volumes(shared_data, tmp_path):
    source = shared_data("ct_head_phantom_gantry_tilt") / "In" / "Philips" / "S21570" / "S2010"
    for path in source.glob("I*"):
        for echo in (1, 2):
            dataset = dcmread(path)
            dataset.EchoNumbers = echo
            dataset.SOPInstanceUID += f".{echo}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.RescaleIntercept = -1024 + 100 * (echo - 1)
            dataset.save_as(tmp_path / f"{path.name}.{echo}")
    instances, _ = _instances(tmp_path)
    with pytest.raises(GeometryError) as caught:
        read_volume(instances, tmp_path)
    assert caught.value.outcome == "several-volumes"
    first, second = (read_volume(instances, tmp_path, f"EchoNumbers {echo}") for echo in (1, 2))
    assert first.voxels.shape == (28, 512, 512)
    np.testing.assert_array_equal(second.voxels, first.voxels + 100)
    np.testing.assert_array_equal(second.affine_lps, first.affine_lps)
    assert [one.sop_instance_uid[-2:] for one in second.sources] == [".2"] * 28


@pytest.mark.parametrize("image", ["CT1", "CT2", "MR1", "MR4"])
def test_lossless_compression_loses_nothing(shared_data, image):
    folder = shared_data("odd_dicom") / "odd_dicom" / "wg04_ct_mr"
    plain = _voxels(folder / f"{image}_UNC")
    for coding in ("J2KR", "JLSL", "RLE", "JPLL"):
        np.testing.assert_array_equal(_voxels(folder / f"{image}_{coding}"), plain)


def test_one_image_in_every_lossless_syntax(shared_data):
    folder = shared_data("odd_dicom") / "odd_dicom" / "cornerstone"
    plain = _voxels(folder / "CTImage.dcm")
    syntaxes = ("BigEndianExplicit", "Deflated", "LittleEndianExplicit", "LittleEndianImplicit")
    lossless = ("RLELossless", "JPEG2000LosslessOnly", "JPEGLSLossless", "JPEGProcess14SV1")
    for syntax in (*syntaxes, *lossless, "JPEGProcess14Transfer"):
        (path,) = folder.glob(f"CTImage.dcm_{syntax}*")
        np.testing.assert_array_equal(_voxels(path), plain)


def _voxels(path: Path) -> np.ndarray:
    header = read_slice(path)
    return read_voxels([StoredPlane(path, header.pixels, plane) for plane in header.planes])
