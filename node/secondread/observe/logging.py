"""Log lines: one event each, to standard error, as JSON or for people; UTC; no patient data."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

import structlog

from secondread.observe.redaction import redact_event
from secondread.observe.tracebacks import catch_crashes, format_error

OWN = "secondread"
WARNINGS = "py.warnings"
LIBRARIES = ("pynetdicom", "pydicom", "highdicom", "sqlalchemy", WARNINGS)
"""Loggers whose texts can quote what stands in a data set or in the ledger."""

_WARNING = re.compile(r"(.+?):(\d+): (\w+): ", re.DOTALL)
_LEVELS: Mapping[str, int] = MappingProxyType(
    {
        "debug": logging.DEBUG,
        "info": logging.INFO,
        "warning": logging.WARNING,
        "error": logging.ERROR,
    }
)
Event = MutableMapping[str, Any]


class _WithoutText(logging.Filter):
    """Replaces what a DICOM library says by where it says it.

    pydicom quotes attribute values in its warnings, pynetdicom logs identifiers; neither can be
    told not to; SQLAlchemy quotes the values of a statement. The place in the library's source is
    enough to look the text up.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record from WARNING upwards, without its text, arguments and exception text."""
        if record.levelno < logging.WARNING:
            return False
        if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
            record.exception_type = record.exc_info[0].__name__
        where, what = _origin(record)
        record.exc_info = record.exc_text = record.stack_info = None
        record.msg, record.args = f"{what} at {where}; the text is withheld", ()
        return True


class _Role:
    """Structlog processor that says which process is speaking."""

    def __init__(self, role: str) -> None:
        self._role = role

    def __call__(self, logger: object, method: str, event: Event) -> Event:
        event.setdefault("role", self._role)
        return event


def configure(
    role: str, *, level: str = "info", output: str = "json", stream: TextIO | None = None
) -> None:
    """Set up logging for this process; calling it again replaces the set-up.

    ``role`` is bound to every line; ``output`` is ``json`` or ``console``; ``stream`` defaults to
    standard error. Both structlog's and the standard library's loggers end here.
    """
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow={"exception_type"}),
        _Role(role),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.ExceptionRenderer(_render_error),
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    target = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact_event,
                _renderer(output, target),
            ],
        )
    )
    handler.addFilter(_quiet_libraries)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    # What other libraries tell at INFO is about themselves.
    root.setLevel(max(logging.WARNING, _LEVELS[level]))
    logging.getLogger(OWN).setLevel(_LEVELS[level])
    logging.captureWarnings(True)
    catch_crashes()
    for name in LIBRARIES:
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)
        for own in library.handlers[:]:  # pydicom and pynetdicom may bring handlers of their own
            library.removeHandler(own)
        library.propagate = True


def _origin(record: logging.LogRecord) -> tuple[str, str]:
    """Where a complaint was made, and of which kind it is."""
    if record.name == WARNINGS:
        # warnings are logged as "path:line: Category: text", from inside the logging module
        found = _WARNING.match(record.getMessage())
        if found is None:
            return "an unknown place", "A warning"
        path, line, category = found.groups()
        return _short(Path(path), int(line)), f"A {category}"
    library = record.name.partition(".")[0]
    return _short(Path(record.pathname), record.lineno), f"A complaint of {library}"


def _short(path: Path, line: int) -> str:
    return f"{path.parent.name}/{path.name}:{line}"


_WITHOUT_TEXT = _WithoutText()


def _quiet_libraries(record: logging.LogRecord) -> bool:
    """Logger filters do not see the records of child loggers, so this sits on the handler."""
    if record.name.partition(".")[0] in LIBRARIES or record.name in LIBRARIES:
        return _WITHOUT_TEXT.filter(record)
    return True


def _render_error(exc_info: Any) -> str:
    return format_error(exc_info[1])


def _renderer(output: str, stream: TextIO) -> Any:
    if output == "console":
        return structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            timestamp_key="time",
            # without local variables, which could hold patient data
            exception_formatter=structlog.dev.plain_traceback,
        )
    return structlog.processors.JSONRenderer(sort_keys=False, ensure_ascii=False)
