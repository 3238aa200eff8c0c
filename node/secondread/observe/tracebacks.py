"""Tracebacks for logs: where an error was raised, without the values that led to it."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import structlog

from secondread.errors import SecondReadError
from secondread.observe.redaction import redact

log = structlog.stdlib.get_logger(__name__)


def format_error(error: BaseException) -> str:
    """The traceback of an error and of those that led to it, oldest first.

    Only the node's own errors and those of the operating system keep their text: that of any other
    may quote a value, as in "could not convert string to float: 'Doe'". UIDs are dropped, and local
    variables are never shown.
    """
    return "\n".join(_told(link) for link in reversed(list(_chain(error))))


def catch_crashes() -> None:
    """Have errors that nobody handles logged in this way, instead of printed with their text.

    Hooks that somebody else has set, such as a debugger or a test runner, are left alone.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _ended
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _thread_ended
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("uncaught error", exc_info=error)


def _thread_ended(arguments: Any) -> None:
    if arguments.exc_value is not None and arguments.exc_type is not SystemExit:
        log.critical("uncaught error in a thread", exc_info=arguments.exc_value)


def _unraisable(arguments: Any) -> None:
    # Not what it was raised about: that could print itself.
    log.error("error that could not be raised", exc_info=arguments.exc_value)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _told(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    text = _text(error)
    return f"Traceback (most recent call last):\n{frames}{type(error).__qualname__}: {text}"


def _text(error: BaseException) -> str:
    if isinstance(error, SecondReadError):
        return redact(str(error))
    if isinstance(error, OSError) and error.strerror:
        return redact(error.strerror)
    return "(text withheld)"
