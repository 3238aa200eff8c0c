"""The training loop of both networks: rate by wall clock, moving average, checkpoints and a log.

The learning rate follows the wall clock, so that a run ends annealed when its minutes are over; a
killed run goes on with --resume, the minutes it has already used counted in. A new run can begin
from the weights of an earlier one, --begin-from: the rate rises and falls once more. Writes
<name>.checkpoint.pt, <name>.safetensors (moving average, float16) and <name>.csv.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "node"))
from secondread.inference.worker.networks import build

LAST_RATE, WARM_STEPS = 1e-5, 100
HELD_OUT_COUNT, CHECK_EVERY_STEPS, SAVE_EVERY_S = 3, 250, 150.0


@dataclass(frozen=True)
class Course:
    """What one network is trained by.

    Attributes:
        name: of the files that are written.
        peak_rate: learning rate after warming up.
        ema_decay: of the moving average.
        stream: step → endless samples, (image, truth ...), different ones for every step.
        compute_loss: (outputs of `Trainee`, truth ...) → scalar.
        measure: network → one figure per column of the log.
        columns: what those figures are.
    """

    name: str
    peak_rate: float
    ema_decay: float
    stream: Callable[[int], torch.utils.data.IterableDataset[Any]]
    compute_loss: Callable[..., Tensor]
    measure: Callable[[nn.Module], list[float]]
    columns: Sequence[str]


class Trainee(nn.Module):
    """A U-Net and the half-resolution head that only training needs."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        options = {"in_channels": 1, "out_channels": channels, "widths": widths}
        self.net = build("unet3d", options)
        self.half_head = nn.Conv3d(widths[1], channels, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits at full and at half resolution."""
        full, half = self.net.features(image)
        return self.net.head(full), self.half_head(half)


def read_arguments(what: str, minutes: float) -> argparse.Namespace:
    """Read the command line, and make the folder it names."""
    parser = argparse.ArgumentParser(description=what.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--begin-from", type=Path, help="weights of an earlier run")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    return args


def split(labels: Path, seed: int) -> tuple[list[Path], list[Path]]:
    """Split the maps into (training, held out); the same seed gives the same split."""
    paths = sorted(labels.glob("*.nii"))
    if len(paths) <= HELD_OUT_COUNT:
        sys.exit(f"{labels} holds {len(paths)} *.nii maps; more than {HELD_OUT_COUNT} are needed")
    held_out = random.Random(seed).sample(paths, HELD_OUT_COUNT)
    print("held out:", ", ".join(p.name for p in sorted(held_out)), flush=True)
    return [p for p in paths if p not in held_out], sorted(held_out)


def run(course: Course, model: Trainee, args: argparse.Namespace) -> None:
    """Train until the minutes are over."""
    if args.begin_from:
        model.net.load_state_dict(load_file(args.begin_from))
    model = model.to(memory_format=torch.channels_last_3d)
    ema = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=course.peak_rate, weight_decay=1e-4)
    parts = {"model": model, "ema": ema, "optimiser": optimiser}
    step, used_s = 0, 0.0
    checkpoint = args.out / f"{course.name}.checkpoint.pt"
    if args.resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        step, used_s = state["step"], state["used_s"]
    loader = torch.utils.data.DataLoader(
        course.stream(step), None, num_workers=1, prefetch_factor=4
    )
    begin, saved, recent = time.monotonic() - used_s, time.monotonic(), 0.0
    log = args.out / f"{course.name}.csv"
    if step == 0 or not log.exists():
        _append(log, ["step", "minutes", "rate", "loss", *course.columns], mode="w")
    for image, *truth in loader:
        used_s = time.monotonic() - begin
        rate = _rate(course.peak_rate, used_s / (60 * args.minutes), step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(image[None].to(memory_format=torch.channels_last_3d))
        loss = course.compute_loss(outputs, *truth)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        step += 1
        decay = min(course.ema_decay, (1 + step) / (20 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
        recent = loss.item() if recent == 0 else 0.98 * recent + 0.02 * loss.item()
        done = used_s >= 60 * args.minutes
        if step % 25 == 0:
            left = args.minutes - used_s / 60
            print(f"step {step} loss {recent:.3f} rate {rate:.1e} {left:.1f} min left", flush=True)
        if step % CHECK_EVERY_STEPS == 0 or done:
            found = [round(one, 4) for one in course.measure(ema.net)]
            _append(log, [step, round(used_s / 60, 2), f"{rate:.2e}", round(recent, 4), *found])
            pairs = zip(course.columns, found, strict=True)
            print("  held out:", " ".join(f"{n[:12]} {d:.2f}" for n, d in pairs), flush=True)
        if time.monotonic() - saved > SAVE_EVERY_S or done:
            state = {k: v.state_dict() for k, v in parts.items()} | {"step": step, "used_s": used_s}
            _save(checkpoint, state, ema, args.out / f"{course.name}.safetensors")
            saved = time.monotonic()
        if done:
            break


def _rate(peak: float, share: float, step: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return (LAST_RATE + (peak - LAST_RATE) * cosine) * min(1.0, (step + 1) / WARM_STEPS)


def _append(log: Path, row: list[Any], mode: str = "a") -> None:
    with log.open(mode, newline="") as file:
        csv.writer(file).writerow(row)


def _save(checkpoint: Path, state: dict[str, Any], ema: Trainee, weights: Path) -> None:
    """Write checkpoint and weights so that a kill in between leaves the last good ones."""
    half = {k: v.half().contiguous() for k, v in ema.net.state_dict().items()}
    new = weights.with_suffix(".tmp")
    torch.save(state, new)
    new.replace(checkpoint)
    save_file(half, new)
    new.replace(weights)
