"""``python -m tests.bench.deid``: how fast an export is against dicognito, one line of JSON.

Both read the same 500 CT slices from the disk and write de-identified files, one after the other in
turn, the one that begins changing. dicognito may live in another interpreter: ``--python PATH``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from secondread.deid.export import Export, export
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.options import BASIC
from secondread.deid.profile.risks import Overrides
from tests.bench.figures import Goal, Measured, all_hold, print_line
from tests.bench.objects import Maker, write_samples

SLICES = 500
ROUNDS = 5
GOAL = Goal("export of 500 CT slices", "objects/s", "secondread", "dicognito", at_least=3.0)
_DICOGNITO = """
import sys, time
from pathlib import Path
import pydicom
from dicognito.anonymizer import Anonymizer
source, target = map(Path, sys.argv[1:])
target.mkdir()
started = time.perf_counter()
anonymizer = Anonymizer(seed="bench")
for path in sorted(source.iterdir()):
    dataset = pydicom.dcmread(path)
    anonymizer.anonymize(dataset)
    dataset.save_as(target / path.name)
print(time.perf_counter() - started)
"""


def has_dicognito(python: str) -> bool:
    """Whether that interpreter can import dicognito."""
    command = [python, "-c", "import dicognito.anonymizer"]
    return subprocess.run(command, capture_output=True).returncode == 0


def time_dicognito(python: str, source: Path, target: Path) -> float:
    """Seconds from the first object read to the last one written; its imports do not count."""
    command = [python, "-c", _DICOGNITO, str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def time_export(source: Path, target: Path) -> float:
    """Seconds of an export with the basic profile."""
    paths = sorted(source.iterdir())
    overrides = Overrides(faces="a phantom")
    wanted = Export(paths, target, BASIC, ProjectKey("bench", bytes(32)), overrides)
    started = time.perf_counter()
    export(wanted)
    return time.perf_counter() - started


def race(python: str, slices: int, rounds: int) -> tuple[Measured, Measured]:
    """Objects per second: ours, and dicognito's."""
    ours, rival = [], []
    with tempfile.TemporaryDirectory(prefix="secondread-bench-") as name:
        folder = Path(name)
        write_samples(list(Maker("CT").study(slices)), folder / "source")
        target = folder / "target"
        for turn in range(rounds):
            for is_ours in (turn % 2 == 0, turn % 2 == 1):
                if is_ours:
                    ours.append(slices / time_export(folder / "source", target))
                else:
                    rival.append(slices / time_dicognito(python, folder / "source", target))
                shutil.rmtree(target)
    return Measured(tuple(ours)), Measured(tuple(rival))


def main() -> int:
    """Print the line; 0 when the goal holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has dicognito")
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = parser.parse_args()
    if has_dicognito(wanted.python):
        line = GOAL.line(*race(wanted.python, wanted.slices, wanted.rounds))
    else:
        line = GOAL.without_value(skipped="no dicognito: pip install dicognito")
    print_line(line)
    return 0 if all_hold([line]) else 1


if __name__ == "__main__":
    sys.exit(main())
