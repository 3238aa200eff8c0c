"""How a source's images are meant to look: the grey scale transformations of each slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from secondread.domain.volume import Volume
from secondread.errors import ResultError

_MODALITY_LUT = ("ModalityLUTSequence", "RescaleIntercept", "RescaleSlope", "RescaleType")
_VOI_LUT = (
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "VOILUTFunction",
)
_HOUNSFIELD_MODALITY = "CT"


@dataclass(frozen=True, slots=True)
class Display:
    """The transformations of one slice, as its source has them.

    Attributes:
        modality_lut: of the Modality LUT module (PS3.3 C.11.1); empty where there is none.
        voi_lut: of the VOI LUT module (PS3.3 C.11.2); empty where there is none.
        is_inverse: whether the lowest value is white (MONOCHROME1).
    """

    modality_lut: Dataset
    voi_lut: Dataset
    is_inverse: bool

    @property
    def modality_key(self) -> str:
        """The same for slices whose modality LUT is the same, number by number."""
        return self.modality_lut.to_json()

    @property
    def voi_key(self) -> str:
        """The same for slices whose VOI LUT is the same."""
        return self.voi_lut.to_json()

    @property
    def window(self) -> tuple[float, float] | None:
        """Lowest and highest value of the first window; ``None`` where there is none."""
        centers, widths = (
            _numbers(self.voi_lut.get(key)) for key in ("WindowCenter", "WindowWidth")
        )
        if not centers or not widths or widths[0] <= 1:
            return None
        return centers[0] - widths[0] / 2, centers[0] + widths[0] / 2


def read_displays(volume: Volume, sources: Sequence[Dataset]) -> tuple[Display, ...]:
    """The transformations of every slice of a volume, of a multi-frame source those of its frame.

    Raises:
        ResultError: a source of the volume is not among the headers.
    """
    headers = {str(header.SOPInstanceUID): header for header in sources}
    displays = []
    for source in volume.sources:
        header = headers.get(source.sop_instance_uid)
        if header is None:
            raise ResultError(
                "A slice of the volume comes from an object that was not handed over."
            )
        displays.append(_read(header, source.frame))
    return tuple(displays)


def _read(header: Dataset, frame: int) -> Display:
    rescale = voi = header
    if "PerFrameFunctionalGroupsSequence" in header:
        rescale = _macro(header, "PixelValueTransformationSequence", frame)
        voi = _macro(header, "FrameVOILUTSequence", frame)
    modality_lut = _pick(rescale, _MODALITY_LUT)
    if "RescaleIntercept" in modality_lut and "RescaleType" not in modality_lut:
        # Optional in an image, needed in a presentation state (PS3.3 tables C.8-3 and C.11-1b).
        is_ct = header.get("Modality") == _HOUNSFIELD_MODALITY
        modality_lut.RescaleType = "HU" if is_ct else "US"
    is_inverse = header.get("PhotometricInterpretation") == "MONOCHROME1"
    return Display(modality_lut, _pick(voi, _VOI_LUT), is_inverse)


def _macro(header: Dataset, keyword: str, frame: int) -> Dataset:
    """A functional group macro of a frame or of all frames; empty where there is none."""
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for group in (header.PerFrameFunctionalGroupsSequence[frame - 1], shared[0]):
        if group.get(keyword):
            item: Dataset = group[keyword].value[0]
            return item
    return Dataset()


def _pick(item: Dataset, keywords: Sequence[str]) -> Dataset:
    picked = Dataset()
    for keyword in keywords:
        if keyword in item and not item[keyword].is_empty:
            picked[keyword] = item[keyword]
    if "WindowCenter" not in picked or "WindowWidth" not in picked:
        for keyword in _VOI_LUT[1:]:
            picked.pop(keyword, None)
    return picked


def _numbers(value: object) -> list[float]:
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [float(str(one)) for one in values if one is not None]
