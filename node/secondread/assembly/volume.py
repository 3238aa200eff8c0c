"""From the objects of a chosen series to one volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from secondread.assembly.recorded import recorded_slice
from secondread.dicom.geometry import stack
from secondread.dicom.headers import SliceHeader, read_slice
from secondread.dicom.parts import PlaneGroup, find, split
from secondread.dicom.pixels import Decoder, StoredPlane, read_voxels
from secondread.dicom.stacked import SamePixels, StackedPlane
from secondread.domain.instance import Instance
from secondread.domain.volume import SourceSlice, Volume
from secondread.errors import CannotUnderstandError, GeometryError, PixelDataError


def read_volume(
    instances: Sequence[Instance], spool: Path, part: str = "", decoder: Decoder | None = None
) -> Volume:
    """Read one volume of a series; the order of ``instances`` does not matter.

    Where intake recorded the geometry and the place of the pixels, nothing else of a file is read.
    Its affine is sheared where the slices lean against their stack; ``dicom.rectify`` makes the
    grid of it orthogonal.

    Args:
        instances: the objects of the series, or those of the part alone.
        spool: the folder that the paths of the instances are relative to.
        part: the name of one of its volumes, '' where it is one.
        decoder: decodes what is compressed; without it this process does.

    Raises:
        GeometryError: the series, or the part, is not one sound volume, or there is no such part.
        PixelDataError: an object or its pixels cannot be read.
    """
    headers = [recorded_slice(instance) or _header(spool / instance.path) for instance in instances]
    group = _choose(split(headers), part)
    volume = stack(headers, group.planes, same_pixels(instances, headers, spool, decoder))
    stored = [_stored(instances, headers, spool, item) for item in volume.planes]
    sources = tuple(
        SourceSlice(
            sop_instance_uid=headers[item.header].sop_instance_uid,
            sop_class_uid=headers[item.header].sop_class_uid,
            frame=item.plane.frame,
        )
        for item in volume.planes
    )
    voxels = read_voxels(stored, decoder)
    return Volume(voxels=voxels, affine_lps=volume.affine_lps, sources=sources)


def same_pixels(
    instances: Sequence[Instance],
    headers: Sequence[SliceHeader],
    spool: Path,
    decoder: Decoder | None = None,
) -> SamePixels:
    """What ``geometry.stack`` asks of two planes at one place: whether their values are alike.

    Values are compared after decoding and rescale, so two copies may be compressed differently.
    ``headers`` are those of ``instances``, in the same order. What comes back raises PixelDataError
    where the pixels of one of them cannot be read.
    """

    def alike(one: StackedPlane, other: StackedPlane) -> bool:
        first, second = (
            read_voxels([_stored(instances, headers, spool, item)], decoder)
            for item in (one, other)
        )
        return np.array_equal(first, second)

    return alike


def _choose(groups: Sequence[PlaneGroup], part: str) -> PlaneGroup:
    group = find(groups, part)
    if group is not None:
        return group
    names = "; ".join(group.name for group in groups)
    if not part:
        raise GeometryError(
            f"Its images are {len(groups)} volumes ({names}), and nobody said which one is meant.",
            outcome="several-volumes",
        )
    raise GeometryError(
        f"None of its {len(groups)} volumes is called '{part}', they are: {names}.",
        outcome="no-such-part",
    )


def _stored(
    instances: Sequence[Instance],
    headers: Sequence[SliceHeader],
    spool: Path,
    item: StackedPlane,
) -> StoredPlane:
    return StoredPlane(
        path=spool / instances[item.header].path,
        layout=headers[item.header].pixels,
        plane=item.plane,
    )


def _header(path: Path) -> SliceHeader:
    try:
        return read_slice(path)
    except CannotUnderstandError as error:
        raise PixelDataError(str(error), outcome="unreadable") from error
