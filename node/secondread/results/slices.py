"""Where each slice of a volume lies, in the very words of its source object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from secondread.domain.volume import Volume
from secondread.errors import ResultError

_DECIMAL_STRING_MAX = 16


@dataclass(frozen=True, slots=True)
class SliceGeometry:
    """One slice; decimal strings are the source's own, so they are the same to the last digit.

    Attributes:
        frame: 1-based frame number of a multi-frame source, 0 for a single-frame one.
        position: Image Position (Patient), LPS mm.
        orientation: Image Orientation (Patient), row then column direction.
        pixel_spacing: mm between rows, then between columns.
        thickness_mm: Slice Thickness, 0 where the source has none.
    """

    sop_instance_uid: str
    sop_class_uid: str
    frame: int
    position: tuple[str, ...]
    orientation: tuple[str, ...]
    pixel_spacing: tuple[str, ...]
    thickness_mm: float


def read_slices(volume: Volume, sources: Sequence[Dataset]) -> tuple[SliceGeometry, ...]:
    """Read the plane of every slice of ``volume`` from the header of its source.

    Raises:
        ResultError: a source of the volume is not among the headers or has no plane.
    """
    headers = {str(header.SOPInstanceUID): header for header in sources}
    slices = []
    for source in volume.sources:
        header = headers.get(source.sop_instance_uid)
        if header is None:
            raise ResultError(
                "A slice of the volume comes from an object that was not handed over."
            )
        try:
            slices.append(_read(header, source.frame))
        except (AttributeError, IndexError, TypeError) as error:
            raise ResultError(
                f"A source object does not say where its image lies: {error}."
            ) from None
    return tuple(slices)


def _read(header: Dataset, frame: int) -> SliceGeometry:
    is_multi_frame = "PerFrameFunctionalGroupsSequence" in header
    position = _macro(header, "PlanePositionSequence", frame) if is_multi_frame else header
    orientation = _macro(header, "PlaneOrientationSequence", frame) if is_multi_frame else header
    measures = _macro(header, "PixelMeasuresSequence", frame) if is_multi_frame else header
    return SliceGeometry(
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        frame=frame if is_multi_frame else 0,
        position=_decimals(position.ImagePositionPatient),
        orientation=_decimals(orientation.ImageOrientationPatient),
        pixel_spacing=_decimals(measures.PixelSpacing),
        thickness_mm=float(measures.get("SliceThickness") or 0.0),
    )


def _decimals(values: Iterable[object]) -> tuple[str, ...]:
    """Decimal strings; one that is longer than PS3.5 6.2 allows is rounded to what fits."""
    texts = (str(value).strip() for value in values)
    return tuple(
        text if len(text) <= _DECIMAL_STRING_MAX else format_number_as_ds(float(text))
        for text in texts
    )


def _macro(header: Dataset, keyword: str, frame: int) -> Dataset:
    """A functional group macro of a frame, or the one that all frames share (PS3.3 C.7.6.16)."""
    own: Dataset = header.PerFrameFunctionalGroupsSequence[frame - 1]
    group = own if keyword in own else header.SharedFunctionalGroupsSequence[0]
    item: Dataset = group[keyword].value[0]
    return item
