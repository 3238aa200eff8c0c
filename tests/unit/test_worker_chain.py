"""Models in a row in one worker: order, what is handed on, refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secondread.errors import ManifestError
from secondread.inference.worker.chain import LoadedChain, load_chain
from secondread.inference.worker.model import load_model
from secondread.inference.worker.prediction import Check, Prediction

SAMPLE = Path(__file__).resolve().parents[1] / "models" / "bright_head" / "model.toml"
VOXELS = np.arange(27, dtype=np.int16).reshape(3, 3, 3)


class Counting:
    """A runtime that says what it got, and refuses where its manifest says so."""

    takes = ("upstream", "attributes")

    def __init__(self, manifest: Mapping[str, Any], _folder: Path, _device: str) -> None:
        self.id = manifest["model"]["id"]
        self.runs = 0
        self.got: dict[str, Any] = {}

    def predict(self, voxels: Any, _affine: Any, **got: Any) -> Prediction:
        self.runs, self.got = self.runs + 1, got
        labels = np.full(voxels.shape, len(self.id), np.uint8)
        check = Check("seen", 1.0, 0.0, 2.0, passed=True)
        refusal = "No." if voxels.max() == 0 and self.id == "a" else None
        return Prediction(labels, refusal, (check,))


def package(root: Path, name: str, *upstream: tuple[Path, str]) -> tuple[Path, str]:
    folder = root / name
    folder.mkdir()
    text = SAMPLE.read_text().replace('id = "bright_head"', f'id = "{name}"', 1)
    text = text.replace('"classical"', '"counting"').replace(
        "[input]", '[input]\nattributes = ["PatientAge"]'
    )
    for other, digest in upstream:
        text += f'\n[[upstream]]\nid = "{other.name}"\nversion = "1"\nsha256 = "{digest}"\n'
    (folder / "model.toml").write_text(text)
    return folder, hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def chain(tmp_path: Path) -> LoadedChain:
    first = package(tmp_path, "a")
    second = package(tmp_path, "bb", first)
    third = package(tmp_path, "ccc", first, second)
    return load_chain([first, second, third], "cpu", {"counting": Counting})


def runtimes(chain: LoadedChain) -> list[Any]:
    return [link.model.runtime for link in chain.links]


def test_each_runs_once_and_gets_what_its_manifest_names(chain: LoadedChain) -> None:
    told = {"attributes": {"PatientAge": 50.0, "PatientSex": "F"}}
    answer = chain.predict(VOXELS, np.eye(4), told)
    assert (answer.labels == 3).all()
    first, second, third = runtimes(chain)
    assert [one.runs for one in (first, second, third)] == [1, 1, 1]
    assert list(first.got["upstream"]) == []
    assert list(second.got["upstream"]) == ["a"]
    assert sorted(third.got["upstream"]) == ["a", "bb"]
    assert third.got["upstream"]["a"].label_values == {"brain": 1, "left_thalamus": 2}
    assert not third.got["upstream"]["a"].labels.flags.writeable
    assert first.got["attributes"] == {"PatientAge": 50.0}
    assert [check.name for check in answer.checks] == ["a: seen", "bb: seen", "seen"]


def test_a_refusal_on_the_way_is_the_refusal(chain: LoadedChain) -> None:
    answer = chain.predict(np.zeros_like(VOXELS), np.eye(4), {})
    assert answer.refusal == "No."
    assert not answer.labels.any()
    assert [check.name for check in answer.checks] == ["a: seen"]
    assert [one.runs for one in runtimes(chain)] == [1, 0, 0]


def test_a_model_without_those_that_it_builds_on_is_not_loaded(tmp_path: Path) -> None:
    first = package(tmp_path, "a")
    second = package(tmp_path, "bb", first)
    with pytest.raises(ManifestError, match="'bb' builds on 'a'.*did not come with it"):
        load_chain([second], "cpu", {"counting": Counting})
    (first[0] / "model.toml").write_text(SAMPLE.read_text())
    with pytest.raises(ManifestError, match="has changed on disk"):
        load_chain([first, second], "cpu", {"counting": Counting})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('kind = "torch"\nweights = "../w.safetensors"', "not among"),
        ('kind = "torch"', "lacks the key 'options'"),
        ('kind = "torch"\noptions = 7', "wrong kind"),
        ('kind = "regions"\nweights = ["w.safetensors"]', "not among"),
        ('kind = "classical"\noptions = {structures = 7}', "wrong kind"),
    ],
)
def test_a_package_that_its_runtime_cannot_load_says_so_in_a_sentence(
    tmp_path: Path, text: str, words: str
) -> None:
    whole = SAMPLE.read_text()
    start, end = whole.index("[runtime]"), whole.index("[preprocessing]")
    changed = f"{whole[:start]}[runtime]\n{text}\n{whole[end:]}"
    (tmp_path / "model.toml").write_text(changed)
    with pytest.raises(ManifestError, match=words):
        load_model(tmp_path, hashlib.sha256(changed.encode()).hexdigest(), "cpu")
