"""Dates and times in DICOM's form (PS3.5 table 6.2-1), moved by whole days."""

from __future__ import annotations

import datetime as dt
import re

_DATE = re.compile(rb"(\d{4})[.]?(\d\d)[.]?(\d\d)")
_TIME = re.compile(rb"(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?")
_DATE_TIME = re.compile(
    rb"(?P<year>\d{4})(?P<month>\d\d)?(?P<day>\d\d)?(?P<time>\d{2,6}(?:\.\d{1,6})?)?"
    rb"(?P<zone>[+-](?:0\d|1[0-4])[0-5]\d)?"
)
_DIGITS = {"year": 4, "month": 6, "day": 8}


def shift(vr: bytes, value: bytes, days: int, keep_time: bool) -> bytes | None:
    """One value of VR DA, TM or DT with its date moved; None when it is not of its VR's form.

    A date that is known to the month or year only moves as its first day and stays as coarse.
    """
    text = value.strip(b" \0")
    if vr == b"DA":
        found = _DATE.fullmatch(text)
        return _moved(int(found[1]), int(found[2]), int(found[3]), days) if found else None
    if vr == b"TM":
        return text if keep_time and _TIME.fullmatch(text) else None
    parts = _DATE_TIME.fullmatch(text)
    if parts is None:
        return None
    year, month, day = (int(parts[name] or 1) for name in _DIGITS)
    moved = _moved(year, month, day, days)
    if moved is None:
        return None
    digits = next(_DIGITS[name] for name in ("day", "month", "year") if parts[name])
    time = parts["time"] or b""
    if time and not _TIME.fullmatch(time):
        return None
    if not keep_time:
        return moved[:digits]
    return moved[:digits] + time + (parts["zone"] or b"")


def is_sound(vr: bytes, value: bytes) -> bool:
    """Whether every value has the form that its VR asks for."""
    return all(
        not one.strip(b" \0") or shift(vr, one, 0, True) is not None for one in value.split(b"\\")
    )


def _moved(year: int, month: int, day: int, days: int) -> bytes | None:
    try:
        moved = dt.date(year, month, day) + dt.timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return moved.strftime("%Y%m%d").rjust(8, "0").encode("ascii")
