"""The bench of exports measures what it says."""

from __future__ import annotations

import sys

import pytest

from tests.bench.deid import has_dicognito, race, time_boundary, time_export
from tests.bench.objects import Maker, write_samples


def test_the_export_writes_every_slice(tmp_path):
    write_samples(list(Maker("CT").study(3)), tmp_path / "source")
    assert time_export(tmp_path / "source", tmp_path / "target") > 0
    assert len(list((tmp_path / "target").rglob("*.dcm"))) == 3


def test_both_run_in_turn():
    if not has_dicognito(sys.executable):
        pytest.skip("no dicognito: pip install dicognito")
    ours, rival = race(sys.executable, slices=2, rounds=2)
    assert len(ours.values) == len(rival.values) == 2


def test_the_boundary_writes_what_a_model_gets(tmp_path):
    assert time_boundary(tmp_path / "work", slices=2) > 0
    assert (tmp_path / "work" / "volume.npy").stat().st_size > 2 * 512 * 512 * 2
