"""A head with an age and a sex: brain_mr measures it, and dementia_mr says its numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from deploy.demo.series import write_series
from secondread.domain.states import StudyState

from .conftest import RunningNode

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

REPORT = "1.2.840.10008.5.1.4.1.1.88.34"
DEMENTIA_MR = Path(__file__).resolve().parents[2] / "models" / "dementia_mr"


def whole_head(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The longest series of a folder; where a slice is missing, the mean of its neighbours."""
    series = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            image = dcmread(path)
        except InvalidDicomError:
            continue
        if "ImagePositionPatient" in image:
            series[image.SeriesInstanceUID].append(image)
    images = max(series.values(), key=len)
    along_row, along_column = np.reshape(np.array(images[0].ImageOrientationPatient, float), (2, 3))
    normal = np.cross(along_row, along_column)
    places = {float(normal @ np.array(one.ImagePositionPatient, float)): one for one in images}
    step = float(np.median(np.diff(sorted(places))))
    planes: list[np.ndarray] = []
    for before, here in zip([None, *sorted(places)], sorted(places), strict=False):
        plane = places[here].pixel_array.astype(np.int32)
        if before is not None and here - before > 1.5 * step:
            planes.append((planes[-1] + plane) // 2)
        planes.append(plane)
    affine = np.eye(4)
    first = places[min(places)]
    row_mm, column_mm = (float(side) for side in first.PixelSpacing)
    affine[:3, 0], affine[:3, 1] = step * normal, row_mm * along_column
    affine[:3, 2], affine[:3, 3] = column_mm * along_row, first.ImagePositionPatient
    return np.stack(planes).astype(np.int16), affine


def values_of(item: Dataset) -> Iterator[tuple[str, float]]:
    """All numbers of a report by the code of their concept."""
    for one in item.get("ContentSequence", ()):
        if one.ValueType == "NUM" and one.get("MeasuredValueSequence"):
            code = one.ConceptNameCodeSequence[0].CodeValue
            yield code, float(one.MeasuredValueSequence[0].NumericValue)
        yield from values_of(one)


def test_a_report_gives_a_probability_for_a_head_with_an_age_and_a_sex(
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    shared_data: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    voxels, affine = whole_head(shared_data("mr_t1_t2_siemens_trio_missing_slice"))
    for path in write_series(voxels, affine, tmp_path / "series", patient_sex="F"):
        image = dcmread(path)
        image.PatientAge = "072Y"
        image.save_as(path)
    pacs = small_pacs()
    node = start_node(pacs, DEMENTIA_MR, 2.0)
    node.send(tmp_path / "series")
    assert node.wait_until_ended() == [StudyState.DONE]
    found = [dcmread(path) for path in pacs.export(tmp_path / "pacs")]
    (report,) = [one for one in found if one.SOPClassUID == REPORT]
    numbers = dict(values_of(report))
    assert 0 < numbers["PSVM"] < 1
    assert 0 <= numbers["PTREE"] <= 1
    # The head of a younger person: more brain than others of the age that the headers claim.
    assert 0.75 < numbers["NWBV"] < 0.837
    assert numbers["NWBVPCT"] > 75
    assert numbers["PSVM"] < 0.5
