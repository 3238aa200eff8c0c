"""An earlier report on the same patient, and what has changed since."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from secondread.bundles.manifest import Label, Manifest
from secondread.results.measurement.measurements import StructureMeasurements
from secondread.results.reading.transcript import MeasurementGroup, Transcript, transcribe
from secondread.results.wording import plain

_TEMPLATE = "1500"
_COMPLETE = "COMPLETE"
_NOT_ATTEMPTED = "111225"
"""PS3.16 CID 6042."""
_LONG_STRING = 64
_VOLUME = frozenset({"118565006", "G-D705"})
"""SNOMED CT, and what reports of others still call it."""
_UNREADABLE = (
    OSError,
    EOFError,
    struct.error,
    InvalidDicomError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
)
_ML_PER_UNIT = {"mL": 1.0, "ml": 1.0, "cm3": 1.0, "mm3": 1e-3, "L": 1e3, "l": 1e3}
"""UCUM, which takes a litre in both cases."""

_Key = tuple[str, str, str]
"""Finding code, its scheme, and laterality."""


@dataclass(frozen=True, slots=True)
class EarlierReport:
    """What a report needs to know of an earlier one.

    Attributes:
        study_date: ``YYYYMMDD`` of the study that it is about, or ''.
        model_id: of the model that it was made by, or ''; ``model_version`` likewise.
        volumes_ml: by finding code, its scheme and laterality (``left``, ``right`` or '').
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    study_date: str
    model_id: str
    model_version: str
    volumes_ml: Mapping[tuple[str, str, str], float]


@dataclass(frozen=True, slots=True)
class Change:
    """A structure then and now; ``percent`` is None where there was nothing then."""

    before_ml: float
    after_ml: float
    percent: float | None


def read_earlier(path: Path) -> EarlierReport | None:
    """Read a TID 1500 report, ours or another's, as one to compare with.

    Returns:
        None where there is nothing to compare with: it is no such report or not to be read; it is
        PARTIAL, or says that nothing was analysed; or it has measurements but no volume. A
        report that analysed and found nothing is one, without volumes. A structure that occurs
        twice under the same code and side is left out, since nobody can say which is which.
    """
    try:
        report = pydicom.dcmread(path)
        said = transcribe(report)
    # A comparison is worth having and worth no job: whatever a report of others has wrong (a NUM
    # without a value, a reference without an item), it is then not compared with.
    except _UNREADABLE:
        return None
    if said.template != _TEMPLATE or said.completion != _COMPLETE or _was_not_tried(said):
        return None
    volumes_ml = _list_volumes(said.groups)
    if said.groups and not volumes_ml:
        return None
    model_id, model_version = _name_model(said)
    return EarlierReport(
        study_instance_uid=_text(report, "StudyInstanceUID"),
        series_instance_uid=_text(report, "SeriesInstanceUID"),
        sop_class_uid=_text(report, "SOPClassUID"),
        sop_instance_uid=_text(report, "SOPInstanceUID"),
        study_date=_text(report, "StudyDate"),
        model_id=model_id,
        model_version=model_version,
        volumes_ml=volumes_ml,
    )


def find_changes(
    measured: Sequence[StructureMeasurements],
    earlier: EarlierReport,
    manifest: Manifest,
) -> Mapping[int, Change]:
    """What has changed, by the label's value; structures that cannot be compared are not in it.

    A structure is the same where finding code, scheme and laterality are. One that the earlier
    report does not list had no volume then, if the same version of the model wrote it; another
    version may not have known it, so nothing is said of it. Nor is anything said of what was
    absent then and is now, or of two structures of a model under the same code and side.

    Args:
        measured: every structure now, also those that were not found.
        earlier: the report to compare with.
        manifest: the model that measured. A report by another model gives no changes at all: the
            two may draw the same structure in different ways.
    """
    if earlier.model_id != plain(manifest.id, _LONG_STRING):
        return {}
    is_same_version = earlier.model_version == plain(manifest.version, _LONG_STRING)
    times = Counter(_key(one.label) for one in measured)
    changes = {}
    for one in measured:
        key = _key(one.label)
        before_ml = earlier.volumes_ml.get(key, 0.0 if is_same_version else None)
        if before_ml is None or times[key] > 1 or not (before_ml or one.volume_ml):
            continue
        percent = 100.0 * (one.volume_ml - before_ml) / before_ml if before_ml else None
        changes[one.label.value] = Change(before_ml, one.volume_ml, percent)
    return changes


def _key(label: Label) -> _Key:
    return label.type.value, label.type.scheme, label.laterality


def _was_not_tried(said: Transcript) -> bool:
    return said.summary is not None and said.summary.value == _NOT_ATTEMPTED


def _list_volumes(groups: Sequence[MeasurementGroup]) -> Mapping[_Key, float]:
    found: dict[_Key, list[float]] = {}
    for group in groups:
        volume_ml = _volume_ml(group)
        if group.finding is not None and volume_ml is not None:
            key = (group.finding.value, group.finding.scheme, group.laterality)
            found.setdefault(key, []).append(volume_ml)
    return {key: volumes[0] for key, volumes in found.items() if len(volumes) == 1}


def _volume_ml(group: MeasurementGroup) -> float | None:
    for quantity in group.quantities:
        if quantity.name.value in _VOLUME and quantity.unit.value in _ML_PER_UNIT:
            return quantity.value * _ML_PER_UNIT[quantity.unit.value]
    return None


def _name_model(said: Transcript) -> tuple[str, str]:
    """As Contributing Equipment has it, or else as the measurements do (PS3.16 TID 4019)."""
    if said.algorithm is not None and said.algorithm.model:
        return said.algorithm.model, said.algorithm.version
    named = {(group.algorithm, group.algorithm_version) for group in said.groups}
    return named.pop() if len(named) == 1 else ("", "")


def _text(report: Dataset, keyword: str) -> str:
    return str(report.get(keyword) or "").strip()
