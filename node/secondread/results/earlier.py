"""An earlier report on the same patient, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EarlierReport:
    """What a report needs to know of an earlier one.

    Attributes:
        study_date: ``YYYYMMDD`` of the study that it is about, or ''.
        model_version: of the model that it was made by.
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
