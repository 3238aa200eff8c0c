"""Several receivers given the same load in turns, A B C B C A …, and everything counted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median

from deploy.demo.pacs import LOOPBACK
from tests.bench.figures import Measured
from tests.bench.objects import Maker, Sample, write_samples
from tests.bench.receivers import (
    CALLED,
    CALLING,
    BenchError,
    MissingProgramError,
    Receiver,
    Start,
    cpu_s,
    installed,
)
from tests.bench.scu import Replay
from tests.bench.settle import settle_memory

_SEND_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Load:
    """What one round sends: a study for each association, as files too where a program sends it."""

    studies: Sequence[Sequence[Sample]]
    folders: Sequence[Path]

    @property
    def samples(self) -> list[Sample]:
        return list(chain.from_iterable(self.studies))


@dataclass(frozen=True)
class Race:
    """Contenders, what they get, and how it is sent (which returns seconds)."""

    name: str
    contenders: Mapping[str, Start]
    kind: str
    associations: int
    objects: int
    send: Callable[[Receiver, Load], float]
    as_files: bool = True


@dataclass(frozen=True)
class Outcome:
    """What a race gave: figures (objects per second), and why some contenders have none."""

    figures: Mapping[str, Measured]
    skipped: Mapping[str, str]
    errors: Mapping[str, str]


def run(race: Race, rounds: int, folder: Path) -> Outcome:
    """All rounds of a race; progress goes to standard error."""
    maker = Maker(race.kind)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in race.contenders}
    skipped: dict[str, str] = {}
    errors: dict[str, str] = {}
    for number in range(rounds):
        place = folder / f"{race.name}-{number}"
        load = _load(race, maker, place)
        for name in in_turn(tuple(race.contenders), number):
            if name in skipped or name in errors:
                continue
            home = place / name.replace(" ", "-")
            try:
                seconds, cpu = _turn(race, race.contenders[name], load, home)
            except MissingProgramError as missing:
                skipped[name] = f"install the package {missing}"
            except (BenchError, RuntimeError, OSError, subprocess.SubprocessError) as error:
                errors[name] = f"{type(error).__name__}: {error}"
                print(f"  {name}: {errors[name]}", file=sys.stderr)
            else:
                taken[name].append((race.objects / seconds, 1000 * cpu / race.objects))
                shown = f"{race.objects / seconds:8.1f} objects/s {taken[name][-1][1]:6.2f} ms CPU"
                print(f"  {race.name} {number + 1} {shown}  {name}", file=sys.stderr)
            finally:
                _empty(home)
    figures = {
        name: Measured(tuple(rate for rate, _ in turns), median(cpu for _, cpu in turns))
        for name, turns in taken.items()
        if name not in skipped and name not in errors
    }
    return Outcome(figures, skipped, errors)


def in_turn(names: Sequence[str], number: int) -> Sequence[str]:
    """The order of a round, counted from 0: each begins with another contender.

    Who comes first, when the objects have just been written, is some eight per cent slower.
    """
    at = number % len(names)
    return (*names[at:], *names[:at])


def _empty(folder: Path) -> None:
    """Give memory and disk back, but keep the files.

    ext4 goes round inodes that were freed in the last minutes and is slow to find another, so that
    whoever comes after a removal would pay for it.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)


def _load(race: Race, maker: Maker, place: Path) -> Load:
    each = race.objects // race.associations
    studies = [list(maker.study(each)) for _ in range(race.associations)]
    folders = [place / f"study{number}" for number in range(race.associations)]
    if race.as_files:
        for study, folder in zip(studies, folders, strict=True):
            write_samples(study, folder)
    return Load(studies, folders)


def _turn(race: Race, start: Start, load: Load, home: Path) -> tuple[float, float]:
    """One contender's turn: (seconds, CPU seconds of the receiver)."""
    receiver = _started(start, home)
    try:
        # What others have left to write would otherwise be this one's burden.
        os.sync()
        settle_memory()
        before = cpu_s(receiver.pid)
        seconds = race.send(receiver, load)
        cpu = cpu_s(receiver.pid) - before
        receiver.verify(load.samples)
    finally:
        receiver.close()
    return seconds, cpu


def _started(start: Start, home: Path) -> Receiver:
    """A port that was free a moment ago may be taken, so there is a second try."""
    try:
        return start(home)
    except (BenchError, RuntimeError, OSError) as error:
        print(f"  once more: {error}", file=sys.stderr)
        shutil.rmtree(home)
        return start(home)


def send_with_storescu(receiver: Receiver, load: Load, *, nodelay: bool = True) -> float:
    """A storescu for each study, all at once; from the first start to the last end."""
    program = installed("storescu")
    environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    if nodelay:
        environment["TCP_NODELAY"] = "1"
    names = ("-aet", CALLING, "-aec", CALLED, "+sd", LOOPBACK, str(receiver.port))
    senders: list[subprocess.Popen[bytes]] = []
    # A wait with a timeout would look every 50 ms only, a fifth of the shortest turn.
    watchdog = threading.Timer(_SEND_TIMEOUT_S, lambda: [one.kill() for one in senders])
    watchdog.start()
    started = time.perf_counter()
    try:
        for folder in load.folders:
            command = (program, *names, str(folder))
            senders.append(
                subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=sys.stderr, env=environment
                )
            )
        codes = [sender.wait() for sender in senders]
        seconds = time.perf_counter() - started
    finally:
        watchdog.cancel()
        for sender in senders:
            if sender.poll() is None:
                sender.kill()
                sender.wait()
    if any(codes):
        raise BenchError(f"storescu ended with {codes}.")
    return seconds


def send_unmodified(receiver: Receiver, load: Load) -> float:
    """As it comes: Nagle's algorithm on."""
    return send_with_storescu(receiver, load, nodelay=False)


def replay(receiver: Receiver, load: Load) -> float:
    """All studies at once from one process of the bench's own."""
    return Replay(receiver.port, (CALLING, CALLED), load.studies).run()
