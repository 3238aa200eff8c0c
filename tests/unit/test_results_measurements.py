from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from secondread.bundles.output import STATISTICS, USUAL_STATISTICS, Output
from secondread.domain.volume import Volume
from secondread.errors import ResultError
from secondread.results.analysis import Analysis
from secondread.results.measurement.measurements import measure
from secondread.results.write import make_documents
from tests.result_cases import LABELS, make_case

PERCENTILES = {"p05": 5, "p10": 10, "p25": 25, "median": 50, "p75": 75, "p90": 90, "p95": 95}


def assert_order_statistics(voxels, labels, *, rel=1e-12):
    volume = Volume(voxels, np.eye(4), ())
    wanted = ("minimum", "maximum", *PERCENTILES)
    for one in measure(volume, labels, LABELS, wanted):
        inside = voxels[labels == one.label.value].astype(np.float64)
        if not inside.size:
            assert one.statistics == {}
            continue
        assert list(one.statistics) == list(wanted)
        assert one.statistics["minimum"] == inside.min()
        assert one.statistics["maximum"] == inside.max()
        for name, percent in PERCENTILES.items():
            expected = np.percentile(inside, percent)
            assert one.statistics[name] == pytest.approx(expected, rel=rel, abs=1e-12)


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


def test_an_absent_structure_has_zeros_and_no_statistics(tmp_path):
    case = make_case(tmp_path)
    absent = measure(case.context.volume, case.labels, LABELS, STATISTICS)[3]
    assert (absent.voxels, absent.volume_ml, absent.signal_mean) == (0, 0.0, 0.0)
    assert (absent.statistics, absent.diameter) == ({}, None)


def test_nothing_at_all_can_be_measured(tmp_path):
    case = make_case(tmp_path)
    found = measure(case.context.volume, np.zeros_like(case.labels), LABELS, STATISTICS)
    assert {(one.voxels, one.signal_deviation) for one in found} == {(0, 0.0)}


def test_a_large_mean_does_not_drown_a_small_deviation(tmp_path):
    case = make_case(tmp_path)
    voxels = (case.context.volume.voxels % 2 + 1e7).astype(np.float64)
    volume = replace(case.context.volume, voxels=voxels)
    first = measure(volume, case.labels, LABELS)[0]
    assert first.signal_deviation == pytest.approx(voxels[case.labels == 1].std(), rel=1e-6)


def test_all_that_is_asked_for_is_given_and_no_more(tmp_path):
    case = make_case(tmp_path)
    for wanted in (STATISTICS, USUAL_STATISTICS, ("surface",), ("voxels", "p90"), ()):
        first = measure(case.context.volume, case.labels, LABELS, wanted)[0]
        assert tuple(first.statistics) == wanted
        assert (first.diameter is not None) == ("longest_diameter" in wanted)


def test_each_number_is_in_its_own_unit(tmp_path):
    case = make_case(tmp_path)
    first = measure(case.context.volume, case.labels, LABELS, STATISTICS)[0]
    assert first.statistics["volume"] == first.volume_ml
    assert first.statistics["mean"] == first.signal_mean
    assert first.statistics["deviation"] == first.signal_deviation
    assert first.statistics["voxels"] == first.voxels
    assert first.statistics["longest_diameter"] == first.diameter.longest_mm
    assert first.statistics["perpendicular_diameter"] == first.diameter.perpendicular_mm


def test_a_number_that_there_is_not_is_named(tmp_path):
    case = make_case(tmp_path)
    with pytest.raises(ResultError, match="no measurement called 'kurtosis'"):
        measure(case.context.volume, case.labels, LABELS, ("volume", "kurtosis"))


def test_a_report_measures_what_the_manifest_asks_for(tmp_path):
    case = make_case(tmp_path)
    manifest = replace(case.context.manifest, output=Output(statistics=("volume", "p95")))
    context = replace(case.context, manifest=manifest)
    made = make_documents(context, Analysis(case.labels))
    assert tuple(made.measured[0].statistics) == ("volume", "p95")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "<f4", ">f4", "f8"])
def test_percentiles_are_numpys_for_every_kind_of_voxel(tmp_path, dtype):
    case = make_case(tmp_path)
    rng = np.random.default_rng(8)
    spread = rng.normal(0, 1, case.labels.shape) * np.exp(rng.normal(0, 2, case.labels.shape))
    kind = np.dtype(dtype)
    if kind.kind == "f":
        voxels = (spread * 1e3).astype(kind)
        voxels[3, 4:6, 5:8] = -0.0
    else:
        limits = np.iinfo(kind)
        middle, half = (limits.max + limits.min) / 2, (limits.max - limits.min) / 2
        voxels = np.clip(spread / 8 * half + middle, limits.min, limits.max).astype(kind)
    assert_order_statistics(voxels, case.labels)


def test_percentiles_of_one_value_and_of_two():
    labels = np.zeros((2, 3, 3), np.uint8)
    labels[0, 0, 0], labels[1, 1, :2] = 1, 2
    voxels = np.arange(18, dtype=np.int16).reshape(labels.shape) - 9
    assert_order_statistics(voxels, labels)
    assert_order_statistics(np.full(labels.shape, -1024, np.int16), labels)
    assert_order_statistics(np.full(labels.shape, -0.1, np.float32), labels)


def test_neighbouring_floats_are_told_apart():
    labels = np.ones((1, 4, 250), np.uint8)
    steps = np.random.default_rng(2).permutation(1000).reshape(labels.shape)
    voxels = (np.float32(1.0).view(np.uint32) + steps.astype(np.uint32)).view(np.float32)
    assert_order_statistics(voxels, labels)


def test_a_structure_that_fills_the_volume_is_not_copied():
    plane = np.random.default_rng(4).normal(0, 100, (1, 512, 512)).astype(np.float32)
    shape = (90, 512, 512)
    voxels = np.broadcast_to(plane, shape)
    labels = np.broadcast_to(np.ones((1, 512, 512), np.uint8), shape)
    tracemalloc.start()
    try:
        found = measure(Volume(voxels, np.eye(4), ()), labels, LABELS[:1], STATISTICS)[0]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.statistics["median"] == pytest.approx(np.median(plane), abs=1e-3)
    assert peak < voxels.nbytes


def test_the_centre_is_a_voxel_of_the_structure_even_of_a_ring(tmp_path):
    case = make_case(tmp_path, "oblique")
    volume = case.context.volume
    labels = np.zeros(volume.voxels.shape, np.uint8)
    labels[4, 2:13, 3:16] = 1
    labels[4, 5:10, 6:13] = 0
    labels[6, 3:5, 3:5] = 2
    labels[7, 3:5, 3:6] = 2
    ring, lump, *empty = measure(volume, labels, LABELS)
    inverse = np.linalg.inv(volume.affine_lps)
    for one, index in ((ring, 4), (lump, 7)):
        at = np.rint(inverse @ (*one.centre, 1.0))[:3].astype(int)
        assert at[0] == index
        assert labels[tuple(at)] == one.label.value
    assert [one.centre for one in empty] == [None] * len(empty)
