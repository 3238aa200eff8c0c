"""What kind of image a plane is, by what its header says for certain: slices of one volume agree.

Echoes, b-values and the parts of complex values differ in what their numbers mean. So do the water
and the fat of a Dixon acquisition, and a localizer is never a slice of anything. Echo times are
another kind where they differ by more than a tenth; less is the scanner's rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

from secondread.dicom.stacked import StackedPlane
from secondread.dicom.traits import Trait
from secondread.errors import GeometryError

KEYWORDS = ("EchoNumbers", "ComplexImageComponent", "DiffusionBValue")
# Values of Image Type that exclude one another (PS3.3 C.8.3.1.1.1, C.8.13.1.1.1, and what Siemens,
# Philips and GE write).
_EXCLUSIVE = frozenset(
    "M P R I MAGNITUDE PHASE REAL IMAGINARY M_SE M_FFE M_IR P_SE P_FFE R_SE R_FFE R_IR I_SE I_FFE "
    "W F IP OP WATER FAT IN_PHASE OUT_PHASE".split()
)
_LOCALIZER = "LOCALIZER"
_ECHO_TIME_TOLERANCE = 0.1


def kinds(planes: Sequence[StackedPlane]) -> list[tuple[str, ...]]:
    """The kind of each plane, in words; no word for what not two planes say differently.

    A plane that does not say something is of any kind in this respect.
    """
    traits = [dict(item.plane.traits) for item in planes]
    said: list[tuple[str, list[Trait | None]]] = [
        (keyword, [found.get(keyword) for found in traits]) for keyword in KEYWORDS
    ]
    said.append(("EchoTime", _coarse([found.get("EchoTime") for found in traits])))
    image_types = [_of_image_type(found.get("ImageType")) for found in traits]
    said.append(("ImageType", [parts for parts, _ in image_types]))
    said.append(("ImageType", [role for _, role in image_types]))
    differing = [
        [f"no {keyword}" if value is None else f"{keyword} {_word(value)}" for value in values]
        for keyword, values in said
        if len(set(values) - {None}) > 1
    ]
    return list(zip(*differing, strict=True)) if differing else [()] * len(planes)


def check_kinds(planes: Sequence[StackedPlane]) -> None:
    """Raise ``mixed-kinds`` unless all planes are of one kind."""
    found = set(kinds(planes))
    if len(found) > 1:
        words = sorted(" with ".join(kind) for kind in found)
        raise GeometryError(
            f"Its images are of {len(found)} kinds, which one volume cannot hold: "
            f"{', '.join(words[:4])}{', …' if len(words) > 4 else ''}.",
            outcome="mixed-kinds",
        )


def _coarse(values: Sequence[Trait | None]) -> list[Trait | None]:
    """Numbers that lie within a tenth above another stand for the least of them."""
    least: dict[Trait, Trait] = {}
    first = None
    for value in sorted({value for value in values if isinstance(value, float)}):
        if first is None or value > first * (1 + _ECHO_TIME_TOLERANCE):
            first = value
        least[value] = first
    return [None if value is None else least.get(value) for value in values]


def _of_image_type(value: Trait | None) -> tuple[Trait | None, Trait | None]:
    if not isinstance(value, str):
        return None, None
    values = value.split("\\")
    parts = "\\".join(item for item in values[2:] if item in _EXCLUSIVE)
    return parts or None, _LOCALIZER if _LOCALIZER in values else f"other than {_LOCALIZER}"


def _word(value: Trait) -> str:
    return value if isinstance(value, str) else format(value, "g")
