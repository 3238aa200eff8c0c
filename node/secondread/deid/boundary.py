"""The one door from the DICOM side to a model.

What goes through is built up, never cut down: an array, its geometry and the few attributes that
the manifest asks for are written into a folder that is named by the opaque job key. No data set,
UID, date or text is within reach of this module's output.

Of the geometry a model needs how far apart voxels lie and which way they run. Where on the table
the patient lay it does not need, and numbers of so many digits would tell two copies of one scan
for the same; so the origin is the middle of the volume. Results are made on the geometry of the
source, which never comes near a model.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from secondread.deid.attributes import Permitted, confirm
from secondread.deid.dicom_files import SOP_CLASSES, Images, write_images
from secondread.domain.technical import AttributeValue
from secondread.domain.volume import Volume
from secondread.errors import PixelDataError

VOLUME_NAME = "volume.npy"
GEOMETRY_NAME = "geometry.json"
ATTRIBUTES_NAME = "attributes.json"
IMAGES_NAME = "images"
_ALLOWED_TYPES = (np.dtype(np.int16), np.dtype(np.float32))
_AXES, _AFFINE_SHAPE = 3, (4, 4)

Affine = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class PreparedVolume:
    """A de-identified volume on disk.

    Attributes:
        path: ``.npy``, ``(slice, row, column)``, int16 or float32, C order.
        shape: its shape.
        affine_lps: 4 x 4, row by row, voxel (slice, row, column) to LPS mm from the middle of the
            volume.
        attributes: what the model is told besides, by the names of ``domain.technical``.
        images_folder: holds one DICOM file for each slice; None where the model takes none.
    """

    path: Path
    shape: tuple[int, int, int]
    affine_lps: Affine
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    images_folder: Path | None = None


def prepare(
    volume: Volume, folder: Path, permitted: Permitted | None = None, files_of: str = ""
) -> PreparedVolume:
    """Write the array and the geometry of a volume, and what was permitted, into ``folder``.

    Each file appears whole or not at all, the array last, and all are on disk when this returns;
    doing it again gives the same bytes, but for the UIDs in DICOM files.

    Args:
        volume: its columns are at right angles.
        folder: is made; only its owner may look into it.
        permitted: what ``deid.attributes.permit`` gave for the attributes that were asked for.
        files_of: 'CT' or 'MR' for DICOM files of this modality besides; '' for none.

    Raises:
        PixelDataError: the array is not a three-dimensional one of int16 or float32, or no files of
            this modality can be written.
    """
    voxels, affine = volume.voxels, np.asarray(volume.affine_lps, dtype=np.float64)
    if voxels.ndim != _AXES or voxels.dtype not in _ALLOWED_TYPES:
        raise PixelDataError(
            f"A volume of {voxels.ndim} axes of {voxels.dtype} may not go to a model.",
            outcome="not-a-volume",
        )
    if affine.shape != _AFFINE_SHAPE or not np.isfinite(affine).all():
        raise PixelDataError("The affine of the volume is not 4 x 4 numbers.", outcome="affine")
    if files_of and files_of not in SOP_CLASSES:
        raise PixelDataError(
            "The model asks for DICOM files, which can be written of CT and MR images only.",
            outcome="no-files",
        )
    shape = (int(voxels.shape[0]), int(voxels.shape[1]), int(voxels.shape[2]))
    centred = _from_the_middle(affine, shape)
    attributes = confirm(permitted.values if permitted else {})
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    rows = tuple(tuple(float(value) for value in row) for row in centred)
    images_folder = folder / IMAGES_NAME if files_of else None
    if images_folder:
        write_images(Images(files_of, voxels, centred, attributes), images_folder)
    else:
        shutil.rmtree(folder / IMAGES_NAME, ignore_errors=True)
    geometry = {"shape": shape, "affine_lps": rows, "files": bool(images_folder)}
    _write_json(folder / ATTRIBUTES_NAME, attributes)
    _write_json(folder / GEOMETRY_NAME, geometry)
    _write(folder / VOLUME_NAME, lambda file: _write_array(file, voxels))
    return PreparedVolume(folder / VOLUME_NAME, shape, rows, attributes, images_folder)


def load_prepared(folder: Path) -> PreparedVolume:
    """What ``prepare`` wrote; attributes are checked once more.

    Raises:
        FileNotFoundError: there is nothing, not all of it, or it is damaged; prepare it again.
    """
    path = folder / VOLUME_NAME
    content = (folder / GEOMETRY_NAME).read_bytes()
    told = (folder / ATTRIBUTES_NAME).read_bytes()
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        geometry = json.loads(content)
        slices, rows, columns = map(int, geometry["shape"])
        affine = tuple(tuple(float(value) for value in row) for row in geometry["affine_lps"])
        attributes = confirm(dict(json.loads(told)))
        images_folder = folder / IMAGES_NAME if geometry["files"] else None
    except (ValueError, TypeError, KeyError) as error:
        raise FileNotFoundError(folder / GEOMETRY_NAME) from error
    if images_folder and len(list(images_folder.glob("*.dcm"))) != slices:
        raise FileNotFoundError(images_folder)
    return PreparedVolume(path, (slices, rows, columns), affine, attributes, images_folder)


def _from_the_middle(
    affine: npt.NDArray[np.float64], shape: tuple[int, int, int]
) -> npt.NDArray[np.float64]:
    """The same axes around the middle of the volume."""
    centred = affine.copy()
    middle = (np.array(shape, dtype=np.float64) - 1) / 2
    # Plus zero, for a minus before a zero would be a bit of the source.
    centred[:3, 3] = 0.0 - affine[:3, :3] @ middle
    return centred + 0.0


def _write_json(path: Path, content: object) -> None:
    encoded = json.dumps(content).encode("ascii")
    _write(path, lambda file: file.write(encoded))


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
