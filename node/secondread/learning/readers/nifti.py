"""Cases from folders of NIfTI files: images, and label maps of the same name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from secondread.errors import DataError
from secondread.learning.case import Case, Loaded

__all__ = ["NiftiLayout", "find_cases", "load_case"]

ENDINGS = (".nii.gz", ".nii")
_SAME_PLACE_MM = 0.1
_GRID_PARTS = 3


@dataclass(frozen=True)
class NiftiLayout:
    """Where images and label maps lie, below the folder of the data.

    Attributes:
        images: folder of the images.
        labels: folder of the label maps; '' for none. A label map has the name of its image.
        subject: a regular expression with one group, which finds the subject in the name of the
            image; digits are padded with zeros to three.
        targets: what is to be told, by case id.
        values: what else is known, by case id.
        leave_out: ids of cases that are passed over, such as an image that nobody has labelled.
    """

    images: str
    labels: str = ""
    subject: str = r"^(.+)$"
    targets: Mapping[str, float | str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()


def find_cases(data: Path, layout: NiftiLayout) -> tuple[Case, ...]:
    """List the cases of a folder, by name; hidden files are passed over.

    Raises:
        DataError: there are none, a label map is missing, or a name does not tell its subject.
    """
    images, labels = data / layout.images, data / layout.labels if layout.labels else None
    if not images.is_dir():
        raise DataError(f"The data have no folder '{layout.images}'.")
    try:
        pattern = re.compile(layout.subject)
    except re.error as error:
        raise DataError(f"The pattern of the subject is no regular expression: {error}.") from None
    cases = [
        _case(path, labels, layout, pattern)
        for path in sorted(images.iterdir())
        if path.name.endswith(ENDINGS)
        and not path.name.startswith(".")
        and _plain_name(path) not in layout.leave_out
    ]
    if not cases:
        raise DataError(f"The folder '{layout.images}' of the data has no NIfTI images.")
    names = [case.id for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"The folder '{layout.images}' of the data has the image '{twice[0]}' twice, as .nii "
            "and as .nii.gz; leave one of them."
        )
    return tuple(cases)


def _case(path: Path, labels: Path | None, layout: NiftiLayout, pattern: re.Pattern[str]) -> Case:
    name = _plain_name(path)
    found = pattern.search(name)
    if not found or pattern.groups != 1 or not found[1]:
        raise DataError(
            f"The pattern '{layout.subject}' finds no subject in '{name}'; it needs exactly one "
            "group, which stands for the subject."
        )
    map_path = None
    if labels is not None:
        map_path = next((p for e in ENDINGS if (p := labels / f"{name}{e}").is_file()), None)
        if map_path is None:
            raise DataError(f"The image '{name}' has no label map in '{layout.labels}'.")
    return Case(
        id=name,
        subject=found[1].zfill(3) if found[1].isdigit() else found[1],
        image=path,
        labels=map_path,
        target=layout.targets.get(name),
        values=dict(layout.values.get(name, {})),
    )


def _plain_name(path: Path) -> str:
    ending = next(one for one in ENDINGS if path.name.endswith(one))
    return path.name.removesuffix(ending)


def load_case(case: Case) -> Loaded:
    """Read the files of a case, turned to RAS along the nearest axes; nothing is resampled.

    Raises:
        DataError: a file is absent or broken, the image is not a volume of finite numbers, or the
            label map lies on another grid or holds something else than whole numbers to 255.
    """
    if case.image is None:
        raise DataError(f"The case {case.id} has no image.")
    image, affine = _read(case.image)
    values = image.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"The image of {case.id} has voxels that are not finite numbers.")
    if case.labels is None:
        return Loaded(case, values, None, affine)
    found, where = _read(case.labels)
    if found.shape != image.shape or not np.allclose(where, affine, atol=_SAME_PLACE_MM):
        raise DataError(f"The label map of {case.id} does not lie on the grid of its image.")
    with np.errstate(invalid="ignore"):  # what is no number is told of in the next sentence
        labels = found.astype(np.uint8)
    if not np.array_equal(labels, found):
        raise DataError(f"The label map of {case.id} has values that are not 0, 1 … 255.")
    return Loaded(case, values, labels, affine)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Give (x, y, z) float32 in RAS order, and the affine, voxels to RAS mm."""
    import nibabel

    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        values = np.asarray(image.dataobj, dtype=np.float32)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        raise DataError(f"The image {path.name} cannot be read: {error}") from None
    if values.ndim > _GRID_PARTS and values.shape[_GRID_PARTS:] == (1,) * (values.ndim - 3):
        values = values.reshape(values.shape[:_GRID_PARTS])
    if values.ndim != _GRID_PARTS or min(values.shape) < 1:
        raise DataError(f"The image {path.name} is not one volume: its shape is {values.shape}.")
    return values, np.asarray(image.affine, np.float64)
