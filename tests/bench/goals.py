"""``make bench-intake``: how fast the intake is against others, one line of JSON per figure.

``docs/benchmarks.md`` says how to read it. ``--only echo`` (or another race) runs a part.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from tests.bench import races
from tests.bench.figures import Goal, Measured, all_hold, print_line
from tests.bench.races import Race
from tests.bench.receivers import (
    CALLED,
    CALLING,
    REPOSITORY,
    Bare,
    BenchError,
    Node,
    Orthanc,
    RawLoop,
    Sink,
    Storescp,
    SyncedStorescp,
    cpu_s,
)
from tests.bench.scu import echo, idle_associations

ROUNDS = 5
OURS, UNSYNCED = "secondread", "secondread without sync"
RAW, ORTHANC = "a raw receive-write-fsync loop", "Orthanc"
STORESCP, LARGE = "storescp", "storescp +B -pdu 131072"
SINK, BARE = "a sink that keeps nothing", "a bare loop that looks at nothing"
FORK, FORK_LARGE = "storescp --fork", "storescp --fork +B -pdu 131072"
SYNCED = "DCMTK's receiver, made to sync"
_LARGE = ("+B", "-pdu", "131072")

RACES = (
    Race(
        "one",
        {
            OURS: Node,
            RAW: RawLoop,
            ORTHANC: Orthanc,
            UNSYNCED: partial(Node, sync=False),
            STORESCP: Storescp,
            LARGE: lambda folder: Storescp(folder, *_LARGE),
            SINK: Sink,
            BARE: partial(Bare, sync=False),
            SYNCED: lambda folder: SyncedStorescp(folder, *_LARGE),
        },
        kind="CT",
        associations=1,
        objects=300,
        send=races.send_with_storescu,
    ),
    Race(
        "four",
        {
            OURS: Node,
            FORK: lambda folder: Storescp(folder, "--fork"),
            SINK: Sink,
            BARE: partial(Bare, sync=True),
            SYNCED: lambda folder: SyncedStorescp(folder, "--fork"),
        },
        kind="CT",
        associations=4,
        objects=200,
        send=races.send_with_storescu,
    ),
    Race(
        "fifty",
        {
            OURS: Node,
            FORK_LARGE: lambda folder: Storescp(folder, "--fork", *_LARGE),
            SINK: Sink,
            BARE: partial(Bare, sync=True),
            SYNCED: lambda folder: SyncedStorescp(folder, "--fork", *_LARGE),
        },
        kind="MR",
        associations=50,
        objects=1000,
        send=races.replay,
        as_files=False,
    ),
    Race(
        "nagle",
        {OURS: Node, STORESCP: partial(Storescp, nodelay=False)},
        kind="CT",
        associations=1,
        objects=150,
        send=races.send_unmodified,
    ),
)

_RATE = "objects/s"
GOALS: Mapping[str, tuple[Goal, ...]] = MappingProxyType(
    {
        "one": (
            Goal("1 association, synced, against a raw loop", _RATE, OURS, RAW, 0.9),
            Goal("1 association, synced, against Orthanc", _RATE, OURS, ORTHANC, 1.5),
            Goal("1 association, without sync, against storescp", _RATE, UNSYNCED, STORESCP, 1.5),
            Goal("1 association, without sync, large PDUs", _RATE, UNSYNCED, LARGE, 1.0),
        ),
        "four": (Goal("4 associations, synced", _RATE, OURS, FORK, 1.0),),
        "fifty": (Goal("50 associations of 20 small MR, synced", _RATE, OURS, FORK_LARGE, 1.5),),
        "nagle": (Goal("an unmodified storescu, synced", _RATE, OURS, STORESCP, 15.0),),
        "echo": (Goal("association and echo", "ms", OURS, at_most=3.0),),
        "idle": (Goal("50 idle associations", "% of a core", OURS, below=2.0),),
    }
)

_ECHOES = 100
_WARM_UP = 20
_IDLE_ASSOCIATIONS = 50
_IDLE_S = 10.0


def main() -> int:
    """Print a line for every figure; 1 where one does not hold or was not measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.goals")
    parser.add_argument("--only", action="append", choices=tuple(GOALS), help="this part alone")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="for a quick look: fewer")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        file=sys.stderr,
    )
    started = time.monotonic()
    # Below the project: a file system on a disk, where a temporary folder may be in memory.
    out = REPOSITORY / "out"
    out.mkdir(exist_ok=True)
    lines = []
    with tempfile.TemporaryDirectory(prefix="bench-intake-", dir=out) as name:
        for part in options.only or GOALS:
            print(f"{time.monotonic() - started:4.0f} s: {part}", file=sys.stderr)
            for line in _measure(part, options.rounds, Path(name)):
                print_line(line)
                sys.stdout.flush()
                lines.append(line)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0 if all_hold(lines) else 1


def _measure(part: str, rounds: int, folder: Path) -> Iterator[dict[str, Any]]:
    if part in _ALONE:
        (goal,) = GOALS[part]
        try:
            yield goal.line(_ALONE[part](rounds, folder))
        except (BenchError, RuntimeError, OSError) as error:
            yield goal.without_value(error=f"{type(error).__name__}: {error}")
        return
    (race,) = (race for race in RACES if race.name == part)
    outcome = races.run(race, rounds, folder)
    for goal in GOALS[part]:
        names = (goal.ours, goal.rival)
        missing = {outcome.skipped[name] for name in names if name in outcome.skipped}
        failed = {outcome.errors[name] for name in names if name in outcome.errors}
        if failed:
            yield goal.without_value(error=" ".join(sorted(failed)))
        elif missing:
            yield goal.without_value(skipped=" ".join(sorted(missing)))
        else:
            line = goal.line(*(outcome.figures[name] for name in names))
            rival = outcome.figures[goal.rival].median
            # A synced one has the raw loop for that, alone.
            bare = "" if (part, goal.ours) == ("one", OURS) else BARE
            synced = SYNCED if goal.ours == OURS else ""
            for key, name in (("ceiling", SINK), ("bare", bare), ("synced", synced)):
                if name in outcome.figures:
                    line[key] = float(f"{outcome.figures[name].median / rival:.4g}")
            yield line


def _measure_echo(rounds: int, folder: Path) -> Measured:
    """Medians of many, in milliseconds, against a node that has answered some already."""
    node = Node(folder / "echo")
    try:
        for _ in range(_WARM_UP):
            echo(node.port, CALLING, CALLED)
        return Measured(
            tuple(
                1000 * median(echo(node.port, CALLING, CALLED) for _ in range(_ECHOES))
                for _ in range(rounds)
            )
        )
    finally:
        node.close()


def _measure_idle(rounds: int, folder: Path) -> Measured:
    """CPU time of the whole intake process in per cent of a core."""
    node = Node(folder / "idle")
    try:
        shares = []
        for _ in range(rounds):
            # New ones for each run: the node ends what is silent for too long.
            with idle_associations(node.port, (CALLING, CALLED), _IDLE_ASSOCIATIONS):
                time.sleep(0.5)
                started, before = time.monotonic(), cpu_s(node.pid)
                time.sleep(_IDLE_S)
                used = cpu_s(node.pid) - before
                shares.append(100 * used / (time.monotonic() - started))
        return Measured(tuple(shares))
    finally:
        node.close()


_ALONE: Mapping[str, Callable[[int, Path], Measured]] = MappingProxyType(
    {"echo": _measure_echo, "idle": _measure_idle}
)

if __name__ == "__main__":
    sys.exit(main())
