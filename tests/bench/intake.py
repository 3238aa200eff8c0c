"""How fast the node takes objects, with real senders and a real intake process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.pacs import LOOPBACK, free_port
from secondread.delivery.store_scu import Address, echo
from secondread.store import Ledger

CONFIGURATION = """\
[node]
data_dir = "{data_dir}"
minimum_free_gib = 0.1
[dicom]
host = "{host}"
port = {port}
[log]
level = "warning"
[[models]]
id = "brain_mr"
[[peers]]
name = "bench"
ae_title = "BENCH"
addresses = ["{host}"]
quiet_s = 3600.0
"""
START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Sender:
    """A program that stores files; ``{host}`` and ``{port}`` are filled in."""

    name: str
    program: str
    arguments: tuple[str, ...]
    tcp_nodelay: str = "1"


SECONDREAD_SEND = "-m secondread send {folder} --to SECONDREAD@{host}:{port} --calling BENCH --json"
SENDERS = (
    Sender("secondread send", sys.executable, tuple(SECONDREAD_SEND.split())),
    Sender(
        "storescu, TCP_NODELAY=1",
        "storescu",
        ("-aet", "BENCH", "-aec", "SECONDREAD", "+sd", "{host}", "{port}", "{folder}"),
    ),
    Sender(
        "storescu as it comes",
        "storescu",
        ("-aet", "BENCH", "-aec", "SECONDREAD", "+sd", "{host}", "{port}", "{folder}"),
        tcp_nodelay="0",
    ),
    Sender(
        "dcmsend, TCP_NODELAY=1",
        "dcmsend",
        ("-aet", "BENCH", "-aec", "SECONDREAD", "+sd", "{host}", "{port}", "{folder}"),
    ),
)


def measure_intake(series: Path, count: int, folder: Path) -> Iterator[tuple[str, str]]:
    """(sender, objects per second) for a fresh node each; raises if one object is missing."""
    for number, sender in enumerate(SENDERS):
        program = shutil.which(sender.program)
        if program is None:
            yield sender.name, "skipped: install the package dcmtk"
            continue
        seconds = _send(sender, program, series, count, folder / f"node{number}")
        yield sender.name, f"{seconds:.2f} s, {count / seconds:.0f} objects/s"


def _send(sender: Sender, program: str, series: Path, count: int, folder: Path) -> float:
    port = free_port()
    folder.mkdir(parents=True)
    config = folder / "secondread.toml"
    config.write_text(CONFIGURATION.format(data_dir=folder / "data", host=LOOPBACK, port=port))
    node = subprocess.Popen(
        [sys.executable, "-m", "secondread", "serve", "--role", "intake", "--config", str(config)]
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not echo(Address(LOOPBACK, port, "SECONDREAD", "BENCH", 5.0)).ok:
            if node.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("The intake process did not start.")
            time.sleep(0.1)
        places = {"host": LOOPBACK, "port": str(port), "folder": str(series)}
        command = [program, *(argument.format(**places) for argument in sender.arguments)]
        started = time.monotonic()
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TCP_NODELAY": sender.tcp_nodelay},
        )
        seconds = time.monotonic() - started
    finally:
        node.terminate()
        node.wait(30)
    _count(folder / "data", count)
    return seconds


def _count(data_dir: Path, count: int) -> None:
    ledger = Ledger.open(data_dir)
    try:
        with ledger.read() as view:
            found = sum(study.instances for study in view.studies.list(limit=10))
    finally:
        ledger.close()
    if found != count:
        raise RuntimeError(f"{count} objects were sent and {found} are in the ledger.")
