"""What a model answered, from its files, on the grid of the source."""

from __future__ import annotations

from secondread.bundles.manifest import Manifest
from secondread.dicom.rectify import restore, restore_answer, straight_grid
from secondread.domain.job import Job
from secondread.domain.volume import Volume
from secondread.inference.answer import (
    ANSWER_NAME,
    MAPS_NAME,
    PROBABILITIES_NAME,
    load_answer,
    load_labels,
    load_maps,
    load_probabilities,
)
from secondread.pipeline.infer import LABELS_NAME
from secondread.pipeline.workplace import Workplace
from secondread.results.analysis import Analysis


def load_analysis(place: Workplace, job: Job, manifest: Manifest, volume: Volume) -> Analysis:
    """Everything that the model answered; it saw a tilted volume straightened.

    Raises:
        InvalidPredictionError: a file is absent, or not what the manifest declares.
    """
    folder = place.spool.work / job.key
    grid = straight_grid(volume)
    shape = grid.shape if grid else volume.voxels.shape
    declared = manifest.declared
    labels = load_labels(folder / LABELS_NAME, shape, [label.value for label in manifest.labels])
    probabilities = load_probabilities(folder / PROBABILITIES_NAME, shape, declared.probabilities)
    maps = load_maps(folder / MAPS_NAME, shape, declared.maps)
    answer = load_answer(folder / ANSWER_NAME, manifest.output, shape)
    return Analysis(
        labels=restore(labels, grid),
        probabilities=None if probabilities is None else restore(probabilities, grid),
        maps={name: restore(values, grid) for name, values in maps.items()},
        answer=restore_answer(answer, grid),
    )
