"""Images to send to the models, right ones and wrong ones: the rows of the refusal table.

Pixels only. Some are real (`../shared/data` of the repository), some are made from nilearn's
MNI152 head, some from nothing; all are (slice, row, column) with an LPS affine.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from readers import RAS_TO_LPS, Volume, from_nifti, read_dicom, read_nifti
from scipy import ndimage

ALONG = {"left": 0, "right": 0, "back": 1, "front": 1, "lower": 2, "upper": 2}
"""Which axis of RAS a part is cut along."""
COLIN = Path("/usr/share/mricron/templates/ch2.nii.gz")
SINUSES_MM = ((-18, 62, -42), (18, 62, -42), (0, 72, -8))
"""Where a made-up head has air: maxillary and frontal sinuses, RAS of MNI152."""
LUNG_LOBES = (10, 11, 12, 13, 14)
"""TotalSegmentator's labels, as ../shared/data/ct_totalsegmentator_ref numbers them."""


class AbsentError(Exception):
    """A data set or package is not on this machine."""


@dataclass
class Sources:
    """Where images come from; each is read once.

    Attributes:
        shared: the folder of the data sets, which may be absent.
        scratch: where archives are unpacked.
    """

    shared: Path
    scratch: Path
    read: dict[str, Volume] = field(default_factory=dict)

    def find(self, name: str) -> Path:
        """Give the folder with the files of a data set."""
        source, target = self.shared / name, self.scratch / name
        if not source.is_dir():
            raise AbsentError(f"the data set '{name}' is not beside the repository")
        archives = sorted(source.glob("*.tar.xz"))
        if archives and not target.exists():
            for archive in archives:
                with tarfile.open(archive) as content:
                    content.extractall(target, filter="data")
        return target if archives else source

    def keep(self, name: str, read: Callable[[], Volume]) -> Volume:
        """Read something once."""
        if name not in self.read:
            self.read[name] = read()
        return self.read[name]

    def mni152(self) -> Volume:
        """Give nilearn's MNI152 head at 2 mm, an average without its skull."""
        from nilearn import datasets

        return self.keep("mni152", lambda: from_nifti(datasets.load_mni152_template(resolution=2)))

    def colin(self) -> Volume:
        """Give mricron's head at 1 mm, an average of one man."""
        if not COLIN.exists():
            raise AbsentError("the Debian package mricron-data is not installed")
        return self.keep("colin", lambda: read_nifti(COLIN))

    def dicom(self, name: str, min_slices: int = 5) -> Volume:
        """Give the longest MR series of a data set."""
        return self.keep(name, lambda: read_dicom(self.find(name), min_slices))

    def nifti(self, name: str, file: str) -> Volume:
        """Give a NIfTI file of a data set."""
        return self.keep(name + file, lambda: read_nifti(self.find(name) / file))

    def label_map(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Give one of the whole-head label maps, (x, y, z) RAS, and its LPS affine."""
        path = next(self.find("labels_synthseg_training").rglob(f"*seg_{number:02d}.nii*"))
        image = nib.as_closest_canonical(nib.load(path))
        return np.asanyarray(image.dataobj).astype(np.int32), RAS_TO_LPS @ image.affine


@dataclass(frozen=True)
class Input:
    """A row of the table.

    Attributes:
        name: its id.
        title: what it is.
        make: gives the image.
        right_for: the models that have to analyse it; all others have to refuse it.
        quick: whether it is seen in every run of the tests.
    """

    name: str
    title: str
    make: Callable[[Sources], Volume]
    right_for: frozenset[str] = frozenset()
    quick: bool = True


def cut(volume: Volume, part: str, share: float = 0.5) -> Volume:
    """Keep a part of a head: the planes of the array along the axis that is nearest to it."""
    voxels, affine = volume
    row = (RAS_TO_LPS @ affine)[ALONG[part], :3]
    axis = int(np.argmax(abs(row)))
    count = voxels.shape[axis]
    kept = round(share * count)
    high_end = (part in {"right", "front", "upper"}) == (row[axis] > 0)
    start = count - kept if high_end else 0
    shifted = affine.copy()
    shifted[:3, 3] += start * affine[:3, axis]
    return np.ascontiguousarray(voxels.take(range(start, start + kept), axis)), shifted


def _axial(volume: Volume) -> int:
    """Give the axis of the array that runs along the body."""
    return int(np.argmax(abs(volume[1][2, :3])))


def drop_slices(volume: Volume, *, told: bool) -> Volume:
    """Leave out every second slice; the geometry tells of it or, wrongly, does not."""
    voxels, affine = volume
    axis = _axial(volume)
    steps = np.ones(4)
    steps[axis] = 2 if told else 1
    return np.ascontiguousarray(voxels.take(range(0, voxels.shape[axis], 2), axis)), affine * steps


def blank(volume: Volume, *, every_second: bool, noise: float = 0.0) -> Volume:
    """Make every second axial slice, or all of the upper half, black or noise."""
    voxels, axis = volume[0].copy(), _axial(volume)
    planes = np.moveaxis(voxels, axis, 0)
    if not every_second and volume[1][2, axis] < 0:
        planes = planes[::-1]
    gone = planes[1::2] if every_second else planes[len(planes) // 2 :]
    grain = np.random.default_rng(5).normal(0, noise * float(voxels.max()), gone.shape)
    gone[:] = abs(grain)
    return voxels, volume[1]


def constant(_: Sources) -> Volume:
    """Give an image that has the same value everywhere."""
    return np.full((100, 110, 110), 300.0, np.float32), _plain_affine()


def noise(_: Sources) -> Volume:
    """Give noise."""
    voxels = np.random.default_rng(5).normal(100, 30, (100, 110, 110))
    return voxels.astype(np.float32), _plain_affine()


def _plain_affine() -> NDArray[np.float64]:
    return np.array([[0.0, 0, 2, -110], [0, 2, 0, -110], [2, 0, 0, -110], [0, 0, 0, 1]])


def head_ct(sources: Sources, *, sharp: bool = False) -> Volume:
    """Paint MNI152 in Hounsfield units, with skull and sinuses; ``sharp`` as a kernel for bone."""
    voxels, affine = sources.mni152()
    brain = ndimage.binary_closing(voxels > 0.05 * voxels.max(), iterations=3)
    outside_mm = ndimage.distance_transform_edt(~brain) * 2
    white = np.clip(voxels / np.percentile(voxels[brain], 95), 0, 1)
    hu = np.where(brain, 42 - 14 * white, -1000.0)
    for upto_mm, value in ((14, 20.0), (10, 950.0), (3, 8.0)):
        hu[~brain & (outside_mm < upto_mm)] = value
    at = np.stack(np.meshgrid(*[np.arange(n) for n in hu.shape], indexing="ij"), axis=-1)
    ras = at @ (RAS_TO_LPS @ affine)[:3, :3].T + (RAS_TO_LPS @ affine)[:3, 3]
    for middle in SINUSES_MM:
        hu[(((ras - middle) / (13, 14, 16)) ** 2).sum(axis=-1) < 1] = -980
    hu = ndimage.gaussian_filter(hu, 0.5)
    if sharp:
        hu += 1.2 * (hu - ndimage.gaussian_filter(hu, 1.0))
    hu += np.random.default_rng(5).normal(0, 30.0 if sharp else 5.0, hu.shape)
    return np.clip(hu, -1024, 3071).astype(np.float32), affine


def abdomen_ct(sources: Sources) -> Volume:
    """Give an abdomen without the slices that hold lung."""
    name = "ct_totalsegmentator_ref"
    voxels, affine = sources.nifti(name, "example_ct.nii.gz")
    labels, _ = sources.nifti(name, "example_seg_fast_force_split.nii.gz")
    lowest = int(np.flatnonzero(np.isin(labels, LUNG_LOBES).any(axis=(0, 1)))[0])
    return voxels[:, :, :lowest], affine


def read_ct(folder: Path, description: str = "") -> Volume:
    """Read the longest CT series of a folder, in Hounsfield units."""
    series: dict[str, list[pydicom.Dataset]] = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        try:
            header = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        if "ImagePositionPatient" in header and description in header.get("SeriesDescription", ""):
            series.setdefault(header.SeriesInstanceUID, []).append(header)
    slices = max(series.values(), key=len)
    rows, columns = np.reshape(np.array(slices[0].ImageOrientationPatient, float), (2, 3))
    slices.sort(key=lambda one: float(np.cross(rows, columns) @ _position(one)))
    affine = np.eye(4)
    first, last = _position(slices[0]), _position(slices[-1])
    affine[:3, 0] = (last - first) / (len(slices) - 1)
    affine[:3, 1] = columns * float(slices[0].PixelSpacing[0])
    affine[:3, 2] = rows * float(slices[0].PixelSpacing[1])
    affine[:3, 3] = first
    planes = [
        one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in slices
    ]
    return np.stack(planes).astype(np.float32), affine


def _position(header: pydicom.Dataset) -> NDArray[np.float64]:
    return np.array(header.ImagePositionPatient, float)


BRAIN_MODELS = frozenset({"brain_mr", "hippocampus_mr"})
CHILD, TRIO = "mr_t1_siemens_skyra_child", "mr_t1_t2_siemens_trio_missing_slice"


def lift(volume: Volume) -> Volume:
    """Make Hounsfield units positive, as a CT does that calls itself an MR."""
    voxels, affine = volume
    return np.clip(voxels.astype(np.float32) + 1024, 0, None), affine


CHEST, HEAD_PHANTOM = "ct_chest_philips16_lungdx_a0001", "ct_head_phantom_gantry_tilt"


def _real_heads() -> list[Input]:
    everything = BRAIN_MODELS | {"dementia_mr"}
    return [
        Input("mni152", "MNI152, 2 mm, no skull", Sources.mni152, BRAIN_MODELS),
        Input("colin", "Colin (ch2), 1 mm", Sources.colin, BRAIN_MODELS, quick=False),
        Input("child", "child of 3, Skyra", lambda s: s.dicom(CHILD, 60), BRAIN_MODELS),
        Input("adult", "adult, Trio", lambda s: s.dicom(TRIO, 60), everything, quick=False),
        Input(
            "mni152_4mm",
            "MNI152, every second slice missing, and the geometry says so",
            lambda s: drop_slices(s.mni152(), told=True),
            BRAIN_MODELS,
            quick=False,
        ),
    ]


def _parts() -> list[Input]:
    """Halves of heads, and heads with holes."""
    rows = [
        Input(
            f"{head}_{part}",
            f"{title}, {part} half",
            lambda s, read=read, part=part: cut(read(s), part),
            quick=head == "mni152" and part in {"lower", "upper", "left"},
        )
        for head, title, read in (
            ("mni152", "MNI152", Sources.mni152),
            ("colin", "Colin", Sources.colin),
            ("child", "child", lambda s: s.dicom(CHILD, 60)),
            ("adult", "adult", lambda s: s.dicom(TRIO, 60)),
        )
        for part in ALONG
    ]
    holes: list[tuple[str, str, Callable[[Sources], Volume], bool]] = [
        ("squashed", "every second slice missing, and the geometry does not say so",
         lambda s: drop_slices(s.mni152(), told=False), False),
        ("combed", "every second slice black",
         lambda s: blank(s.mni152(), every_second=True), True),
        ("black_top", "upper half black",
         lambda s: blank(s.mni152(), every_second=False), False),
        ("noisy_top", "upper half noise",
         lambda s: blank(s.mni152(), every_second=False, noise=0.08), False),
    ]  # fmt: skip
    return rows + [
        Input(f"mni152_{name}", f"MNI152, {title}", make, quick=quick)
        for name, title, make, quick in holes
    ]


def _no_heads() -> list[Input]:
    return [
        Input("constant", "constant image", constant),
        Input("noise", "noise", noise),
        Input("fruit", "a fruit, MR, header HEAD", lambda s: s.dicom("mr_ood_fruit_ge_hdxt")),
        Input(
            "phantom",
            "grid phantom, MR, header BRAIN",
            lambda s: s.dicom("mr_ood_phantom_ge_pioneer"),
        ),
        Input(
            "head_phantom_ct",
            "head phantom, CT, header BRAIN",
            lambda s: read_ct(s.find(HEAD_PHANTOM), "STEREOTAXIS"),
        ),
        Input(
            "head_phantom_ct_shifted",
            "head phantom, CT, all values made positive",
            lambda s: lift(read_ct(s.find(HEAD_PHANTOM), "STEREOTAXIS")),
        ),
        Input("head_ct", "head, CT, soft kernel (painted on MNI152)", head_ct),
        Input(
            "head_ct_sharp",
            "head, CT, sharp kernel (painted on MNI152)",
            lambda s: head_ct(s, sharp=True),
        ),
        Input("abdomen_ct", "abdomen, CT, below the lungs", abdomen_ct),
        Input(
            "abdomen_mr",
            "abdomen, MR",
            lambda s: s.nifti("ct_totalsegmentator_ref", "example_mr_sm.nii.gz"),
            quick=False,
        ),
        Input(
            "chest_ct",
            "chest, CT",
            lambda s: read_ct(s.find(CHEST)),
            frozenset({"chest_ct"}),
            quick=False,
        ),
    ]


INPUTS: tuple[Input, ...] = (*_real_heads(), *_parts(), *_no_heads())
