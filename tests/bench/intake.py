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

from deploy.demo.pacs import LOOPBACK
from secondread.store import Ledger
from tests.bench.receivers import CALLED, CALLING, Node


@dataclass(frozen=True)
class Sender:
    """A program that stores files; ``{port}`` and ``{folder}`` are filled in."""

    name: str
    program: str
    arguments: tuple[str, ...]
    tcp_nodelay: str = "1"


_DCMTK = ("-aet", CALLING, "-aec", CALLED, "+sd", LOOPBACK, "{port}", "{folder}")
_OURS = (
    f"-m secondread send {{folder}} --to {CALLED}@{LOOPBACK}:{{port}} --calling {CALLING} --json"
)
SENDERS = (
    Sender("secondread send", sys.executable, tuple(_OURS.split())),
    Sender("storescu, TCP_NODELAY=1", "storescu", _DCMTK),
    Sender("storescu as it comes", "storescu", _DCMTK, tcp_nodelay=""),
    Sender("dcmsend, TCP_NODELAY=1", "dcmsend", _DCMTK),
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
    node = Node(folder)
    environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    if sender.tcp_nodelay:
        environment["TCP_NODELAY"] = sender.tcp_nodelay
    places = {"port": str(node.port), "folder": str(series)}
    command = [program, *(argument.format(**places) for argument in sender.arguments)]
    try:
        started = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        seconds = time.monotonic() - started
    finally:
        node.close()
    _count(node.data_dir, count)
    return seconds


def _count(data_dir: Path, count: int) -> None:
    ledger = Ledger.open(data_dir)
    try:
        with ledger.read() as view:
            found = view.instances.count()
    finally:
        ledger.close()
    if found != count:
        raise RuntimeError(f"{count} objects were sent and {found} are in the ledger.")
