"""The bench of volumes reads what it says, with both readers, and notices when they differ."""

from __future__ import annotations

import dataclasses

import pytest

from tests.bench import settle, volume
from tests.bench.volume import PARTS, measure


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_measured(tmp_path, monkeypatch, name):
    monkeypatch.setattr(settle, "_BYTES", 1)
    line = measure(dataclasses.replace(PARTS[name], slices=3), 1, tmp_path)
    assert line["value"] > 0
    assert line["against"] > 0
    assert line["goal"] == f">= {PARTS[name].goal.at_least:g} x SimpleITK"
    assert len(list(tmp_path.iterdir())) == 3


def test_readers_that_do_not_agree_make_an_error_of_the_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(settle, "_BYTES", 1)
    monkeypatch.setattr(volume.np, "array_equal", lambda *_: False)
    line = measure(dataclasses.replace(PARTS["native"], slices=3), 1, tmp_path)
    assert line["error"] == "The two readers do not agree."
    assert line["holds"] is False
