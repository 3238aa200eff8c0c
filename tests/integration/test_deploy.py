"""What deploy/ holds starts the real thing, and the set-up scripts do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
UNIT = REPOSITORY / "deploy" / "systemd" / "secondread.service"
CONTAINER = REPOSITORY / "deploy" / "container"
PACKAGES = REPOSITORY / "deploy" / "setup" / "packages.sh"
# A tenth of it for each kind of namespace, which models are shut into.
EXPOSURE_MAX = 2.1


@pytest.fixture
def systemd_analyze():
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("no systemd-analyze: install the package systemd")
    return found


@pytest.fixture
def unit(tmp_path):
    """The unit with a program that is there, since /opt/secondread need not be."""
    text = UNIT.read_text().replace("/opt/secondread/bin/secondread", sys.executable)
    path = tmp_path / "secondread.service"
    path.write_text(text)
    return path


def test_the_unit_is_sound(systemd_analyze, unit):
    verified = subprocess.run(
        [systemd_analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True
    )
    assert verified.returncode == 0, verified.stderr
    assert "secondread.service" not in verified.stderr


def test_the_unit_exposes_little(systemd_analyze, unit):
    judged = subprocess.run(
        [systemd_analyze, "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
    )
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit offline: systemd 250 can")
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged.stdout)
    assert level is not None, judged.stderr
    assert float(level[1]) <= EXPOSURE_MAX


def test_the_unit_starts_a_command_that_exists():
    (command,) = re.findall(r"^ExecStart=\S+ (.+)$", UNIT.read_text(), re.MULTILINE)
    subcommand, option, _ = command.split()
    told = subprocess.run(
        [sys.executable, "-m", "secondread", subcommand, "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert told.returncode == 0
    assert option in told.stdout


def test_the_container_copies_only_what_is_there_and_let_through():
    lines = (CONTAINER / "Containerfile").read_text().splitlines()
    let_through = {
        line[1:]
        for line in (CONTAINER / "Containerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert copied
    assert all((REPOSITORY / source).exists() for source in copied)
    assert copied == let_through


def test_the_container_does_not_run_as_root():
    users = re.findall(r"^USER (\S+)$", (CONTAINER / "Containerfile").read_text(), re.MULTILINE)
    assert users == ["secondread"]


def test_the_health_check_tells_a_listening_node_from_a_dead_one(tmp_path, free_port):
    import socket

    port = free_port()
    config = tmp_path / "secondread.toml"
    config.write_text(f'[node]\ndata_dir = "data"\n[dicom]\nport = {port}\n')
    command = [sys.executable, str(CONTAINER / "health.py")]
    environment = {**os.environ, "SECONDREAD_CONFIG": str(config)}
    dead = subprocess.run(command, env=environment, capture_output=True)
    with socket.create_server(("127.0.0.1", port)):
        alive = subprocess.run(command, env=environment, capture_output=True)
    assert dead.returncode != 0
    assert alive.returncode == 0, alive.stderr


def test_missing_packages_are_named_and_never_an_error():
    ran = subprocess.run(
        [PACKAGES, "no-such-package"],
        capture_output=True,
        text=True,
        env={**os.environ, "APT": "no"},
    )
    assert ran.returncode == 0
    assert ran.stdout.startswith("setup: skipped for want of package no-such-package (APT=no)")


def test_without_apt_the_set_up_goes_on(tmp_path):
    """A machine that has none of apt's programs."""
    for name in ("bash", "env", "dirname", "grep"):
        (tmp_path / name).symlink_to(shutil.which(name))
    ran = subprocess.run(
        [PACKAGES, "orthanc"], capture_output=True, text=True, env={"PATH": str(tmp_path)}
    )
    assert ran.returncode == 0, ran.stderr
    assert "skipped for want of package orthanc (this machine has no apt)" in ran.stdout


def test_packages_that_are_there_are_not_spoken_of():
    if shutil.which("dpkg-query") is None:
        pytest.skip("no dpkg-query: not a Debian machine")
    ran = subprocess.run([PACKAGES, "dpkg"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")
