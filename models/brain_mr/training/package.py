"""Write model.toml: the outputs that were good enough, their codes, and the digest of the weights.

    python package.py --figures ../evaluation/figures.json --bundle ..

A structure is among the outputs when its Dice on the held-out maps, painted with random T1-like
contrast, reaches THRESHOLD on the left and on the right. What does not has no
label of its own (`MERGED`, `STANDS_ALONE`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import refine
from anatomy import CHANNEL_COUNT, CLASS_COUNT, NAMES, STRUCTURES

THRESHOLD = 0.70
VERSION = "0.3.1"
WIDTHS = (16, 32, 64, 128, 192)

MERGED = {"inferior_lateral_ventricle": "lateral_ventricle"}
"""Part of the other by anatomy, where it is not good enough alone."""
GREY, CORTEX = "cerebral_grey_matter", "cerebral_cortex"
JOIN_GREY = ("putamen", "pallidum", "hippocampus", "amygdala", "accumbens")
"""Cerebral grey matter too."""
STANDS_ALONE = {"putamen", "hippocampus"}
"""With these among the outputs, cortex is cortex alone and what is not good enough has no label;
without one of them, what is not good enough is one label with the cortex."""
NEVER = {"csf"}
"""Learnt so that the brain has a border; the maps' CSF reaches into the spine: no output."""

# name: meaning, code, scheme (PS3.16 CID 7140), FreeSurfer's colour
CODES: dict[str, tuple[str, str, str, str, tuple[int, int, int]]] = {
    "cerebral_white_matter": (
        "cerebral white matter", "68523003", "SCT", "Cerebral White Matter", (245, 245, 245)),
    "cerebral_cortex": (
        "cerebral cortex", "40146001", "SCT", "Cerebral Gray Matter", (205, 62, 78)),
    "lateral_ventricle": (
        "lateral ventricle", "66720007", "SCT", "Lateral Ventricle", (120, 18, 134)),
    "inferior_lateral_ventricle": (
        "inferior horn of the lateral ventricle", "53118009", "SCT",
        "Inferior Horn of Lateral Ventricle", (196, 58, 250)),
    "cerebellum_white_matter": (
        "cerebellar white matter", "33060004", "SCT", "Cerebellar White Matter", (220, 248, 164)),
    "cerebellum_cortex": (
        "cerebellar cortex", "25991003", "SCT", "Cerebellar Cortex", (230, 148, 34)),
    "thalamus": ("thalamus", "119406000", "SCT", "Thalamus", (0, 118, 14)),
    "caudate": ("caudate nucleus", "11000004", "SCT", "Caudate Nucleus", (122, 186, 220)),
    "putamen": ("putamen", "89278009", "SCT", "Putamen", (236, 13, 176)),
    "pallidum": ("globus pallidus", "14738005", "SCT", "Globus Pallidus", (12, 48, 255)),
    "third_ventricle": (
        "third ventricle", "49841001", "SCT", "Third ventricle", (204, 182, 142)),
    "fourth_ventricle": (
        "fourth ventricle", "35918002", "SCT", "Fourth Ventricle", (42, 204, 164)),
    "brain_stem": ("brain stem", "119238007", "SCT", "Brain Stem", (119, 159, 176)),
    "hippocampus": ("hippocampus", "5366008", "SCT", "Hippocampus", (220, 216, 20)),
    "amygdala": ("amygdala", "4958002", "SCT", "Amygdala", (103, 255, 255)),
    "accumbens": ("nucleus accumbens", "427667007", "SCT", "Nucleus Accumbens", (255, 165, 0)),
    GREY: ("cerebral grey matter", "40146001", "SCT", "Cerebral Gray Matter", (205, 62, 78)),
    "ventral_dc": (
        "ventral diencephalon", "110700", "DCM", "Ventral Diencephalon", (165, 42, 42)),
}  # fmt: skip

SIDES = {"left": "左侧", "right": "右侧", "": ""}
CHINESE = {
    "cerebral_white_matter": "大脑白质",
    "cerebral_cortex": "大脑皮质",
    "lateral_ventricle": "侧脑室",
    "inferior_lateral_ventricle": "侧脑室下角",
    "cerebellum_white_matter": "小脑白质",
    "cerebellum_cortex": "小脑皮质",
    "thalamus": "丘脑",
    "caudate": "尾状核",
    "putamen": "壳核",
    "pallidum": "苍白球",
    "third_ventricle": "第三脑室",
    "fourth_ventricle": "第四脑室",
    "brain_stem": "脑干",
    "hippocampus": "海马",
    "amygdala": "杏仁核",
    "accumbens": "伏隔核",
    GREY: "大脑灰质",
    "ventral_dc": "腹侧间脑",
}
"""What reports in Chinese call them."""


def choose(dice: dict[str, dict[str, float]]) -> list[str]:
    """Give the structures that are good enough, in the network's order."""
    kept = []
    for name in NAMES[1:]:
        if name in NEVER:
            continue
        sides = (name, f"left_{name}", f"right_{name}")
        if min(dice[key]["t1_like"] for key in sides if key in dice) >= THRESHOLD:
            kept.append(name)
    return kept


def write_labels(kept: list[str], dice: dict[str, dict[str, float]]) -> tuple[str, list[list[int]]]:
    """Give the [[labels]] tables and what every class becomes."""
    tables, becomes = [], {"background": [0]}
    value = 0
    alone = set(kept) >= STANDS_ALONE or CORTEX not in kept
    joined = [] if alone else [name for name in JOIN_GREY if name not in kept]
    for plain, _, right in STRUCTURES:
        if plain not in kept:
            continue
        name = GREY if joined and plain == CORTEX else plain
        meaning, code, scheme, code_meaning, color = CODES[name]
        becomes[plain] = []
        for side in ("left", "right") if right else ("",):
            value += 1
            becomes[plain].append(value)
            full = f"{side}_{name}" if side else name
            words = f"{side} {meaning}" if side else meaning
            lines = [
                "[[labels]]",
                f"value = {value}",
                f'name = "{full}"',
                f'meaning = "{words.capitalize()}"',
                'category = ["123037004", "SCT", "Anatomical Structure"]',
                f'type = ["{code}", "{scheme}", "{code_meaning}"]',
                *([f'laterality = "{side}"'] if side else []),
                f"color_rgb = [{', '.join(map(str, color))}]",
                f'meanings = {{ zh = "{SIDES[side]}{CHINESE[name]}" }}',
                *([f"dice_held_out = {dice[full]['t1_like']:.3f}"] if full in dice else []),
            ]
            tables.append("\n".join(lines))
    for name, other in MERGED.items():
        if name not in kept:
            becomes[name] = becomes.get(other, [0])
    becomes |= dict.fromkeys(joined, becomes.get(CORTEX, [0]))
    return "\n\n".join(tables), [becomes.get(name, [0]) for name in NAMES]


def digest(path: Path) -> str:
    """Give the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    args = parser.parse_args()
    figures = json.loads(args.figures.read_text())
    kept = choose(figures["held_out_dice"])
    dice = figures["held_out_dice"] | figures.get("packaged_dice", {})
    labels, classes = write_labels(kept, dice)
    template = (Path(__file__).parent / "model.toml.in").read_text("utf-8")
    values = {
        "VERSION": VERSION,
        "CHANNELS": str(CHANNEL_COUNT),
        "SIDE": str(CLASS_COUNT),
        "WIDTHS": str(list(WIDTHS)),
        "CLASSES": "[\n"
        + "".join(f"    {c},  # {n}\n" for c, n in zip(classes, NAMES, strict=True))
        + "]",
        "SHA256": digest(args.bundle / "weights.safetensors"),
        "REFINE_SHA256": digest(args.bundle / "refine.safetensors"),
        "BOX": str(list(refine.BOX)),
        "BOX_SPACING": str(refine.SPACING_MM),
        "ANCHORS": str([NAMES.index(name) for name in refine.ANCHORS]),
        "OFFSET": str(list(refine.OFFSET_MM)),
        "REFINE_CHANNELS": str(len(refine.LEARNT) + 1),
        "REFINE_WIDTHS": str(list(refine.WIDTHS)),
        "REFINED": "[\n" + "".join(f"    {NAMES.index(n)},  # {n}\n" for n in refine.LEARNT) + "]",
        "LABELS": labels,
    }
    for key, value in values.items():
        template = template.replace(f"@{key}@", value)
    (args.bundle / "model.toml").write_text(template, "utf-8")
    dropped = [n for n in NAMES[1:] if n not in kept]
    print(f"kept {len(kept)}: {', '.join(kept)}\nnot output: {', '.join(dropped)}")


if __name__ == "__main__":
    main()
