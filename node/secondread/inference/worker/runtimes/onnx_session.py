"""Opening a file in ONNX Runtime: on the processor, with the worker's threads, no telemetry."""

from __future__ import annotations

import os
from pathlib import Path

import onnxruntime

from secondread.errors import ManifestError

__all__ = ["open_session"]

_REASON_MAX = 300
_SILENT = 4
"""Only what is fatal; what a file is not loaded for stands in the error."""


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Load a file with as many threads as the worker may have.

    Raises:
        ManifestError: it is not one that ONNX Runtime can load.
        MemoryError: there is not enough for it.
    """
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # The arena doubles what it reserves, which the limit of the address space counts.
    options.enable_cpu_mem_arena = False
    # A waiting thread does not take a processor from the other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _SILENT
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except MemoryError:
        raise
    except Exception as error:
        # Each of the library's errors is a class of its own, derived from Exception alone.
        raise ManifestError(
            f"'{path.name}' is not a network that ONNX Runtime can load: {_reason(error, path)}"
        ) from None


def _reason(error: Exception, path: Path) -> str:
    """Give the library's own words in one line, without the folder."""
    text = " ".join(str(error).replace(f"{path.parent}{os.sep}", "").split())
    return text if len(text) <= _REASON_MAX else f"{text[: _REASON_MAX - 1]}…"
