"""What may show in pixels who it is, and the refusal to let it go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary

_SOP_CLASS, _IMAGE_TYPE, _MODALITY = 0x00080016, 0x00080008, 0x00080060
_BURNED_IN, _FEATURES = 0x00280301, 0x00280302
_BODY_PART = 0x00180015
_DESCRIPTIONS = (0x00081030, 0x0008103E, 0x00181030, 0x00321060, 0x00400254)
_ENCAPSULATED_DOCUMENT = 0x00420011
_ROWS = 0x00280010
# Secondary capture, ultrasound, endoscopy, photographs and their videos, X-ray angiography and
# fluoroscopy: their text is in the pixels.
_RISKY = re.compile(
    r"Secondary Capture|Ultrasound|Endoscopic|Photographic|Visible Light|VL |Video|"
    r"X-Ray Angiographic|X-Ray Radiofluoroscopic|Hardcopy|Screenshot|Ophthalmic Photography"
)
_RISKY_IMAGE_TYPES = {"SCREEN SAVE", "SCREENSHOT", "SCREEN_SAVE", "PATIENT_INFO", "DOSE_INFO"}
# Standard SOP classes that pydicom's dictionary does not have yet.
NEWER_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}
_REFUSED = re.compile(
    r"Raw Data|Surface |Bulk Simple Annotations|Waveform|Directory|Video|Encapsulated (STL|OBJ|MTL)"
)
_VOLUMES = {"CT", "MR", "PT"}
_HEAD = re.compile(
    r"(?i)head|brain|skull|\bfac(e|ial)|neuro|crani|orbit|sinus|\bjaw|mandib|maxill|\bdent|tempor|"
    r"pituit|\bsella|\biac\b|\btmj|hirn|kopf|sch.{1,2}del|cerve|\bt.{1,2}te\b|whole ?body|neck|"
    r"c-?spine|mp2?rage|\bears?\b|\beyes?\b"
)
_ELSEWHERE = re.compile(
    r"(?i)chest|thora|lung|abdom|pelvi|liver|kidney|heart|card|spine|knee|\bhips?\b|\bfoot|ankle|"
    r"\bhand|wrist|elbow|shoulder|\blegs?\b|\barms?\b|prostat|breast|extremit|femur|tibia|\bcolon|"
    r"bowel|pancrea|aort|uterus|rectum"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a person takes on themselves, each with the reason that the manifest keeps.

    Attributes:
        burned_in: why objects with text in their pixels, or perhaps with it, may go out.
        faces: why heads that were not defaced may go out.
    """

    burned_in: str = ""
    faces: str = ""


@dataclass(frozen=True, slots=True)
class Risk:
    """One reason why an object may not leave; ``kind`` is a field of ``Overrides`` or ``never``."""

    kind: str
    sentence: str


def risks_of(root: Mapping[int, bytes], is_blanked: bool) -> Iterator[Risk]:
    """Every reason against an object, from the values of its data set by tag.

    Args:
        root: the values.
        is_blanked: the text in its pixels is known and is blanked.
    """
    sop_class = _text(root, _SOP_CLASS)
    name = NEWER_CLASSES.get(sop_class) or UID_dictionary.get(sop_class, ("",))[0]
    if not name or _REFUSED.search(name):
        yield Risk("never", "objects of its SOP class are not exported")
        return
    if not is_blanked and _ENCAPSULATED_DOCUMENT not in root and _ROWS in root:
        yield from _burned_in(root, name)
    yield from _face(root, name)


def _burned_in(root: Mapping[int, bytes], name: str) -> Iterator[Risk]:
    said = _text(root, _BURNED_IN)
    image_type = set(_text(root, _IMAGE_TYPE).split("\\"))
    if said == "YES":
        yield Risk("burned_in", "it says that identifying text is burned into its pixels")
    elif said != "NO" and (_RISKY.search(name) or image_type & _RISKY_IMAGE_TYPES):
        yield Risk(
            "burned_in",
            f"it is of a kind ({name}) that often has text in its pixels, and does not say that "
            "it has none",
        )


def _face(root: Mapping[int, bytes], name: str) -> Iterator[Risk]:
    """A volume of a head can be made into a face, and no attribute tells one from another."""
    if "Photographic" in name and "Microscopic" not in name and "Ophthalmic" not in name:
        if _text(root, _FEATURES) != "NO":
            yield Risk("faces", "it is a photograph, and does not say that it shows no face")
        return
    if _text(root, _MODALITY) not in _VOLUMES or _ROWS not in root or "Secondary" in name:
        return
    if _text(root, _FEATURES) == "NO":
        return
    body_part = _text(root, _BODY_PART)
    described = " ".join(_text(root, tag) for tag in _DESCRIPTIONS)
    shown = f"{body_part} {described}".replace("_", " ")
    if _HEAD.search(shown):
        yield Risk("faces", "it shows a head, and does not say that the face was removed from it")
    elif not _ELSEWHERE.search(shown):
        yield Risk("faces", "it does not say which part of the body it shows, so it may be a head")


def _text(root: Mapping[int, bytes], tag: int) -> str:
    return root.get(tag, b"").strip(b" \0").decode("latin-1")
