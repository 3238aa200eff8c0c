from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secondread.results.measurements import measure
from tests.result_cases import LABELS, make_case


def test_volume_mean_and_deviation_are_numpys(tmp_path):
    case = make_case(tmp_path)
    volume = case.context.volume
    for one in measure(volume, case.labels, LABELS):
        inside = volume.voxels[case.labels == one.label.value].astype(float)
        assert one.voxels == inside.size
        assert one.volume_ml == pytest.approx(inside.size * 3.0 * 1.25 * 1.5 / 1000)
        if inside.size:
            assert one.signal_mean == pytest.approx(inside.mean())
            assert one.signal_deviation == pytest.approx(inside.std())


def test_an_absent_structure_has_zeros(tmp_path):
    case = make_case(tmp_path)
    absent = measure(case.context.volume, case.labels, LABELS)[3]
    assert (absent.voxels, absent.volume_ml, absent.signal_mean) == (0, 0.0, 0.0)


def test_a_large_mean_does_not_drown_a_small_deviation(tmp_path):
    case = make_case(tmp_path)
    voxels = (case.context.volume.voxels % 2 + 1e7).astype(np.float64)
    volume = replace(case.context.volume, voxels=voxels)
    first = measure(volume, case.labels, LABELS)[0]
    assert first.signal_deviation == pytest.approx(voxels[case.labels == 1].std(), rel=1e-6)
