"""Train brain_mr from label maps alone.

    python train.py --labels FOLDER --out FOLDER --minutes 115 [--seed 20261122] [--resume]

FOLDER holds the 20 SynthSeg training maps as *.nii. The learning rate follows the wall clock, so
that a run ends annealed when its minutes are over; a killed run goes on with --resume, the minutes
it has already used counted in. Writes checkpoint.pt, weights.safetensors (EMA, float16), log.csv.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from anatomy import CHANNEL_COUNT, CLASS_COUNT, NAMES
from generator import Generator, HeadMap, read_map
from loss import SegmentationLoss
from safetensors.torch import save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "node"))
from secondread.inference.worker.networks import build

WIDTHS = (16, 32, 64, 128, 192)
PEAK_RATE, LAST_RATE, WARM_STEPS = 1.5e-3, 1e-5, 100
EMA_DECAY = 0.997
HALF_WEIGHT = 0.3
HELD_OUT_COUNT, CHECK_EVERY_STEPS, SAVE_EVERY_S = 3, 250, 150.0


class Trainee(nn.Module):
    """The network and the half-resolution head that only training needs."""

    def __init__(self) -> None:
        super().__init__()
        options = {"in_channels": 1, "out_channels": CHANNEL_COUNT, "widths": WIDTHS}
        self.net = build("unet3d", options)
        self.half_head = nn.Conv3d(WIDTHS[1], CHANNEL_COUNT, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits at full and at half resolution."""
        full, half = self.net.features(image)
        return self.net.head(full), self.half_head(half)


def split(labels: Path, seed: int) -> tuple[list[Path], list[Path]]:
    """Split the maps into (training, held out); the same seed gives the same split."""
    paths = sorted(labels.glob("*.nii"))
    if len(paths) <= HELD_OUT_COUNT:
        sys.exit(f"{labels} holds {len(paths)} *.nii maps; more than {HELD_OUT_COUNT} are needed")
    held_out = random.Random(seed).sample(paths, HELD_OUT_COUNT)
    return [p for p in paths if p not in held_out], sorted(held_out)


class Samples(torch.utils.data.IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """The generator as a stream for one loader worker."""

    def __init__(self, maps: list[HeadMap], seed: int) -> None:
        self.maps, self.seed = maps, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield samples for ever, on one thread."""
        torch.set_num_threads(1)
        return iter(Generator(self.maps, self.seed))


def compute_loss(outputs: tuple[Tensor, Tensor], target: Tensor, side: Tensor) -> Tensor:
    """Combine the losses at full and at half resolution; target and side are uint8 quarters."""
    counts = torch.cat((target, side), -1).float().div_(4)
    halves = F.avg_pool3d(counts.permute(3, 0, 1, 2)[None], 2)[0].permute(1, 2, 3, 0)
    terms = []
    for logits, truth in zip(outputs, (counts, halves), strict=True):
        rows = truth.reshape(-1, CLASS_COUNT + 2)
        terms.append(SegmentationLoss.apply(logits, rows[:, :CLASS_COUNT], rows[:, CLASS_COUNT:]))
    return terms[0] + HALF_WEIGHT * terms[1]


@torch.inference_mode()
def measure(net: nn.Module, samples: list[tuple[Tensor, Tensor, Tensor]]) -> list[float]:
    """Give Dice per class over all samples together, and last the share of right sides."""
    both, total = torch.zeros(CLASS_COUNT), torch.zeros(CLASS_COUNT)
    right = sided = 0.0
    for image, target, side in samples:
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(image[None].to(memory_format=torch.channels_last_3d))[0].float()
        found, true = logits[:CLASS_COUNT].argmax(0), target.argmax(-1)
        for k in range(CLASS_COUNT):
            a, b = found == k, true == k
            both[k] += 2 * (a & b).sum()
            total[k] += a.sum() + b.sum()
        agree = (logits[CLASS_COUNT] > 0) == (2 * side[..., 1] > side[..., 0])
        right += float((agree & (side[..., 0] > 2)).sum())
        sided += float((side[..., 0] > 2).sum())
    return [*(both / total.clamp_min(1)).tolist(), right / max(sided, 1)]


def save(folder: Path, state: dict[str, object], ema: Trainee) -> None:
    """Write checkpoint and weights so that a kill in between leaves the last good ones."""
    torch.save(state, folder / "checkpoint.tmp")
    (folder / "checkpoint.tmp").replace(folder / "checkpoint.pt")
    weights = {k: v.half().contiguous() for k, v in ema.net.state_dict().items()}
    save_file(weights, folder / "weights.tmp")
    (folder / "weights.tmp").replace(folder / "weights.safetensors")


def main() -> None:
    """Run the training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=115)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    train_paths, held_paths = split(args.labels, args.seed)
    print("held out:", ", ".join(p.name for p in held_paths), flush=True)
    checker = Generator([read_map(p) for p in held_paths], args.seed)
    checks = [checker.sample(i % len(held_paths)) for i in range(9)]

    model = Trainee().to(memory_format=torch.channels_last_3d)
    ema = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=1e-4)
    step, used_s = 0, 0.0
    if args.resume and (args.out / "checkpoint.pt").exists():
        state = torch.load(args.out / "checkpoint.pt", weights_only=True)
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        step, used_s = state["step"], state["used_s"]
    stream = Samples([read_map(p) for p in train_paths], args.seed + 1 + step)
    loader = torch.utils.data.DataLoader(stream, None, num_workers=1, prefetch_factor=4)
    begin, saved, recent = time.monotonic() - used_s, time.monotonic(), 0.0
    log = args.out / "log.csv"
    if step == 0 or not log.exists():
        with log.open("w", newline="") as file:
            head = ("step", "minutes", "rate", "loss", *NAMES[1:], "right_side")
            csv.writer(file).writerow(head)
    for image, target, side in loader:
        used_s = time.monotonic() - begin
        share = min(1.0, used_s / (60 * args.minutes))
        cosine = 0.5 * (1 + math.cos(math.pi * share))
        rate = (LAST_RATE + (PEAK_RATE - LAST_RATE) * cosine) * min(1.0, (step + 1) / WARM_STEPS)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(image[None].to(memory_format=torch.channels_last_3d))
        loss = compute_loss(outputs, target, side)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        step += 1
        decay = min(EMA_DECAY, (1 + step) / (20 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
        recent = loss.item() if recent == 0 else 0.98 * recent + 0.02 * loss.item()
        done = used_s >= 60 * args.minutes
        if step % 25 == 0:
            left = args.minutes - used_s / 60
            print(f"step {step} loss {recent:.3f} rate {rate:.1e} {left:.1f} min left", flush=True)
        if step % CHECK_EVERY_STEPS == 0 or done:
            dice = measure(ema.net, checks)
            row = [step, round(used_s / 60, 2), f"{rate:.2e}", round(recent, 4)]
            with log.open("a", newline="") as file:
                csv.writer(file).writerow([*row, *(round(d, 4) for d in dice[1:])])
            shown = " ".join(f"{n[:12]} {d:.2f}" for n, d in zip(NAMES[1:], dice[1:], strict=False))
            print(f"  held out: {shown} side {dice[-1]:.4f}", flush=True)
        if time.monotonic() - saved > SAVE_EVERY_S or done:
            parts = {"model": model, "ema": ema, "optimiser": optimiser}
            state = {k: v.state_dict() for k, v in parts.items()} | {"step": step, "used_s": used_s}
            save(args.out, state, ema)
            saved = time.monotonic()
        if done:
            break


if __name__ == "__main__":
    main()
