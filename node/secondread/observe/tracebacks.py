"""Tracebacks for logs: where an error was raised, without what a DICOM library quotes."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType

from secondread.observe.redaction import redact

_QUOTING = ("/pydicom/", "/pynetdicom/", "/highdicom/")
"""Packages whose exception texts can hold attribute values."""


def format_error(error: BaseException) -> str:
    """The traceback of an error and of those that led to it, oldest first.

    The text of an error that passed through a DICOM library is left out, UIDs are replaced, and
    local variables are never shown.
    """
    return "\n".join(_told(link) for link in reversed(list(_chain(error))))


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _told(error: BaseException) -> str:
    text = "(text withheld)" if _quotes(error.__traceback__) else redact(str(error))
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{type(error).__qualname__}: {text}"


def _quotes(trace: TracebackType | None) -> bool:
    frames = traceback.extract_tb(trace)
    return any(part in frame.filename for frame in frames for part in _QUOTING)
