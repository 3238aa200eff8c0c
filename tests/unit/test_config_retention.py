"""``[retention]`` in the operator's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from secondread.config.load import load
from secondread.domain.retention import Retention, WhenLow
from secondread.errors import ConfigurationError


def write(folder: Path, text: str) -> Path:
    path = folder / "secondread.toml"
    path.write_text(f'[node]\ndata_dir = "data"\n{text}')
    return path


def test_without_a_table_the_times_are_careful(tmp_path: Path) -> None:
    assert load(write(tmp_path, ""), {}).retention == Retention()


def test_every_key_arrives(tmp_path: Path) -> None:
    text = """[retention]
images_days = 10
unwanted_days = 1.5
results_days = 20.0
reports_days = 0
shadow_days = 3
quarantine_days = 4
warn_days = 5
warn_gib = 2
when_low = "purge-safe"
early_days = 0.5
observations_days = 60
"""
    assert load(write(tmp_path, text), {}).retention == Retention(
        10, 1.5, 20, 0, 3, 4, 5, 2 * 1024**3, WhenLow.PURGE_SAFE, 0.5, 60
    )


@pytest.mark.parametrize(
    "line",
    [
        "images_days = -1",
        'when_low = "delete"',
        "early_days = 0",
        "image_days = 3",
        # A comparison that goes while its jobs are compared would be made again.
        "observations_days = 30",
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line.split(maxsplit=1)[0]):
        load(write(tmp_path, f"[retention]\n{line}\n"), {})
