"""Write model.toml of dementia_mr, and pin the brain_mr that lies beside it; also to re-pin it.

    python package.py --bundle ..

brain_mr has to give the intracranial volume: a number `intracranial_volume`, or a label of what
lies within the skull around the brain, with "intracranial" in its name, so that all labels together
fill the skull. Where it gives neither, no model.toml is written, for there is no honest share.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
NUMBER = "intracranial_volume"
FLUID = ("ventricle", "csf", "cerebrospinal", "subarachnoid", "choroid", "intracranial")
"""Labels with these words are no brain tissue."""
AROUND = "intracranial"
FILES = ("svm.onnx", "tree.onnx")


class NoIntracranialVolumeError(Exception):
    """brain_mr does not say how large the skull is within."""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def volumes(upstream: dict) -> tuple[list[int], str]:
    """Give the labels of brain tissue, and where the intracranial volume comes from."""
    names = {row["value"]: row["name"].lower() for row in upstream["labels"]}
    brain = [value for value, name in names.items() if not any(word in name for word in FLUID)]
    numbers = {row["id"]: row["unit"][0] for row in upstream.get("output", {}).get("numbers", ())}
    if numbers.get(NUMBER) in ("mL", "ml"):
        return brain, f'number = "{NUMBER}"'
    if any(AROUND in name for name in names.values()):
        return brain, f"labels = {sorted(names)}"
    raise NoIntracranialVolumeError(
        f"brain_mr {upstream['model']['version']} gives no intracranial volume; dementia_mr cannot "
        "be packaged on it."
    )


def write(bundle: Path, upstream_folder: Path) -> str:
    """Give the text of model.toml, from the trained files and figures of the bundle."""
    path = upstream_folder / "model.toml"
    upstream = tomllib.loads(path.read_text())
    brain, intracranial = volumes(upstream)
    ranges = json.loads((bundle / "evaluation" / "figures.json").read_text())["training_range"]
    lines = json.loads((bundle / "reference.json").read_text())["lines"]
    pin = (
        "[[upstream]]\n"
        f'id = "brain_mr"\nversion = "{upstream["model"]["version"]}"\nsha256 = "{digest(path)}"\n'
    )
    return (
        (HERE / "model.toml.in")
        .read_text()
        .format(
            upstream=pin,
            brain=brain,
            intracranial=intracranial,
            lines=lines,
            age_low=ranges["Age"][0],
            age_high=ranges["Age"][1],
            nwbv_low=ranges["nWBV"][0],
            nwbv_high=ranges["nWBV"][1],
            etiv_low=ranges["eTIV"][0],
            etiv_high=ranges["eTIV"][1],
            files="\n".join(f'"{name}" = "{digest(bundle / name)}"' for name in FILES),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=HERE.parent)
    parser.add_argument("--upstream", type=Path, default=HERE.parents[1] / "brain_mr")
    args = parser.parse_args()
    try:
        text = write(args.bundle, args.upstream)
    except NoIntracranialVolumeError as error:
        sys.exit(f"package: {error}")
    (args.bundle / "model.toml").write_text(text)
    print(f"model.toml written; brain_mr pinned as {digest(args.upstream / 'model.toml')}")


if __name__ == "__main__":
    main()
