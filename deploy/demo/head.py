"""The demo's patient: a real MR head, as the sagittal T1 series of a scanner.

Nothing is downloaded. Where Debian's mricron-data is installed it is 'ch2', one person's whole
head; otherwise it is the MNI152 average that the nilearn package ships, real but skull-stripped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.demo.series import Header, write_series

WHOLE_HEAD = Path("/usr/share/mricron/templates/ch2.nii.gz")
SIGNAL_MAX = 1000
"""The brightest stored value; a scanner uses a part of its 12 bits as well."""

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True)
class Head:
    """A head in the patient frame.

    Attributes:
        name: what the patient is called in the demo, in DICOM's form.
        origin: where it comes from, in words.
        voxels: ``(slice, row, column)`` int16 signal; sagittal slices from left to right.
        affine_lps: voxel (slice, row, column) to LPS mm.
    """

    name: str
    origin: str
    voxels: npt.NDArray[np.int16]
    affine_lps: npt.NDArray[np.float64]

    @property
    def header(self) -> Header:
        """What the scanner writes into the files."""
        return Header(
            patient_name=self.name,
            patient_id="DEMO-1",
            study_description="MR head",
            series_description="t1 mprage sag",
            seed=f"secondread demo {self.name}",
            accession_number="DEMO0001",
        )

    def write(self, folder: Path) -> list[Path]:
        """Write the series and return its files in slice order."""
        return write_series(self.voxels, self.affine_lps, folder, self.header)


def find_head() -> Head:
    """The whole head where it is installed, otherwise the skull-stripped one."""
    return whole_head() if WHOLE_HEAD.is_file() else template_head()


def whole_head() -> Head:
    """Debian's 'ch2': 27 averaged scans of one person, 1 mm, 181 sagittal slices.

    Raises:
        FileNotFoundError: mricron-data is not installed.
    """
    import nibabel

    image = nibabel.load(WHOLE_HEAD)
    return _sagittal("Demo^Ch2", "the whole head 'ch2' of Debian's mricron-data", image)


def template_head() -> Head:
    """The MNI152 T1 average of the nilearn package: 1 mm, 197 sagittal slices, no skull."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    return _sagittal("Demo^MNI152", "nilearn's MNI152 T1 template (skull-stripped)", image)


def _sagittal(name: str, origin: str, image: Any) -> Head:
    """A NIfTI image as sagittal slices, rows from top to bottom, columns from front to back."""
    import nibabel

    ras: Any = nibabel.as_closest_canonical(image)
    signal = np.asarray(ras.get_fdata(dtype=np.float32))
    # A gain, not a window: ratios between tissues stay as they were.
    signal = np.clip(np.rint(signal * (SIGNAL_MAX / signal.max())), 0, SIGNAL_MAX)
    # (right, anterior, superior) -> (slice to the right, row downwards, column backwards)
    last = np.array(signal.shape) - 1
    to_ras = np.array([[1, 0, 0, 0], [0, 0, -1, last[1]], [0, -1, 0, last[2]], [0, 0, 0, 1]])
    voxels = signal[:, ::-1, ::-1].transpose(0, 2, 1).astype(np.int16)
    return Head(name, origin, np.ascontiguousarray(voxels), RAS_TO_LPS @ ras.affine @ to_ras)
