"""Write model.toml: the digests of the weights and of the brain_mr that it builds on.

    python package.py [--run RUN] [--upstream ../../brain_mr] [--bundle ..]

With --run, the weights of the five folds of a run are taken from there first, as float16, which
halves them. To be run again whenever brain_mr changes: the pin is the sha256 of its model.toml.
"""

from __future__ import annotations

import argparse
import hashlib
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDS = 5
HELD_OUT_DICE = {"anterior": 0.891, "posterior": 0.872}
"""Mean of five folds, both sides alike: the training images do not tell their side."""
PARTS = {
    "anterior": ("255549009", "Anterior", "海马前部", ((250, 210, 60), (250, 180, 30))),
    "posterior": ("255551008", "Posterior", "海马后部", ((60, 180, 200), (40, 140, 200))),
}
"""Code (SNOMED CT), its meaning, Chinese, colours on the left and on the right."""
SIDES = {"left": "左侧", "right": "右侧"}
SEEDS = {"hippocampus": [0.0, 0.0, 0.0], "thalamus": [10.0, -6.5, -20.0]}
"""By which label of brain_mr the region is found, best first, and how far the middle of the
hippocampus lies from the middle of its box: outward, anterior, superior, in mm (in three heads
outward 6 to 13, anterior -8 to -5, superior -21 to -19)."""


def write_labels() -> str:
    """Give the [[labels]] tables."""
    tables = []
    for number, (side, part) in enumerate(((s, p) for s in SIDES for p in PARTS), 1):
        code, meaning, chinese, colours = PARTS[part]
        color = colours[list(SIDES).index(side)]
        lines = [
            "[[labels]]",
            f"value = {number}",
            f'name = "{side}_{part}_hippocampus"',
            f'meaning = "{side.capitalize()} {part} hippocampus"',
            'category = ["123037004", "SCT", "Anatomical Structure"]',
            'type = ["5366008", "SCT", "Hippocampus"]',
            f'type_modifiers = [["{code}", "SCT", "{meaning}"]]',
            f'laterality = "{side}"',
            f"color_rgb = [{', '.join(map(str, color))}]",
            f'meanings = {{ zh = "{SIDES[side]}{chinese}" }}',
            f"dice_held_out = {HELD_OUT_DICE[part]:.3f}",
        ]
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def take_weights(run: Path, bundle: Path) -> None:
    """Write fold<k>.safetensors from the float32 weights of a run."""
    from safetensors.numpy import load_file, save_file

    for number in range(FOLDS):
        weights = load_file(run / f"fold{number}" / "weights.safetensors")
        halves = {name: value.astype("float16") for name, value in weights.items()}
        save_file(halves, bundle / f"fold{number}.safetensors")


def main() -> None:
    """Write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upstream", type=Path, default=HERE.parents[1] / "brain_mr")
    parser.add_argument("--bundle", type=Path, default=HERE.parent)
    parser.add_argument("--run", type=Path, help="what secondread train has written")
    args = parser.parse_args()
    if args.run is not None:
        take_weights(args.run, args.bundle)
    content = (args.upstream / "model.toml").read_bytes()
    upstream = tomllib.loads(content.decode("utf-8"))
    names = {label["name"] for label in upstream["labels"]}
    seeds = [one for one in SEEDS if names >= {f"{side}_{one}" for side in SIDES}]
    if not seeds:
        raise SystemExit(f"{args.upstream} has none of the labels {', '.join(SEEDS)}.")
    weights = [f"fold{number}.safetensors" for number in range(FOLDS)]
    values = {
        "UPSTREAM_VERSION": upstream["model"]["version"],
        "UPSTREAM_SHA256": hashlib.sha256(content).hexdigest(),
        "SEED": seeds[0],
        "OFFSET": str(SEEDS[seeds[0]]),
        "FILES": "\n".join(
            f'"{name}" = "{hashlib.sha256((args.bundle / name).read_bytes()).hexdigest()}"'
            for name in weights
        ),
        "LABELS": write_labels(),
    }
    text = (HERE / "model.toml.in").read_text("utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    (args.bundle / "model.toml").write_text(text, "utf-8")
    version = values["UPSTREAM_VERSION"]
    print(f"{args.bundle / 'model.toml'} builds on the {seeds[0]} of brain_mr {version}")


if __name__ == "__main__":
    main()
