"""Whether the node can receive: a lock that its intake holds, and that dies with it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DOOR_NAME = "door.lock"


@contextmanager
def held_open(data_dir: Path) -> Iterator[None]:
    """Say that objects can arrive, until the end of the block or of the process."""
    with (data_dir / DOOR_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_open(data_dir: Path) -> bool:
    """Whether some process holds the door open."""
    with (data_dir / DOOR_NAME).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
