"""One row for every job that a model answered or refused: what it saw, and what it made of it.

The row is written in the transaction that changes the job's state. It holds numbers and coded
words; nothing of it is a header's own text, a UID or a date of the study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from secondread.assembly.conditions import attributes_of
from secondread.bundles.manifest import Manifest
from secondread.deid.attributes import permit
from secondread.deid.boundary import PreparedVolume, load_prepared
from secondread.deid.scanners import UNKNOWN, scanner_of
from secondread.domain.engine import Finished
from secondread.domain.job import Job
from secondread.domain.monitoring import Observation, Observed
from secondread.domain.series import Values
from secondread.errors import LedgerError, SecondReadError
from secondread.inference.answer import ANSWER_NAME, load_answer, load_labels
from secondread.monitoring.measures import (
    answer_measures,
    check_measures,
    intensity_measures,
    volume_measures,
)
from secondread.monitoring.technique import ASKED, header_measures, protocol_of
from secondread.observe.keys import read_secret
from secondread.pipeline.workplace import Workplace

log = structlog.stdlib.get_logger(__name__)

_GEOMETRY: Mapping[str, str] = {
    "SliceSpacing": "spacing_slice_mm",
    "RowSpacing": "spacing_row_mm",
    "ColumnSpacing": "spacing_column_mm",
    "TiltAngle": "tilt_degrees",
}
_SPACING_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Coded:
    """What is kept of headers: coded words, and rounded numbers by name."""

    scanner: str
    protocol: str
    measures: Mapping[str, float]


def observe(place: Workplace, job: Job, outcome: Finished, labels_path: Path) -> Observation:
    """What is kept of a job that its model has answered or refused.

    A study that cannot be measured is no reason to lose its result: what is missing is left out.

    Args:
        place: where the node works.
        job: the job, whose answer has been checked.
        outcome: what the engine says.
        labels_path: the label map, beside the rest of the answer.
    """
    coded = Coded(UNKNOWN, protocol_of({}), {})
    measures = check_measures(outcome.checks)
    try:
        coded = code(_said(place, job), read_secret(place.spool.root))
        measures |= coded.measures
        prepared = load_prepared(labels_path.parent)
        measures |= _volume(prepared)
        if not outcome.refusal:
            measures |= _answer(place.manifests[job.model_id], prepared, labels_path)
    except LedgerError:
        raise
    except (SecondReadError, OSError, ValueError) as error:
        log.warning("study not measured", job=job.key, error=type(error).__name__)
    except Exception as error:
        # Nothing above this catches it, and the study's result would be lost with the process.
        log.error("study not measured", job=job.key, exc_info=error)
    return Observation(
        job_id=job.id,
        at=place.clock.now(),
        model_id=job.model_id,
        model_version=job.model_version,
        scanner=coded.scanner,
        protocol=coded.protocol,
        outcome=Observed.REFUSED if outcome.refusal else Observed.ANSWERED,
        measures={name: value for name, value in measures.items() if np.isfinite(value)},
    )


def code(said: Mapping[str, Values], secret: bytes) -> Coded:
    """Make of the values of a series' headers what may be kept; ``secret`` is the node's own."""
    told = permit(ASKED, said).values
    makers, models = _texts(said, "Manufacturer"), _texts(said, "ManufacturerModelName")
    return Coded(
        scanner=scanner_of(makers, models, secret),
        protocol=protocol_of(told),
        measures={**_geometry(said), **header_measures(told)},
    )


def _volume(prepared: PreparedVolume) -> dict[str, float]:
    slices, rows, columns = prepared.shape
    voxels = np.load(prepared.path, mmap_mode="r", allow_pickle=False)
    return {
        "slices": float(slices),
        "rows": float(rows),
        "columns": float(columns),
        **intensity_measures(voxels),
    }


def _answer(manifest: Manifest, prepared: PreparedVolume, labels_path: Path) -> dict[str, float]:
    names = {label.value: label.name for label in manifest.labels}
    labels = load_labels(labels_path, prepared.shape, list(names))
    answer = load_answer(labels_path.with_name(ANSWER_NAME), manifest.output, prepared.shape)
    return {**volume_measures(labels, prepared.affine_lps, names), **answer_measures(answer)}


def _said(place: Workplace, job: Job) -> Mapping[str, Values]:
    """What the headers say, as the ledger keeps it since the job was planned."""
    with place.ledger.read() as view:
        series = view.series.of_study(job.study_id).get(job.series_instance_uid)
    if series is None:
        return {}
    named = (part for part in series.parts if part.name == job.part or len(series.parts) == 1)
    return attributes_of(series, next(named, None))


def _geometry(said: Mapping[str, Values]) -> dict[str, float]:
    return {
        name: round(float(value), _SPACING_DIGITS)
        for keyword, name in _GEOMETRY.items()
        for value in said.get(keyword, ())[:1]
        if not isinstance(value, str)
    }


def _texts(said: Mapping[str, Values], keyword: str) -> list[str]:
    return [value for value in said.get(keyword, ()) if isinstance(value, str)]
