"""The worker's side of a job: a volume that it can only read, and room for exactly one answer."""

from __future__ import annotations

import mmap
import os
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.errors import InvalidPredictionError

_PIECE_BYTES = 64 * 1024**2


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
    _check(labels, np.uint8, shape, "")
    _copy(file, labels, 0)


def write_probabilities(
    file: int, probabilities: npt.NDArray[np.generic] | None, shape: Sequence[int]
) -> None:
    """Copy probabilities ``(label, slice, row, column)`` into their room, one byte each.

    Raises:
        InvalidPredictionError: there are none, or they are of another type or shape.
    """
    if probabilities is None:
        raise InvalidPredictionError(
            "The model answered no probabilities, which its manifest promises."
        )
    _check(probabilities, np.uint8, shape, "probabilities of ")
    _copy(file, probabilities, 0)


def write_maps(
    file: int,
    maps: Mapping[str, npt.NDArray[np.generic]],
    names: Sequence[str],
    shape: Sequence[int],
) -> None:
    """Copy maps ``(slice, row, column)`` into their room, four bytes a voxel.

    Raises:
        InvalidPredictionError: one is absent, not declared, of another type or shape, or not
            finite.
    """
    if set(maps) != set(names):
        raise InvalidPredictionError(
            "The model answered other maps than its manifest declares: "
            f"{len(maps)} instead of {', '.join(names)}."
        )
    for index, name in enumerate(names):
        _check(maps[name], np.float32, shape, f"the map '{name}' of ")
        _copy(file, maps[name], index * maps[name].nbytes)


def _check(values: npt.NDArray[np.generic], kind: Any, shape: Sequence[int], what: str) -> None:
    if values.dtype.kind == "f" and not all(np.isfinite(part).all() for part in values):
        raise InvalidPredictionError(f"The model answered {what}values that are not finite.")
    if values.dtype != kind or values.shape != tuple(shape):
        wanted = " x ".join(map(str, shape))
        found = " x ".join(map(str, values.shape))
        raise InvalidPredictionError(
            f"The model answered {what}{values.dtype} of shape {found}; asked for was "
            f"{np.dtype(kind)} of shape {wanted}."
        )


def _copy(file: int, values: npt.NDArray[np.generic], at: int) -> None:
    """Write into a room piece by piece: a mapping counts as memory that the model takes."""
    # Not with pwrite(2), which the limit on the length of files holds for.
    content = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    done = 0
    while done < len(content):
        start = (at + done) // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        before = at + done - start
        size = min(_PIECE_BYTES, len(content) - done)
        with mmap.mmap(file, before + size, offset=start) as room:
            room[before:] = content[done : done + size]
        done += size
