"""What this system can do to contain a model, found out by doing it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from secondread.inference.containment.bubblewrap import PACKAGE, Bubblewrap, find_bubblewrap
from secondread.inference.containment.launch import Launch, command_line, environment

_PROBE_S = 30.0
_OWN_MEASURES = ("namespaces", "landlock", "seccomp")


class Strength(StrEnum):
    """How well a model is kept in; the strongest first."""

    COMPLETE = "complete"
    """A file tree and namespaces of its own, and forbidden system calls."""
    CLOSED = "closed"
    """No foreign files, no network and no processes, on the machine's own file tree."""
    PARTIAL = "partial"
    """One of these doors is open."""
    BARE = "bare"
    """Only limits, a deadline and an empty environment."""


@dataclass(frozen=True, slots=True)
class Containment:
    """How models are contained here.

    Attributes:
        bubblewrap: the program, where it is installed and works.
        measures: which of ``namespaces``, ``landlock`` and ``seccomp`` a process takes by itself.
        obstacle: why an installed bubblewrap is not used, in its own words.
    """

    bubblewrap: Bubblewrap | None = None
    measures: tuple[str, ...] = ()
    obstacle: str = ""

    @property
    def strength(self) -> Strength:
        """How well a model is kept in."""
        if self.bubblewrap is not None and "seccomp" in self.measures:
            return Strength.COMPLETE
        if self.bubblewrap is not None or {"landlock", "seccomp"} <= set(self.measures):
            return Strength.CLOSED
        return Strength.PARTIAL if self.measures else Strength.BARE

    @property
    def means(self) -> tuple[str, ...]:
        """Everything that is used, for a log line."""
        return (*((self.bubblewrap.name,) if self.bubblewrap else ()), *self.measures)

    @property
    def sentence(self) -> str:
        """How well a model is kept in, for people."""
        means = f"({', '.join(self.means)})" if self.means else ""
        return _SENTENCES[self.strength].format(means=means)

    @property
    def remedy(self) -> str:
        """What makes it stronger; empty where nothing does."""
        if self.strength is Strength.COMPLETE:
            return ""
        if self.obstacle:
            return (
                f"bubblewrap is installed but does not work here ({self.obstacle}); let the node's "
                "user make user namespaces, see docs/containment.md."
            )
        if self.bubblewrap is None:
            return f"Install the package {PACKAGE} and restart the node."
        return "Use a kernel with seccomp filters, on x86_64 or aarch64."

    def command(self, launch: Launch) -> list[str]:
        """The command line of a contained process."""
        return command_line(launch, self.measures, self.bubblewrap)


_SENTENCES: Mapping[Strength, str] = MappingProxyType(
    {
        Strength.COMPLETE: "A model runs in a file tree and namespaces of its own {means}: it sees "
        "Python and its own package, has no network and starts no process.",
        Strength.CLOSED: "A model opens no files but Python's and its own package's, has no "
        "network and starts no process {means}.",
        Strength.PARTIAL: "A model is only partly contained {means}: limits, a deadline and an "
        "empty environment, but not every file, connection or process is out of its reach.",
        Strength.BARE: "A model has limits, a deadline and an empty environment, but nothing keeps "
        "it from files and the network.",
    }
)


def survey(device: str = "cpu", *, allow_bubblewrap: bool = True) -> Containment:
    """Try every measure in a process that ends at once; the strongest that works is taken.

    Args:
        device: where models run; a card's driver needs more to be shown than a processor does.
        allow_bubblewrap: whether to look for the program at all.
    """
    obstacle = ""
    program = find_bubblewrap() if allow_bubblewrap else None
    if program is not None:
        taken, obstacle = _probe(program, ("landlock", "seccomp"), device)
        if taken is not None:
            return Containment(program, taken)
    taken, _ = _probe(None, _OWN_MEASURES, device)
    return Containment(None, taken or (), obstacle)


def _probe(
    program: Bubblewrap | None, measures: tuple[str, ...], device: str
) -> tuple[tuple[str, ...] | None, str]:
    """The measures that work; None and the reason where the process could not even start."""
    try:
        answer = subprocess.run(
            command_line(Launch(program=(), device=device), measures, program, probe=True),
            env=environment(1),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, type(error).__name__
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or [f"status {answer.returncode}"]
        return None, lines[-1][:200]
    return tuple(json.loads(answer.stdout)), ""
