"""A worker whose models mean harm. Tests start it where the engine would start its own.

It is the node's worker in everything but one runtime, ``hostile``, which does the misdeed that the
manifest names and then, if it still can, answers that nothing was found.
"""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from secondread.domain.answer import (
    AnsweredFinding,
    AnsweredNumber,
    AnsweredPlace,
    ModelAnswer,
)
from secondread.inference.worker import __main__ as program
from secondread.inference.worker.messages import Assignment
from secondread.inference.worker.model import RUNTIMES
from secondread.inference.worker.prediction import Check, Prediction

GIB = 1024**3
MIB = 1024**2


def channel() -> socket.socket:
    """The worker's socket to the engine."""
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                return socket.socket(fileno=os.dup(number))
        except OSError:
            continue
    raise RuntimeError("There is no socket.")


def answer(key: str = "another", **fields: Any) -> bytes:
    """A packet with an answer."""
    empty = {"attempt": 1, "refusal": "", "checks": [], "error": "", "audit_code": ""}
    return json.dumps({"job_key": key, **empty, **fields}).encode()


def read_environment(_: str) -> str:
    return json.dumps([dict(os.environ), sys.argv, Path.cwd().as_posix()])


def read_processes(_: str) -> str:
    return " ".join(sorted(path.name for path in Path("/proc").iterdir()))


def read_file(target: str) -> str:
    return Path(target).read_bytes()[:100].hex()


def list_folder(target: str) -> str:
    return " ".join(path.name for path in Path(target).iterdir())


def write_into_everything(_: str) -> None:
    for number in range(3, 64):
        try:
            os.fchmod(number, 0o777)
            os.pwrite(number, b"\xff" * 4096, 0)
            os.ftruncate(number, GIB)
        except OSError:
            continue


def connect(_: str) -> None:
    socket.create_connection(("127.0.0.1", 11112), timeout=5)


def resolve(_: str) -> None:
    socket.getaddrinfo("example.org", 80)


def send_datagram(_: str) -> None:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", 53))


def listen(_: str) -> None:
    socket.create_server(("127.0.0.1", 0))


def open_abstract_socket(_: str) -> None:
    socket.socket(socket.AF_UNIX).bind("\0out")


def fork(_: str) -> None:
    if os.fork() == 0:
        time.sleep(600)


def fork_twice(_: str) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)


def start_program(_: str) -> None:
    subprocess.run(["/bin/sh", "-c", "sleep 600 &"], check=True)


def become_program(_: str) -> None:
    os.execv("/bin/sh", ["sh", "-c", "sleep 600"])


def kill_parent(_: str) -> None:
    os.kill(os.getppid(), signal.SIGKILL)


def write_ten_gigabytes(_: str) -> None:
    with Path("/tmp/hostile-big").open("wb") as file:
        for _ in range(10 * 1024):
            file.write(bytes(MIB))


def fill_temporary_folder(_: str) -> None:
    for number in range(10 * 1024):
        Path(f"/tmp/hostile-{number}").write_bytes(bytes(MIB))


def take_memory_at_once(_: str) -> None:
    np.ones(20 * GIB, np.uint8)


def take_memory_bit_by_bit(_: str) -> None:
    held = []
    while True:
        held.append(bytearray(b"\1") * (64 * MIB))


def sleep(_: str) -> None:
    time.sleep(3600)


def spin_and_ignore_signals(_: str) -> None:
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.monotonic()


def print_megabytes(_: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        for _ in range(200):
            stream.write("x" * 10_000 + "\n" * 10_000)
        stream.write("y" * 5_000_000)


def say_garbage(_: str) -> None:
    channel().send(b"\x00\xff{garbage")
    time.sleep(60)


def say_what_is_too_deep(_: str) -> None:
    channel().send(b"[" * 60_000)
    time.sleep(60)


def say_without_end(_: str) -> None:
    speaker = channel()
    while True:
        speaker.send(answer())


def answer_for_another(_: str) -> None:
    channel().send(answer())
    time.sleep(60)


def answer_twice(_: str) -> None:
    mine = next(one for one in gc.get_objects() if isinstance(one, Assignment) and one.job_key)
    for _ in range(2):
        channel().send(answer(mine.job_key, attempt=mine.attempt))
    time.sleep(60)


def answer_with_nan(_: str) -> None:
    channel().send(answer(checks=[["volume", float("nan"), 0.0, 1.0, True]]))
    time.sleep(60)


def map_of_infinity_past_the_check(_: str) -> None:
    """Write where the answer goes, and keep the worker from writing there."""

    def write(file: int, *_: Any) -> None:
        with mmap.mmap(file, 0) as room:
            room[:] = np.full(len(room) // 4, np.inf, np.float32).tobytes()

    program.write_maps = write


def refuse_and_answer(_: str) -> None:
    mine = next(one for one in gc.get_objects() if isinstance(one, Assignment) and one.job_key)
    said = {"refusal": "Too dark.", "numbers": [["count", 1.0]]}
    channel().send(answer(mine.job_key, attempt=mine.attempt, **said))
    time.sleep(60)


def crash(_: str) -> None:
    ctypes.string_at(0)


def leave(_: str) -> None:
    os._exit(0)


MISDEEDS: Mapping[str, Callable[[str], str | None]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            *(read_environment, read_processes, read_file, list_folder, write_into_everything),
            *(connect, resolve, send_datagram, listen, open_abstract_socket),
            *(fork, fork_twice, start_program, become_program, kill_parent),
            *(write_ten_gigabytes, fill_temporary_folder),
            *(take_memory_at_once, take_memory_bit_by_bit, sleep, spin_and_ignore_signals),
            *(print_megabytes, say_garbage, say_what_is_too_deep, say_without_end),
            *(answer_for_another, answer_twice, answer_with_nan, refuse_and_answer),
            *(map_of_infinity_past_the_check, crash, leave),
        )
    }
)
LABELS: Mapping[str, Callable[[tuple[int, ...]], Any]] = MappingProxyType(
    {
        "labels_of_nan": lambda shape: np.full(shape, np.nan, np.float32),
        "labels_of_another_type": lambda shape: np.zeros(shape, np.float32),
        "labels_of_another_shape": lambda shape: np.zeros((3, 3, 3), np.uint8),
        "labels_without_end": lambda shape: np.zeros((4 * shape[0], *shape[1:]), np.uint8),
        "labels_not_declared": lambda shape: np.full(shape, 77, np.uint8),
    }
)
PROBABILITIES: Mapping[str, Callable[[tuple[int, ...]], Any]] = MappingProxyType(
    {
        "probabilities_of_another_shape": lambda shape: np.zeros((3, *shape), np.uint8),
        "probabilities_of_another_type": lambda shape: np.zeros((2, *shape), np.float32),
        "probabilities_without_end": lambda shape: np.zeros(
            (2, 9 * shape[0], *shape[1:]), np.uint8
        ),
        "probabilities_that_are_none": lambda _: None,
    }
)
MAPS: Mapping[str, Callable[[tuple[int, ...]], Any]] = MappingProxyType(
    {
        "map_of_infinity": lambda shape: {"heat": np.full(shape, np.inf, np.float32)},
        "map_of_another_shape": lambda shape: {"heat": np.zeros((3, 3, 3), np.float32)},
        "map_not_declared": lambda shape: {
            name: np.zeros(shape, np.float32) for name in ("heat", "cold")
        },
        "map_that_is_none": lambda _: {},
    }
)
SEEN = AnsweredFinding("seen", "present")
SAID: Mapping[str, ModelAnswer] = MappingProxyType(
    {
        "number_not_declared": ModelAnswer(numbers=(AnsweredNumber("Doe^Jane", 1.0),)),
        "number_of_nan": ModelAnswer(numbers=(AnsweredNumber("count", float("nan")),)),
        "number_twice": ModelAnswer(numbers=(AnsweredNumber("count", 1.0),) * 2),
        "finding_not_declared": ModelAnswer(findings=(AnsweredFinding("hidden", "present"),)),
        "finding_of_another_value": ModelAnswer(findings=(AnsweredFinding("seen", "maybe"),)),
        "finding_more_than_certain": ModelAnswer(findings=(replace(SEEN, probability=2),)),
        "findings_without_end": ModelAnswer(
            findings=(AnsweredFinding("seen", "present"),) * 10_000
        ),
        "place_elsewhere": ModelAnswer(places=(AnsweredPlace("peak", ((1e6, 0.0, 0.0),)),)),
        "places_without_end": ModelAnswer(
            places=(AnsweredPlace("peak", ((0.0, 0.0, 0.0),)),) * 300
        ),
    }
)


class Hostile:
    """Does what its manifest names."""

    def __init__(self, manifest: Mapping[str, Any], _folder: Path, _device: str) -> None:
        options = manifest["runtime"]["options"]
        self._misdeed, self._target = str(options["misdeed"]), str(options["target"])

    def predict(self, voxels: Any, affine_lps: Any) -> Prediction:
        """Do harm; what a misdeed has seen is told as a refusal."""
        check, shape = Check("harm", 1.0, 0.0, 1.0, True), voxels.shape
        labels = LABELS.get(self._misdeed, lambda shape: np.zeros(shape, np.uint8))(shape)
        probabilities = PROBABILITIES.get(self._misdeed, lambda _: np.zeros((2, *shape), np.uint8))
        maps = MAPS.get(self._misdeed, lambda _: {"heat": np.zeros(shape, np.float32)})
        misdeed = MISDEEDS.get(self._misdeed, lambda _: None)
        seen = misdeed(self._target)
        return Prediction(
            labels,
            None if seen is None else f"Seen: {seen}",
            (check,),
            probabilities(shape),
            maps(shape),
            SAID.get(self._misdeed, ModelAnswer()),
        )


if __name__ == "__main__":
    program.main(sys.argv[1], {**RUNTIMES, "hostile": Hostile})
