"""A tilted gantry: the model sees a straight volume, and its labels come back on the slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from conformance.validators import ToolAbsentError, run_dciodvfy, without_quirks
from secondread.domain.states import JobState
from secondread.pipeline.write import Write
from secondread.results.reading.segmentation import read_segmentation
from tests.house import House, StillClock

SHAPE, SPACING_MM = (24, 64, 64), (3.0, 1.0, 1.0)


def lean(paths: list[Path]) -> None:
    """Move every slice one row further than the one before: a tilt of 18.4 degrees."""
    for index, path in enumerate(paths):
        image = dcmread(path)
        x, y, z = (float(value) for value in image.ImagePositionPatient)
        image.ImagePositionPatient = [x, y + index * SPACING_MM[1], z]
        image.save_as(path)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house whose model takes what leans."""
    house = House(tmp_path / "data", StillClock())
    manifests = {
        name: replace(manifest, input=replace(manifest.input, gantry_tilt="resample"))
        for name, manifest in house.place.manifests.items()
    }
    house.place = replace(house.place, manifests=MappingProxyType(manifests))
    house.set_rule()
    return house


def test_mask_of_a_tilted_series_lies_on_its_own_slices(
    house: House, head_series: Callable[..., Any]
) -> None:
    series = head_series(size=SHAPE, spacing_mm=SPACING_MM)
    lean(series.paths)
    house.receive(series.paths)
    house.assemble()
    house.analyse()
    seen = np.load(house.engine.tasks[-1].volume_path)
    assert seen.shape == (24, 64 + 23, 64)
    assert Write(house.place).step()
    assert (house.job.state, house.job.outcome) == (JobState.WRITTEN, "analysed")
    path = house.place.spool.results / house.job.key / "seg.dcm"
    found = read_segmentation(path)
    affine = series.affine_lps.copy()
    affine[1, 0] = SPACING_MM[1]
    expected = np.where(series.voxels >= 700, 2, np.where(series.voxels >= 400, 1, 0))
    first = int(np.flatnonzero(expected.any(axis=(1, 2)))[0])
    assert np.array_equal(found.labels, expected[first : first + len(found.labels)])
    affine[:3, 3] += first * affine[:3, 0]
    assert np.abs(found.affine_lps - affine).max() < 1e-3
    shared = dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(shared.SpacingBetweenSlices) == SPACING_MM[0]
    for name in ("seg.dcm", "sr.dcm"):
        try:
            assert without_quirks(run_dciodvfy(path.with_name(name))) == []
        except ToolAbsentError as absent:
            pytest.skip(str(absent))


def test_tilted_series_that_the_model_does_not_take_is_refused(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    series = head_series(size=SHAPE, spacing_mm=SPACING_MM)
    lean(series.paths)
    house.receive(series.paths)
    house.assemble()
    assert house.job.state is JobState.REFUSED
    assert "18.4 degrees" in house.job.reason


def test_mask_on_one_slice_of_a_tilted_series_passes_the_gate(
    house: House, head_series: Callable[..., Any]
) -> None:
    series = head_series(size=SHAPE, spacing_mm=SPACING_MM)
    lean(series.paths)
    house.receive(series.paths)
    house.assemble()
    house.analyse()
    path = Path(house.engine.tasks[-1].labels_path)
    labels = np.zeros_like(np.load(path))
    labels[12, 40:50, 30:40] = 1
    np.save(path, labels)
    Write(house.place).step()
    assert (house.job.state, house.job.reason) == (JobState.WRITTEN, "")
    seg = house.place.spool.results / house.job.key / "seg.dcm"
    found = read_segmentation(seg).labels
    assert found.sum() == 100
    assert found[0, 40 - 12 : 50 - 12, 30:40].all()
