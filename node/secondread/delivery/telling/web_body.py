"""A body of a request that is small enough to be held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeldBody:
    """The whole content."""

    content: bytes

    @property
    def size_bytes(self) -> int:
        """Bytes in all."""
        return len(self.content)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """It, in one part."""
        yield self.content
