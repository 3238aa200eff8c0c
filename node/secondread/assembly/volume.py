"""From the objects of a chosen series to one volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from secondread.assembly.recorded import recorded_slice
from secondread.dicom.geometry import stack
from secondread.dicom.headers import SliceHeader, read_slice
from secondread.dicom.pixels import StoredPlane, read_voxels
from secondread.domain.instance import Instance
from secondread.domain.volume import SourceSlice, Volume
from secondread.errors import CannotUnderstandError, PixelDataError


def read_volume(instances: Sequence[Instance], spool: Path) -> Volume:
    """Read one series as a volume; the order of ``instances`` does not matter.

    Where intake recorded the geometry and the place of the pixels, nothing else of a file is read.
    ``spool`` is the folder that the paths of the instances are relative to.

    Raises:
        GeometryError: the series is not one sound volume.
        PixelDataError: an object or its pixels cannot be read.
    """
    headers = [recorded_slice(instance) or _header(spool / instance.path) for instance in instances]
    volume = stack(headers)
    planes = [
        StoredPlane(
            path=spool / instances[item.header].path,
            layout=headers[item.header].pixels,
            plane=item.plane,
        )
        for item in volume.planes
    ]
    sources = tuple(
        SourceSlice(
            sop_instance_uid=headers[item.header].sop_instance_uid,
            sop_class_uid=headers[item.header].sop_class_uid,
            frame=item.plane.frame,
        )
        for item in volume.planes
    )
    return Volume(voxels=read_voxels(planes), affine_lps=volume.affine_lps, sources=sources)


def _header(path: Path) -> SliceHeader:
    try:
        return read_slice(path)
    except CannotUnderstandError as error:
        raise PixelDataError(str(error), outcome="unreadable") from error
