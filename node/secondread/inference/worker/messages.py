"""What an engine and its worker say to each other: a JSON object a packet, over one Unix socket.

With an assignment come descriptors: the volume, room for each array of the answer that the manifest
declares and, for a model that needs them, an archive of DICOM files. So a worker needs no path to
anything that belongs to a job.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from secondread.domain.technical import AttributeValue

MESSAGE_BYTES_MAX = 64 * 1024

VOLUME, LABELS, IMAGES = "volume", "labels", "images"
PROBABILITIES, MAPS = "probabilities", "maps"
DESCRIPTORS_MAX = 5

Message = TypeVar("Message", "Assignment", "Answer")


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is asked to do; nothing in it derives from a study.

    Without descriptors the worker only loads the model.

    Attributes:
        parts: what each of the descriptors is, in the order in which they come.
        label_count: how many labels a room for probabilities is for.
        maps: the maps that a room for maps is for, in their order there.
        upstream: the models that run first, in this order: id, folder and digest of each.
    """

    job_key: str
    attempt: int
    model_folder: str
    model_digest: str
    affine_lps: list[list[float]]
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    label_count: int = 0
    maps: list[str] = field(default_factory=list)
    upstream: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker answers; ``error`` is empty where the model ran to its end.

    ``numbers``, ``findings`` and ``places`` are rows as ``inference.said`` reads them.
    """

    job_key: str
    attempt: int
    refusal: str
    checks: list[tuple[str, float, float, float, bool]]
    error: str
    audit_code: str
    numbers: list[list[Any]] = field(default_factory=list)
    findings: list[list[Any]] = field(default_factory=list)
    places: list[list[Any]] = field(default_factory=list)


def fits(message: Assignment | Answer) -> bool:
    """Whether a message is short enough for one packet."""
    return len(json.dumps(asdict(message)).encode()) <= MESSAGE_BYTES_MAX


def send(channel: socket.socket, message: Assignment | Answer, files: Sequence[int] = ()) -> None:
    """Send one message with the descriptors that belong to it.

    Raises:
        OSError: nobody listens, or the message is too long for one packet.
    """
    packet = json.dumps(asdict(message)).encode()
    if files:
        socket.send_fds(channel, [packet], list(files))
    else:
        channel.send(packet)


def decode(packet: bytes, kind: type[Message]) -> Message:
    """The message in a packet; raises ``ValueError`` or ``TypeError`` where it is none."""
    return kind(**json.loads(packet))
