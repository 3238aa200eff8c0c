"""``make bench-deid``: exports against dicognito, and what the boundary costs; lines of JSON.

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

import numpy as np

from secondread.deid.attributes import permit
from secondread.deid.boundary import prepare
from secondread.deid.export import Export, export
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.options import BASIC
from secondread.deid.profile.risks import Overrides
from secondread.domain.technical import SOURCES
from secondread.domain.volume import Volume
from tests.bench.figures import Goal, Measured, all_hold, print_line
from tests.bench.objects import Maker, write_samples

SLICES = 500
ROUNDS = 5
GOAL = Goal("export of 500 CT slices", "objects/s", "secondread", "dicognito", at_least=3.0)
BOUNDARY = Goal("the boundary of a study of 500 slices", "s", "secondread", below=0.5)
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


def time_boundary(folder: Path, slices: int) -> float:
    """Seconds from a volume in memory to what a model gets, synced to disk."""
    voxels = np.random.default_rng(0).integers(-1024, 3000, (slices, 512, 512)).astype(np.int16)
    volume = Volume(voxels, np.diag([1.25, 0.7, 0.7, 1.0]), ())
    started = time.perf_counter()
    prepare(volume, folder, permit(SOURCES, {"PatientAge": (45.0,), "KVP": (120.0,)}))
    return time.perf_counter() - started


def measure_boundary(slices: int, rounds: int) -> Measured:
    """The seconds of each round."""
    with tempfile.TemporaryDirectory(prefix="secondread-bench-") as name:
        return Measured(tuple(time_boundary(Path(name) / str(n), slices) for n in range(rounds)))


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
    """Print the lines; 0 when the goals hold."""
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
    boundary = BOUNDARY.line(measure_boundary(wanted.slices, wanted.rounds))
    print_line(boundary)
    return 0 if all_hold([line, boundary]) else 1


if __name__ == "__main__":
    sys.exit(main())
