"""Measure brain_mr and write figures.json.

    python evaluate.py --bundle .. --labels FOLDER [--heads FOLDER] [--deepbet SITE_FOLDER]

- held-out label maps, painted at 1 mm with T1-like and with arbitrary contrast, through the whole
  runtime: Dice of every structure the network knows (held_out_dice, which package.py chooses by)
  and of the labels of model.toml (packaged_dice), which may be other ones later: without --labels
  it is worked out again from the counts that were kept;
- with --heads: volumes of the T1 heads in that folder (sub-folders of DICOM files and *.nii.gz),
  of nilearn's MNI152, and what was refused; white and grey matter against MNI152's maps of them;
- of nilearn's MNI152 and Colin, how much the hippocampi change with noise, resampling and
  orientation;
- with --deepbet: brain (all output structures, and with its sulci) against deepbet's mask.
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
from loop import split
from scipy import ndimage

from secondread.inference.worker import canonical
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes import torch_measures
from secondread.inference.worker.runtimes.torch import TorchRuntime

GRID_1MM = (192, 224, 208)
LEAST_ML = 0.05
WHITE = ("cerebral_white_matter", "cerebellum_white_matter")
GREY = (
    "_cortex",
    "thalamus",
    "caudate",
    "putamen",
    "pallidum",
    "hippocampus",
    "amygdala",
    "accumbens",
)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Give the Dice overlap of two masks."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def code_of_labels(bundle: dict[str, Any]) -> NDArray[np.intp]:
    """Give the label of every code, by the manifest's decoding.

    A code is twice the class of the network, and one more on the right.
    """
    pairs = bundle["runtime"]["options"]["decoding"]["classes"]
    return np.array([label for pair in pairs for label in (pair[0], pair[-1])], np.intp)


def full_bundle(bundle: dict[str, Any]) -> dict[str, Any]:
    """Give the manifest with every structure among the outputs and no envelope.

    Labels are codes: twice the class, and one more on the right.
    """
    out = json.loads(json.dumps(bundle)) | {"envelope": {}, "output": {}}
    out["runtime"]["options"].pop("numbers", None)
    classes, labels = [[0]], []
    for number, (name, _, right) in enumerate(STRUCTURES[:-1], start=1):
        full = {2 * number: f"left_{name}", 2 * number + 1: f"right_{name}"}
        full = full if right else {2 * number: name}
        classes.append(list(full))
        labels += [{"value": v, "name": n} for v, n in full.items()]
    classes.append([0])
    out["runtime"]["options"]["decoding"]["classes"] = classes
    out["labels"] = labels
    return out


def draw_winner(quarters: NDArray[np.uint8], seed: int) -> NDArray[np.intp]:
    """Give the class that most quarters of each voxel belong to, by lot where two have as many.

    Always the first of the two would make the last classes, nucleus accumbens above all, smaller
    than they are in the map.
    """
    first = np.random.default_rng(seed).random(quarters.shape[:3], np.float32) < 0.5
    last_class = quarters.shape[-1] - 1
    return np.where(first, quarters.argmax(-1), last_class - quarters[..., ::-1].argmax(-1))


def count_held_out(
    bundle: dict[str, Any], folder: Path, maps: list[HeadMap], rounds: int, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Give for each kind of contrast how often which code was found where, (sample, truth, found).

    There are ``rounds`` samples of every map and kind of contrast; the envelope is left out.
    """
    runtime = TorchRuntime(full_bundle(bundle), folder)
    truth = code_of_labels(full_bundle(bundle))
    size, out = 2 * len(NAMES), {}
    for kind, share in (("t1_like", 1.0), ("random", 0.0)):
        generator = Generator(maps, seed, t1_share=share, grid=GRID_1MM, spacing_mm=1.0)
        tables = []
        for turn in range(rounds * len(maps)):
            image, target, side = generator.sample(turn % len(maps))
            right = (2 * side[..., 1] > side[..., 0]).numpy().astype(np.intp)
            expected = truth[2 * draw_winner(target.numpy(), turn) + right]
            affine = np.diag([-1.0, -1.0, 1.0, 1.0])
            found = runtime.predict(image[0].numpy(), affine).labels
            pairs = size * expected.ravel() + found.ravel()
            tables.append(np.bincount(pairs, minlength=size * size).reshape(size, size))
            print(kind, turn, flush=True)
        out[kind] = np.array(tables, np.int64)
    return out


def judge_held_out(
    bundle: dict[str, Any], counts: dict[str, NDArray[np.int64]]
) -> dict[str, dict[str, float]]:
    """Give the mean Dice per label of a manifest, and of all labels together, over all samples."""
    values, scores = code_of_labels(bundle), {}
    for kind, tables in counts.items():
        for row in [*bundle["labels"], {"name": "brain", "value": None}]:
            mine = values > 0 if row["value"] is None else values == row["value"]
            expected, found = tables[:, mine].sum(axis=(1, 2)), tables[:, :, mine].sum(axis=(1, 2))
            shared = tables[:, mine][:, :, mine].sum(axis=(1, 2))
            seen = expected > 1000 * LEAST_ML
            if seen.any():
                mean = np.mean(2 * shared[seen] / (expected + found)[seen])
                scores.setdefault(row["name"], {})[kind] = round(float(mean), 4)
    return scores


def judge_spread(
    bundle: dict[str, Any], counts: dict[str, NDArray[np.int64]], maps: int
) -> dict[str, dict[str, list[float]]]:
    """Give the lowest and the highest mean Dice of the held-out maps, per label of a manifest.

    So few maps carry no confidence interval; this is all the spread there is.
    """
    each = [
        judge_held_out(bundle, {kind: tables[number::maps] for kind, tables in counts.items()})
        for number in range(maps)
    ]
    spread: dict[str, dict[str, list[float]]] = {}
    for name in each[0]:
        for kind in counts:
            found = [one[name][kind] for one in each if kind in one.get(name, {})]
            if len(found) == maps:
                spread.setdefault(name, {})[kind] = [min(found), max(found)]
    return spread


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
            "numbers_ml": {n.id: round(n.value, 1) for n in answer.answer.numbers},
        }
    return out


def judge_tissues(bundle: dict[str, Any], answer: Prediction) -> dict[str, float]:
    """Give the Dice of white and of grey matter with nilearn's MNI152 maps of them at 0.5."""
    maps = {
        "white": (datasets.load_mni152_wm_template, WHITE),
        "grey": (datasets.load_mni152_gm_template, GREY),
    }
    out = {}
    for tissue, (load, wanted) in maps.items():
        truth = from_nifti(load(resolution=1))[0] > 0.5
        values = [row["value"] for row in bundle["labels"] if row["name"].endswith(wanted)]
        out[f"mni152_{tissue}_matter_dice"] = dice(np.isin(answer.labels, values), truth)
    return out


def mask_brain(runtime: TorchRuntime, bundle: dict[str, Any], head: Volume) -> NDArray[np.bool_]:
    """Give the mask whose volume is the answer's brain_volume, on the grid of the head."""
    rows = bundle["runtime"]["options"]["numbers"]
    row = next(row for row in rows if row["id"] == "brain_volume")
    voxels, affine = head
    foreground = canonical.locate(voxels, affine, bundle["preprocessing"]["centre_below_top_mm"])
    grid, _, channels = runtime._run(voxels, affine, foreground.centre_ras)
    mask = torch_measures.close(runtime._clean(channels)[0], grid.spacing_mm, row)
    to_grid = np.linalg.inv(grid.affine_ras) @ canonical.affine_to_ras(affine)
    return (
        ndimage.affine_transform(
            mask.astype(np.float32), to_grid[:3, :3], to_grid[:3, 3], voxels.shape, order=1
        )
        > 0.5
    )


def judge_against_deepbet(
    site: Path,
    heads: dict[str, Volume],
    predictions: dict[str, Prediction],
    masks: dict[str, NDArray[np.bool_]],
) -> dict[str, dict[str, float]]:
    """Give Dice with deepbet's mask, and its volume, for every head that was not refused.

    Once for all labels, and once for the brain with its sulci, which deepbet's mask holds too.
    """
    sys.path.append(str(site))
    from deepbet import BrainExtraction

    model, out = BrainExtraction(no_gpu=True), {}
    for name, (voxels, affine) in heads.items():
        if predictions[name].refusal is None:
            _, mask, ml = model.run(to_nifti(voxels, affine))
            theirs = (np.asarray(mask.dataobj) > 0).reshape(voxels.shape)
            out[name] = {
                "dice": round(dice(theirs, predictions[name].labels > 0), 4),
                "dice_with_sulci": round(dice(theirs, masks[name]), 4),
                "deepbet_ml": round(float(ml), 1),
            }
    return out


def judge_again(
    runtime: TorchRuntime, bundle: dict[str, Any], head: Volume, seed: int
) -> dict[str, float]:
    """Give by how much the hippocampi's volume changes, as a share, when the image does a little.

    Noise is 3 % of the 95th percentile; resampling is to 1.3 x 1 x 1.5 of the voxels; the other
    orientation has every axis exchanged and turned round.
    """
    voxels, affine = head
    values = [r["value"] for r in bundle["labels"] if r["name"].endswith("_hippocampus")]

    def measure(image: NDArray[Any], at: NDArray[np.float64]) -> float:
        labels = runtime.predict(image, at).labels
        return float(np.isin(labels, values).sum() * abs(np.linalg.det(at[:3, :3])))

    noise = np.random.default_rng(seed).normal(0, 0.03 * np.percentile(voxels, 95), voxels.shape)
    coarser = np.array([1.3, 1.0, 1.5])
    size = tuple(int(n) for n in (np.array(voxels.shape) - 1) // coarser + 1)
    other = affine @ np.eye(4)[:, [2, 0, 1, 3]]
    turned, flip = voxels.transpose(2, 0, 1)[::-1, ::-1, ::-1], np.diag([-1.0, -1.0, -1.0, 1.0])
    flip[:3, 3] = np.array(turned.shape) - 1
    plain = measure(voxels, affine)
    changed = {
        "noise": measure(voxels + noise, affine),
        "resampling": measure(
            ndimage.affine_transform(voxels, coarser, output_shape=size, order=1),
            affine @ np.diag([*coarser, 1.0]),
        ),
        "reorientation": measure(turned, other @ flip),
    }
    return {name: round(ml / plain - 1, 4) for name, ml in changed.items()}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=HERE.parent)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--heads", type=Path)
    parser.add_argument("--deepbet", type=Path)
    parser.add_argument(
        "--counts", type=Path, default=Path("counts.npz"), help="what was found where, kept here"
    )
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
        counts = count_held_out(bundle, args.bundle, maps, args.rounds, args.seed + 7)
        np.savez_compressed(args.counts, **counts)
        figures["held_out_dice"] = judge_held_out(full_bundle(bundle), counts)
    if args.counts.exists():
        with np.load(args.counts) as kept:
            figures["packaged_dice"] = judge_held_out(bundle, dict(kept))
            maps_held_out = len(next(iter(kept.values()))) // figures["rounds"]
            figures["packaged_dice_of_maps"] = judge_spread(bundle, dict(kept), maps_held_out)
    if args.heads:
        heads, runtime = gather_heads(args.heads), TorchRuntime(bundle, args.bundle)
        predictions = {}
        for name, (voxels, affine) in heads.items():
            begin = time.monotonic()
            predictions[name] = runtime.predict(voxels, affine)
            print(name, f"{time.monotonic() - begin:.1f} s", predictions[name].refusal, flush=True)
        figures["heads"] = judge_heads(bundle, predictions, heads)
        figures |= judge_tissues(bundle, predictions["mni152"])
        if args.deepbet:
            taken = {n: h for n, h in heads.items() if predictions[n].refusal is None}
            masks = {n: mask_brain(runtime, bundle, head) for n, head in taken.items()}
            figures["deepbet"] = judge_against_deepbet(args.deepbet, heads, predictions, masks)
        averages = [n for n in ("mni152", "ch2.nii.gz") if n in heads]
        figures["again"] = {n: judge_again(runtime, bundle, heads[n], args.seed) for n in averages}
        if args.answers:
            np.savez_compressed(args.answers, **{n: p.labels for n, p in predictions.items()})
    args.out.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
