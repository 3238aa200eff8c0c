"""Checking a model's answer before anybody uses it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.bundles.output import Output
from secondread.domain.answer import Declared, ModelAnswer
from secondread.errors import (
    ForbiddenActError,
    InvalidPredictionError,
    LimitExceededError,
    ManifestError,
    ModelError,
)
from secondread.inference.said import as_rows, read_rows
from secondread.inference.worker.messages import Answer

PROBABILITIES_NAME = "probabilities.npy"
MAPS_NAME = "maps.npy"
ANSWER_NAME = "answer.json"
_ANSWER_VERSION = 1
_ANSWER_BYTES_MAX = 1024**2

_SENTENCE_MAX = 1000
_NAME_MAX = 100
_CHECKS_MAX = 200
_CHECK_FIELDS = 5
_CODES = frozenset(
    kind.audit_code
    for kind in (
        ForbiddenActError,
        InvalidPredictionError,
        LimitExceededError,
        ManifestError,
        ModelError,
    )
)


def check_answer(answer: Answer) -> None:
    """Look at the words and numbers of an answer, which end up in the ledger and in reports.

    Raises:
        InvalidPredictionError: a field is of another kind, too long, or not finite, or a check
            says that it passed and did not.
    """
    words = (answer.refusal, answer.error, answer.audit_code)
    sound = (
        all(_is_text(text, _SENTENCE_MAX) for text in words)
        and (not answer.error or answer.audit_code in _CODES)
        and isinstance(answer.checks, list)
        and len(answer.checks) <= _CHECKS_MAX
        and all(map(_is_check, answer.checks))
        and all(isinstance(rows, list) for rows in (answer.numbers, answer.findings, answer.places))
    )
    if not sound:
        raise InvalidPredictionError("The model's answer is not one that can be read.")
    if (answer.refusal or answer.error) and (answer.numbers or answer.findings or answer.places):
        raise InvalidPredictionError("The model refused the study and answered something as well.")


def read_said(answer: Answer, declared: Declared, shape: Sequence[int]) -> ModelAnswer:
    """The numbers, findings and places of an answer; raises ``InvalidPredictionError``."""
    rows = {"numbers": answer.numbers, "findings": answer.findings, "places": answer.places}
    return read_rows(rows, declared, shape)


def check_labels(labels: npt.NDArray[np.uint8], declared: Sequence[int]) -> None:
    """Look for labels that the manifest does not declare; 0 is always declared.

    Raises:
        InvalidPredictionError: there are some.
    """
    counts = np.zeros(256, np.int64)
    # Slice by slice, for counting makes each voxel eight bytes long.
    for part in labels:
        counts += np.bincount(part.reshape(-1), minlength=256)
    if undeclared := set(np.flatnonzero(counts).tolist()) - {0, *declared}:
        raise InvalidPredictionError(
            f"The model answered labels that its manifest does not declare: {sorted(undeclared)}."
        )


def load_labels(path: Path, shape: tuple[int, ...], labels: Sequence[int]) -> npt.NDArray[np.uint8]:
    """The label map of a job, ``(slice, row, column)`` uint8.

    Raises:
        InvalidPredictionError: it is absent, has another shape or type than asked for, or holds
            labels that the manifest does not declare.
    """
    found = _load_array(path, shape, np.uint8, "label map")
    check_labels(found, labels)
    return found


def load_probabilities(
    path: Path, shape: tuple[int, ...], count: int
) -> npt.NDArray[np.uint8] | None:
    """The probabilities of a job, ``(label, slice, row, column)`` uint8; 255 is certain.

    They stay on disk until they are looked at.

    Args:
        path: ``PROBABILITIES_NAME`` in the job's folder.
        shape: of the volume that the model saw.
        count: of labels; 0 where the manifest promises no probabilities, which gives None.

    Raises:
        InvalidPredictionError: they are absent, or have another shape or type.
    """
    if not count:
        return None
    return _load_array(path, (count, *shape), np.uint8, "probabilities")


def load_maps(
    path: Path, shape: tuple[int, ...], ids: Sequence[str]
) -> Mapping[str, npt.NDArray[np.float32]]:
    """The maps of a job by their names, each ``(slice, row, column)`` float32.

    They stay on disk until they are looked at.

    Args:
        path: ``MAPS_NAME`` in the job's folder.
        shape: of the volume that the model saw.
        ids: of the maps that the manifest declares, in its order.

    Raises:
        InvalidPredictionError: they are absent, have another shape or type, or are not finite.
    """
    if not ids:
        return {}
    found = _load_array(path, (len(ids), *shape), np.float32, "maps")
    for one in found:
        for part in one:
            check_finite(part)
    return dict(zip(ids, found, strict=True))


def check_finite(values: npt.NDArray[np.float32]) -> None:
    """Look at values of a map; raises ``InvalidPredictionError`` where one is not finite."""
    if not np.isfinite(values).all():
        raise InvalidPredictionError("The model answered a map with values that are not finite.")


def load_answer(path: Path, output: Output, shape: Sequence[int] | None = None) -> ModelAnswer:
    """The numbers, findings and places of a job.

    Args:
        path: ``ANSWER_NAME`` in the job's folder.
        output: what the manifest declares; empty of these gives an empty answer.
        shape: of the volume that the model saw, to check places against.

    Raises:
        InvalidPredictionError: they are absent, not to be read, or not what is declared.
    """
    declared = output.declared(0)
    if not declared.words:
        return ModelAnswer()
    try:
        if path.stat().st_size > _ANSWER_BYTES_MAX:
            raise ValueError
        rows = json.loads(path.read_bytes())
        if not isinstance(rows, dict) or rows.get("version") != _ANSWER_VERSION:
            raise ValueError
    except (OSError, ValueError, RecursionError):
        raise InvalidPredictionError(
            "The model left no readable numbers, findings and places."
        ) from None
    return read_rows(rows, declared, shape)


def encode_answer(answer: ModelAnswer) -> bytes:
    """What ``load_answer`` reads."""
    rows: dict[str, Any] = {"version": _ANSWER_VERSION, **as_rows(answer)}
    return json.dumps(rows, allow_nan=False).encode()


def _load_array(path: Path, shape: tuple[int, ...], kind: Any, name: str) -> npt.NDArray[Any]:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        raise InvalidPredictionError(f"The model left no readable {name}.") from None
    if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype != kind:
        raise InvalidPredictionError(
            f"The model answered {name} of {getattr(found, 'dtype', 'several types')} and shape "
            f"{getattr(found, 'shape', ())}; asked for was {np.dtype(kind)} of shape {shape}."
        )
    return np.asarray(found)


def _is_text(value: object, length_max: int) -> bool:
    return isinstance(value, str) and len(value) <= length_max and value.isprintable()


def _is_check(row: object) -> bool:
    if not isinstance(row, list) or len(row) != _CHECK_FIELDS:
        return False
    name, value, low, high, passed = row
    numbers = all(type(number) in {int, float} for number in (value, low, high))
    if not (_is_text(name, _NAME_MAX) and numbers and isinstance(passed, bool)):
        return False
    return math.isfinite(value) and passed == (low <= value <= high)
