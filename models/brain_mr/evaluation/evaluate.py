"""Measure brain_mr and write figures.json.

    python evaluate.py --bundle .. --labels FOLDER [--heads FOLDER] [--deepbet SITE_FOLDER]

- held-out label maps, painted at 1 mm with T1-like and with arbitrary contrast, through the whole
  runtime: Dice of every structure the network knows (held_out_dice, which package.py chooses by)
  and of the labels of model.toml (packaged_dice);
- with --heads: volumes of the T1 heads in that folder (sub-folders of DICOM files and *.nii.gz),
  of nilearn's MNI152, and what was refused; white matter against MNI152's white matter map;
- with --deepbet: brain (all output structures) against deepbet's mask.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from nilearn import datasets
from numpy.typing import NDArray
from readers import Volume, from_nifti, read_dicom, read_nifti, to_nifti

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "training"), str(HERE.parents[2] / "node")]
from anatomy import NAMES, STRUCTURES
from generator import Generator, HeadMap, read_map
from package import MERGED
from train import split

from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes.torch import TorchRuntime

GRID_1MM = (192, 224, 208)
LEAST_ML = 0.05


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Give the Dice overlap of two masks."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def table_of_truth(bundle: dict[str, Any]) -> NDArray[np.uint8]:
    """Give what (class, 0 left or none / 1 right) should become, by the manifest's decoding."""
    pairs = bundle["runtime"]["options"]["decoding"]["classes"]
    return np.array([(p[0], p[-1]) for p in pairs], np.uint8)


def full_bundle(bundle: dict[str, Any]) -> dict[str, Any]:
    """Give the manifest with every structure among the outputs and no envelope."""
    out = json.loads(json.dumps(bundle))
    classes, labels = [[0]], []
    for name, _, right in STRUCTURES[:-1]:
        if name in MERGED:
            classes.append([])
            continue
        full = [f"left_{name}", f"right_{name}"] if right else [name]
        classes.append([len(labels) + 1 + k for k in range(len(full))])
        labels += [{"value": v, "name": n} for v, n in zip(classes[-1], full, strict=True)]
    classes.append([0])
    for name, other in MERGED.items():
        classes[NAMES.index(name)] = classes[NAMES.index(other)]
    out["runtime"]["options"]["decoding"]["classes"] = classes
    out["labels"] = labels
    return out


def judge_held_out(
    bundle: dict[str, Any], folder: Path, maps: list[HeadMap], rounds: int, seed: int
) -> dict[str, dict[str, float]]:
    """Give the mean Dice per label, and of all labels together, over all samples.

    There are ``rounds`` samples of every map and kind of contrast; the envelope is left out.
    """
    runtime, truth = TorchRuntime(bundle | {"envelope": {}}, folder), table_of_truth(bundle)
    scores: dict[str, dict[str, list[float]]] = {}
    for kind, share in (("t1_like", 1.0), ("random", 0.0)):
        generator = Generator(maps, seed, t1_share=share, grid=GRID_1MM, spacing_mm=1.0)
        for turn in range(rounds * len(maps)):
            image, target, side = generator.sample(turn % len(maps))
            right = (2 * side[..., 1] > side[..., 0]).numpy().astype(np.intp)
            expected = truth[target.argmax(-1).numpy(), right]
            affine = np.diag([-1.0, -1.0, 1.0, 1.0])
            found = runtime.predict(image[0].numpy(), affine).labels
            masks = {
                r["name"]: (expected == r["value"], found == r["value"]) for r in bundle["labels"]
            }
            masks["brain"] = (expected > 0, found > 0)
            for name, (mask, answer) in masks.items():
                if mask.sum() > 1000 * LEAST_ML:
                    scores.setdefault(name, {}).setdefault(kind, []).append(dice(mask, answer))
            shown = {k: round(v[kind][-1], 2) for k, v in scores.items() if v.get(kind)}
            print(kind, turn, shown, flush=True)
    return {
        n: {k: round(float(np.mean(v)), 4) for k, v in kinds.items()} for n, kinds in scores.items()
    }


def gather_heads(folder: Path) -> dict[str, Volume]:
    """Read every volume of a folder, and nilearn's MNI152."""
    heads = {"mni152": from_nifti(datasets.load_mni152_template(resolution=1))}
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            heads[path.name] = read_dicom(path)
        elif path.name.endswith(".nii.gz"):
            heads[path.name] = read_nifti(path)
    return heads


def judge_heads(
    bundle: dict[str, Any], predictions: dict[str, Prediction], heads: dict[str, Volume]
) -> dict[str, Any]:
    """Give volumes in mL, checks and refusals."""
    out: dict[str, Any] = {}
    for name, (_, affine) in heads.items():
        answer = predictions[name]
        ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
        sizes = np.bincount(answer.labels.ravel(), minlength=256) * ml
        volumes = {row["name"]: round(float(sizes[row["value"]]), 2) for row in bundle["labels"]}
        out[name] = {
            "refusal": answer.refusal,
            "brain_ml": round(float(sizes[1:].sum()), 1),
            "volumes_ml": volumes if answer.refusal is None else {},
            "checks": {c.name: round(c.value, 4) for c in answer.checks},
        }
    return out


def judge_white_matter(bundle: dict[str, Any], answer: Prediction) -> float:
    """Give the Dice of white matter with nilearn's MNI152 white matter map at 0.5."""
    truth = from_nifti(datasets.load_mni152_wm_template(resolution=1))[0] > 0.5
    wanted = ("cerebral_white_matter", "cerebellum_white_matter")
    values = [row["value"] for row in bundle["labels"] if row["name"].endswith(wanted)]
    return dice(np.isin(answer.labels, values), truth)


def judge_against_deepbet(
    site: Path, heads: dict[str, Volume], predictions: dict[str, Prediction]
) -> dict[str, dict[str, float]]:
    """Give Dice with deepbet's mask, and its volume, for every head that was not refused."""
    sys.path.append(str(site))
    from deepbet import BrainExtraction

    model, out = BrainExtraction(no_gpu=True), {}
    for name, (voxels, affine) in heads.items():
        if predictions[name].refusal is None:
            _, mask, ml = model.run(to_nifti(voxels, affine))
            theirs = np.asarray(mask.dataobj) > 0
            theirs = theirs.reshape(voxels.shape)
            score = dice(theirs, predictions[name].labels > 0)
            out[name] = {"dice": round(score, 4), "deepbet_ml": round(float(ml), 1)}
    return out


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=HERE.parent)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--heads", type=Path)
    parser.add_argument("--deepbet", type=Path)
    parser.add_argument("--packaged", action="store_true", help="only the labels of model.toml")
    parser.add_argument("--answers", type=Path, help="keep the label maps in this .npz")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--out", type=Path, default=HERE / "figures.json")
    args = parser.parse_args()
    bundle = tomllib.loads((args.bundle / "model.toml").read_text())
    figures = json.loads(args.out.read_text()) if args.out.exists() else {}
    if args.labels:
        maps = [read_map(p) for p in split(args.labels, args.seed)[1]]
        figures["rounds"] = args.rounds
        for key, one in (("held_out_dice", full_bundle(bundle)), ("packaged_dice", bundle)):
            if key == "packaged_dice" or not args.packaged:
                figures[key] = judge_held_out(one, args.bundle, maps, args.rounds, args.seed + 7)
    if args.heads:
        heads, runtime = gather_heads(args.heads), TorchRuntime(bundle, args.bundle)
        predictions = {}
        for name, (voxels, affine) in heads.items():
            begin = time.monotonic()
            predictions[name] = runtime.predict(voxels, affine)
            print(name, f"{time.monotonic() - begin:.1f} s", predictions[name].refusal, flush=True)
        figures["heads"] = judge_heads(bundle, predictions, heads)
        figures["mni152_white_matter_dice"] = judge_white_matter(bundle, predictions["mni152"])
        if args.deepbet:
            figures["deepbet"] = judge_against_deepbet(args.deepbet, heads, predictions)
        if args.answers:
            np.savez_compressed(args.answers, **{n: p.labels for n, p in predictions.items()})
    args.out.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
