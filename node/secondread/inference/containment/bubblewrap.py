"""bubblewrap: a file tree and namespaces for one process (bwrap(1))."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "bubblewrap"
TMP_BYTES = 64 * 1024**2

_PLACES = "/usr/bin:/bin:/usr/local/bin"
PROCESSORS = ("/proc/cpuinfo", "/sys/devices/system/cpu")
"""PyTorch chooses its kernels by them."""
_KNOWS_SIZES = (0, 7)
_ASKED_S = 10.0
_SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
_CARD = ("/dev/nvidia*", "/dev/dri")


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """An installed ``bwrap``; ``version`` such as ``(0, 8, 0)``."""

    program: str
    version: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name and version, for people."""
        return f"bubblewrap {'.'.join(map(str, self.version))}"

    @property
    def has_tmp(self) -> bool:
        """Whether a temporary folder can be bounded; without a bound there is none."""
        return self.version >= _KNOWS_SIZES

    def command(self, readable: Sequence[str], device: str) -> list[str]:
        """What to put in front of a command.

        The process gets namespaces of its own (users, processes, IPC, network, mounts), no
        capability, and a file tree that holds the system's libraries, ``readable`` at the same
        places, what says which processors there are, and nothing else: no processes, no ``/etc``,
        no home.
        """
        return [
            self.program,
            *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-net"),
            *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
            *("--die-with-parent", "--new-session", "--chdir", "/"),
            # First, for a model package may lie below it.
            *(("--size", str(TMP_BYTES), "--tmpfs", "/tmp") if self.has_tmp else ()),
            *_system_libraries(),
            *(part for path in readable for part in ("--ro-bind", path, path)),
            *("--dev-bind", "/dev/null", "/dev/null"),
            *("--dev-bind", "/dev/urandom", "/dev/urandom"),
            *(_card() if device.startswith("cuda") else _processors()),
            *("--remount-ro", "/", "--"),
        ]


def find_bubblewrap() -> Bubblewrap | None:
    """The installed bubblewrap; None where there is none. Whether it works is another question."""
    program = shutil.which("bwrap", path=_PLACES)
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_ASKED_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Bubblewrap(program, tuple(map(int, re.findall(r"\d+", answer.stdout)[:3])))


def _system_libraries() -> Iterator[str]:
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), name)
        elif path.is_dir():
            yield from ("--ro-bind", name, name)
    yield from ("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache")


def _processors() -> Iterator[str]:
    for path in PROCESSORS:
        yield from ("--ro-bind-try", path, path)


def _card() -> Iterator[str]:
    """What a driver of a graphics card needs: its devices, ``/proc`` and ``/sys``."""
    yield from ("--proc", "/proc", "--ro-bind", "/sys", "/sys")
    for path in card_devices():
        yield from ("--dev-bind", path, path)


def card_devices() -> list[str]:
    """The device files of the graphics cards that are here."""
    root = Path("/")
    return sorted(str(path) for pattern in _CARD for path in root.glob(pattern[1:]))
