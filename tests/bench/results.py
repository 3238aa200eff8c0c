"""``make bench-results``: how fast results are written, and in how much memory; lines of JSON.

Every round runs every contender once, one after the other. ``docs/benchmarks.md`` says what is
counted. ``--only binary`` (or another part) runs a part.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from conformance.validators import ToolAbsentError, find_program
from secondread.domain.form import Compression, Form, SegmentationKind
from secondread.results.analysis import Analysis
from secondread.results.gate import check
from secondread.results.made import Made
from secondread.results.report.document import make_report
from secondread.results.segmentation.documents import make_segmentations
from secondread.results.write import make_documents
from tests.bench.figures import Goal, Measured, all_hold, print_line
from tests.bench.receivers import REPOSITORY
from tests.bench.results_case import (
    BodyCase,
    make_body,
    open_body,
    read_masks,
    write_body,
    write_synced,
)

ROUNDS = 5
BINARY = Form()
LABEL_MAP = Form(segmentation=SegmentationKind.LABELMAP, compression=Compression.JPEG_LS)
_SHARE = "of the writing"
_RIVAL_S = 600.0

Values = Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """A figure, and the names under which the rounds report its values."""

    goal: Goal
    ours: str
    rival: str = ""


@dataclass(frozen=True)
class Part:
    """What is run in each round, and the figures that come of it."""

    runs: tuple[Callable[[BodyCase], Values], ...]
    figures: tuple[Figure, ...]


def write_segmentation(case: BodyCase, form: Form) -> tuple[float, int]:
    """Seconds from the files of source and answer to a synced segmentation, and its size."""
    target = case.folder / f"{form.segmentation}.dcm"
    started = time.perf_counter()
    open_body(case, form).write(target)
    took_s = time.perf_counter() - started
    return took_s, target.stat().st_size


def run_binary(case: BodyCase) -> Values:
    took_s, _ = write_segmentation(case, BINARY)
    return {"binary": case.frames / took_s}


def run_label_map(case: BodyCase) -> Values:
    took_s, size_bytes = write_segmentation(case, LABEL_MAP)
    return {"label map s": took_s, "label map MB": size_bytes / 1e6}


def run_binary_alone(case: BodyCase) -> Values:
    """Peak memory of a process that does nothing but write a segmentation, its libraries too."""
    command = [sys.executable, "-m", "tests.bench.results", "--write", str(case.folder)]
    told = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return {"binary MiB": float(told.stdout) / 1024}


def read_peak_kib() -> int:
    """The most memory that this process has had; what its parent had does not count."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[1])


def run_report(case: BodyCase) -> Values:
    """A report with a group for each structure, from the numbers to a synced file."""
    body = open_body(case, BINARY)
    analysis = Analysis(body.labels)
    segmentations = make_segmentations(body.context, analysis)
    made = Made(segmentations, body.measure(), segmentations)
    started = time.perf_counter()
    write_synced(make_report(body.context, analysis, made), case.folder / "report.dcm")
    return {"report s": time.perf_counter() - started}


def run_gate(case: BodyCase, form: Form, name: str) -> Values:
    """What the gate costs, as a share of measuring, making and writing all objects of a job."""
    body = open_body(case, form)
    analysis = Analysis(body.labels)
    started = time.perf_counter()
    made = make_documents(body.context, analysis)
    paths = [case.folder / f"{name}-{document.name}.dcm" for document in made.documents]
    for document, path in zip(made.documents, paths, strict=True):
        write_synced(document, path)
    written = time.perf_counter()
    for document, path in zip(made.documents, paths, strict=True):
        check(path, body.context, analysis, made, document)
    return {name: (time.perf_counter() - written) / (written - started)}


def run_binary_gate(case: BodyCase) -> Values:
    return run_gate(case, BINARY, "binary gate")


def run_label_map_gate(case: BodyCase) -> Values:
    return run_gate(case, LABEL_MAP, "label map gate")


def run_dcmqi(case: BodyCase) -> Values:
    """The same masks and sources through dcmqi."""
    program = find_program("itkimage2segimage", "dcmqi")
    command = [
        *(program, "--inputImageList", str(case.masks)),
        *("--inputDICOMDirectory", str(case.sources)),
        *("--inputMetadata", str(case.metadata)),
        *("--outputDICOM", str(case.folder / "dcmqi.dcm")),
    ]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=_RIVAL_S)
    return {"dcmqi": case.frames / (time.perf_counter() - started)}


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "binary": Part(
            (run_dcmqi, run_binary),
            (
                Figure(
                    Goal(
                        "BINARY, 100 segments on 500 slices of 512 x 512",
                        "frames/s",
                        "secondread",
                        "dcmqi",
                        at_least=4.0,
                    ),
                    "binary",
                    "dcmqi",
                ),
            ),
        ),
        "memory": Part(
            (run_binary_alone,),
            (
                Figure(
                    Goal("peak memory of the same", "MiB", "secondread", at_most=600),
                    "binary MiB",
                ),
            ),
        ),
        "labelmap": Part(
            (run_label_map,),
            (
                Figure(
                    Goal("LABELMAP of the same, as JPEG-LS", "s", "secondread", at_most=1.0),
                    "label map s",
                ),
                Figure(Goal("size of its file", "MB", "secondread", at_most=3.0), "label map MB"),
            ),
        ),
        "report": Part(
            (run_report,),
            (Figure(Goal("report with 100 groups", "s", "secondread", at_most=0.5), "report s"),),
        ),
        "gate": Part(
            (run_binary_gate, run_label_map_gate),
            (
                Figure(
                    Goal("gate of a job with BINARY", _SHARE, "secondread", at_most=0.3),
                    "binary gate",
                ),
                Figure(
                    Goal("gate of a job with LABELMAP", _SHARE, "secondread", at_most=0.3),
                    "label map gate",
                ),
            ),
        ),
    }
)


def measure(
    parts: Mapping[str, Part], case: BodyCase, rounds: int
) -> tuple[dict[str, object], ...]:
    """The lines of all parts, after as many rounds."""
    values: dict[str, list[float]] = {}
    runs = [run for part in parts.values() for run in part.runs]
    fault = ""
    for _ in range(rounds):
        for run in runs:
            try:
                found = run(case)
            except ToolAbsentError as error:
                fault = str(error)
                continue
            for name, value in found.items():
                values.setdefault(name, []).append(value)
    if "dcmqi" in values and not _agree(case):
        fault = "The two segmentations do not show the same."
    return tuple(_line(figure, values, fault) for part in parts.values() for figure in part.figures)


def _agree(case: BodyCase) -> bool:
    """Whether ours and dcmqi's have the same segment in every voxel."""
    slices = len(np.load(case.labels, mmap_mode="r"))
    theirs, ours = (read_masks(case.folder / name, slices) for name in ("dcmqi.dcm", "binary.dcm"))
    return np.array_equal(theirs, ours)


def _line(figure: Figure, values: Mapping[str, list[float]], fault: str) -> dict[str, object]:
    ours = Measured(tuple(values[figure.ours]))
    if not figure.rival:
        return figure.goal.line(ours)
    if fault:
        kind = "error" if figure.rival in values else "skipped"
        return figure.goal.without_value(**{kind: fault})
    return figure.goal.line(ours, Measured(tuple(values[figure.rival])))


def main() -> int:
    """Print a line for every figure; 1 where one does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.results")
    parser.add_argument("--only", action="append", choices=tuple(PARTS), help="this part alone")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="for a quick look: fewer")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_segmentation(BodyCase(options.write), BINARY)
        print(read_peak_kib())
        return 0
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}", file=sys.stderr)
    out = REPOSITORY / "out"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-results-", dir=out) as folder:
        case = write_body(make_body(), Path(folder))
        # What is loaded at a first use is loaded by a node that has written one result.
        write_segmentation(case, LABEL_MAP)
        parts = {name: PARTS[name] for name in options.only or PARTS}
        lines = measure(parts, case, options.rounds)
    for line in lines:
        print_line(line)
    return 0 if all_hold(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
