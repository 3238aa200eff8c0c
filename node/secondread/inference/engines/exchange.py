"""The engine's side of a job: what goes to a worker and comes back as memory, not as paths.

The volume is a sealed copy that nobody can change any more. The rooms for the answer have the size
of what the manifest declares and cannot grow. All are gone when the last process that holds them
lets go.
"""

from __future__ import annotations

import fcntl
import math
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from secondread.domain.answer import Declared
from secondread.errors import LimitExceededError, ModelError
from secondread.inference.worker.messages import IMAGES, LABELS, MAPS, PROBABILITIES, VOLUME

_SIZE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_ALL_SEALS = _SIZE_SEALS | fcntl.F_SEAL_WRITE

ROOM_BYTES_MAX = 6 * 1024**3
"""Of all rooms of one answer together; they are memory of the machine."""
_GIB = 1024**3
_MAP_BYTES = 4


@dataclass(frozen=True, slots=True)
class Exchange:
    """The descriptors that a worker gets for one job, by what they are, and the volume's shape."""

    parts: Mapping[str, int]
    shape: tuple[int, ...]

    @property
    def files(self) -> tuple[int, ...]:
        """In the order in which they are sent."""
        return tuple(self.parts.values())

    def answered(self) -> npt.NDArray[np.uint8]:
        """A copy of the labels, which the worker cannot change while they are looked at."""
        labels = np.empty(math.prod(self.shape), np.uint8)
        _fill(self.parts[LABELS], labels, 0)
        return labels.reshape(self.shape)

    def slices(self, part: str, kind: type[np.generic]) -> Iterator[npt.NDArray[np.generic]]:
        """A room, copied slice by slice, ``(row, column)``; what was copied cannot be changed.

        It may be too large to be in memory twice.
        """
        file = self.parts[part]
        size = os.fstat(file).st_size
        step = math.prod(self.shape[1:]) * np.dtype(kind).itemsize
        for start in range(0, size, step):
            content = np.empty(step, np.uint8)
            _fill(file, content, start)
            yield content.view(kind).reshape(self.shape[1:])

    def close(self) -> None:
        """Let go of all."""
        for file in self.files:
            os.close(file)


def open_exchange(
    volume: Path, images_folder: str = "", declared: Declared | None = None
) -> Exchange:
    """Copy a prepared volume and the files that belong to it, and make room for the answer.

    Raises:
        LimitExceededError: what the manifest declares is too much for a volume of this size.
        ModelError: something of it cannot be read.
    """
    opened: dict[str, int] = {}
    try:
        opened[VOLUME] = _make(VOLUME)
        shape = _copy_volume(volume, opened[VOLUME])
        sizes = _sizes(math.prod(shape), declared or Declared())
        for name, size in sizes.items():
            opened[name] = _make(name)
            os.ftruncate(opened[name], size)
            fcntl.fcntl(opened[name], fcntl.F_ADD_SEALS, _SIZE_SEALS)
        if images_folder:
            opened[IMAGES] = _make(IMAGES)
            _archive(Path(images_folder), opened[IMAGES])
    except (OSError, ValueError, LimitExceededError) as error:
        for file in opened.values():
            os.close(file)
        if isinstance(error, LimitExceededError):
            raise
        raise ModelError(f"The prepared volume cannot be read ({type(error).__name__}).") from None
    return Exchange(opened, shape)


def _make(name: str) -> int:
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _sizes(voxels: int, declared: Declared) -> dict[str, int]:
    sizes = {
        LABELS: voxels,
        PROBABILITIES: voxels * declared.probabilities,
        MAPS: voxels * len(declared.maps) * _MAP_BYTES,
    }
    whole = sum(sizes.values())
    if whole > ROOM_BYTES_MAX:
        raise LimitExceededError(
            f"The answer that the model's manifest declares would take {whole / _GIB:.1f} GiB for "
            f"this volume; {ROOM_BYTES_MAX / _GIB:.0f} GiB is the most."
        )
    return {name: size for name, size in sizes.items() if size}


def _fill(file: int, content: npt.NDArray[np.uint8], start: int) -> None:
    done = 0
    while done < content.size:
        done += os.preadv(file, [content.data[done:]], start + done)


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
