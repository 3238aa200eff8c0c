"""Pictures of single cases: three planes of the image, the reference's outline and the answer's."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from secondread.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from secondread.learning.predictions import Row

_SIZE_IN = (7.8, 2.8)
_DPI = 110
_TRUTH = "#2ca25f"
_FOUND = "#e34a33"
# The planes of an (x, y, z) RAS array, by the axis that they cut.
_PLANES = ((2, "axial"), (1, "coronal"), (0, "sagittal"))


@dataclass(frozen=True)
class Scene:
    """One case's arrays, each (x, y, z) RAS on one grid, and the grid's spacing in mm."""

    image: npt.NDArray[np.float32]
    truth: npt.NDArray[np.integer] | None
    found: npt.NDArray[np.integer] | None
    spacing_mm: tuple[float, float, float]


def load_scene(row: Row, run: Path, data: Path) -> Scene | None:
    """Read what there is of a case; None where its image is not at hand.

    Raises:
        DataError: a file cannot be read, leads out of its folder, or is on another grid.
    """
    path = _inside(data, row.image)
    if path is None:
        return None
    image, spacing_mm = _read(path)
    maps = [_inside(data, row.truth_labels), _inside(run, row.found_labels)]
    labels = [None if each is None else np.rint(_read(each)[0]).astype(np.int32) for each in maps]
    if any(each is not None and each.shape != image.shape for each in labels):
        raise DataError(f"The image and the label maps of case '{row.id}' are not of one grid.")
    return Scene(image, labels[0], labels[1], spacing_mm)


def draw_scene(scene: Scene) -> bytes:
    """A PNG: green the reference, red and dashed the answer, through the most of the reference."""
    figure = Figure(figsize=_SIZE_IN, layout="constrained", facecolor="black")
    low, high = np.percentile(scene.image, [1, 99.5])
    for axes, (axis, name) in zip(figure.subplots(1, 3), _PLANES, strict=True):
        place = _fullest(scene, axis)
        picture = np.take(scene.image, place, axis).T
        rest = [scene.spacing_mm[each] for each in range(3) if each != axis]
        axes.imshow(
            picture, cmap="gray", origin="lower", vmin=low, vmax=max(high, low + 1e-6),
            aspect=rest[1] / rest[0],
        )  # fmt: skip
        _outline(axes, scene.truth, (axis, place), (_TRUTH, "solid"))
        _outline(axes, scene.found, (axis, place), (_FOUND, "dashed"))
        if axis != 0:
            # Seen from the feet or the front, so that the patient's right is on the left.
            axes.invert_xaxis()
        axes.set_title(name, color="white", fontsize=8)
        axes.set_axis_off()
    buffer = BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _outline(
    axes: Axes,
    labels: npt.NDArray[np.integer] | None,
    cut: tuple[int, int],
    look: tuple[str, str],
) -> None:
    if labels is None:
        return
    axis, place = cut
    plane = np.take(labels, place, axis).T
    for label in np.unique(plane[plane > 0]):
        axes.contour(
            plane == label, levels=[0.5], colors=look[0], linestyles=look[1], linewidths=0.9
        )


def _fullest(scene: Scene, axis: int) -> int:
    """The slice along an axis with the most of the reference, or of the answer, or the middle."""
    for labels in (scene.truth, scene.found):
        if labels is not None and labels.any():
            others = tuple(each for each in range(3) if each != axis)
            return int(np.argmax((labels > 0).sum(axis=others)))
    return int(scene.image.shape[axis] // 2)


def _inside(folder: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise DataError(f"'{name}' of the predictions leads out of its folder.")
    return path if path.is_file() else None


def _read(path: Path) -> tuple[npt.NDArray[np.float32], tuple[float, float, float]]:
    """The first volume of a NIfTI file as (x, y, z) RAS, and its spacing in mm."""
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        voxels = np.asarray(image.dataobj, np.float32)
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise DataError(f"'{path.name}' cannot be read as NIfTI.") from error
    if voxels.ndim == 4:
        voxels = voxels[..., 0]
    if voxels.ndim != 3:
        raise DataError(f"'{path.name}' is not a volume of three axes.")
    x_mm, y_mm, z_mm = (float(step) for step in image.header.get_zooms()[:3])
    return voxels, (x_mm, y_mm, z_mm)
