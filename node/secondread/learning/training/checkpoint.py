"""A training's state on disk: written whole or not at all, and read as data only."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from secondread.errors import DataError

FILE_NAME = "checkpoint.pt"


@dataclass
class State:
    """What a training goes on from.

    Attributes:
        model: the network that is trained.
        average: the running mean of its weights, which is what is kept.
        optimiser: AdamW with its moments.
        recipe: sha256 of the recipe's text; another recipe does not go on from here.
        step: steps done.
        used_s: seconds of training so far.
        recent: the running mean of the loss.
    """

    model: nn.Module
    average: nn.Module
    optimiser: Optimizer
    recipe: str
    step: int = 0
    used_s: float = 0.0
    recent: float = 0.0


def save(folder: Path, state: State) -> None:
    """Write the state beside the one that is there, then put it in its place."""
    content = {
        "model": state.model.state_dict(),
        "ema": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "recipe": state.recipe,
        "step": state.step,
        "used_s": state.used_s,
        "recent": state.recent,
    }
    partial = folder / f"{FILE_NAME}.partial"
    with partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / FILE_NAME)


def restore(folder: Path, state: State) -> None:
    """Bring a fresh state to where the checkpoint was.

    Raises:
        DataError: it cannot be read, is of another recipe, or does not suit the network.
    """
    try:
        content: dict[str, Any] = torch.load(
            folder / FILE_NAME, weights_only=True, map_location="cpu"
        )
        recipe = content["recipe"]
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise DataError(
            f"The checkpoint in '{folder.name}' cannot be read; train this fold anew in another "
            "folder."
        ) from error
    if recipe != state.recipe:
        raise DataError(
            f"The checkpoint in '{folder.name}' was written with another recipe; go on with the "
            "recipe in the run's folder, or train in another folder."
        )
    state.model.load_state_dict(content["model"])
    state.average.load_state_dict(content["ema"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.step, state.used_s = int(content["step"]), float(content["used_s"])
    state.recent = float(content["recent"])
