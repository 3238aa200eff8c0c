"""The worker's side of a job: a volume that it can only read, and room for exactly one answer."""

from __future__ import annotations

import mmap
import os
import tarfile
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from secondread.errors import InvalidPredictionError


def open_volume(file: int) -> npt.NDArray[np.generic]:
    """The volume behind a descriptor of a ``.npy`` file, ``(slice, row, column)``, read-only."""
    with os.fdopen(os.dup(file), "rb") as stream:
        stream.seek(0)
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        start = stream.tell()
        # Older kernels allow no shared mapping of what is sealed, not even one for reading.
        content = mmap.mmap(stream.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    voxels = np.frombuffer(content, dtype=dtype, offset=start)
    return voxels.reshape(shape)


def open_images(file: int) -> dict[str, bytes]:
    """The DICOM files in the archive behind a descriptor, by their names ``0001.dcm`` …."""
    with os.fdopen(os.dup(file), "rb") as stream:
        stream.seek(0)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            return {
                member.name: content.read()
                for member in archive
                if (content := archive.extractfile(member)) is not None
            }


def write_labels(file: int, labels: npt.NDArray[np.generic], shape: Sequence[int]) -> None:
    """Copy a label map into the room that the engine has made for it, one byte a voxel.

    Raises:
        InvalidPredictionError: it is of another type or shape than asked for, or not finite.
    """
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InvalidPredictionError("The model answered values that are not finite.")
    if labels.dtype != np.uint8 or labels.shape != tuple(shape):
        wanted = " x ".join(map(str, shape))
        found = " x ".join(map(str, labels.shape))
        raise InvalidPredictionError(
            f"The model answered {labels.dtype} of shape {found}; asked for was uint8 of "
            f"shape {wanted}."
        )
    with mmap.mmap(file, labels.size) as room:
        np.frombuffer(room, np.uint8)[:] = labels.reshape(-1)
