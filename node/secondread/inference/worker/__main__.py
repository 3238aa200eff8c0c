"""The worker process: loads a model once, then answers one assignment after another.

Standard input brings assignments; its end means that the engine is gone, and the worker ends at
once, whatever it is doing. Answers leave on the original standard output; what libraries print
goes to standard error.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from secondread.errors import SecondReadError
from secondread.inference.worker.messages import Answer, Assignment, write_message
from secondread.inference.worker.model import LoadedModel, load_model

_FILE_BYTES_MAX = 4 * 1024**3


def main(device: str) -> None:
    """Answer assignments until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Ctrl-C and a service manager speak to the whole process group; the engine ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES_MAX, _FILE_BYTES_MAX))
    inbox: queue.SimpleQueue[Assignment] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(inbox,), daemon=True).start()
    loaded: LoadedModel | None = None
    while True:
        assignment = inbox.get()
        started = time.monotonic()
        try:
            if loaded is None or loaded.digest != assignment.model_digest:
                loaded = None
                loaded = load_model(Path(assignment.model_folder), assignment.model_digest, device)
            answer = _run(loaded, assignment, started)
        except SecondReadError as error:
            answer = _failure(assignment, str(error), error.audit_code, started)
        except MemoryError:
            answer = _failure(assignment, "The model ran out of memory.", "model", started)
        except Exception as error:
            # Whatever somebody's model does wrong, the engine hears it as a sentence.
            reason = f"The model stopped with {type(error).__name__}."
            sys.stderr.write(f"{reason} {error}\n")
            sys.stderr.flush()
            answer = _failure(assignment, reason, "model", started)
        write_message(answers, asdict(answer))


def _read(inbox: queue.SimpleQueue[Assignment]) -> None:
    for line in sys.stdin:
        inbox.put(Assignment(**json.loads(line)))
    os._exit(0)


def _run(loaded: LoadedModel, assignment: Assignment, started: float) -> Answer:
    refusal, checks = "", []
    if assignment.volume_path:
        voxels = np.load(assignment.volume_path, mmap_mode="r", allow_pickle=False)
        prediction = loaded.runtime.predict(voxels, np.asarray(assignment.affine_lps))
        refusal = prediction.refusal or ""
        checks = [
            (check.name, float(check.value), float(check.low), float(check.high), check.passed)
            for check in prediction.checks
        ]
        if not refusal:
            _save(Path(assignment.labels_path), prediction.labels)
    return Answer(
        job_key=assignment.job_key,
        attempt=assignment.attempt,
        refusal=refusal,
        checks=checks,
        seconds=time.monotonic() - started,
        error="",
        audit_code="",
    )


def _save(path: Path, labels: npt.NDArray[np.uint8]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(labels), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _failure(assignment: Assignment, reason: str, audit_code: str, started: float) -> Answer:
    return Answer(
        job_key=assignment.job_key,
        attempt=assignment.attempt,
        refusal="",
        checks=[],
        seconds=time.monotonic() - started,
        error=reason,
        audit_code=audit_code,
    )


if __name__ == "__main__":
    main(sys.argv[1])
