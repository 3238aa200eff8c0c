"""Print where the structures lie, for the layout check of model.toml.in.

    python layout.py --labels FOLDER

The mean centroid of each structure over the training maps (the held-out ones are left out), RAS mm
from the centroid of the cerebral white matter, and how far each map is from that layout by the same
measure that the node uses.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from anatomy import NAMES, class_of_fine
from generator import read_map
from loop import split

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "node"))
from secondread.inference.worker.envelope import _misfit_mm2

CHOSEN = (
    "cerebral_cortex",
    "lateral_ventricle",
    "cerebellum_white_matter",
    "cerebellum_cortex",
    "thalamus",
    "caudate",
    "putamen",
    "brain_stem",
    "hippocampus",
    "ventral_dc",
)


def main() -> None:
    """Print the layout as TOML."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20261122)
    args = parser.parse_args()
    places = []
    for path in split(args.labels, args.seed)[0]:
        classes = class_of_fine()[read_map(path).fine[::2, ::2, ::2]]
        centroids = [np.argwhere(classes == NAMES.index(n)).mean(axis=0) * 2 for n in CHOSEN]
        middle = np.argwhere(classes == NAMES.index("cerebral_white_matter")).mean(axis=0) * 2
        places.append(np.array(centroids) - middle)
    layout = np.mean(places, axis=0)
    layout[:, 0] -= layout[:, 0].mean()
    for name, place in zip(CHOSEN, layout, strict=True):
        print(f"    [{NAMES.index(name)}, {', '.join(f'{x:.1f}' for x in place)}],  # {name}")
    misfits = [math.sqrt(_misfit_mm2(layout, place) / len(CHOSEN)) for place in places]
    print("misfit of the maps, mm:", " ".join(f"{m:.1f}" for m in sorted(misfits)))


if __name__ == "__main__":
    main()
