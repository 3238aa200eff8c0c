"""Train the second network of brain_mr: the deep grey matter of one hemisphere at 1 mm.

    python refine.py --labels FOLDER --out FOLDER --minutes 85 [--seed 20261122] [--resume]
    python refine.py --labels FOLDER --out OTHER --minutes 62 --begin-from FOLDER/refine.safetensors

The first network works at 2 mm, where a nucleus of half a millilitre has some sixty voxels. This
one sees a box of one hemisphere at 1 mm; the right one is mirrored, so that one network serves both
and every map counts twice. What is written, `loop.py` says.
"""

from __future__ import annotations

from collections.abc import Iterator

import loop
import numpy as np
import torch
import torch.nn.functional as F
from anatomy import CLASS_COUNT, NAMES
from generator import Generator, HeadMap, read_map
from torch import Tensor, nn

BOX = (56, 88, 64)
SPACING_MM = 1.0
WIDTHS = (16, 32, 64, 128)
ANCHORS = ("thalamus", "caudate", "putamen", "hippocampus", "amygdala", "ventral_dc")
"""The middle of these on one side is the middle of the box, but for `OFFSET_MM`."""
OFFSET_MM = (-2.0, 0.0, -4.0)
"""From there to the middle of the box, on the left: right, anterior, superior."""
LEARNT = (
    "hippocampus",
    "amygdala",
    "accumbens",
    "pallidum",
    "putamen",
    "inferior_lateral_ventricle",
    "caudate",
    "thalamus",
    "ventral_dc",
    "lateral_ventricle",
    "cerebral_white_matter",
    "cerebral_cortex",
)
"""Class k + 1 is ``LEARNT[k]`` of this hemisphere; class 0 is all else, the other side too."""
WEIGHT = {"lateral_ventricle": 2.0, "cerebral_white_matter": 1.0, "cerebral_cortex": 1.0}
BACKGROUND_WEIGHT, SMALL_WEIGHT = 0.5, 3.0
DICE_WEIGHT = {
    "pallidum": 3.0,
    "inferior_lateral_ventricle": 3.0,
    "accumbens": 2.0,
    "cerebral_white_matter": 0.5,
    "cerebral_cortex": 0.5,
}
"""Of the classes in the mean of soft Dice, 1 for the others: what is found worst counts most."""
PEAK_RATE, PEAK_RATE_AGAIN, EMA_DECAY, HALF_WEIGHT = 2e-3, 1.2e-3, 0.995, 0.3
T1_SHARE = 0.85
Sample = tuple[Tensor, Tensor]


class HemisphereGenerator(Generator):
    """Draw (image, target) of one hemisphere, always as if it were the left one."""

    def __init__(self, maps: list[HeadMap], seed: int, t1_share: float = T1_SHARE) -> None:
        super().__init__(maps, seed, t1_share, BOX, SPACING_MM)
        self.shift_mm = (2.5, 8.0)
        self.folds = (((3, 4, 3), 2.5), ((5, 7, 5), 1.2), ((9, 13, 9), 0.5))
        self.texture_cells = (8, 12, 9)
        self.middles = [self._find_middles(one) for one in maps]
        self.columns = [NAMES.index(name) for name in LEARNT]

    def _find_middles(self, head: HeadMap) -> list[np.ndarray]:
        wanted = np.isin(self.classes, [NAMES.index(name) for name in ANCHORS])
        middles = []
        for side, sign in ((1, 1.0), (2, -1.0)):
            anchor = np.argwhere((wanted & (self.sides == side))[head.fine]).mean(axis=0)
            middles.append(anchor + np.array(OFFSET_MM) * (sign, 1.0, 1.0))
        return middles

    def hemisphere(self, index: int | None = None, side: int | None = None) -> Sample:
        """Draw one sample of map ``index``, on the left (0) or the right (1).

        Returns:
            image (1, x, y, z) float32; target (x, y, z, class) uint8, quarters of the voxel.
        """
        index = int(self.rng.integers(len(self.maps))) if index is None else index
        side = int(self.rng.integers(2)) if side is None else side
        labels = self._deform(self.maps[index].fine, self.middles[index][side], flip=side == 1)
        image = self._paint(labels)
        whole = np.zeros((len(labels[0]), CLASS_COUNT), np.uint8)
        target = np.zeros((len(labels[0]), len(LEARNT) + 1), np.uint8)
        lookup = np.zeros(CLASS_COUNT, np.uint8)
        lookup[self.columns] = np.arange(1, len(LEARNT) + 1)
        here = np.where(self.sides == side + 1, lookup[self.classes], 0)
        rows = np.arange(len(target))
        for one in labels:
            whole[rows, self.classes[one]] += 1
            target[rows, here[one]] += 1
        image = self._acquire(self._strip(image, whole.reshape(*self.grid, CLASS_COUNT)))
        return image[None], torch.from_numpy(target.reshape(*self.grid, len(LEARNT) + 1))


class Samples(torch.utils.data.IterableDataset[Sample]):
    """The generator as a stream for one loader worker."""

    def __init__(self, maps: list[HeadMap], seed: int) -> None:
        self.maps, self.seed = maps, seed

    def __iter__(self) -> Iterator[Sample]:
        """Yield samples for ever, on one thread."""
        torch.set_num_threads(1)
        generator = HemisphereGenerator(self.maps, self.seed)
        while True:
            yield generator.hemisphere()


def compute_loss(outputs: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    """Weighted cross-entropy and soft Dice at full and at half resolution."""
    weights = torch.tensor([BACKGROUND_WEIGHT, *(WEIGHT.get(n, SMALL_WEIGHT) for n in LEARNT)])
    dice_weights = torch.tensor([0.0, *(DICE_WEIGHT.get(n, 1.0) for n in LEARNT)])
    dice_weights /= dice_weights.sum()
    truth = target.permute(3, 0, 1, 2)[None].float().div_(4)
    total = torch.zeros(())
    for logits, part, share in zip(
        outputs, (truth, F.avg_pool3d(truth, 2)), (1.0, HALF_WEIGHT), strict=True
    ):
        rows = logits[0].flatten(1).T.float()
        true = part[0].flatten(1).T
        log_p = torch.log_softmax(rows, dim=1)
        weighted = true * weights
        p = log_p.exp()
        dice = (2 * (p * true).sum(0) + 20) / (p.sum(0) + true.sum(0) + 20)
        entropy = -(weighted * log_p).sum() / weighted.sum()
        total = total + share * (entropy + 1 - (dice_weights * dice).sum())
    return total


@torch.inference_mode()
def measure(net: nn.Module, samples: list[Sample]) -> list[float]:
    """Give Dice per class over all samples together."""
    both, total = torch.zeros(len(LEARNT) + 1), torch.zeros(len(LEARNT) + 1)
    for image, target in samples:
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(image[None].to(memory_format=torch.channels_last_3d))[0].float()
        found, true = logits.argmax(0), target.argmax(-1)
        for k in range(len(LEARNT) + 1):
            a, b = found == k, true == k
            both[k] += 2 * (a & b).sum()
            total[k] += a.sum() + b.sum()
    return (both / total.clamp_min(1)).tolist()


def main() -> None:
    """Run the training."""
    args = loop.read_arguments(__doc__, 85)
    train_paths, held_paths = loop.split(args.labels, args.seed)
    checker = HemisphereGenerator([read_map(p) for p in held_paths], args.seed, t1_share=1.0)
    checks = [checker.hemisphere(i // 2 % len(held_paths), i % 2) for i in range(12)]
    maps = [read_map(p) for p in train_paths]
    course = loop.Course(
        name="refine",
        peak_rate=PEAK_RATE_AGAIN if args.begin_from else PEAK_RATE,
        ema_decay=EMA_DECAY,
        stream=lambda step: Samples(maps, args.seed + 1 + step),
        compute_loss=compute_loss,
        measure=lambda net: measure(net, checks)[1:],
        columns=LEARNT,
    )
    loop.run(course, loop.Trainee(len(LEARNT) + 1, WIDTHS), args)


if __name__ == "__main__":
    main()
