"""``make bench-volume``: how fast a series becomes a volume, against SimpleITK, line by line.

``docs/benchmarks.md`` says how to read it. ``--only jpeg-ls`` (or another part) runs a part.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import SimpleITK
from pydicom import dcmread
from pydicom.uid import UID, CTImageStorage, JPEG2000Lossless, JPEGLSLossless
from scipy.ndimage import gaussian_filter

from secondread.app.heap import keep_what_is_loaded
from secondread.assembly.decoding import DecoderPool
from secondread.assembly.volume import read_volume
from tests.bench.figures import Goal, Measured, all_hold, print_line
from tests.bench.receivers import REPOSITORY
from tests.bench.settle import settle_memory
from tests.recorded import record
from tests.slices import make_slice, store

ROUNDS = 5
PROCESSES = 2
OURS, THEIRS = "secondread", "SimpleITK"
_UNIT = "slices/s"
_SIDE = 512
_PATTERNS = 8


@dataclass(frozen=True)
class Part:
    """A series to read; ``plugin`` is pydicom's encoder of a compressed one."""

    slices: int
    goal: Goal
    syntax: UID | None = None
    plugin: str = ""


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "native": Part(500, Goal("500 uncompressed CT slices", _UNIT, OURS, THEIRS, 8.0)),
        "jpeg-2000": Part(
            100,
            Goal("100 CT slices in JPEG 2000, two processes", _UNIT, OURS, THEIRS, 1.5),
            JPEG2000Lossless,
            "pylibjpeg",
        ),
        "jpeg-ls": Part(
            200,
            Goal("200 CT slices in JPEG-LS, two processes", _UNIT, OURS, THEIRS, 1.5),
            JPEGLSLossless,
            "pyjpegls",
        ),
    }
)


def main() -> int:
    """Print a line for every figure; 1 where one does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.volume")
    parser.add_argument("--only", action="append", choices=tuple(PARTS), help="this part alone")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="for a quick look: fewer")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        file=sys.stderr,
    )
    out = REPOSITORY / "out"
    out.mkdir(exist_ok=True)
    lines = []
    for name in options.only or PARTS:
        with tempfile.TemporaryDirectory(prefix="bench-volume-", dir=out) as folder:
            line = measure(PARTS[name], options.rounds, Path(folder))
        print_line(line)
        sys.stdout.flush()
        lines.append(line)
    return 0 if all_hold(lines) else 1


def measure(part: Part, rounds: int, spool: Path) -> dict[str, object]:
    """Both readers in turns; every volume of ours is compared with theirs, voxel by voxel."""
    for number, pixels in enumerate(_patient(part.slices), 1):
        _write(part, spool, number, pixels)
    instances = [record(path, spool) for path in sorted(spool.iterdir())]
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(spool))
    wanted = SimpleITK.GetArrayFromImage(_read_theirs(names))
    pool = DecoderPool(PROCESSES)
    ours, theirs = [], []
    try:
        if not np.array_equal(read_volume(instances, spool, decoder=pool).voxels, wanted):
            return part.goal.without_value(error="The two readers do not agree.")
        del wanted
        # As the role does when it starts.
        keep_what_is_loaded()
        for _ in range(rounds):
            theirs.append(part.slices / _timed(lambda: _read_theirs(names)))
            ours.append(part.slices / _timed(lambda: read_volume(instances, spool, decoder=pool)))
    finally:
        gc.unfreeze()
        pool.close()
    return part.goal.line(Measured(tuple(ours)), Measured(tuple(theirs)))


def _timed(work: Callable[[], object]) -> float:
    """Seconds until a volume is there; it is given back outside the time, as in a real job."""
    # What has still to be written would take one of the processors at some time.
    os.sync()
    settle_memory()
    started = time.perf_counter()
    volume = work()
    took_s = time.perf_counter() - started
    del volume
    return took_s


def _read_theirs(names: Sequence[str]) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(names)
    return reader.Execute()


def _write(part: Part, spool: Path, number: int, pixels: np.ndarray) -> None:
    dataset = make_slice(
        pixels,
        (-250, -250, number),
        number,
        SOPClassUID=CTImageStorage,
        Modality="CT",
        PixelSpacing=["0.9765625", "0.9765625"],
        SliceThickness="1",
        BitsStored=12,
        HighBit=11,
        RescaleSlope="1",
        RescaleIntercept="-1024",
    )
    path = store(dataset, spool)
    if part.syntax is not None:
        packed = dcmread(path)
        packed.compress(part.syntax, encoding_plugin=part.plugin, generate_instance_uid=False)
        packed.save_as(path)


def _patient(slices: int) -> Iterator[np.ndarray]:
    """A body with bone and the noise of a CT; no two slices are the same."""
    rng = np.random.default_rng(1)
    row, column = np.mgrid[:_SIDE, :_SIDE] - _SIDE / 2
    body = (row / 180) ** 2 + (column / 220) ** 2
    patterns = []
    for number in range(_PATTERNS):
        inner = (row / (150 + number)) ** 2 + (column / 200) ** 2
        tissue = np.where(body < 1, 1064.0, 24.0) + 600 * ((body < 0.95) & (inner > 1))
        noise = 40 * gaussian_filter(rng.normal(0, 1, (_SIDE, _SIDE)), 1)
        patterns.append(np.clip(tissue + noise, 0, 4095).astype(np.uint16))
    for number in range(slices):
        yield np.roll(patterns[number % _PATTERNS], number, axis=1)


if __name__ == "__main__":
    sys.exit(main())
