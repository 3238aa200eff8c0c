"""The bench of models runs the model, and counts its time and its memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.bench.models import PARTS, measure
from tests.chests import thorax


def test_a_model_is_timed_and_its_memory_counted():
    part = dataclasses.replace(PARTS["chest_ct"], make=thorax)
    seconds, memory = measure(part, 1)
    assert seconds["value"] > 0
    assert seconds["goal"] == "< 20 s"
    assert seconds["cpu_s"] > 0
    assert 50 < memory["value"] < 4096
    assert 0 < memory["of_goal"] < 1


@pytest.mark.slow
def test_a_refusal_is_an_error_of_the_figure():
    empty = (np.zeros((30, 40, 40), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    lines = measure(dataclasses.replace(PARTS["chest_ct"], make=lambda: empty), 1)
    assert [line["holds"] for line in lines] == [False, False]
    assert "does not look like a CT of a chest" in lines[0]["error"]
