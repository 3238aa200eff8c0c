"""Whole series of real scanners, against SimpleITK's series reader: the same voxel at each point.

SimpleITK may put the slices in the other order and has its own axes, so the two volumes are
compared in patient space: for the centre of every voxel of ours, the voxel of SimpleITK that lies
there.
SimpleITK stacks the slices of a tilted gantry as if they were not tilted; there each slice is
compared with where SimpleITK puts it when it reads it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import dcmread

from secondread.assembly.volume import read_volume
from secondread.dicom.rectify import rectify
from secondread.domain.instance import Instance
from secondread.domain.volume import Volume
from tests.acceptance.cases import files_of
from tests.acceptance.odd_sending import Door

Array = npt.NDArray[np.float64]

NAMELESS = "ct_totalsegmentator_ref"
"""Its slices, in JPEG 2000, lost the UIDs of their data sets to an anonymiser."""
TILTED = "ct_head_phantom_gantry_tilt"
COMPLETE = {
    "ct_chest_philips16_lungdx_a0001": (64, 512, 512),
    NAMELESS: (20, 512, 512),
    "mr_ood_fruit_ge_hdxt": (196, 256, 256),
    "mr_ood_phantom_ge_pioneer": (130, 256, 256),
    "mr_t1_siemens_skyra_child": (192, 256, 256),
}
MANY_SLICES = {"mr_ood_fruit_ge_hdxt", "mr_ood_phantom_ge_pioneer"}
ENHANCED = {
    "BRTUM001": (15, 256, 256),
    "BRTUM003": (24, 256, 256),
    "BRTUM004": (24, 256, 256),
    "BRTUM005": (24, 256, 256),
}


@pytest.fixture
def taken(tmp_path: Path) -> Callable[..., tuple[Door, list[Instance]]]:
    """``taken(folder, minimum)`` sends a folder in; the rows of its series of so many objects."""

    def take(folder: Path, minimum: int = 1) -> tuple[Door, list[Instance]]:
        door = Door(tmp_path / "door")
        with door:
            door.send(files_of(folder))
        by_series: dict[str, list[Instance]] = {}
        for instance in door.instances:
            by_series.setdefault(instance.series_instance_uid, []).append(instance)
        (chosen,) = [members for members in by_series.values() if len(members) >= minimum]
        return door, chosen

    return take


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param(*item, marks=pytest.mark.slow if item[0] in MANY_SLICES else ())
        for item in COMPLETE.items()
    ],
)
def test_every_voxel_is_where_simpleitk_has_it(shared_data, taken, name, shape, tmp_path):
    source = shared_data(name)
    if name == NAMELESS:
        source = _with_identifiers(source / "example_ct_dicom", tmp_path / "named")
    door, instances = taken(source, minimum=3)
    volume = read_volume(instances, door.spool.root)
    assert volume.voxels.shape == shape
    files = [str(door.sources[one.sop_instance_uid]) for one in instances]
    folders = {str(Path(file).parent) for file in files}
    (folder,) = folders
    reader = sitk.ImageSeriesReader()
    uid = instances[0].series_instance_uid
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder, uid))
    assert sorted(reader.GetFileNames()) == sorted(files)
    _compare(volume, reader.Execute())


@pytest.mark.parametrize(("name", "shape"), ENHANCED.items())
def test_a_multi_frame_image_is_where_its_frames_say(shared_data, taken, name, shape, tmp_path):
    source = shared_data("odd_dicom") / "odd_dicom" / "enhanced" / name
    only = tmp_path / "only"
    only.mkdir()
    (only / name).symlink_to(source)
    door, instances = taken(only)
    volume = read_volume(instances, door.spool.root)
    assert volume.voxels.shape == shape
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(source)))
    order = [origin.frame for origin in volume.sources]
    assert sorted(order) == list(range(1, len(frames) + 1))
    np.testing.assert_array_equal(volume.voxels, frames[np.array(order) - 1])
    if order == sorted(order):
        # Only then does SimpleITK, which believes in the order of the frames, place them right.
        _compare(volume, sitk.ReadImage(str(source)))
    else:
        assert order[:4] == [1, 13, 2, 14]


@pytest.mark.parametrize(("series", "shape", "degrees"), [("S21610/S2010", (54, 512, 512), 18.5)])
def test_each_slice_of_a_tilted_stack_lies_where_it_lies_alone(
    shared_data, taken, series, shape, degrees
):
    folder = shared_data(TILTED) / "In" / "Philips" / series
    door, instances = taken(folder, minimum=3)
    volume = read_volume(instances, door.spool.root)
    assert volume.voxels.shape == shape
    rng = np.random.default_rng(4)
    for index, origin in enumerate(volume.sources):
        image = sitk.ReadImage(str(door.sources[origin.sop_instance_uid]))
        np.testing.assert_array_equal(volume.voxels[index], sitk.GetArrayFromImage(image)[0])
        for row, column in rng.integers(0, shape[1:], (20, 2)):
            at_mm = image.TransformIndexToPhysicalPoint((int(column), int(row), 0))
            ours = volume.affine_lps @ (index, row, column, 1)
            np.testing.assert_allclose(ours[:3], at_mm, atol=1e-3)
    step, normal = volume.affine_lps[:3, 0], np.cross(*volume.affine_lps[:3, [2, 1]].T)
    cosine = step @ normal / np.linalg.norm(step) / np.linalg.norm(normal)
    assert np.degrees(np.arccos(cosine)) == pytest.approx(degrees, abs=0.01)


def test_a_straightened_stack_is_what_simpleitk_interpolates(shared_data, taken):
    folder = shared_data(TILTED) / "In" / "Philips" / "S21610" / "S2010"
    door, instances = taken(folder, minimum=3)
    volume = read_volume(instances, door.spool.root)
    straight = rectify(volume).volume
    affine = straight.affine_lps
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = (affine[:3, :3] / spacing)[:, ::-1]
    _, rows, columns = straight.voxels.shape
    grid = np.indices((rows, columns)).reshape(2, -1)
    to_source = np.linalg.inv(volume.affine_lps) @ affine
    for index in (0, 1, 13, 27, 40, 53):
        source = sitk.ReadImage(str(door.sources[volume.sources[index].sop_instance_uid]))
        target = sitk.Image(columns, rows, 1, sitk.sitkFloat64)
        target.SetOrigin((affine @ (index, 0, 0, 1))[:3].tolist())
        target.SetSpacing(spacing[::-1].tolist())
        target.SetDirection(direction.ravel().tolist())
        found = sitk.Resample(
            sitk.Cast(source, sitk.sitkFloat64), target, sitk.Transform(), sitk.sitkLinear
        )
        points = np.stack([np.full(grid.shape[1], index), *grid, np.ones(grid.shape[1])])
        at = (to_source @ points)[1:3]
        size = np.array(volume.voxels.shape[1:])[:, None]
        inside = ((at >= 0) & (at <= size - 1)).all(axis=0).reshape(rows, columns)
        assert inside.mean() > 0.7
        ours, theirs = straight.voxels[index], sitk.GetArrayFromImage(found)[0]
        np.testing.assert_allclose(ours[inside], theirs[inside], atol=0.5 + 1e-3)
        outside = ((at < -1) | (at > size)).any(axis=0).reshape(rows, columns)
        assert (ours[outside] == volume.voxels.min()).all()


def _with_identifiers(folder: Path, target: Path) -> Path:
    """Copies of objects with the UIDs that they had, or with new ones."""
    target.mkdir()
    for path in files_of(folder):
        dataset = dcmread(path)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            if not dataset.get(keyword):
                setattr(dataset, keyword, f"2.25.{len(keyword)}")
        dataset.save_as(target / path.name)
    return target


def _compare(volume: Volume, image: sitk.Image) -> None:
    """Compare all voxels; the axes of the two grids may be in another order and direction."""
    theirs = sitk.GetArrayViewFromImage(image)
    to_theirs = np.linalg.inv(_affine_of(image)) @ volume.affine_lps
    turn = np.round(to_theirs[:3, :3])
    assert np.allclose(np.abs(turn).sum(axis=0), 1)
    assert np.allclose(np.abs(turn).sum(axis=1), 1)
    shape = np.array(volume.voxels.shape)
    corners = np.array([(i, j, k, 1) for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.float64)
    corners[:, :3] *= shape - 1
    indices = (corners @ to_theirs.T)[:, :3]
    # A twentieth of a voxel over the whole volume: decimal strings, and ITK's own fit of the step.
    np.testing.assert_allclose(indices, np.round(indices), atol=0.05)
    origin = np.round(indices[0]).astype(int)
    for slab in range(shape[0]):
        rows, columns = np.indices(volume.voxels.shape[1:])
        here = np.stack([np.full(rows.shape, slab), rows, columns], axis=-1)
        there = here @ turn.T.astype(int) + origin
        found = theirs[there[..., 0], there[..., 1], there[..., 2]]
        np.testing.assert_array_equal(volume.voxels[slab], found)


def _affine_of(image: sitk.Image) -> Array:
    """4 x 4, from ``(slice, row, column)`` of SimpleITK's array to LPS mm."""
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = (direction * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine
