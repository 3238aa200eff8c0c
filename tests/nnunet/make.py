"""Make the folders anew: ``python -m tests.nnunet.make``, where nnunetv2 (2.8) is installed.

With ``answers`` behind it, only nnU-Net's answers are made anew, from the folders that are there.
nnU-Net plans, trains and answers by itself; only the features of its networks are made few, so that
a folder has a tenth of a megabyte.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.nnunet.cases import CASES, Case, dataset_of, folder_of, image_of

FEATURES = (4, 6, 8, 8, 8, 8, 8, 8)
STEPS = 150
PROCESSES = "nnUNet_n_proc_DA"
"""How many of nnU-Net's processes augment images; with 0 it does so itself."""


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        folders = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        for key in folders:
            (root / key).mkdir()
        os.environ.update({key: str(root / key) for key in folders} | {PROCESSES: "1"})
        for number, (name, case) in enumerate(CASES.items(), start=901):
            if not set(sys.argv[1:]) & {"answers"}:
                make(name, case, number, root)
            answer(name, case)


def make(name: str, case: Case, number: int, root: Path) -> None:
    import torch
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.manual_seed(1)
    torch.set_num_threads(1)
    dataset = f"Dataset{number}_{name}"
    write_images(root / "nnUNet_raw" / dataset, case)
    planner = "nnUNetPlannerResEncM" if case.residual else "ExperimentPlanner"
    api.extract_fingerprints([number], num_processes=1)
    identifier = api.plan_experiments([number], planner)
    prepared = root / "nnUNet_preprocessed" / dataset
    plans = json.loads((prepared / f"{identifier}.json").read_text())
    for configuration in plans["configurations"].values():
        if "architecture" in configuration:
            options = configuration["architecture"]["arch_kwargs"]
            options["features_per_stage"] = list(FEATURES[: options["n_stages"]])
            for key in ("n_blocks_per_stage", "n_conv_per_stage"):
                if key in options:
                    options[key] = [min(n, 2) for n in options[key]]
    (prepared / f"{identifier}.json").write_text(json.dumps(plans))
    api.preprocess([number], identifier, [case.configuration], num_processes=[1])
    given = plans | {"continue_training": False}
    trainer = nnUNetTrainer(
        given, case.configuration, 0, dataset_of(case, 6), device=torch.device("cpu")
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch = 1, STEPS
    trainer.num_val_iterations_per_epoch = 2
    os.environ[PROCESSES] = "0"
    trainer.run_training()
    os.environ[PROCESSES] = "1"
    made = Path(trainer.output_folder_base)
    target = folder_of(name)
    shutil.rmtree(target, ignore_errors=True)
    (target / "fold_0").mkdir(parents=True)
    for part in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth"):
        shutil.copy(made / part, target / part)


def answer(name: str, case: Case) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    target = folder_of(name)
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(target), (0,))
    image, _ = image_of(case)
    labels, shares = predictor.predict_single_npy_array(
        image[None], {"spacing": list(case.seen_mm)}, None, None, True
    )
    kept = np.rint(255 * np.asarray(shares)).astype(np.uint8)
    np.savez_compressed(target / "answer.npz", labels=labels.astype(np.uint8), probabilities=kept)


def write_images(folder: Path, case: Case) -> None:
    import SimpleITK

    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number in range(6):
        pair = image_of(case, number)
        names = (f"imagesTr/case_{number:03}_0000.nii.gz", f"labelsTr/case_{number:03}.nii.gz")
        for array, name in zip(pair, names, strict=True):
            image: Any = SimpleITK.GetImageFromArray(array)
            image.SetSpacing(tuple(reversed(case.spacing_mm)))
            SimpleITK.WriteImage(image, str(folder / name))
    (folder / "dataset.json").write_text(json.dumps(dataset_of(case, 6)))


if __name__ == "__main__":
    main()
