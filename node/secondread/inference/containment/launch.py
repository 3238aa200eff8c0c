"""The command and the environment of a contained process."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import secondread
from secondread.inference.containment.bubblewrap import PROCESSORS, Bubblewrap, card_devices
from secondread.inference.containment.entry import MODULE, Order
from secondread.inference.containment.limits import Limits

# bubblewrap's own processes are the model's too, as far as memory is concerned.
_FIRST_TO_GO = '{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null; exec "$@"'


@dataclass(frozen=True, slots=True)
class Launch:
    """One process to be contained.

    Attributes:
        program: what runs inside: ``("-m", module, …)`` or ``(script, …)``.
        readable: files and folders that it may read, besides Python and this package.
        device: ``cpu``, or ``cuda`` and then with the devices of the card.
        threads: CPU threads of its libraries.
    """

    program: tuple[str, ...]
    readable: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int = 1
    limits: Limits = field(default_factory=Limits)


def command_line(
    launch: Launch,
    measures: Sequence[str],
    bubblewrap: Bubblewrap | None,
    *,
    probe: bool = False,
) -> list[str]:
    """What to start."""
    readable = [*python_files(), *launch.readable]
    cuda = launch.device.startswith("cuda")
    order = Order(
        measures=tuple(measures),
        readable=("/",) if bubblewrap else (*readable, *_machine_files(cuda)),
        writable=("/tmp",) * bool(bubblewrap and bubblewrap.has_tmp)
        + ("/dev/null", *(card_devices() if cuda else ())),
        limits=launch.limits,
        own_users=bubblewrap is not None,
        fatal=not cuda,
        probe=probe,
    )
    inner = [sys.executable, "-I", "-m", MODULE, order.encode(), *launch.program]
    if bubblewrap is None:
        return inner
    outer = ["/bin/sh", "-c", _FIRST_TO_GO, "sh"]
    return [*outer, *bubblewrap.command(readable, launch.device), *inner]


def environment(threads: int) -> dict[str, str]:
    """The whole environment of a contained process; nothing of the node's own reaches it."""
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        # ONNX Runtime (1.32 does) reports to its maker some seconds after it was imported, unless
        # it is told not to before that; here it would be ended for trying.
        "ORT_DISABLE_TELEMETRY": "1",
    }


def python_files() -> list[str]:
    """The interpreter, its library, the installed packages and this one; no path inside another."""
    found = [Path(sys.base_prefix) / "lib", Path(secondread.__file__).parent]
    found += [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    found += [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    if sys.prefix != sys.base_prefix:
        found.append(Path(sys.prefix))
    # A virtual environment's interpreter is a chain of links.
    link = Path(sys.executable)
    while link.is_symlink():
        found.append(link)
        link = link.parent / link.readlink()
    found += [link, link.resolve()]
    kept: list[Path] = []
    for path in sorted({path for path in found if path.exists()}, key=lambda p: len(p.parts)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return [str(path) for path in kept]


def _machine_files(cuda: bool) -> list[str]:
    """What of the machine a process may read that shares its file tree."""
    files = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"]
    files += ["/dev/null", "/dev/urandom", *PROCESSORS]
    return [*files, "/proc", "/sys"] if cuda else files
