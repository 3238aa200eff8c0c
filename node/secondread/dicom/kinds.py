"""What kind of image a plane is, by what its header says for certain: slices of one volume agree.

Echoes, b-values and the parts of complex values differ in what their numbers mean. So do the water
and the fat of a Dixon acquisition, and a localizer is never a slice of anything. Echo times are
another kind where they differ by more than a tenth; less is the scanner's rounding.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

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
_BRIEF = re.compile(r"[A-Za-z0-9_+.\-]{0,8}")
_LONG_WORDS = _EXCLUSIVE | frozenset(
    "SECONDARY LOCALIZER PROJECTION REFORMATTED SUBTRACTION DIFFUSION PERFUSION DIS2D DIS3D "
    "DIFFMAP SUBTRACTED ATTENUATION".split()
)
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
    said_types = [found.get("ImageType") for found in traits]
    known_types = {value: _of_image_type(value) for value in set(said_types)}
    image_types = [known_types[value] for value in said_types]
    said.append(("ImageType", [parts for parts, _ in image_types]))
    said.append(("ImageType", [role for _, role in image_types]))
    differing = [
        [f"no {keyword}" if value is None else f"{keyword} {words[value]}" for value in values]
        for keyword, values in said
        if len(words := name_values(values)) > 1
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


def is_code(text: str) -> bool:
    """Whether a text of a header is nothing but short codes or words of DICOM."""
    return all(_BRIEF.fullmatch(word) or word in _LONG_WORDS for word in text.split("\\"))


def name_values(values: Collection[Trait | None]) -> dict[Trait, str]:
    """A word for each distinct value.

    The texts are codes, but a header may hold anything, and these words go into reasons, the trail
    and reports: a value of which not every word is known is numbered instead.
    """
    words: dict[Trait, str] = {}
    unknown = 0
    for value in sorted({value for value in values if value is not None}, key=_rank):
        if not isinstance(value, str):
            words[value] = format(value, ".10g")
        elif is_code(value):
            words[value] = value
        else:
            unknown += 1
            words[value] = f"of kind {unknown}"
    return words


def _rank(value: Trait) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, value, "")
