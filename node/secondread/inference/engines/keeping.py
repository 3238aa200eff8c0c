"""Keeping an answer: checked as it is copied, and on disk whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from secondread.domain.engine import Task
from secondread.inference.answer import (
    ANSWER_NAME,
    MAPS_NAME,
    PROBABILITIES_NAME,
    check_finite,
    check_labels,
    encode_answer,
    read_said,
)
from secondread.inference.engines.exchange import Exchange
from secondread.inference.worker.messages import MAPS, PROBABILITIES, Answer

Array = npt.NDArray[Any]


def keep_answer(exchange: Exchange, answer: Answer, task: Task) -> None:
    """Check all that a model has answered and write it beside ``task.labels_path``.

    Raises:
        InvalidPredictionError: something of it is not what the manifest declares; then nothing of
            it is kept.
        OSError: the disk does not take it.
    """
    declared, shape = task.declared, exchange.shape
    said = read_said(answer, declared, shape)
    labels = exchange.answered()
    check_labels(labels, task.labels)
    path = Path(task.labels_path)
    with _together(path.parent) as write:
        if declared.probabilities:
            kind = np.dtype(np.uint8)
            parts: Iterable[Array] = exchange.slices(PROBABILITIES, np.uint8)
            whole = (declared.probabilities, *shape)
            write(PROBABILITIES_NAME, lambda file: _write_array(file, parts, whole, kind))
        if declared.maps:
            checked = _checked(exchange.slices(MAPS, np.float32))
            stack = (len(declared.maps), *shape)
            write(
                MAPS_NAME,
                lambda file: _write_array(file, checked, stack, np.dtype(np.float32)),
            )
        if declared.words:
            write(ANSWER_NAME, lambda file: file.write(encode_answer(said)))
        write(path.name, lambda file: np.save(file, labels, allow_pickle=False))


def _checked(parts: Iterable[Array]) -> Iterator[Array]:
    for part in parts:
        check_finite(part)
        yield part


def _write_array(
    file: IO[bytes], parts: Iterable[Array], shape: Sequence[int], kind: np.dtype[Any]
) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(kind),
        "fortran_order": False,
        "shape": tuple(shape),
    }
    np.lib.format.write_array_header_1_0(file, header)
    for part in parts:
        file.write(part.data)


@contextmanager
def _together(folder: Path) -> Iterator[Callable[[str, Callable[[IO[bytes]], object]], None]]:
    """Files that get their names at the end, all of them on disk by then; else none is left."""
    written: dict[Path, Path] = {}

    def write(name: str, fill: Callable[[IO[bytes]], object]) -> None:
        partial = folder / f"{name}.partial"
        written[partial] = folder / name
        with partial.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())

    try:
        yield write
        for partial, path in written.items():
            partial.replace(path)
    finally:
        for partial in written:
            partial.unlink(missing_ok=True)
