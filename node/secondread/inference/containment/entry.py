"""The first code of a contained process: shuts every door behind itself, then runs a program.

::

    python -I -m secondread.inference.containment.entry ORDER -m MODULE ARGUMENT …
    python -I -m secondread.inference.containment.entry ORDER SCRIPT ARGUMENT …
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from secondread.inference.containment import landlock, seccomp
from secondread.inference.containment.limits import Limits, apply_limits
from secondread.inference.containment.system_calls import (
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    control,
    drop_capabilities,
    leave_namespaces,
)

MODULE = "secondread.inference.containment.entry"


@dataclass(frozen=True, slots=True)
class Order:
    """What the launcher wants to be shut.

    Attributes:
        measures: which of ``namespaces``, ``landlock`` and ``seccomp``; one that fails ends it all.
        readable: paths that stay readable under Landlock.
        writable: paths that stay writable under Landlock.
        limits: see ``Limits``.
        own_users: whether somebody has put the process into a user namespace already.
        fatal: whether a forbidden system call ends the process.
        probe: try the measures one by one, tell which of them work, and end.
    """

    measures: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    own_users: bool = False
    fatal: bool = True
    probe: bool = False

    def encode(self) -> str:
        """As an argument of the command line."""
        return json.dumps(asdict(self))


def decode(text: str) -> Order:
    """What ``Order.encode`` made."""
    raw = json.loads(text)
    limits = Limits(**raw.pop("limits"))
    for name in ("measures", "readable", "writable"):
        raw[name] = tuple(raw[name])
    return Order(limits=limits, **raw)


def contain(order: Order) -> list[str]:
    """Shut the doors of this process; gives the names of the measures that were taken.

    Raises:
        OSError: a measure cannot be taken here, and this is not a probe.
    """
    # Where memory gets scarce, the kernel ends a model and not the node.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    taken: list[str] = []
    if "namespaces" in order.measures:
        _take("namespaces", leave_namespaces, order, taken)
    drop_capabilities()
    control(PR_SET_NO_NEW_PRIVS, 1)
    control(PR_SET_PDEATHSIG, signal.SIGKILL)
    apply_limits(order.limits, own_users=order.own_users or "namespaces" in taken)
    steps: Mapping[str, Callable[[], None]] = {
        "landlock": lambda: landlock.restrict(order.readable, order.writable),
        "seccomp": lambda: seccomp.restrict(fatal=order.fatal),
    }
    for name, step in steps.items():
        if name in order.measures:
            _take(name, step, order, taken)
    return taken


def _take(name: str, step: Callable[[], None], order: Order, taken: list[str]) -> None:
    try:
        step()
    except OSError:
        if not order.probe:
            raise
    else:
        taken.append(name)


def main(arguments: list[str]) -> None:
    """Contain this process and become the program."""
    order = decode(arguments[0])
    taken = contain(order)
    if order.probe:
        sys.stdout.write(json.dumps(taken))
        return
    program = arguments[1:]
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
