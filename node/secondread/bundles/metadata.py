"""``model.toml`` in the words of a MONAI bundle's ``metadata.json``.

The keys are those of MONAI's metadata schema (``meta_schema_20240725.json``); docs/packages.md says
which entry each comes from. What ``model.toml`` does not say is left out, not guessed.
"""

from __future__ import annotations

from typing import Any

from secondread.bundles.manifest import Manifest

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)


def monai_metadata(manifest: Manifest) -> dict[str, Any]:
    """The document, ready to be written as JSON."""
    taken = manifest.input
    modality = "/".join(taken.modality)
    channels = {"0": "background", **{str(one.value): one.name for one in manifest.labels}}
    return {
        "schema": SCHEMA,
        "version": manifest.version,
        "name": manifest.title,
        "task": manifest.task,
        "description": manifest.title,
        "authors": manifest.manufacturer,
        "intended_use": manifest.intended_use,
        "data_type": "dicom",
        "image_classes": f"{modality}, one channel",
        "label_classes": "a label map, one number for each structure" if manifest.labels else "",
        "eval_metrics": {
            f"dice_{one.name}": one.dice_held_out
            for one in manifest.labels
            if one.dice_held_out is not None
        },
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "uptake" if taken.units == "SUVbw" else _format(taken.modality),
                    "modality": modality,
                    "num_channels": 1,
                    "spatial_shape": ["*", "*", "*"],
                    "dtype": "float32",
                    "is_patch_data": False,
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": 1,
                    "spatial_shape": ["*", "*", "*"],
                    "dtype": "uint8",
                    "value_range": [0, len(manifest.labels)],
                    "is_patch_data": False,
                    "channel_def": channels,
                }
            },
        },
    }


def _format(modality: tuple[str, ...]) -> str:
    """What the values are; MONAI calls Hounsfield units so, and the rest magnitudes."""
    return "hounsfield" if modality == ("CT",) else "magnitude"
