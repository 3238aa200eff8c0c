"""``[monitoring]`` in the operator's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from secondread.config.load import load
from secondread.domain.monitoring_terms import Consequence, MonitoringTerms
from secondread.errors import ConfigurationError


def write(folder: Path, text: str) -> Path:
    path = folder / "secondread.toml"
    path.write_text(f'[node]\ndata_dir = "data"\n{text}')
    return path


def test_without_a_table_drift_warns_and_rejects_pause(tmp_path: Path) -> None:
    found = load(write(tmp_path, ""), {}).monitoring
    assert found == MonitoringTerms()
    assert (found.on_drift, found.on_rejects) == (Consequence.WARN, Consequence.PAUSE)


def test_every_key_arrives(tmp_path: Path) -> None:
    text = """[monitoring]
reference = 60
recent = 40
minimum = 20
psi_watch = 0.2
psi_drift = 0.3
level = 0.05
on_drift = "pause"
reject_share = 0.4
reject_recent = 30
reject_minimum = 5
on_rejects = "warn"
look_minutes = 5
"""
    assert load(write(tmp_path, text), {}).monitoring == MonitoringTerms(
        60, 40, 20, 0.2, 0.3, 0.05, Consequence.PAUSE, 0.4, 30, 5, Consequence.WARN, 5
    )


@pytest.mark.parametrize(
    "line", ["reference = 5", 'on_drift = "stop"', "reject_share = 2", "window = 3", "level = 0"]
)
def test_what_cannot_be_is_told(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line.split(maxsplit=1)[0]):
        load(write(tmp_path, f"[monitoring]\n{line}\n"), {})


@pytest.mark.parametrize(
    "text",
    [
        "recent = 25\n",
        "reference = 25\n",
        "psi_watch = 0.5\n",
        "reject_recent = 5\n",
    ],
)
def test_limits_that_could_never_be_reached_are_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="monitoring"):
        load(write(tmp_path, f"[monitoring]\n{text}"), {})
