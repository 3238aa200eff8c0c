"""Volumes of ``secondread model test --volume``: arrays of NumPy, and NIfTI images."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secondread.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AXES = 3
_NIFTI = (".nii", ".nii.gz")


def is_nifti(path: Path) -> bool:
    """Whether a file calls itself a NIfTI image."""
    return path.name.lower().endswith(_NIFTI)


def prepare_array(array: Path, sides_mm: tuple[float, ...], work: Path) -> None:
    """Write an array ``(slice, row, column)`` for the model; no header is asked anything.

    The patient lies as in an axial series: columns run to the left, rows to the back, slices to
    the head.

    Raises:
        UsageError: the file holds no such array.
    """
    import numpy as np

    from secondread.deid.boundary import prepare
    from secondread.domain.volume import Volume

    try:
        voxels = np.load(array, allow_pickle=False)
    except (ValueError, EOFError):
        raise UsageError(f"'{array}' is not an array that numpy.save has written.") from None
    if not isinstance(voxels, np.ndarray) or voxels.ndim != _AXES or voxels.dtype.kind not in "iuf":
        raise UsageError(
            f"'{array}' is not an array of numbers with the axes (slice, row, column)."
        )
    if voxels.dtype != np.int16:
        voxels = voxels.astype(np.float32)
    along_slices, along_rows, along_columns = sides_mm
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = (
        *(along_slices, along_rows, along_columns),
        1.0,
    )
    prepare(Volume(np.ascontiguousarray(voxels), affine, ()), work)


def prepare_nifti(path: Path, work: Path) -> None:
    """Write a NIfTI image for the model, with the place and the sides that it tells itself.

    Raises:
        NotFoundError: nibabel is not installed.
        UsageError: the file holds no such volume, or does not say how the patient lies.
    """
    import numpy as np

    from secondread.deid.boundary import prepare
    from secondread.domain.volume import Volume

    image = _opened(path)
    if image.header["qform_code"] == 0 and image.header["sform_code"] == 0:
        raise UsageError(
            f"'{path}' does not say how the patient lies in it (neither qform nor sform), so that "
            "left and right are not known; give an array with --spacing if you know it."
        )
    voxels = _voxels(image, path)
    if voxels.ndim == _AXES + 1 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != _AXES:
        raise UsageError(f"'{path}' holds {voxels.ndim} dimensions instead of one volume.")
    # NIfTI counts columns, rows, slices, and its x and y run the other way (RAS).
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine[:, [2, 1, 0, 3]]
    prepare(Volume(np.ascontiguousarray(voxels.transpose(2, 1, 0)), affine, ()), work)


def _opened(path: Path) -> Any:
    from secondread.learning.extra import require

    require(("nibabel",))
    import nibabel

    try:
        return nibabel.Nifti1Image.from_filename(path)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, zlib.error):
        raise UsageError(f"'{path}' is not a NIfTI image that can be read.") from None


def _voxels(image: Any, path: Path) -> NDArray[np.int16] | NDArray[np.float32]:
    """Signed whole numbers of 16 bits stay what they are, as those of a scanner do."""
    import numpy as np

    try:
        values = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error):
        raise UsageError(f"'{path}' ends too early, or is damaged.") from None
    if values.dtype.kind not in "iuf":
        raise UsageError(f"'{path}' holds no plain numbers.")
    return values if values.dtype == np.int16 else values.astype(np.float32)
