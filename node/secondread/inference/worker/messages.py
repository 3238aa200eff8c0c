"""What an engine and its worker say to each other: one JSON object a line, over two pipes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is asked to do; nothing in it derives from a study.

    With an empty ``volume_path`` the worker only loads the model.
    """

    job_key: str
    attempt: int
    model_folder: str
    model_digest: str
    volume_path: str
    labels_path: str
    affine_lps: list[list[float]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker answers; ``error`` is empty where the model ran to its end."""

    job_key: str
    attempt: int
    refusal: str
    checks: list[tuple[str, float, float, float, bool]]
    seconds: float
    error: str
    audit_code: str


def write_message(stream: TextIO, message: dict[str, Any]) -> None:
    """Send one message."""
    stream.write(json.dumps(message) + "\n")
    stream.flush()
