"""Log lines: their shape, and that no identifier gets into one."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import structlog

from secondread.errors import LedgerError
from secondread.observe.logging import LIBRARIES, OWN, configure
from secondread.observe.redaction import WITHHELD, redact
from secondread.observe.tracebacks import format_error

NAME = "DOE"
UID = "1.3.12.2.1107.5.2.32.35424.2010012512345678901234567"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is global to a process: put back what was there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    libraries = {name: logging.getLogger(name) for name in (*LIBRARIES, OWN)}
    before = {
        name: (library.handlers[:], library.level, library.propagate)
        for name, library in libraries.items()
    }
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    for name, library in libraries.items():
        library.handlers[:], library.level, library.propagate = before[name]
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_role(stream: io.StringIO) -> None:
    configure("intake", stream=stream)
    structlog.get_logger("secondread.intake").info("stored", seconds=0.25, bytes=12)
    (line,) = lines(stream)
    assert line["event"] == "stored"
    assert line["role"] == "intake"
    assert line["level"] == "info"
    assert line["logger"] == "secondread.intake"
    assert line["seconds"] == 0.25
    assert line["time"].endswith("Z")


def test_the_level_holds_and_a_second_call_replaces_the_first(stream: io.StringIO) -> None:
    configure("one", level="debug", stream=stream)
    configure("two", level="warning", stream=stream)
    log = structlog.get_logger("secondread.x")
    log.info("quiet")
    log.warning("loud")
    logging.getLogger("standard").error("also %s", "here")
    assert [(line["event"], line["role"]) for line in lines(stream)] == [
        ("loud", "two"),
        ("also here", "two"),
    ]


def test_other_libraries_are_heard_from_warning_upwards(stream: io.StringIO) -> None:
    configure("intake", level="debug", stream=stream)
    logging.getLogger("alembic").info("setup")
    logging.getLogger("alembic").warning("odd")
    logging.getLogger("secondread.x").debug("own")
    assert [line["event"] for line in lines(stream)] == ["odd", "own"]


def test_uids_and_patient_keys_are_hidden_wherever_they_stand(stream: io.StringIO) -> None:
    configure("pipeline", stream=stream)
    structlog.get_logger("secondread.x").error(
        f"series {UID} broke",
        reason=f"in '{UID}'.",
        patient_name="DOE^JOHN",
        study_instance_uid="1.2",
        deep={"list": [UID], "AccessionNumber": "4711"},
        path=f"/x/{UID}.dcm",
        study="3f2a9c0d1e4b",
        sop_class="1.2.840.10008.5.1.4.1.1.4",
        address="10.1.2.3",
        version="0.1.0",
    )
    text = stream.getvalue()
    for secret in (UID, "DOE", "4711"):
        assert secret not in text
    (line,) = lines(stream)
    assert "study_instance_uid" not in line
    assert line["deep"] == {"list": ["(uid)"]}
    assert line[WITHHELD] == ["AccessionNumber", "patient_name", "study_instance_uid"]
    assert line["study"] == "3f2a9c0d1e4b"
    assert line["sop_class"] == "1.2.840.10008.5.1.4.1.1.4"
    assert (line["address"], line["version"]) == ("10.1.2.3", "0.1.0")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a {UID} b", "a (uid) b"),
        ("2.25.329800735698586629295641978511506172918", "(uid)"),
        ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1"),
        ("10.1.2.3:104 and 0.1.0 and 1.5", "10.1.2.3:104 and 0.1.0 and 1.5"),
        (f"{UID}, {UID}.", "(uid), (uid)."),
        ("of 'DOE^JOHN^^DR', born", "of '(name)', born"),
        ("matching '^T1.*$' or ^T2", "matching '^T1.*$' or ^T2"),
    ],
)
def test_redaction(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_what_a_dicom_library_says_is_placed_but_not_quoted(stream: io.StringIO) -> None:
    configure("intake", level="debug", stream=stream)
    logging.getLogger("pynetdicom.events").info("Patient DOE")
    logging.getLogger("pynetdicom.events").warning("Patient DOE %s", "JOHN")
    logging.getLogger("pydicom").error("DOE")
    try:
        raise ValueError("DOE")
    except ValueError:
        logging.getLogger("pynetdicom.assoc").exception("DOE")
    assert "DOE" not in stream.getvalue()
    assert "JOHN" not in stream.getvalue()
    found = lines(stream)
    assert [line["level"] for line in found] == ["warning", "error", "error"]
    assert all("test_observe_logging.py:" in line["event"] for line in found)
    assert found[2]["exception_type"] == "ValueError"


def test_a_real_warning_of_pydicom_does_not_leak_its_value(stream: io.StringIO) -> None:
    configure("intake", stream=stream)
    dataset = pydicom.Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        dataset.PatientBirthDate = "DOE-1970"
    text = stream.getvalue()
    assert "DOE-1970" not in text
    assert "UserWarning at pydicom/" in text


def test_console_lines_are_for_people(stream: io.StringIO) -> None:
    configure("deliver", output="console", stream=stream)
    log = structlog.get_logger("secondread.x")
    log.info("sent", uid=UID)
    try:
        raise OSError(f"no {UID}")
    except OSError:
        log.exception("broke")
    text = stream.getvalue()
    assert "sent" in text
    assert "role=deliver" in text
    assert "OSError: (text withheld)" in text
    assert UID not in text


def test_a_traceback_keeps_the_text_of_the_node_and_of_the_system_alone() -> None:
    try:
        try:
            try:
                pydicom.Dataset().add_new("NoSuchThing", "PN", NAME)
            except Exception as innermost:
                raise ValueError(NAME) from innermost
        except ValueError as inner:
            raise FileNotFoundError(2, "No such file", NAME) from inner
    except OSError as error:
        try:
            raise LedgerError(f"The lid of {UID} is closed.") from error
        except LedgerError as outer:
            text = format_error(outer)
    assert NAME not in text
    assert "pydicom" in text
    assert "ValueError: (text withheld)" in text
    assert "FileNotFoundError: No such file\n" in text
    assert text.endswith("LedgerError: The lid of (uid) is closed.")


def test_what_could_print_itself_as_anything_is_dropped(stream: io.StringIO) -> None:
    configure("intake", stream=stream)
    dataset = pydicom.Dataset()
    dataset.PatientID = "DOE"
    structlog.get_logger("secondread.x").warning(
        "odd",
        dataset=dataset,
        error=ValueError("DOE"),
        raw=b"DOE",
        items=[dataset, 1, "two"],
        place=Path("/a/b"),
        count=np.int64(3),
    )
    (line,) = lines(stream)
    assert "DOE" not in stream.getvalue()
    assert line[WITHHELD] == ["dataset", "error", "raw"]
    assert (line["items"], line["place"], line["count"]) == ([1, "two"], "/a/b", "3")


@pytest.mark.parametrize(
    "crash",
    [
        "raise ValueError(name)",
        "import threading; t = threading.Thread(target=int, args=(name,)); t.start(); t.join()",
        "type('X', (), {'__del__': lambda self: int(name), '__repr__': lambda self: name})()",
    ],
)
def test_a_crash_tells_where_and_not_what(crash: str) -> None:
    start = "from secondread.observe.logging import configure\nconfigure('x')\nname = 'DO' + 'E'\n"
    program = start + crash
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "DOE" not in ended.stdout + ended.stderr
    (line,) = [json.loads(one) for one in ended.stderr.splitlines()]
    assert "ValueError: (text withheld)" in line["exception"]


def test_an_error_of_the_ledger_does_not_quote_what_is_in_it(stream: io.StringIO) -> None:
    configure("intake", stream=stream)
    logging.getLogger("sqlalchemy.pool").error(
        "DOE", exc_info=(ValueError, ValueError("DOE"), None)
    )
    assert "DOE" not in stream.getvalue()
