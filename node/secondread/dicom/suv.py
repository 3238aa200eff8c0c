"""Standardized uptake values of PET images, by body weight (PS3.3 C.8.9.1).

SUVbw is the activity concentration in the tissue divided by the dose for each gram of the patient,
both at the same time. The rules are those of the QIBA profile's vendor-neutral calculation. Where
an attribute that it needs is absent, contradicts another one or cannot be meant as it stands, the
factor is not known and the reason is named: a factor that is wrong looks like any other image.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from secondread.dicom.elements import decimals, items, text, texts
from secondread.dicom.headers import read_header
from secondread.domain.volume import Volume
from secondread.errors import CannotUnderstandError, PixelDataError

_UNITS, _DECAY_CORRECTION, _CORRECTED_IMAGE = 0x00541001, 0x00541102, 0x00280051
_SUV_TYPE, _WEIGHT = 0x00541006, 0x00101030
_SERIES_DATE, _SERIES_TIME = 0x00080021, 0x00080031
_ACQUISITION_DATE, _ACQUISITION_TIME = 0x00080022, 0x00080032
_FRAME_DURATION, _TIME_ZONE = 0x00181242, 0x00080201
_RADIOPHARMACEUTICAL = 0x00540016
_DOSE, _HALF_LIFE = 0x00181074, 0x00181075
_START_TIME, _START_DATE_TIME = 0x00181072, 0x00181078
_PHILIPS, _PHILIPS_NAME = 0x70530010, "PHILIPS PET PRIVATE GROUP"
_PHILIPS_SUV, _PHILIPS_ACTIVITY = 0x70531000, 0x70531009
_PET = "1.2.840.10008.5.1.4.1.1.128"

_DATE = re.compile(r"(\d{4})[.]?(\d\d)[.]?(\d\d)")
_TIME = re.compile(r"(\d\d):?(\d\d)?:?(\d\d)?(?:\.(\d{1,6}))?")
_DATE_TIME = re.compile(r"(\d{8})(\d{2,6}(?:\.\d{1,6})?)([+-]\d{4})?")
# Grams in the place of kilograms, and megabecquerels in the place of becquerels.
_WEIGHT_KG = (0.2, 700.0)
_DOSE_BQ = (1e5, 1e11)
# A start time that has no date lies before the images, on their day or on the eve.
_UPTAKE_MAX = timedelta(hours=12)
_HALF_LIVES_MAX = 20.0


def suv_factor(dataset: Dataset) -> float:
    """What one PET image's modality values are multiplied by to become SUVbw, in g/ml.

    Raises:
        PixelDataError: the outcome is ``no-suv-factor``, the sentence names the reason.
    """
    units = text(dataset, _UNITS).upper()
    if text(dataset, 0x00080016) != _PET:
        raise _unknown("it is not a PET image with attributes for the whole of it")
    if units == "GML":
        kind = text(dataset, _SUV_TYPE).upper()
        if kind not in {"", "BW"}:
            raise _unknown(f"its SUV Type is {kind}, not by body weight")
        return 1.0
    if units == "CNTS":
        return _of_counts(dataset)
    if units != "BQML":
        raise _unknown(f"its Units are {units or 'absent'}, not BQML")
    return _of_activity(dataset)


def in_suv(volume: Volume, files: dict[str, Path]) -> Volume:
    """A PET volume in SUVbw, float32.

    Args:
        volume: in the images' own units.
        files: SOP Instance UID → file, of all its sources.

    Raises:
        PixelDataError: the outcome is ``no-suv-factor``, or ``unreadable``.
    """
    voxels = volume.voxels.astype(np.float32)
    for at, source in enumerate(volume.sources):
        try:
            header = read_header(files[source.sop_instance_uid])
        except CannotUnderstandError as error:
            raise PixelDataError(str(error), outcome="unreadable") from error
        voxels[at] *= np.float32(suv_factor(header))
    return replace(volume, voxels=voxels)


def _unknown(reason: str) -> PixelDataError:
    return PixelDataError(
        f"Its standardized uptake values cannot be worked out: {reason}.", outcome="no-suv-factor"
    )


def _of_counts(dataset: Dataset) -> float:
    """Philips keeps counts, and two factors in elements of its own."""
    if text(dataset, _PHILIPS).upper() == _PHILIPS_NAME:
        factor = _private_number(dataset, _PHILIPS_SUV)
        if factor:
            return factor
        activity = _private_number(dataset, _PHILIPS_ACTIVITY)
        if activity:
            return activity * _of_activity(dataset)
    raise _unknown("its Units are CNTS, and there is no factor of its maker (7053,1000)")


def _private_number(dataset: Dataset, tag: int) -> float:
    """A positive number, or 0."""
    found = decimals(dataset, tag, 1)
    return found[0] if found and found[0] > 0 else 0.0


def _of_activity(dataset: Dataset) -> float:
    """Grams for each becquerel that is left of the dose at the time the values stand for."""
    _check_corrections(dataset)
    weight_kg = _number(dataset, _WEIGHT, "Patient's Weight", _WEIGHT_KG)
    given = items(dataset, _RADIOPHARMACEUTICAL)
    if len(given) != 1:
        count = "more than one radiopharmaceutical was" if given else "no radiopharmaceutical is"
        raise _unknown(f"{count} given")
    dose = _number(given[0], _DOSE, "Radionuclide Total Dose", _DOSE_BQ)
    half_life_s = _number(given[0], _HALF_LIFE, "Radionuclide Half Life", (1.0, math.inf))
    correction = text(dataset, _DECAY_CORRECTION).upper()
    if correction == "ADMIN":
        return 1000 * weight_kg / dose
    acquired = _moment(dataset, _ACQUISITION_DATE, _ACQUISITION_TIME, "Acquisition")
    if correction == "START":
        scanned = _moment(dataset, _SERIES_DATE, _SERIES_TIME, "Series")
        if scanned > acquired:
            # Some software writes the time of its own work there.
            raise _unknown("Series Time lies after Acquisition Time, so it is not the scan's")
        mean_decay = 1.0
    elif correction == "NONE":
        scanned = acquired
        mean_decay = _mean_decay(dataset, half_life_s)
    else:
        raise _unknown(f"its Decay Correction is {correction or 'absent'}")
    elapsed_s = (scanned - _given_at(given[0], dataset, scanned)).total_seconds()
    if not 0 <= elapsed_s <= _HALF_LIVES_MAX * half_life_s:
        raise _unknown("the dose was not given within a sensible time before the scan")
    return 1000 * weight_kg / (dose * 2 ** (-elapsed_s / half_life_s) * mean_decay)


def _check_corrections(dataset: Dataset) -> None:
    done = {value.upper() for value in texts(dataset, _CORRECTED_IMAGE)}
    if "ATTN" not in done:
        raise _unknown("Corrected Image does not name ATTN: attenuation is not corrected")
    decayed = text(dataset, _DECAY_CORRECTION).upper() in {"START", "ADMIN"}
    if decayed and "DECY" not in done:
        raise _unknown("Corrected Image does not name DECY, though Decay Correction does")


def _number(dataset: Dataset, tag: int, name: str, limits: tuple[float, float]) -> float:
    found = decimals(dataset, tag, 1)
    if found is None:
        raise _unknown(f"{name} is absent or not a number")
    if not limits[0] <= found[0] <= limits[1]:
        raise _unknown(f"{name} is {found[0]:g}, which cannot be meant")
    return found[0]


def _mean_decay(dataset: Dataset, half_life_s: float) -> float:
    """The mean of the decay over a frame, for the activity at its start."""
    name = "Actual Frame Duration"
    duration_ms = _number(dataset, _FRAME_DURATION, name, (1.0, math.inf))
    decayed = math.log(2) * duration_ms / 1000 / half_life_s
    return -math.expm1(-decayed) / decayed


def _given_at(given: Dataset, dataset: Dataset, scanned: datetime) -> datetime:
    """When the dose was given, in the local time of the images."""
    written = text(given, _START_DATE_TIME)
    if written:
        found = _DATE_TIME.fullmatch(written)
        if not found:
            raise _unknown("Radiopharmaceutical Start DateTime cannot be read")
        date, time, zone = found.groups()
        moment = _combine(date, time, "Radiopharmaceutical Start DateTime")
        return moment if zone is None else _in_zone_of(dataset, moment, zone)
    moment = _combine(
        scanned.strftime("%Y%m%d"), text(given, _START_TIME), "Radiopharmaceutical Start Time"
    )
    if moment > scanned:
        moment -= timedelta(days=1)
    if scanned - moment > _UPTAKE_MAX:
        raise _unknown("Radiopharmaceutical Start Time has no date and fits none")
    return moment


def _in_zone_of(dataset: Dataset, moment: datetime, zone: str) -> datetime:
    local = text(dataset, _TIME_ZONE)
    if not re.fullmatch(r"[+-]\d{4}", local):
        raise _unknown(
            "Radiopharmaceutical Start DateTime names its time zone and the images do not"
        )
    there, here = (
        timezone(
            (1 if sign[0] == "+" else -1) * timedelta(hours=int(sign[1:3]), minutes=int(sign[3:]))
        )
        for sign in (zone, local)
    )
    return moment.replace(tzinfo=there).astimezone(here).replace(tzinfo=None)


def _moment(dataset: Dataset, date: int, time: int, name: str) -> datetime:
    return _combine(text(dataset, date), text(dataset, time), f"{name} Date and Time")


def _combine(date: str, time: str, name: str) -> datetime:
    day, clock = _DATE.fullmatch(date), _TIME.fullmatch(time)
    if day and clock:
        year, month, number = map(int, day.groups())
        hour, minute, second, fraction = clock.groups(default="0")
        # A leap second is the last one of its minute here.
        seconds = min(int(second), 59)
        try:
            moment = datetime(year, month, number, int(hour), int(minute), seconds)
            return moment.replace(microsecond=int(fraction.ljust(6, "0")))
        except ValueError:
            pass
    raise _unknown(f"{name} cannot be read")
