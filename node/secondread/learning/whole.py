"""Files that are there whole or not at all, at whichever moment a command is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["whole", "write_whole"]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; at the end what is there takes its place.

    Should writing fail, what was at ``path`` stays as it was. The name of the other ends as that of
    ``path`` does, for some libraries go by the ending; each process has its own, for folds are
    trained side by side.
    """
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a text, as UTF-8, or bytes; the folder is there."""
    with whole(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
