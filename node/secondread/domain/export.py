"""What an export may keep, in the operator's words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ExportOption(StrEnum):
    """One option of the Basic Application Level Confidentiality Profile (PS3.15 E.3)."""

    RETAIN_UIDS = "retain-uids"
    """E.3.9: UIDs stay."""
    RETAIN_DEVICE = "retain-device"
    """E.3.7: serial numbers, station names and so on stay."""
    RETAIN_INSTITUTION = "retain-institution"
    """E.3.8: names and addresses of institutions stay."""
    RETAIN_PATIENT = "retain-patient"
    """E.3.5: age, sex, size and weight stay; an age above 89 becomes 90."""
    RETAIN_SAFE_PRIVATE = "retain-safe-private"
    """E.3.10: the private attributes of Table E.3.10-1 stay."""
    FULL_DATES = "full-dates"
    """E.3.6: dates and times stay."""
    MODIFIED_DATES = "modified-dates"
    """E.3.6: all dates of a patient move by the same number of days."""
    DROP_TIMES = "drop-times"
    """With modified-dates, times of the day go."""
    CLEAN_DESCRIPTORS = "clean-descriptors"
    """E.3.4: descriptions stay as the known words in them."""
    CLEAN_STRUCTURED = "clean-structured"
    """E.3.3: content items of reports stay, their texts as known words."""
    CLEAN_GRAPHICS = "clean-graphics"
    """E.3.2: drawn annotations stay without their texts."""
    CLEAN_PIXELS = "clean-pixels"
    """E.3.1: known regions of burned-in text are blanked."""
    FIND_TEXT = "find-text"
    """With clean-pixels, text that Tesseract finds in the pixels of doubtful objects as well."""


@dataclass(frozen=True, slots=True)
class NamedExport:
    """Options that go by a name.

    Attributes:
        name: what people call it.
        options: what it takes besides the basic profile.
        project: the project whose pseudonyms it uses; '' where the exporter says it.
    """

    name: str
    options: tuple[ExportOption, ...]
    project: str = ""


def contradiction(options: tuple[ExportOption, ...]) -> str:
    """Why these options cannot go together, as the rest of a sentence; '' where they can."""
    if ExportOption.FULL_DATES in options and ExportOption.MODIFIED_DATES in options:
        return "has both full-dates and modified-dates; take one of them"
    if ExportOption.DROP_TIMES in options and ExportOption.MODIFIED_DATES not in options:
        return "has drop-times without modified-dates, where it means nothing"
    if ExportOption.FIND_TEXT in options and ExportOption.CLEAN_PIXELS not in options:
        return "has find-text without clean-pixels; take both"
    return ""
