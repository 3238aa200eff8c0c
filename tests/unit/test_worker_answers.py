"""The worker's own process: whatever a model says, the engine hears an answer of it."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from secondread.inference.worker.messages import (
    LABELS,
    MESSAGE_BYTES_MAX,
    VOLUME,
    Answer,
    Assignment,
    decode,
    send,
)

SAMPLE = Path(__file__).resolve().parents[1] / "models" / "bright_head" / "model.toml"
PROGRAM = """
import sys
import numpy as np
from secondread.errors import InvalidPredictionError
from secondread.inference.worker.__main__ import main
from secondread.inference.worker.prediction import Check, Prediction


class Wordy:
    def __init__(self, manifest, folder, device):
        pass

    def predict(self, voxels, affine):
        if voxels.max() == 0:
            return Prediction(np.zeros(voxels.shape, np.uint8), "no " * 100_000, ())
        if voxels.max() == 1:
            raise InvalidPredictionError("\\U0001f9e0" * 100_000)
        if voxels.max() == 2:
            checks = (Check("seen" * 100, 1.0, 0.0, 2.0, True),) * 1000
            return Prediction(np.zeros(voxels.shape, np.uint8), None, checks)
        return Prediction(np.zeros(voxels.shape, np.uint8), None, ())


main("cpu", {"wordy": Wordy})
"""


@pytest.fixture
def channel() -> Iterator[socket.socket]:
    """A socket to a worker whose one runtime talks too much, the less the brighter the volume."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        worker = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=theirs, stderr=subprocess.DEVNULL
        )
        theirs.close()
        ours.settimeout(60)
        yield ours
        ours.close()
        worker.wait(60)


def ask(channel: socket.socket, folder: Path, value: int) -> Answer:
    """Have a volume of one value looked at."""
    text = SAMPLE.read_text().replace('"classical"', '"wordy"')
    (folder / "model.toml").write_text(text)
    np.save(folder / "volume.npy", np.full((2, 2, 2), value, np.int16))
    (folder / "labels").write_bytes(bytes(8))
    files = [os.open(folder / name, os.O_RDWR) for name in ("volume.npy", "labels")]
    digest = hashlib.sha256(text.encode()).hexdigest()
    affine = np.eye(4).tolist()
    parts = [VOLUME, LABELS]
    send(channel, Assignment("key", 1, str(folder), digest, affine, parts=parts), files)
    for file in files:
        os.close(file)
    packet = channel.recv(MESSAGE_BYTES_MAX)
    assert json.loads(packet)["job_key"] == "key"
    return decode(packet, Answer)


def test_too_long_a_text_is_no_end_of_the_worker(channel: socket.socket, tmp_path: Path) -> None:
    assert "a reason of 300000 characters" in ask(channel, tmp_path, 0).error
    assert len(ask(channel, tmp_path, 1).error) == 2000
    assert "1000 checks" in ask(channel, tmp_path, 2).error
    assert ask(channel, tmp_path, 3).error == ""
