"""The worker process: loads a model once, then answers one assignment after another.

Standard input is a socket that brings assignments and takes answers; its end means that the engine
is gone, and the worker ends at once, whatever it is doing. What libraries print goes to standard
error.
"""

from __future__ import annotations

import errno
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from secondread.errors import (
    ForbiddenActError,
    InvalidPredictionError,
    LimitExceededError,
    ModelError,
    SecondReadError,
)
from secondread.inference.said import as_rows
from secondread.inference.worker.chain import LoadedChain, load_chain
from secondread.inference.worker.exchange import (
    open_images,
    open_volume,
    write_labels,
    write_maps,
    write_probabilities,
)
from secondread.inference.worker.messages import (
    DESCRIPTORS_MAX,
    IMAGES,
    LABELS,
    MAPS,
    MESSAGE_BYTES_MAX,
    PROBABILITIES,
    VOLUME,
    Answer,
    Assignment,
    decode,
    fits,
    send,
)
from secondread.inference.worker.model import RUNTIMES, Builder
from secondread.inference.worker.prediction import Prediction

_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EMFILE}
# How PyTorch says that it is out of memory, in a RuntimeError, and how ONNX Runtime does.
_SENTENCE_MAX = 2000
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "std::bad_alloc")


@dataclass(frozen=True, slots=True)
class _Work:
    assignment: Assignment
    files: tuple[int, ...]


def main(device: str, runtimes: Mapping[str, Builder] = RUNTIMES) -> None:
    """Answer assignments until the engine is gone."""
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    # Ctrl-C and a service manager speak to the whole process group; the engine ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    inbox: queue.SimpleQueue[_Work] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(channel, inbox), daemon=True).start()
    loaded: LoadedChain | None = None
    while True:
        work = inbox.get()
        assignment = work.assignment
        try:
            if loaded is None:
                loaded = load_chain(_chain(assignment), device, runtimes)
            answer = _run(loaded, work)
        except Exception as error:
            # Whatever somebody's model does wrong, the engine hears it as a sentence.
            named = _name(error)
            if named is not error:
                sys.stderr.write(f"{named} {error}\n")
                sys.stderr.flush()
            answer = _failure(assignment, named)
        finally:
            for file in work.files:
                os.close(file)
        send(channel, answer)


def _read(channel: socket.socket, inbox: queue.SimpleQueue[_Work]) -> None:
    while True:
        packet, files, _, _ = socket.recv_fds(channel, MESSAGE_BYTES_MAX, DESCRIPTORS_MAX)
        if not packet:
            os._exit(0)
        inbox.put(_Work(decode(packet, Assignment), tuple(files)))


def _chain(assignment: Assignment) -> list[tuple[Path, str]]:
    """Folders and digests of all that runs, the model itself last."""
    first = [(Path(folder), digest) for _, folder, digest in assignment.upstream]
    return [*first, (Path(assignment.model_folder), assignment.model_digest)]


def _run(loaded: LoadedChain, work: _Work) -> Answer:
    assignment = work.assignment
    empty = Answer(assignment.job_key, assignment.attempt, "", [], "", "")
    if not work.files:
        return empty
    files = dict(zip(assignment.parts, work.files, strict=True))
    voxels = open_volume(files[VOLUME])
    told: dict[str, Any] = {"attributes": assignment.attributes}
    if IMAGES in files:
        told["images"] = open_images(files[IMAGES])
    prediction = loaded.predict(voxels, np.asarray(assignment.affine_lps), told)
    answer = replace(
        empty,
        refusal=prediction.refusal or "",
        checks=[
            (check.name, float(check.value), float(check.low), float(check.high), check.passed)
            for check in prediction.checks
        ],
    )
    if answer.refusal:
        if not fits(answer):
            raise InvalidPredictionError(
                f"The model refused with {len(answer.checks)} checks and a reason of "
                f"{len(answer.refusal)} characters, which is more than an answer may hold."
            )
        return answer
    _write(prediction, assignment, files, voxels.shape)
    rows = as_rows(prediction.answer)
    answer = replace(
        answer, numbers=rows["numbers"], findings=rows["findings"], places=rows["places"]
    )
    if not fits(answer):
        raise InvalidPredictionError(
            f"The model answered {len(answer.numbers)} numbers, {len(answer.findings)} findings, "
            f"{len(answer.places)} places and {len(answer.checks)} checks, which is more than an "
            "answer may hold."
        )
    return answer


def _write(
    prediction: Prediction,
    assignment: Assignment,
    files: Mapping[str, int],
    shape: tuple[int, ...],
) -> None:
    write_labels(files[LABELS], prediction.labels, shape)
    if PROBABILITIES in files:
        whole = (assignment.label_count, *shape)
        write_probabilities(files[PROBABILITIES], prediction.probabilities, whole)
    if MAPS in files:
        write_maps(files[MAPS], prediction.maps, assignment.maps, shape)


def _name(error: Exception) -> SecondReadError:
    """What an error of a model means to whoever looks at the job."""
    kind, number = type(error).__name__, getattr(error, "errno", None)
    if isinstance(error, SecondReadError):
        return error
    if isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY):
        return LimitExceededError("The model needs more memory than its manifest declares.")
    if isinstance(error, OSError) and number in _FORBIDDEN:
        return ForbiddenActError(
            f"The model tried what no model may do and was stopped by the system ({kind})."
        )
    if isinstance(error, OSError) and number in _FULL:
        return LimitExceededError("The model wanted to write or open more than it may.")
    return ModelError(f"The model stopped with {kind}.")


def _failure(assignment: Assignment, error: SecondReadError) -> Answer:
    return Answer(
        job_key=assignment.job_key,
        attempt=assignment.attempt,
        refusal="",
        checks=[],
        # A text of somebody's model may be of any length, and a packet is not.
        error=_shortened(str(error)),
        audit_code=error.audit_code,
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _SENTENCE_MAX else f"{text[: _SENTENCE_MAX - 1]}…"


if __name__ == "__main__":
    main(sys.argv[1])
