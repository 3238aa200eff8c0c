"""``make bench-models``: one whole chest and one whole head, each through its model.

Every round is a process of its own with two threads, as a worker of the node. What is timed is the
answer of a model that is loaded; the memory is the most that the process ever had.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from deploy.demo.head import find_head
from secondread.inference.worker.model import load_model
from tests.bench.figures import Goal, Measured, all_hold, print_line
from tests.bench.receivers import REPOSITORY
from tests.chests import Volume, thorax

ROUNDS = 3
THREADS = 2
CHEST_SHAPE = (300, 512, 512)
OURS = "secondread"
MEMORY_MIB = 4096.0


@dataclass(frozen=True)
class Part:
    """A volume, and the model that gets it."""

    model: str
    figure: str
    make: Callable[[], Volume]
    below_s: float = 20.0

    @property
    def goals(self) -> tuple[Goal, Goal]:
        """The time, and the memory."""
        return (
            Goal(self.figure, "s", OURS, below=self.below_s),
            Goal(f"{self.figure}: peak memory", "MiB", OURS, below=MEMORY_MIB),
        )


def make_chest() -> Volume:
    """A made-up chest of 512 x 512 x 300 with the noise of a CT."""
    voxels, affine = thorax()
    zoom = np.array(CHEST_SHAPE) / voxels.shape
    large = ndimage.zoom(voxels, zoom, order=1)
    for number, plane in enumerate(large):
        plane += np.random.default_rng(number).normal(0, 15, plane.shape).astype(np.int16)
    return large, affine @ np.diag([*(1 / zoom), 1.0])


def make_head() -> Volume:
    """The head of the demo, 1 mm."""
    head = find_head()
    return head.voxels, head.affine_lps


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "chest_ct": Part("chest_ct", "chest_ct on 512 x 512 x 300", make_chest),
        "brain_mr": Part("brain_mr", "brain_mr on a whole head of 1 mm", make_head),
    }
)


def main() -> int:
    """Print two lines for every model; 1 where one does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.models")
    parser.add_argument("--only", action="append", choices=tuple(PARTS), help="this model alone")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="for a quick look: fewer")
    parser.add_argument("--answer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        print(json.dumps(answer(options.answer[0], Path(options.answer[1]))))
        return 0
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        file=sys.stderr,
    )
    lines = []
    for name in options.only or PARTS:
        for line in measure(PARTS[name], options.rounds):
            print_line(line)
            sys.stdout.flush()
            lines.append(line)
    return 0 if all_hold(lines) else 1


def measure(part: Part, rounds: int) -> list[dict[str, object]]:
    """The lines of one model; ``of_goal`` is the value divided by what it must stay below."""
    with tempfile.TemporaryDirectory(prefix="secondread-bench-") as name:
        path = Path(name) / "volume.npz"
        voxels, affine = part.make()
        np.savez(path, voxels=voxels, affine=affine)
        del voxels
        runs = [_run(part.model, path) for _ in range(rounds)]
    if refusal := next((run["refusal"] for run in runs if run["refusal"]), ""):
        return [goal.without_value(error=refusal) for goal in part.goals]
    lines = []
    for goal, key in zip(part.goals, ("seconds", "peak_mib"), strict=True):
        line = goal.line(Measured(tuple(float(run[key]) for run in runs)))
        assert goal.below is not None
        line["of_goal"] = float(f"{line['value'] / goal.below:.3g}")
        lines.append(line)
    lines[0]["cpu_s"] = float(f"{np.median([run['cpu_s'] for run in runs]):.3g}")
    return lines


def _run(model: str, volume: Path) -> dict[str, float | str]:
    command = [sys.executable, "-m", "tests.bench.models", "--answer", model, str(volume)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": str(THREADS)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def answer(model: str, volume: Path) -> dict[str, float | str]:
    """One answer of a model, in this process."""
    folder = REPOSITORY / "models" / model
    digest = hashlib.sha256((folder / "model.toml").read_bytes()).hexdigest()
    loaded = load_model(folder, digest, "cpu")
    given = np.load(volume)
    voxels, affine = given["voxels"], given["affine"]
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    found = loaded.predict(voxels, affine, {"attributes": {}})
    return {
        "seconds": time.perf_counter() - wall_s,
        "cpu_s": time.process_time() - cpu_s,
        "peak_mib": _peak_mib(),
        "refusal": found.refusal or "",
    }


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
