"""Write README.md, the card, from card.in.md, the manifest, the figures and the training log.

python card.py [--bundle ..]
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tomllib
from pathlib import Path
from statistics import mean
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "training"))
from package import CORTEX, GREY, JOIN_GREY, MERGED

TITLES = {
    "mni152": "MNI152 (nilearn, skull-stripped average)",
    "mr_t1_siemens_skyra_child": "Child of 3, Siemens Skyra 3 T, MPRAGE",
    "mr_t1_t2_siemens_trio_missing_slice": (
        "Adult, Siemens Trio 3 T, MEMPRAGE (one missing slice interpolated)"
    ),
    "ch2.nii.gz": "Colin (mricron ch2, average of 27 scans of one adult)",
    "mr_ood_fruit_ge_hdxt": "a fruit on a GE HDxt",
    "mr_ood_phantom_ge_pioneer": "a grid phantom on a GE Pioneer",
}
SPREAD = {
    True: "In brackets stand the lowest and the highest of the three maps",
    False: "What each of the three maps reaches was not kept with these weights",
}
NUMBERS = ("intracranial_volume", "brain_volume")
SHOWN = (
    "cerebral_white_matter",
    "cerebral_grey_matter",
    "cerebral_cortex",
    "lateral_ventricle",
    "cerebellum_cortex",
    "cerebellum_white_matter",
    "thalamus",
    "caudate",
    "putamen",
    "pallidum",
    "accumbens",
    "hippocampus",
    "amygdala",
    "brain_stem",
)


def write_table(bundle: dict[str, Any], figures: dict[str, Any]) -> str:
    """Give the table of outputs, with the spread of the maps where it was measured."""
    spread = figures.get("packaged_dice_of_maps", {})
    lines = ["| label | structure | T1-like | any |", "|---|---|---|---|"]
    for row in bundle["labels"]:
        dice, ends = figures["packaged_dice"][row["name"]], spread.get(row["name"], {})
        shown = [write_dice(dice[kind], ends.get(kind, [])) for kind in ("t1_like", "random")]
        lines.append(f"| {row['value']} | {row['meaning']} | {shown[0]} | {shown[1]} |")
    return "\n".join(lines)


def mean_dice(figures: dict[str, Any], kind: str) -> float:
    """Give the mean over all labels of one kind of contrast."""
    return mean(dice[kind] for name, dice in figures["packaged_dice"].items() if name != "brain")


def write_dice(value: float, ends: list[float]) -> str:
    """Give a figure with the lowest and the highest of the maps."""
    return f"{value:.2f}" + (f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else "")


def write_dropped(bundle: dict[str, Any], figures: dict[str, Any]) -> str:
    """Give the list of structures that were not good enough alone."""
    kept = {row["name"] for row in bundle["labels"]}
    grey = any(name.endswith(GREY) for name in kept)
    worst: dict[str, list[float]] = {}
    for name, dice in figures["held_out_dice"].items():
        plain = name.removeprefix("left_").removeprefix("right_")
        if name not in kept and name != "brain" and not (grey and plain == CORTEX):
            worst.setdefault(plain, []).append(dice["t1_like"])
    lines = []
    for name, dice in worst.items():
        fate = "left unlabelled"
        if grey and name in JOIN_GREY:
            fate = "part of cerebral grey matter"
        elif name in MERGED:
            fate = f"part of {MERGED[name].replace('_', ' ')}"
        shown = " and ".join(f"{d:.2f}" for d in dice)
        lines.append(f"- {name.replace('_', ' ').capitalize()}: Dice {shown}; {fate}.")
    return "\n".join(lines)


def write_heads(figures: dict[str, Any]) -> str:
    """Give the table of volumes, left and right added up."""
    heads = {n: h for n, h in figures["heads"].items() if h["refusal"] is None}
    names = [
        s for s in SHOWN if any(k.endswith(s) for h in heads.values() for k in h["volumes_ml"])
    ]
    columns = [
        "head",
        "intracranial",
        "brain with sulci",
        "all labels",
        *(n.replace("_", " ") for n in names),
    ]
    lines = ["Volumes in mL:", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, head in heads.items():
        sizes = [
            sum(
                v
                for k, v in head["volumes_ml"].items()
                if k.removeprefix("left_").removeprefix("right_") == shown
            )
            for shown in names
        ]
        wholes = (*(head["numbers_ml"][n] for n in NUMBERS), head["brain_ml"])
        cells = [TITLES.get(name, name), *(f"{w:.0f}" for w in wholes)]
        cells += [f"{s:.1f}" for s in sizes]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def read_last(log: Path) -> dict[str, str]:
    """Give the last line of a log of training."""
    with log.open() as file:
        return list(csv.DictReader(file))[-1]


def main() -> None:
    """Write the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=HERE.parent)
    bundle_folder = parser.parse_args().bundle
    bundle = tomllib.loads((bundle_folder / "model.toml").read_text())
    figures = json.loads((HERE / "figures.json").read_text())
    first_run, second_run = (
        read_last(bundle_folder / "training" / name) for name in ("refine.csv", "refine_again.csv")
    )
    refused = [
        f"{TITLES.get(n, n)} (“{h['refusal']}”)"
        for n, h in figures["heads"].items()
        if h["refusal"] is not None
    ]
    deepbet = [
        f"{TITLES.get(n, n)} **{d['dice_with_sulci']:.3f}**, labels alone {d['dice']:.3f} "
        f"(deepbet {d['deepbet_ml']:.0f} mL)"
        for n, d in figures["deepbet"].items()
    ]
    again = [
        f"{TITLES.get(n, n)}: " + ", ".join(f"{kind} {share:+.1%}" for kind, share in row.items())
        for n, row in figures.get("again", {}).items()
    ]
    values = {
        "AGAIN": "; ".join(again) or "not measured yet with these weights",
        "MEASURED": figures.get("heads_measured_with", "these weights"),
        "VERSION": bundle["model"]["version"],
        "COUNT": str(len(bundle["labels"])),
        "TABLE": write_table(bundle, figures),
        "DROPPED": write_dropped(bundle, figures),
        "HEADS": write_heads(figures),
        "DEEPBET": "; ".join(deepbet),
        "WM": f"{figures['mni152_white_matter_dice']:.3f}"
        if "mni152_white_matter_dice" in figures
        else "not measured yet with these weights",
        "GM": f"{figures['mni152_grey_matter_dice']:.3f}",
        "REFUSED": "; ".join(refused),
        "STEPS": first_run["step"],
        "MINUTES": f"{float(first_run['minutes']):.0f}",
        "AGAIN_STEPS": second_run["step"],
        "AGAIN_MINUTES": f"{float(second_run['minutes']):.0f}",
        "MEAN": " and ".join(f"{mean_dice(figures, kind):.2f}" for kind in ("t1_like", "random")),
        "BRAINDICE": f"{figures['packaged_dice']['brain']['t1_like']:.2f}",
        "ROUNDS": str(figures.get("rounds", "?")),
        "SPREAD": SPREAD["packaged_dice_of_maps" in figures],
    }
    card = (HERE / "card.in.md").read_text()
    for key, value in values.items():
        card = card.replace(f"@{key}@", value)
    (bundle_folder / "README.md").write_text(card)


if __name__ == "__main__":
    main()
