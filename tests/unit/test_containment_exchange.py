"""What passes between an engine and a worker: sealed on the way in, checked on the way out."""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secondread.domain.answer import Declared
from secondread.domain.engine import Task
from secondread.errors import InvalidPredictionError, LimitExceededError, ModelError
from secondread.inference.answer import (
    ANSWER_NAME,
    MAPS_NAME,
    PROBABILITIES_NAME,
    check_answer,
    check_labels,
    load_maps,
    load_probabilities,
)
from secondread.inference.engines.exchange import Exchange, open_exchange
from secondread.inference.engines.keeping import keep_answer
from secondread.inference.worker.exchange import (
    open_images,
    open_volume,
    write_labels,
    write_maps,
    write_probabilities,
)
from secondread.inference.worker.messages import (
    IMAGES,
    LABELS,
    MAPS,
    PROBABILITIES,
    VOLUME,
    Answer,
)
from secondread.inference.worker.model import LoadedModel
from secondread.inference.worker.prediction import Prediction

SHAPE = (4, 5, 6)
SOUND = Answer("key", 1, "", [], "", "")
DECLARED = Declared(
    probabilities=2,
    maps=("heat", "age"),
    numbers=("count", "ratio"),
    findings={"bleeding": ("yes", "no")},
    places={"peak": "point", "border": "polygon", "midline": "polyline"},
)
PROBABLE = np.random.default_rng(1).integers(0, 256, (2, *SHAPE)).astype(np.uint8)
HEAT = np.arange(math.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume on disk."""
    path = tmp_path / "volume.npy"
    np.save(path, np.arange(math.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
    return path


def test_a_volume_arrives_and_cannot_be_changed(volume: Path) -> None:
    exchange = open_exchange(volume)
    voxels = open_volume(exchange.parts[VOLUME])
    assert np.array_equal(voxels, np.load(volume))
    assert not voxels.flags.writeable
    for change in (
        lambda: os.pwrite(exchange.parts[VOLUME], b"x", 0),
        lambda: os.ftruncate(exchange.parts[VOLUME], 1),
        lambda: mmap.mmap(exchange.parts[VOLUME], 10),
    ):
        with pytest.raises(PermissionError):
            change()
    exchange.close()


def test_an_answer_has_room_for_one_label_map(volume: Path) -> None:
    exchange = open_exchange(volume)
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 2, 3] = 2
    write_labels(exchange.parts[LABELS], labels, SHAPE)
    assert np.array_equal(exchange.answered(), labels)
    with pytest.raises(PermissionError):
        os.ftruncate(exchange.parts[LABELS], 10 * labels.size)
    with pytest.raises(PermissionError):
        os.pwrite(exchange.parts[LABELS], b"x", labels.size)
    exchange.close()


@pytest.fixture
def exchange(volume: Path) -> Iterator[Exchange]:
    """A job whose manifest declares all there is."""
    opened = open_exchange(volume, "", DECLARED)
    yield opened
    opened.close()


def fill(exchange: Exchange) -> None:
    """Write a whole answer, as a worker does."""
    write_labels(exchange.parts[LABELS], np.ones(SHAPE, np.uint8), SHAPE)
    write_probabilities(exchange.parts[PROBABILITIES], PROBABLE, (2, *SHAPE))
    write_maps(exchange.parts[MAPS], {"heat": HEAT, "age": -HEAT}, DECLARED.maps, SHAPE)


def make_task(folder: Path) -> Task:
    """A job of a model that declares all there is."""
    return Task(
        job_key="key",
        attempt=1,
        model_id="toy",
        model_folder="",
        model_digest="",
        volume_path="",
        labels_path=str(folder / "labels.npy"),
        affine_lps=(),
        labels=(1, 2),
        deadline_s=1.0,
        declared=DECLARED,
    )


def test_every_part_has_a_room_of_its_own_size(exchange: Exchange) -> None:
    voxels = math.prod(SHAPE)
    sizes = {LABELS: voxels, PROBABILITIES: 2 * voxels, MAPS: 2 * 4 * voxels}
    assert list(exchange.parts) == [VOLUME, *sizes]
    for part, size in sizes.items():
        assert os.fstat(exchange.parts[part]).st_size == size
        for change in (
            lambda part=part: os.ftruncate(exchange.parts[part], 1),
            lambda part=part, size=size: os.pwrite(exchange.parts[part], b"x", size),
        ):
            with pytest.raises(PermissionError):
                change()


def test_a_whole_answer_is_kept(exchange: Exchange, tmp_path: Path) -> None:
    fill(exchange)
    task = make_task(tmp_path)
    places = [["peak", [[1.5, 2.0, 3.0]], 0.25]]
    keep_answer(exchange, replace(SOUND, numbers=[["count", 3]], places=places), task)
    assert np.array_equal(np.load(tmp_path / "labels.npy"), np.ones(SHAPE, np.uint8))
    found = load_probabilities(tmp_path / PROBABILITIES_NAME, SHAPE, 2)
    assert found is not None and np.array_equal(found, PROBABLE)
    maps = load_maps(tmp_path / MAPS_NAME, SHAPE, DECLARED.maps)
    assert list(maps) == ["heat", "age"]
    assert np.array_equal(maps["age"], -HEAT)
    rows = json.loads((tmp_path / ANSWER_NAME).read_bytes())
    assert rows == {"version": 1, "numbers": [["count", 3.0]], "findings": [], "places": places}


def test_nothing_is_kept_of_an_answer_with_an_infinite_map(
    exchange: Exchange, tmp_path: Path
) -> None:
    fill(exchange)
    # Past the worker's own check, as a model can write that is not our runtime.
    with mmap.mmap(exchange.parts[MAPS], 0) as room:
        np.frombuffer(room, np.float32)[-1:] = np.inf
    with pytest.raises(InvalidPredictionError, match="map with values that are not finite"):
        keep_answer(exchange, SOUND, make_task(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["volume.npy"]


def test_nothing_is_kept_of_an_answer_that_the_disk_does_not_take(
    exchange: Exchange, tmp_path: Path
) -> None:
    fill(exchange)
    (tmp_path / "labels.npy.partial").mkdir()
    with pytest.raises(IsADirectoryError):
        keep_answer(exchange, SOUND, make_task(tmp_path))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"volume.npy", "labels.npy.partial"}


def test_a_long_array_goes_piece_by_piece(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("secondread.inference.worker.exchange._PIECE_BYTES", 5000)
    shape = (7, 41, 43)
    np.save(tmp_path / "volume.npy", np.zeros(shape, np.int16))
    opened = open_exchange(tmp_path / "volume.npy", "", DECLARED)
    values = np.random.default_rng(2).normal(size=(2, *shape)).astype(np.float32)
    write_maps(opened.parts[MAPS], {"heat": values[0], "age": values[1]}, DECLARED.maps, shape)
    found = np.stack(list(opened.slices(MAPS, np.float32)))
    assert np.array_equal(found.reshape(values.shape), values)
    opened.close()


def test_an_answer_too_large_for_the_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, volume: Path
) -> None:
    monkeypatch.setattr("secondread.inference.engines.exchange.ROOM_BYTES_MAX", 1000)
    with pytest.raises(LimitExceededError, match="GiB is the most"):
        open_exchange(volume, "", DECLARED)
    open_exchange(volume).close()


@pytest.mark.parametrize(
    ("probabilities", "match"),
    [
        (None, "no probabilities, which its manifest promises"),
        (np.zeros((3, *SHAPE), np.uint8), "shape 3 x 4 x 5 x 6; asked for was uint8 of shape 2 x"),
        (np.zeros((2, *SHAPE), np.float32), "probabilities of float32"),
    ],
)
def test_probabilities_of_another_kind_are_not_written(
    probabilities: Any, match: str, exchange: Exchange
) -> None:
    with pytest.raises(InvalidPredictionError, match=match):
        write_probabilities(exchange.parts[PROBABILITIES], probabilities, (2, *SHAPE))


@pytest.mark.parametrize(
    ("maps", "match"),
    [
        ({"heat": HEAT}, "other maps than its manifest declares: 1 instead of heat, age"),
        ({"heat": HEAT, "age": HEAT, "more": HEAT}, "3 instead of"),
        ({"heat": HEAT, "age": HEAT[1:]}, "the map 'age' of float32 of shape 3 x 5 x 6"),
        ({"heat": HEAT, "age": HEAT.astype(np.float64)}, "float64"),
        (
            {"heat": HEAT, "age": HEAT + np.float32(np.inf)},
            "of values that are not finite",
        ),
    ],
)
def test_maps_of_another_kind_are_not_written(maps: Any, match: str, exchange: Exchange) -> None:
    with pytest.raises(InvalidPredictionError, match=match):
        write_maps(exchange.parts[MAPS], maps, DECLARED.maps, SHAPE)


def test_files_go_as_names_and_bytes(volume: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    files = {f"{number:04d}.dcm": b"%d" % number * number for number in range(1, 300)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    exchange = open_exchange(volume, str(folder))
    images = exchange.parts[IMAGES]
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
        write_labels(exchange.parts[LABELS], labels, SHAPE)
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
        {"numbers": None},
        {"findings": {"bleeding": "yes"}},
        {"places": "here"},
        {"refusal": "Too dark.", "numbers": [["count", 1.0]]},
        {"error": "Well.", "audit_code": "model", "places": [["peak", [[1, 2, 3]], None]]},
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
