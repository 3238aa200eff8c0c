"""Send right and wrong images to every model, and write down which are analysed and which refused.

    python refusals.py --shared FOLDER [--only child fruit] [--docs ../../../docs/refusals.md]

Every check of brain_mr is made on every image, those after the first that failed too, so that one
sees how far each lies from its limit. Headers are left out, or rather tell what the models want to
hear. The values go into refusals.json, the tables into the document, between its two marks.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wrong_inputs import INPUTS, AbsentError, Input, Sources

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[2] / "node"))
from secondread.bundles.manifest import read_manifest
from secondread.bundles.registry import load_manifest
from secondread.inference.worker.chain import LoadedChain, load_chain
from secondread.inference.worker.envelope import sort_rules
from secondread.inference.worker.model import RUNTIMES, Runtime
from secondread.inference.worker.prediction import Check, Prediction
from secondread.inference.worker.runtimes.torch import TorchRuntime

MODELS = ("brain_mr", "hippocampus_mr", "dementia_mr", "chest_ct")
TOLD = {
    "attributes": {
        "PatientAge": 70.0,
        "PatientSex": "F",
        "SliceThickness": 1.0,
        "ConvolutionKernel": "B30F",
    }
}
"""What headers say that lie and fit."""
MARKS = ("<!-- written by models/brain_mr/evaluation/refusals.py -->", "<!-- end -->")


class Remembered:
    """A runtime that answers the same image once: three of the models build on brain_mr."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._seen: tuple[NDArray[Any], Prediction] | None = None

    def predict(self, voxels: NDArray[Any], affine_lps: NDArray[np.float64]) -> Prediction:
        """Answer as the runtime does; the array itself tells whether it is the same image."""
        if self._seen is None or self._seen[0] is not voxels:
            self._seen = (voxels, self._runtime.predict(voxels, affine_lps))
        return self._seen[1]


class Unhurried:
    """brain_mr's runtime, but it makes all its checks before it refuses."""

    def __init__(self, folder: Path) -> None:
        raw = tomllib.loads((folder / "model.toml").read_text())
        self.rules = [rule for part in sort_rules(raw["envelope"]["checks"]) for rule in part]
        limitless = [{k: v for k, v in r.items() if k not in {"low", "high"}} for r in self.rules]
        self._runtime = TorchRuntime(raw | {"envelope": {"checks": limitless}}, folder)
        self.checks: tuple[Check, ...] = ()

    def predict(self, voxels: NDArray[Any], affine_lps: NDArray[np.float64]) -> Prediction:
        """Answer as brain_mr does; all checks are kept in ``checks``."""
        found = self._runtime.predict(voxels, affine_lps)
        values = {check.name: check.value for check in found.checks}
        made, refusal = [], found.refusal
        for rule in self.rules:
            if rule["name"] not in values:
                continue
            value = values[rule["name"]]
            low, high = (float(rule.get(k, s)) for k, s in (("low", -math.inf), ("high", math.inf)))
            made.append(Check(rule["name"], value, low, high, low <= value <= high))
            if not made[-1].passed and refusal is None:
                refusal = rule["refusal"].format(value=value, low=low, high=high)
        self.checks = tuple(made)
        if refusal is not None:
            return Prediction(np.zeros(voxels.shape, np.uint8), refusal, self.checks)
        return replace(found, checks=self.checks)


def load_models(models: Path, brain: Runtime) -> dict[str, LoadedChain]:
    """Load the models with all that they build on, of which ``brain`` stands for brain_mr."""
    runtimes = {**RUNTIMES, "torch": lambda *_: brain}
    loaded = {}
    for name in MODELS:
        manifest = load_manifest(read_manifest(models / name))
        packages = [(Path(one.folder), one.digest) for one in manifest.builds_on]
        loaded[name] = load_chain([*packages, (models / name, manifest.digest)], "cpu", runtimes)
    return loaded


def judge(models: Mapping[str, LoadedChain], brain: Unhurried, row: Input, sources: Sources) -> Any:
    """Give what each model says to an image, and the values of brain_mr's checks."""
    voxels, affine = row.make(sources)
    said = {name: model.predict(voxels, affine, TOLD).refusal for name, model in models.items()}
    return {
        "title": row.title,
        "right_for": sorted(row.right_for),
        "said": said,
        "checks": {check.name: round(check.value, 4) for check in brain.checks},
    }


def write_verdicts(rows: Mapping[str, Any]) -> str:
    """Give the table of images and models, and the sentences below it."""
    sentences: list[str] = []
    lines = [f"| image | {' | '.join(MODELS)} |", "|---" * (len(MODELS) + 1) + "|"]
    for row in rows.values():
        cells = []
        for name in MODELS:
            sentence = row["said"][name]
            if sentence is None:
                cells.append("**analysed**")
            elif name != "brain_mr" and sentence == row["said"]["brain_mr"]:
                cells.append("as brain_mr")
            else:
                sentences += [] if sentence in sentences else [sentence]
                cells.append(f"refused ({sentences.index(sentence) + 1})")
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    listed = [f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1)]
    return "\n".join([*lines, "", *listed])


def write_margins(rows: Mapping[str, Any], rules: list[Mapping[str, Any]]) -> str:
    """Give for each check its limits and what it found in right images and in wrong ones."""
    lines = [
        "| check | limits | right images | wrong images that it refuses | nearest of these |",
        "|---|---|---|---|---|",
    ]
    for rule in rules:
        name, low, high = rule["name"], rule.get("low", -math.inf), rule.get("high", math.inf)
        of = [(row["checks"][name], row) for row in rows.values() if name in row["checks"]]
        right = [value for value, row in of if "brain_mr" in row["right_for"]]
        wrong = [(max(low - value, value - high), value, row["title"]) for value, row in of
                 if "brain_mr" not in row["right_for"] and not low <= value <= high]  # fmt: skip
        limits = " to ".join(f"{x:g}" if math.isfinite(x) else "…" for x in (low, high))
        nearest = f"{min(wrong)[1]:.3g}: {min(wrong)[2]}" if wrong else "–"
        lines.append(
            f"| `{name}` | {limits} | {min(right):.3g} to {max(right):.3g} | {len(wrong)} | "
            f"{nearest} |"
        )
    return "\n".join(lines)


def put_into(document: Path, blocks: list[str]) -> None:
    """Put blocks between the marks of a document, in their order."""
    parts = document.read_text("utf-8").split(MARKS[0])
    ends = [part.split(MARKS[1], 1)[1] for part in parts[1:]]
    text = parts[0]
    for block, rest in zip(blocks, ends, strict=True):
        text += f"{MARKS[0]}\n{block}\n{MARKS[1]}{rest}"
    document.write_text(text, "utf-8")


def main() -> None:
    """Judge and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=HERE.parents[1])
    parser.add_argument("--only", nargs="*", default=[one.name for one in INPUTS])
    parser.add_argument("--out", type=Path, default=HERE / "refusals.json")
    parser.add_argument("--docs", type=Path)
    args = parser.parse_args()
    brain = Unhurried(args.models / "brain_mr")
    remembered = Remembered(brain)
    models = load_models(args.models, remembered)
    known = json.loads(args.out.read_text()) if args.out.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for row in (one for one in INPUTS if one.name in args.only):
            begin = time.monotonic()
            try:
                known[row.name] = judge(models, brain, row, Sources(args.shared, Path(scratch)))
            except AbsentError as absent:
                print(f"{row.name}: {absent}", flush=True)
                continue
            said = known[row.name]["said"]
            wrong = [name for name in MODELS if (said[name] is None) != (name in row.right_for)]
            took_s = time.monotonic() - begin
            print(f"{row.name} {took_s:.1f} s", wrong or "", said["brain_mr"], flush=True)
            rows = {one.name: known[one.name] for one in INPUTS if one.name in known}
            args.out.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    rows = {one.name: known[one.name] for one in INPUTS if one.name in known}
    if args.docs:
        put_into(args.docs, [write_verdicts(rows), write_margins(rows, brain.rules)])


if __name__ == "__main__":
    main()
