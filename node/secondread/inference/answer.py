"""Checking a model's answer before anybody uses it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from secondread.errors import (
    ForbiddenActError,
    InvalidPredictionError,
    LimitExceededError,
    ManifestError,
    ModelError,
)
from secondread.inference.worker.messages import Answer

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
    )
    if not sound:
        raise InvalidPredictionError("The model's answer is not one that can be read.")


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
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        raise InvalidPredictionError("The model left no readable label map.") from None
    if found.shape != shape or found.dtype != np.uint8:
        raise InvalidPredictionError(
            f"The model answered {found.dtype} of shape {found.shape}; asked for was uint8 of "
            f"shape {shape}."
        )
    check_labels(found, labels)
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
