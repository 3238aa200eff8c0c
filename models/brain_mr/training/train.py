"""Train the first network of brain_mr from label maps alone: a whole head at 2 mm.

    python train.py --labels FOLDER --out FOLDER --minutes 115 [--seed 20261122] [--resume]

FOLDER holds the 20 SynthSeg training maps as *.nii; what is written, `loop.py` says.
"""

from __future__ import annotations

from collections.abc import Iterator

import loop
import torch
import torch.nn.functional as F
from anatomy import CHANNEL_COUNT, CLASS_COUNT, NAMES
from generator import Generator, HeadMap, read_map
from loss import SegmentationLoss
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128, 192)
PEAK_RATE, EMA_DECAY, HALF_WEIGHT = 1.5e-3, 0.997, 0.3


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


def main() -> None:
    """Run the training."""
    args = loop.read_arguments(__doc__, 115)
    train_paths, held_paths = loop.split(args.labels, args.seed)
    checker = Generator([read_map(p) for p in held_paths], args.seed)
    checks = [checker.sample(i % len(held_paths)) for i in range(9)]
    maps = [read_map(p) for p in train_paths]
    course = loop.Course(
        name="weights",
        peak_rate=PEAK_RATE,
        ema_decay=EMA_DECAY,
        stream=lambda step: Samples(maps, args.seed + 1 + step),
        compute_loss=compute_loss,
        measure=lambda net: measure(net, checks)[1:],
        columns=(*NAMES[1:], "right_side"),
    )
    loop.run(course, loop.Trainee(CHANNEL_COUNT, WIDTHS), args)


if __name__ == "__main__":
    main()
