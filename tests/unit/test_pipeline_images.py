"""A model that reads uptake gets uptake; any other gets what the scanner wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secondread.bundles.input import Units
from secondread.domain.job import Job
from secondread.domain.states import JobState
from secondread.errors import PixelDataError
from secondread.pipeline.images import read_images
from secondread.pipeline.workplace import Workplace
from tests.house import House, StillClock
from tests.slices import store_all
from tests.unit.test_dicom_suv import DECAYED_BQ, WEIGHT_KG, pet_slice

JOB = Job(
    id=1,
    key="k",
    study_id=1,
    state=JobState.QUEUED,
    rule="heads",
    model_id="bright_head",
    model_version="1",
    series_instance_uid="1.2.3",
    input_digest="",
    priority=0,
    attempts=0,
    losses=0,
    created_at=0.0,
    outcome="",
    reason="",
)


def _place(folder: Path, units: Units) -> Workplace:
    place = House(folder, StillClock()).place
    (manifest,) = place.manifests.values()
    changed = replace(manifest, input=replace(manifest.input, units=units))
    return replace(place, manifests={JOB.model_id: changed})


@pytest.mark.parametrize(
    ("units", "one"), [("modality", 1.0), ("SUVbw", 1000 * WEIGHT_KG / DECAYED_BQ)]
)
def test_units_are_those_that_the_manifest_asks_for(
    tmp_path: Path, units: Units, one: float
) -> None:
    place = _place(tmp_path, units)
    slices = [pet_slice(at) for at in range(3)]
    volume = read_images(place, JOB, store_all(slices, place.spool.root))
    assert volume.voxels.shape == (3, 4, 4)
    np.testing.assert_allclose(volume.voxels, one, rtol=1e-6)


def test_uptake_that_cannot_be_worked_out_is_refused_by_name(tmp_path: Path) -> None:
    place = _place(tmp_path, "SUVbw")
    slices = [pet_slice(at, PatientWeight=None) for at in range(3)]
    with pytest.raises(PixelDataError, match="Weight") as caught:
        read_images(place, JOB, store_all(slices, place.spool.root))
    assert caught.value.outcome == "no-suv-factor"
