"""Faults are sentences. A check yields them; the gate raises the first, the command prints all."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

from pydicom.errors import BytesLengthException, InvalidDicomError

from secondread.errors import GateError, ResultError

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What reading a data set that breaks the standard can end in."""


def guard(what: str, faults: Iterable[str]) -> Iterator[str]:
    """The same faults, and one more where looking for them comes to an end before its time."""
    try:
        yield from faults
    except ResultError as error:
        yield f"The {what} cannot be read back: {error}"
    except OSError as error:
        if error.errno is not None:  # the disk, not the data set
            raise
        yield f"The {what} cannot be read back: {describe(error)}."
    except UNREADABLE as error:
        yield f"The {what} cannot be read back: {describe(error)}."


def raise_first(faults: Iterable[str]) -> None:
    """Raise ``GateError`` with the first fault, if there is one."""
    for fault in faults:
        raise GateError(fault)


_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((NotImplementedError,), "a value has a representation that the standard does not know"),
    ((EOFError, OSError, struct.error), "it ends before it should, or a length in it is wrong"),
    ((zlib.error, RuntimeError), "something compressed in it cannot be unpacked"),
    ((AttributeError, TypeError), "a value is missing or is of another type than it should be"),
    ((LookupError,), "something is missing that other parts of it count on"),
    ((BytesLengthException, ValueError), "a value is not what its representation says"),
)


def describe(error: BaseException) -> str:
    """What went wrong, without a value of the data set: it may say who the patient is."""
    keyword = getattr(error, "name", None)
    if isinstance(error, AttributeError) and keyword:
        return f"it lacks {keyword}"
    for kinds, words in _WORDS:
        if isinstance(error, kinds):
            return f"{words} ({type(error).__name__})"
    return f"it breaks the standard ({type(error).__name__})"
