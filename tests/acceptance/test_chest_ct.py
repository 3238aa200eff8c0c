"""A chest CT leaves a scanner, and its lungs arrive in a PACS as SEG and SR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from secondread.domain.states import StudyState
from secondread.results.reading.segmentation import read_segmentation

from .conftest import RunningNode

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
CHEST_CT = Path(__file__).resolve().parents[2] / "models" / "chest_ct"


def test_lungs_of_a_real_chest_arrive(
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    shared_data: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    folder = shared_data("ct_chest_philips16_lungdx_a0001")
    pacs = small_pacs()
    node = start_node(pacs, CHEST_CT, 2.0)
    node.send(folder)
    assert node.wait_until_ended() == [StudyState.DONE]
    results = {str(dcmread(path).SOPClassUID): path for path in pacs.export(tmp_path / "pacs")}
    assert len(results) == 2
    found = read_segmentation(results[SEG])
    voxel_ml = abs(float(np.linalg.det(found.affine_lps[:3, :3]))) / 1000
    for labels, side in (((1, 4), 1), ((2, 5), -1)):
        at = np.argwhere(np.isin(found.labels, labels))
        assert 2000 < len(at) * voxel_ml < 3600
        x_mm = at @ found.affine_lps[0, :3] + found.affine_lps[0, 3]
        assert side * (x_mm.mean() - _middle_mm(found)) > 40


def _middle_mm(found: Any) -> float:
    """Where the middle of the body lies, mm to the left of the patient frame's origin."""
    at = np.argwhere(found.labels > 0)
    return float((at @ found.affine_lps[0, :3] + found.affine_lps[0, 3]).mean())
