"""Leaks: what lies in two folds at once makes figures look better than they are.

The subject of a case is taken from its name or its table, and may be wrong. So the pixels are
looked at too: the same image under two names is found, whatever its file's format or compression.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from secondread.errors import DataError
from secondread.learning.case import Case
from secondread.learning.readers.dicom_seg import read_series
from secondread.learning.readers.nifti import ENDINGS

__all__ = ["Leak", "digest_image", "find", "refuse"]


@dataclass(frozen=True)
class Leak:
    """Cases of different folds that have something in common.

    Attributes:
        kind: what they have in common.
        cases: their ids, sorted.
        folds: the folds in which they lie.
    """

    kind: Literal["subject", "pixels"]
    cases: tuple[str, ...]
    folds: tuple[int, ...]


def find(
    cases_by_fold: Sequence[Sequence[Case]], *, digest: Callable[[Path], str] | None = None
) -> list[Leak]:
    """Find the subjects and the images that lie in two folds or more.

    Args:
        cases_by_fold: the held-out cases of each fold.
        digest: what stands for the pixels of an image; `digest_image` unless another is given.

    Raises:
        DataError: an image cannot be read.
    """
    digest = digest or digest_image
    subjects: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    images: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for fold, cases in enumerate(cases_by_fold):
        for case in cases:
            subjects[case.subject].append((fold, case.id))
            if case.image is not None:
                images[digest(case.image)].append((fold, case.id))
    return [*_crossing("subject", subjects), *_crossing("pixels", images)]


def refuse(cases_by_fold: Sequence[Sequence[Case]]) -> None:
    """Find leaks, and go no further where there is one.

    Raises:
        DataError: a subject or an image lies in two folds, or an image cannot be read.
    """
    leaks = find(cases_by_fold)
    if not leaks:
        return
    what = {"subject": "come from the same subject", "pixels": "have the same pixels"}
    first = leaks[0]
    shown = ", ".join(first.cases[:4]) + (" …" if len(first.cases) > 4 else "")
    raise DataError(
        f"Data leak between folds: {shown} {what[first.kind]} but lie in different folds "
        f"({len(leaks)} such groups in all); figures over these folds would be too good. "
        "Group the cases by subject and remove copies."
    )


def _crossing(
    kind: Literal["subject", "pixels"], groups: dict[str, list[tuple[int, str]]]
) -> list[Leak]:
    found = []
    for rows in groups.values():
        folds = tuple(sorted({fold for fold, _ in rows}))
        if len(folds) > 1:
            found.append(Leak(kind, tuple(sorted(name for _, name in rows)), folds))
    return found


def _read_nifti(path: Path) -> np.ndarray:
    import nibabel

    try:
        # Values as they are stored, canonically turned: a flipped header hides no copy.
        image = nibabel.as_closest_canonical(nibabel.load(path))
        return np.asarray(image.dataobj, dtype=np.float32)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        raise DataError(f"The image {path.name} cannot be read: {error}") from None


@lru_cache(maxsize=8192)
def _digest_version(path: Path, _changed_ns: int, _size_bytes: int) -> str:
    values = _read_nifti(path) if path.name.endswith(ENDINGS) else read_series(path)
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def digest_image(path: Path) -> str:
    """Give the sha256 of an image's voxels, turned to RAS; names and headers do not count.

    Raises:
        DataError: the image cannot be read.
    """
    try:
        state = path.stat()
    except OSError:
        raise DataError(f"There is no image {path.name}.") from None
    return _digest_version(path, state.st_mtime_ns, state.st_size)
