"""When the disk will be full."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from secondread.domain.disk_pressure import (
    Pressure,
    Traffic,
    forecast,
    judge_pressure,
    wanted_free_bytes,
)
from secondread.domain.retention import DAY_S, Retention

GIB = 1024**3
TERMS = Retention()


def test_days_left_are_what_is_free_above_the_minimum_by_what_comes_a_day() -> None:
    found = forecast(100 * GIB, 10 * GIB, Traffic(63 * GIB, 7 * DAY_S))
    assert found.days_left == pytest.approx(10)
    assert "full in 10.0 days" in found.sentence


def test_what_goes_counts_against_what_comes() -> None:
    found = forecast(100 * GIB, 10 * GIB, Traffic(63 * GIB, 7 * DAY_S, going_per_day=6 * GIB))
    assert found.days_left == pytest.approx(30)
    level = forecast(100 * GIB, 10 * GIB, Traffic(63 * GIB, 7 * DAY_S, going_per_day=9 * GIB))
    assert math.isinf(level.days_left)
    assert "does not fill up" in level.sentence


def test_a_young_node_is_judged_by_its_hours() -> None:
    assert forecast(10 * GIB, 0, Traffic(GIB, DAY_S / 2)).days_left == pytest.approx(5)
    assert math.isfinite(forecast(10 * GIB, 0, Traffic(GIB, 0.0)).days_left)


def test_it_is_soon_by_days_or_by_what_is_free() -> None:
    week = Traffic(70 * GIB, 7 * DAY_S)
    assert judge_pressure(forecast(100 * GIB, GIB, week), TERMS) is Pressure.EASY
    assert judge_pressure(forecast(60 * GIB, GIB, week), TERMS) is Pressure.SOON
    assert judge_pressure(forecast(4 * GIB, GIB, Traffic(0, DAY_S)), TERMS) is Pressure.SOON
    assert judge_pressure(forecast(GIB, GIB, Traffic(0, DAY_S)), TERMS) is Pressure.FULL
    deaf = replace(TERMS, warn_days=0.0, warn_bytes=0)
    assert judge_pressure(forecast(2 * GIB, GIB, week), deaf) is Pressure.EASY


def test_once_short_it_is_easy_again_only_by_a_margin() -> None:
    week = Traffic(70 * GIB, 7 * DAY_S)
    between = forecast(76 * GIB, GIB, week)
    assert judge_pressure(between, TERMS, Pressure.EASY) is Pressure.EASY
    assert judge_pressure(between, TERMS, Pressure.SOON) is Pressure.SOON
    wanted = round(wanted_free_bytes(between, TERMS)) + 1
    assert judge_pressure(forecast(wanted, GIB, week), TERMS, Pressure.SOON) is Pressure.EASY
