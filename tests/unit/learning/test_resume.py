"""A training that is killed goes on to the weights of one that never was: the real command."""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("nibabel", reason="the extra train is not installed")
import torch
from safetensors.torch import load_file

RECIPE = Path(__file__).resolve().parents[3] / "models/hippocampus_mr/training/recipe.toml"
CASES = 12
STEPS = 5
PATIENCE_S = 400


@pytest.fixture
def data(shared_data: Callable[[str], Path], tmp_path: Path) -> Path:
    """A dozen hippocampi with their label maps."""
    folder = tmp_path / "data"
    with tarfile.open(shared_data("mr_hippocampus_msd_task04") / "data.tar") as archive:
        names = {each.name for each in archive.getmembers()}
        images = sorted(n for n in names if "TrainingSet/images/h" in n and "_118" not in n)
        chosen = images[:CASES] + [n.replace("/images/", "/labels/") for n in images[:CASES]]
        for name in chosen:
            archive.extract(name, folder, filter="data")
    return next(folder.rglob("TrainingSet")).parent


def command(recipe: Path, data: Path, out: Path, *more: str) -> list[str]:
    line = [sys.executable, "-m", "secondread", "train", str(recipe), "--data", str(data)]
    return [*line, "--out", str(out), "--fold", "0", *more]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_training_of_the_hippocampus_comes_to_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    text = RECIPE.read_text("utf-8").replace(
        "steps = 4000", f"steps = {STEPS}\nsave_every_s = 1e-3"
    )
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text, "utf-8")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(recipe, data, whole), check=True, timeout=PATIENCE_S)
    killed = subprocess.Popen(command(recipe, data, broken))
    checkpoint = broken / "fold0" / "checkpoint.pt"
    until = time.monotonic() + PATIENCE_S
    while not checkpoint.exists() and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert 0 < torch.load(checkpoint, weights_only=True)["step"] < STEPS
    assert not (broken / "fold0" / "weights.safetensors").exists()
    subprocess.run(command(recipe, data, broken, "--resume"), check=True, timeout=PATIENCE_S)
    weights, again = (load_file(run / "fold0/weights.safetensors") for run in (whole, broken))
    assert weights.keys() == again.keys()
    for name, value in weights.items():
        assert torch.equal(value, again[name]), name
    assert (whole / "predictions.json").read_bytes() == (broken / "predictions.json").read_bytes()
