"""The engine's side of a job: what goes to a worker and comes back as memory, not as paths.

The volume is a sealed copy that nobody can change any more. The room for the answer has the size of
a label map and cannot grow. Both are gone when the last process that holds them lets go.
"""

from __future__ import annotations

import fcntl
import math
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from secondread.errors import ModelError

_SIZE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_ALL_SEALS = _SIZE_SEALS | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True)
class Exchange:
    """The descriptors that a worker gets for one job; ``images`` is an archive, or None."""

    volume: int
    labels: int
    images: int | None
    shape: tuple[int, ...]

    @property
    def files(self) -> tuple[int, ...]:
        """In the order in which they are sent."""
        return (self.volume, self.labels, *(() if self.images is None else (self.images,)))

    def answered(self) -> npt.NDArray[np.uint8]:
        """A copy of what the worker has left, which it cannot change while it is looked at."""
        labels = np.empty(math.prod(self.shape), np.uint8)
        done = 0
        while done < labels.size:
            done += os.preadv(self.labels, [labels.data[done:]], done)
        return labels.reshape(self.shape)

    def close(self) -> None:
        """Let go of both."""
        for file in self.files:
            os.close(file)


def open_exchange(volume: Path, images_folder: str = "") -> Exchange:
    """Copy a prepared volume and the files that belong to it, and make room for the labels.

    Raises:
        ModelError: something of it cannot be read.
    """
    opened: list[int] = []
    try:
        for name in ("volume", "labels", "images")[: 3 if images_folder else 2]:
            opened.append(os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
        shape = _copy_volume(volume, opened[0])
        os.ftruncate(opened[1], math.prod(shape))
        fcntl.fcntl(opened[1], fcntl.F_ADD_SEALS, _SIZE_SEALS)
        if images_folder:
            _archive(Path(images_folder), opened[2])
    except (OSError, ValueError) as error:
        for file in opened:
            os.close(file)
        raise ModelError(f"The prepared volume cannot be read ({type(error).__name__}).") from None
    return Exchange(opened[0], opened[1], opened[2] if images_folder else None, shape)


def _copy_volume(path: Path, copy: int) -> tuple[int, ...]:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape = np.lib.format.read_array_header_1_0(file)[0]
        size, done = os.fstat(file.fileno()).st_size, 0
        while done < size:
            sent = os.sendfile(copy, file.fileno(), done, size - done)
            if not sent:
                raise ValueError("The file shrinks while it is read.")
            done += sent
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _ALL_SEALS)
    return tuple(shape)


def _archive(folder: Path, copy: int) -> None:
    with os.fdopen(os.dup(copy), "wb") as stream, tarfile.open(fileobj=stream, mode="w:") as into:
        for path in sorted(folder.glob("*.dcm")):
            # The name and nothing else: no owner, no date.
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            with path.open("rb") as content:
                into.addfile(member, content)
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _ALL_SEALS)


def save_labels(path: Path, labels: npt.NDArray[np.uint8]) -> None:
    """Write a label map as ``.npy``; it appears whole or not at all and is on disk afterwards."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.save(file, labels, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
