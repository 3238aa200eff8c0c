"""``make bench-delivery``: the node's sender against DCMTK's dcmsend, one line of JSON per figure.

Both send the same files to the same kind of storescp, in turns. ``docs/benchmarks.md`` says what is
counted. ``--only small`` (or another part) runs a part.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType

import numpy as np
import structlog
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from deploy.demo.pacs import LOOPBACK
from secondread.app.deliver import prepare_process
from secondread.delivery.address import Address
from secondread.delivery.object_file import kinds_of
from secondread.delivery.sender import Sender
from secondread.dicom.uids import derive_uid
from secondread.domain.destination import Destination
from tests.bench.delivery_backlog import measure_backlog
from tests.bench.figures import Goal, Measured, all_hold, print_line
from tests.bench.receivers import (
    CALLED,
    CALLING,
    REPOSITORY,
    BenchError,
    MissingProgramError,
    Storescp,
    installed,
)
from tests.outbox_cases import Outbox, running

ROUNDS = 12
BACKLOG = "backlog"
OURS, RIVAL = "secondread", "dcmsend"
_CT, _SEGMENTATION = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"
_SEND_TIMEOUT_S = 300.0
_OBJECTS_OF_A_JOB = 5
_WITH_LEDGER = 0.4


@dataclass(frozen=True)
class Part:
    """So many objects of one kind and size."""

    figure: str
    sop_class_uid: str
    objects: int
    shape: tuple[int, int, int]
    """Frames, rows and columns, of one byte each."""
    nodelay: bool = True
    """Without Nagle's algorithm on DCMTK's side; False is DCMTK as it comes."""
    whole: bool = False
    """Ours is the courier with outbox, ledger and trail, and not the sender alone."""

    @property
    def goal(self) -> Goal:
        """Like with like where ours is the sender; dcmsend keeps no ledger that the courier has."""
        at_least = _WITH_LEDGER if self.whole else 0.9
        return Goal(self.figure, "objects/s", OURS, RIVAL, at_least=at_least)


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "small": Part("1,000 CT of 20 kB", _CT, 1000, (1, 100, 200)),
        "unmodified": Part(
            "100 CT of 20 kB, DCMTK as it comes", _CT, 100, (1, 100, 200), nodelay=False
        ),
        "whole": Part(
            "1,000 CT of 20 kB, courier and ledger", _CT, 1000, (1, 100, 200), whole=True
        ),
        "large": Part("20 SEG of 50 MB", _SEGMENTATION, 20, (200, 500, 500)),
    }
)


def write_objects(part: Part, folder: Path) -> list[Path]:
    """Files whose data sets differ in UID and content."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(11)
    noise = random.bytes(prod(part.shape))
    paths = []
    for number in range(part.objects):
        path = folder / f"{number:04d}.dcm"
        turn = 2 * number
        _object(part, number, noise[turn:] + noise[:turn]).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _object(part: Part, number: int, content: bytes) -> Dataset:
    found = Dataset()
    found.SOPClassUID = part.sop_class_uid
    found.SOPInstanceUID = derive_uid("bench", part.figure, str(number))
    found.StudyInstanceUID = derive_uid("bench", part.figure, "study")
    found.SeriesInstanceUID = derive_uid("bench", part.figure, "series")
    found.PatientName, found.PatientID = "Bench^Phantom", "BENCH-0001"
    found.Modality = "CT" if part.sop_class_uid == _CT else "SEG"
    found.StudyDate, found.InstanceNumber = "20240102", number + 1
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.Rows, found.Columns = part.shape[1:]
    found.NumberOfFrames = part.shape[0]
    found.BitsAllocated = found.BitsStored = 8
    found.HighBit, found.PixelRepresentation = 7, 0
    found.add_new("PixelData", "OB", content)
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    return found


def send_ours(receiver: Storescp, paths: list[Path], _nodelay: bool) -> float:
    """As the node sends: file meta information for the contexts, one association, release."""
    started = time.perf_counter()
    address = Address(LOOPBACK, receiver.port, CALLED, CALLING)
    with Sender(address, kinds_of(paths)) as sender:
        for path in paths:
            if sender.send(path).status:
                raise BenchError("storescp stored an object with a warning.")
    return time.perf_counter() - started


def send_with_courier(receiver: Storescp, paths: list[Path], _nodelay: bool) -> float:
    """As the node delivers: from the outbox, with synced commits, until all is written down."""
    with tempfile.TemporaryDirectory(prefix="node-", dir=paths[0].parent.parent) as folder:
        outbox = Outbox(Path(folder))
        there = Destination(
            name="pacs",
            ae_title=CALLED,
            host=LOOPBACK,
            port=receiver.port,
            calling_ae_title=CALLING,
        )
        courier = outbox.courier(there)
        outbox.add_files("pacs", paths, _OBJECTS_OF_A_JOB)
        os.sync()
        switch_s = sys.getswitchinterval()
        # As the role does when it starts; the sender alone is measured without.
        prepare_process()
        started = time.time()
        with running(courier):
            outbox.wait_until(lambda: not outbox.is_due(), _SEND_TIMEOUT_S, look_every_s=0.2)
        items = outbox.items()
        outbox.close()
        gc.unfreeze()
        sys.setswitchinterval(switch_s)
    if {item.state.value for item in items} != {"sent"}:
        raise BenchError("The outbox does not say that all was sent.")
    # Looking more often for the end would disturb what is measured.
    return max(item.sent_at or 0.0 for item in items) - started


def send_with_dcmsend(receiver: Storescp, paths: list[Path], nodelay: bool) -> float:
    """DCMTK's sender on the same files; its bare start is taken off, for ours has started, too."""
    program = installed("dcmsend")
    names = ("-aet", CALLING, "-aec", CALLED, LOOPBACK, str(receiver.port))
    environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    if nodelay:
        environment["TCP_NODELAY"] = "1"
    start_s = _run([program, "--version"], environment)
    return _run([program, *names, *map(str, paths)], environment) - start_s


def _run(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env=environment,
        timeout=_SEND_TIMEOUT_S,
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"dcmsend ended with {done.returncode}.")
    return time.perf_counter() - started


Send = Callable[[Storescp, list[Path], bool], float]
"""Sends files, without Nagle's algorithm or with it; in seconds."""
_SENDERS: Mapping[str, Send] = MappingProxyType({OURS: send_ours, RIVAL: send_with_dcmsend})


def take_turn(send: Send, paths: list[Path], home: Path, nodelay: bool) -> float:
    """Objects per second of one sender, to a new storescp with an empty folder."""
    receiver = Storescp(home, nodelay=nodelay)
    try:
        # What others have left to write would otherwise be this one's burden.
        os.sync()
        seconds = send(receiver, paths, nodelay)
        stored = sorted(path.stat().st_size for path in (home / "stored").iterdir())
    finally:
        receiver.close()
    if len(stored) != len(paths) or stored[0] < min(path.stat().st_size for path in paths) - 1024:
        raise BenchError(f"{len(paths)} objects were sent, {len(stored)} files are there.")
    return len(paths) / seconds


def measure(name: str, part: Part, rounds: int, folder: Path) -> dict[str, object]:
    """The line of one part, after as many rounds of A B B A …."""
    senders = {**_SENDERS, OURS: send_with_courier} if part.whole else _SENDERS
    rates: dict[str, list[float]] = {sender: [] for sender in senders}
    used_ms = []
    paths = write_objects(part, folder / name)
    # The first round is not counted: it finds memory and disk as nobody after it does.
    for number in range(rounds + 1):
        # Whoever comes first finds them in another state; so each does, in turns.
        turns = list(senders.items())[:: -1 if number % 2 else 1]
        for sender, send in turns:
            home = folder / f"{name}-{number}-{sender}"
            before_s = time.process_time()
            try:
                rate = take_turn(send, paths, home, part.nodelay)
            except MissingProgramError as missing:
                return part.goal.without_value(skipped=f"install the package {missing}")
            except (BenchError, OSError, subprocess.SubprocessError) as error:
                return part.goal.without_value(error=f"{type(error).__name__}: {error}")
            finally:
                shutil.rmtree(home, ignore_errors=True)
            if not number:
                continue
            rates[sender].append(rate)
            if sender == OURS and not part.whole:
                # What fills the outbox would count as well.
                used_ms.append(1000 * (time.process_time() - before_s) / len(paths))
            print(f"  {name} {number} {rate:8.1f}/s  {sender}", file=sys.stderr)
    ours = Measured(tuple(rates[OURS]), float(np.median(used_ms)) if used_ms else None)
    return part.goal.line(ours, Measured(tuple(rates[RIVAL])))


def _lines(names: list[str], rounds: int, folder: Path) -> Iterator[dict[str, object]]:
    for name in names:
        if name == BACKLOG:
            yield measure_backlog(rounds, folder)
        else:
            yield measure(name, PARTS[name], rounds, folder)


def main() -> int:
    """Print a line for every figure; 1 where one does not hold or was not measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.delivery")
    parser.add_argument(
        "--only", action="append", choices=(*PARTS, BACKLOG), help="this part alone"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="for a quick look: fewer")
    options = parser.parse_args()
    # Standard output is for the figures.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}", file=sys.stderr)
    out = REPOSITORY / "out"
    out.mkdir(exist_ok=True)
    lines = []
    with tempfile.TemporaryDirectory(prefix="bench-delivery-", dir=out) as folder:
        for line in _lines(options.only or [*PARTS, BACKLOG], options.rounds, Path(folder)):
            print_line(line)
            sys.stdout.flush()
            lines.append(line)
    return 0 if all_hold(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
