"""``secondread send``: a simulated scanner."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import JsonOption
from secondread.errors import EXIT_FAILED, DeliveryError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from secondread.delivery.store_scu import SendResult

_TARGET = re.compile(r"(?P<title>[^@]{1,16})@(?P<host>\[[^\]]+\]|[^\[\]:@]+):(?P<port>\d{1,5})")
_PREAMBLE_BYTES = 128
_BARE_STARTS = (b"\x08\x00", b"\x02\x00")
_PORT_MAX = 65535
_NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Target:
    """An application entity, written ``AE@HOST:PORT``."""

    ae_title: str
    host: str
    port: int


def parse_target(text: str) -> Target:
    """``PACS@10.1.2.3:104`` or ``PACS@[::1]:104`` as a target.

    Raises:
        UsageError: it is written in another way.
    """
    match = _TARGET.fullmatch(text)
    if match is None or not 0 < int(match["port"]) <= _PORT_MAX:
        raise UsageError(
            f"--to is '{text}', but must be AE@HOST:PORT, such as SECONDREAD@localhost:11112."
        )
    return Target(match["title"], match["host"].strip("[]"), int(match["port"]))


def find_dicom_files(folder: Path) -> tuple[tuple[Path, ...], int]:
    """The DICOM files below a folder in the order of their names, and how many others there are.

    ``folder`` may also be one file. A DICOMDIR is not an object and counts with the others.
    """
    if folder.is_file():
        return (folder,), 0
    files = sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: [
            int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(path))
        ],
    )
    wanted = tuple(path for path in files if path.name != "DICOMDIR" and _is_dicom(path))
    return wanted, len(files) - len(wanted)


def _is_dicom(path: Path) -> bool:
    """PS3.10 7.1: 'DICM' after 128 bytes; old files may start with group 0002 or 0008 at once."""
    with path.open("rb") as file:
        start = file.read(_PREAMBLE_BYTES + 4)
    return start[_PREAMBLE_BYTES:] == b"DICM" or start.startswith(_BARE_STARTS)


def send(
    folder: Annotated[
        Path, typer.Argument(help="A folder with DICOM files, at any depth, or one file.")
    ],
    to: Annotated[str, typer.Option("--to", help="Where to: AE@HOST:PORT.")],
    calling: Annotated[
        str, typer.Option("--calling", help="The AE title that the sender calls itself.")
    ] = "SCANNER",
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=1.0, help="Seconds to wait for each answer.")
    ] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Send a folder of DICOM files as a scanner would, with C-STORE."""
    from secondread.cli.output import print_error
    from secondread.delivery.address import Address
    from secondread.delivery.store_scu import send_files

    target = parse_target(to)
    if not folder.exists():
        raise NotFoundError(f"There is no '{folder}'.")
    files, others = find_dicom_files(folder)
    if not files:
        raise NotFoundError(f"There are no DICOM files in '{folder}' ({others} other files).")
    address = Address(target.host, target.port, target.ae_title, calling, timeout_s)
    started = time.monotonic()
    results: list[SendResult] = []
    broken: DeliveryError | None = None
    with _progress(len(files), quiet=as_json) as step:
        try:
            for result in send_files(files, address):
                results.append(result)
                step()
        except DeliveryError as error:
            broken = error
    outcome = Outcome(
        tuple(results), len(files), others, time.monotonic() - started, str(broken or "")
    )
    _report_json(outcome) if as_json else _report(outcome)
    if broken is not None:
        if not as_json:
            print_error(str(broken))
        raise typer.Exit(broken.exit_code)
    if outcome.refused:
        raise typer.Exit(EXIT_FAILED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a folder; ``broken`` says why sending ended before the last file."""

    results: tuple[SendResult, ...]
    files: int
    other_files: int
    seconds: float
    broken: str

    @property
    def refused(self) -> tuple[SendResult, ...]:
        """The objects that the peer has not stored, although they were offered."""
        return tuple(result for result in self.results if not result.stored)

    @property
    def stored(self) -> int:
        """How many objects the peer has."""
        return len(self.results) - len(self.refused)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error; yields what moves it on by one."""
    if quiet:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("Sending"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("sending", total=total)
        yield lambda: bar.advance(task)


def _report_json(outcome: Outcome) -> None:
    from secondread.cli.output import print_json

    print_json(
        {
            "ok": outcome.stored == outcome.files,
            "stored": outcome.stored,
            "refused": [
                {"file": result.path, "status": _status(result.status), "why": result.told}
                for result in outcome.refused
            ],
            "not_sent": outcome.files - len(outcome.results),
            "other_files": outcome.other_files,
            "seconds": round(outcome.seconds, 3),
            "error": outcome.broken or None,
        }
    )


def _report(outcome: Outcome) -> None:
    from secondread.cli.output import print_error, print_line

    print_line(
        f"{outcome.stored} of {outcome.files} objects stored in {outcome.seconds:.1f} s.",
        style="green" if outcome.stored == outcome.files else "",
    )
    if outcome.other_files:
        print_line(f"{outcome.other_files} files that are not DICOM objects were left out.")
    kinds: dict[tuple[int, str], list[str]] = {}
    for result in outcome.refused:
        kinds.setdefault((result.status, result.told), []).append(result.path.name)
    for (status, meaning), names in kinds.items():
        shown = ", ".join(names[:_NAMES_SHOWN]) + (" …" if len(names) > _NAMES_SHOWN else "")
        answer = f" with {_status(status)}" if status >= 0 else ""
        print_error(f"{len(names)} refused{answer}: {meaning} ({shown}).")
    if not_sent := outcome.files - len(outcome.results):
        print_error(f"{not_sent} objects were not sent.")


def _status(status: int) -> str:
    """A DIMSE status as people write it; empty where the peer gave none."""
    return f"0x{status:04X}" if status >= 0 else ""
