"""The refusal table: right and wrong images × the models of SecondRead, by pixels alone.

Headers are left out, or tell what the models want to hear; what headers alone turn away is in
``test_refusals_headers.py``. The rows are ``models/brain_mr/evaluation/wrong_inputs.py``.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secondread.inference.worker.chain import LoadedChain

MODELS = Path(__file__).resolve().parents[2] / "models"
EVALUATION = MODELS / "brain_mr" / "evaluation"
SHARED = MODELS.parents[1] / "shared" / "data"
HALVES = {
    "lower": "at their upper edge",
    "upper": "at their lower edge",
    "left": "on the patient's right",
    "right": "on the patient's left",
    "front": "at the back",
    "back": "at the front",
}
"""What brain_mr says of half a head."""

sys.path.append(str(EVALUATION))
try:
    pytest.importorskip("nilearn", reason="nilearn is not installed (extra: demo)")
    wrong_inputs = importlib.import_module("wrong_inputs")
    refusals = importlib.import_module("refusals")
finally:
    sys.path.remove(str(EVALUATION))

ROWS = [
    pytest.param(row, id=row.name, marks=() if row.quick else pytest.mark.slow)
    for row in wrong_inputs.INPUTS
]


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, LoadedChain]]:
    """The models, with one brain_mr between them that looks at an image once, on one core."""
    import torch

    from secondread.inference.worker.runtimes.torch import TorchRuntime

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = MODELS / "brain_mr"
    brain = TorchRuntime(tomllib.loads((folder / "model.toml").read_text()), folder)
    yield refusals.load_models(MODELS, refusals.Remembered(brain))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return wrong_inputs.Sources(SHARED, tmp_path_factory.mktemp("archives"))


@pytest.mark.parametrize("row", ROWS)
def test_right_images_are_analysed_and_wrong_ones_refused(
    row: Any, models: dict[str, LoadedChain], sources: Any
) -> None:
    try:
        voxels, affine = row.make(sources)
    except wrong_inputs.AbsentError as absent:
        pytest.skip(str(absent))
    for name, model in models.items():
        answer = model.predict(voxels, affine, refusals.TOLD)
        if name in row.right_for:
            assert answer.refusal is None, name
            continue
        assert answer.refusal is not None, name
        assert answer.refusal.endswith(".")
        assert not answer.labels.any()
        assert not answer.answer.numbers
        assert not answer.answer.findings
        part = row.name.partition("_")[2]
        if row.name.startswith("mni152_") and part in HALVES and name != "chest_ct":
            assert HALVES[part] in answer.refusal
        if name in {"hippocampus_mr", "dementia_mr"} and "brain_mr" not in row.right_for:
            # What they build on has refused, and theirs is its sentence.
            assert answer.refusal == models["brain_mr"].predict(voxels, affine, {}).refusal
