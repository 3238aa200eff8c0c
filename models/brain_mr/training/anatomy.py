"""The structures brain_mr learns, and how the label maps' FreeSurfer ids become them.

Left and right are merged into one class per structure; which side a voxel lies on is learned by
one further channel, so that the network has half as many classes to tell apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STRUCTURES: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = (
    # name, ids on the left (or without a side), ids on the right
    ("cerebral_white_matter", (2, 25, 77), (41, 57)),
    ("cerebral_cortex", (3,), (42,)),
    ("lateral_ventricle", (4, 136), (43, 163)),
    ("inferior_lateral_ventricle", (5, 137), (44, 164)),
    ("cerebellum_white_matter", (7,), (46,)),
    ("cerebellum_cortex", (8,), (47,)),
    ("thalamus", (10,), (49,)),
    ("caudate", (11,), (50,)),
    ("putamen", (12, 30), (51, 62)),
    ("pallidum", (13,), (52,)),
    ("third_ventricle", (14,), ()),
    ("fourth_ventricle", (15,), ()),
    ("brain_stem", (16,), ()),
    ("hippocampus", (17,), (53,)),
    ("amygdala", (18,), (54,)),
    ("accumbens", (26,), (58,)),
    ("ventral_dc", (28,), (60,)),
    ("csf", (24,), ()),
)
"""Class k + 1 of the network is ``STRUCTURES[k]``; class 0 is everything else."""

SEPTUM = 72
"""Fifth ventricle: lateral ventricle without a side."""

EXTRA_CEREBRAL = (502, 506, 507, 508, 509, 511, 512, 514, 515, 516, 530)
CSF_CLASS = len(STRUCTURES)
CLASS_COUNT = len(STRUCTURES) + 1
CHANNEL_COUNT = CLASS_COUNT + 1
"""Classes and, last, the logit of 'on the right'."""

FINE_IDS: tuple[int, ...] = tuple(
    sorted(
        {0, SEPTUM, 85, *EXTRA_CEREBRAL}
        | {i for _, left, right in STRUCTURES for i in (*left, *right)}
    )
)
"""All ids a map may hold; a map is kept as indices into this tuple (uint8)."""

NAMES = ("background", *(name for name, _, _ in STRUCTURES))


def class_of_fine() -> NDArray[np.uint8]:
    """Give the class of every entry of `FINE_IDS`."""
    table = np.zeros(len(FINE_IDS), np.uint8)
    for k, (_, left, right) in enumerate(STRUCTURES, start=1):
        for i in (*left, *right):
            table[FINE_IDS.index(i)] = k
    table[FINE_IDS.index(SEPTUM)] = NAMES.index("lateral_ventricle")
    return table


def side_of_fine() -> NDArray[np.uint8]:
    """Give 0 (no side), 1 (left) or 2 (right) for every entry of `FINE_IDS`."""
    table = np.zeros(len(FINE_IDS), np.uint8)
    for _, left, right in STRUCTURES:
        if right:
            for i in left:
                table[FINE_IDS.index(i)] = 1
            for i in right:
                table[FINE_IDS.index(i)] = 2
    return table


def fine_of_id() -> NDArray[np.uint8]:
    """Give the table id → index into `FINE_IDS`; unknown ids become background."""
    table = np.zeros(65536, np.uint8)
    for index, i in enumerate(FINE_IDS):
        table[i] = index
    return table
