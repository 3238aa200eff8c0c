"""What passes between an engine and a worker: sealed on the way in, checked on the way out."""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secondread.errors import InvalidPredictionError, ModelError
from secondread.inference.answer import check_answer, check_labels
from secondread.inference.engines.exchange import open_exchange, save_labels
from secondread.inference.worker.exchange import open_images, open_volume, write_labels
from secondread.inference.worker.messages import Answer
from secondread.inference.worker.model import LoadedModel
from secondread.inference.worker.prediction import Prediction

SHAPE = (4, 5, 6)
SOUND = Answer("key", 1, "", [], "", "")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume on disk."""
    path = tmp_path / "volume.npy"
    np.save(path, np.arange(math.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
    return path


def test_a_volume_arrives_and_cannot_be_changed(volume: Path) -> None:
    exchange = open_exchange(volume)
    voxels = open_volume(exchange.volume)
    assert np.array_equal(voxels, np.load(volume))
    assert not voxels.flags.writeable
    for change in (
        lambda: os.pwrite(exchange.volume, b"x", 0),
        lambda: os.ftruncate(exchange.volume, 1),
        lambda: mmap.mmap(exchange.volume, 10),
    ):
        with pytest.raises(PermissionError):
            change()
    exchange.close()


def test_an_answer_has_room_for_one_label_map(volume: Path, tmp_path: Path) -> None:
    exchange = open_exchange(volume)
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 2, 3] = 2
    write_labels(exchange.labels, labels, SHAPE)
    assert np.array_equal(exchange.answered(), labels)
    with pytest.raises(PermissionError):
        os.ftruncate(exchange.labels, 10 * labels.size)
    with pytest.raises(PermissionError):
        os.pwrite(exchange.labels, b"x", labels.size)
    save_labels(tmp_path / "labels.npy", exchange.answered())
    assert np.array_equal(np.load(tmp_path / "labels.npy"), labels)
    exchange.close()


def test_files_go_as_names_and_bytes(volume: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    files = {f"{number:04d}.dcm": b"%d" % number * number for number in range(1, 300)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    exchange = open_exchange(volume, str(folder))
    *_, images = exchange.files
    assert open_images(images) == files
    archive = os.pread(images, os.fstat(images).st_size, 0)
    assert str(tmp_path).encode() not in archive
    exchange.close()


def test_a_volume_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "volume.npy").write_bytes(b"not an array")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ModelError, match="cannot be read"):
        open_exchange(tmp_path / "volume.npy")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.full(SHAPE, np.nan, np.float32), "not finite"),
        (np.zeros(SHAPE, np.float32), "float32 of shape 4 x 5 x 6"),
        (np.zeros((4, 5, 7), np.uint8), "shape 4 x 5 x 7"),
    ],
)
def test_labels_of_another_kind_are_not_written(labels: Any, match: str, volume: Path) -> None:
    exchange = open_exchange(volume)
    with pytest.raises(InvalidPredictionError, match=match):
        write_labels(exchange.labels, labels, SHAPE)
    exchange.close()


def test_undeclared_labels_are_named() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    check_labels(labels, (1, 2))
    labels[3, 4, 5] = 3
    with pytest.raises(InvalidPredictionError, match=r"\[3\]"):
        check_labels(labels, (1, 2))


@pytest.mark.parametrize(
    "sound",
    [
        {},
        {"refusal": "The image is empty: all its voxels have the same value."},
        {"checks": [["volume", 5.0, -math.inf, math.inf, True], ["share", 2, 0.0, 1.0, False]]},
        {"error": "The model stopped with ValueError.", "audit_code": "model"},
    ],
)
def test_sound_answers(sound: dict[str, Any]) -> None:
    check_answer(replace(SOUND, **sound))


@pytest.mark.parametrize(
    "unsound",
    [
        {"refusal": ["no text"]},
        {"refusal": "a" * 1001},
        {"refusal": "two\nlines"},
        {"error": "Well.", "audit_code": "all-is-well"},
        {"error": None},
        {"checks": None},
        {"checks": [["volume", math.nan, 0.0, 1.0, False]]},
        {"checks": [["volume", math.inf, 0.0, math.inf, True]]},
        {"checks": [["volume", 5.0, 0.0, 1.0, True]]},
        {"checks": [["volume", 0.5, math.nan, 1.0, True]]},
        {"checks": [["volume", True, 0.0, 1.0, True]]},
        {"checks": [["volume", 0.5, 0.0, 1.0]]},
        {"checks": [["v" * 101, 0.5, 0.0, 1.0, True]]},
        {"checks": [["volume", 0.5, 0.0, 1.0, True]] * 201},
    ],
)
def test_unsound_answers(unsound: dict[str, Any]) -> None:
    with pytest.raises(InvalidPredictionError):
        check_answer(replace(SOUND, **unsound))


class Curious:
    """A runtime that takes attributes and files."""

    takes = ("attributes", "images")

    def predict(self, voxels: Any, affine_lps: Any, **told: Any) -> Prediction:
        """Tell what it was told."""
        return Prediction(np.zeros(voxels.shape, np.uint8), str(sorted(told.items())), ())


class Content:
    """A runtime that takes nothing besides."""

    def predict(self, voxels: Any, affine_lps: Any) -> Prediction:
        """Say nothing."""
        return Prediction(np.zeros(voxels.shape, np.uint8), None, ())


def test_a_runtime_is_told_what_it_takes() -> None:
    told: dict[str, Any] = {"attributes": {"PatientAge": 40}}
    arguments = (np.zeros(SHAPE), np.eye(4), told)
    refusal = LoadedModel("", Curious()).predict(*arguments).refusal
    assert refusal == "[('attributes', {'PatientAge': 40})]"
    assert LoadedModel("", Content()).predict(*arguments).refusal is None
