"""The one door from the DICOM side to a model.

What goes through is built up, never cut down: an array and its geometry are written into a folder
that is named by the opaque job key. No data set, UID, date or text is within reach of this module's
output. The origin of the affine is the scanner's, a distance from its isocentre, and tells nothing
about a person.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from secondread.domain.volume import Volume
from secondread.errors import PixelDataError

VOLUME_NAME = "volume.npy"
GEOMETRY_NAME = "geometry.json"
_ALLOWED_TYPES = (np.dtype(np.int16), np.dtype(np.float32))
_AXES, _AFFINE_SHAPE = 3, (4, 4)


@dataclass(frozen=True, slots=True)
class PreparedVolume:
    """A de-identified volume on disk.

    Attributes:
        path: ``.npy``, ``(slice, row, column)``, int16 or float32, C order.
        shape: its shape.
        affine_lps: 4 x 4, row by row, voxel (slice, row, column) to LPS mm.
    """

    path: Path
    shape: tuple[int, int, int]
    affine_lps: tuple[tuple[float, ...], ...]


def prepare(volume: Volume, folder: Path) -> PreparedVolume:
    """Write the array and the geometry of a volume, and nothing else, into ``folder``.

    Both files appear whole or not at all, the array last, and are on disk when this returns; doing
    it again gives the same bytes.

    Raises:
        PixelDataError: the array is not a three-dimensional one of int16 or float32.
    """
    voxels, affine = volume.voxels, np.asarray(volume.affine_lps, dtype=np.float64)
    if voxels.ndim != _AXES or voxels.dtype not in _ALLOWED_TYPES:
        raise PixelDataError(
            f"A volume of {voxels.ndim} axes of {voxels.dtype} may not go to a model.",
            outcome="not-a-volume",
        )
    if affine.shape != _AFFINE_SHAPE or not np.isfinite(affine).all():
        raise PixelDataError("The affine of the volume is not 4 x 4 numbers.", outcome="affine")
    shape = (int(voxels.shape[0]), int(voxels.shape[1]), int(voxels.shape[2]))
    rows = tuple(tuple(float(value) for value in row) for row in affine)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    geometry = json.dumps({"shape": shape, "affine_lps": rows})
    _write(folder / GEOMETRY_NAME, lambda file: file.write(geometry.encode("ascii")))
    _write(folder / VOLUME_NAME, lambda file: _write_array(file, voxels))
    return PreparedVolume(folder / VOLUME_NAME, shape, rows)


def load_prepared(folder: Path) -> PreparedVolume:
    """What ``prepare`` wrote.

    Raises:
        FileNotFoundError: there is nothing, not all of it, or it is damaged; prepare it again.
    """
    path = folder / VOLUME_NAME
    content = (folder / GEOMETRY_NAME).read_bytes()
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        geometry = json.loads(content)
        slices, rows, columns = geometry["shape"]
        affine = tuple(tuple(float(value) for value in row) for row in geometry["affine_lps"])
    except (ValueError, TypeError, KeyError) as error:
        raise FileNotFoundError(folder / GEOMETRY_NAME) from error
    return PreparedVolume(path, (int(slices), int(rows), int(columns)), affine)


def _write_array(file: IO[bytes], voxels: npt.NDArray[Any]) -> None:
    np.save(file, np.ascontiguousarray(voxels), allow_pickle=False)


def _write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
