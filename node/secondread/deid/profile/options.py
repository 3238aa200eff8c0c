"""Which options of the Basic Application Level Confidentiality Profile an export takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Dates(Enum):
    """What becomes of dates and times (PS3.15 E.3.6)."""

    REMOVED = "REMOVED"
    """They go, as the basic profile has it."""
    SHIFTED = "MODIFIED"
    """All dates of a patient are moved by the same number of days."""
    FULL = "UNMODIFIED"
    """They stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The basic profile and its options; without any it is the strictest.

    Attributes:
        name: what people call it, for the manifest.
        dates: see there.
        times: with shifted dates, whether the time of the day stays; else it goes with the rest.
        retain_uids: UIDs stay (E.3.9).
        retain_device: serial numbers, station names and so on stay (E.3.7).
        retain_institution: names and addresses of institutions stay (E.3.8).
        retain_patient: age, sex, size, weight and so on stay, an age above 89 as 90 (E.3.5).
        retain_safe_private: numbers in the private attributes of Table E.3.10-1 stay (E.3.10).
        clean_descriptors: descriptions stay as the known words in them (E.3.4).
        clean_structured: content items stay, their texts as known words (E.3.3).
        clean_graphics: drawn annotations stay without their texts (E.3.2.2).
        clean_pixels: known regions of burned-in text are blanked (E.3.1).
        find_text: text that Tesseract finds in the pixels of doubtful objects is blanked, too.
    """

    name: str = "basic"
    dates: Dates = Dates.REMOVED
    times: bool = True
    retain_uids: bool = False
    retain_device: bool = False
    retain_institution: bool = False
    retain_patient: bool = False
    retain_safe_private: bool = False
    clean_descriptors: bool = False
    clean_structured: bool = False
    clean_graphics: bool = False
    clean_pixels: bool = False
    find_text: bool = False

    def codes(self) -> Iterator[tuple[str, str]]:
        """(code value, code meaning) of what was applied: CID 7050, coding scheme DCM."""
        yield "113100", "Basic Application Confidentiality Profile"
        for applied, value, meaning in (
            (self.clean_pixels, "113101", "Clean Pixel Data Option"),
            (self.clean_graphics, "113103", "Clean Graphics Option"),
            (self.clean_structured, "113104", "Clean Structured Content Option"),
            (self.clean_descriptors, "113105", "Clean Descriptors Option"),
            (
                self.dates is Dates.FULL,
                "113106",
                "Retain Longitudinal Temporal Information Full Dates Option",
            ),
            (
                self.dates is Dates.SHIFTED,
                "113107",
                "Retain Longitudinal Temporal Information Modified Dates Option",
            ),
            (self.retain_patient, "113108", "Retain Patient Characteristics Option"),
            (self.retain_device, "113109", "Retain Device Identity Option"),
            (self.retain_uids, "113110", "Retain UIDs Option"),
            (self.retain_safe_private, "113111", "Retain Safe Private Option"),
            (self.retain_institution, "113112", "Retain Institution Identity Option"),
        ):
            if applied:
                yield value, meaning


BASIC = Profile()
RESEARCH = Profile(
    name="research",
    dates=Dates.SHIFTED,
    retain_patient=True,
    clean_descriptors=True,
    clean_structured=True,
    clean_graphics=True,
    clean_pixels=True,
)
"""What a study across several visits asks for: intervals, age and sex, and what is described."""

PROFILES = {profile.name: profile for profile in (BASIC, RESEARCH)}
