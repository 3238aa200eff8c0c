"""A node that has nothing to do but to deliver: its roles as processes, its ledger filled by hand.

The objects are a real segmentation and the reports that go with it, made once and given other UIDs
for each job; nothing is inferred, and a test can tell that nothing was.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom

from deploy.demo.pacs import free_port
from secondread.audit.chain import first_break
from secondread.delivery.address import Address
from secondread.delivery.object_file import open_object
from secondread.delivery.store_scu import echo
from secondread.domain.result import OutboxItem, ResultObject
from secondread.domain.states import DeliveryState
from secondread.results.analysis import Analysis
from tests.outbox_cases import Outbox
from tests.report_cases import make_alone, write_alone
from tests.result_cases import make_case
from tests.segmentation_cases import make, written

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
NODE = "SECONDREAD"
START_S = 60.0
END_S = 90.0
TICK_S = 0.02
_DIGITS = 9
"""So many digits at the end of a UID tell jobs apart."""

_OPENING = threading.Lock()
"""Alembic migrates one ledger at a time in a process."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Template:
    """A result whose UIDs are changed for each job."""

    kind: str
    sop_class_uid: str
    uid: str
    content: bytes


@dataclass(frozen=True)
class Templates:
    """What a job has made: a segmentation, its report, and the report that goes without it."""

    seg: Template
    sr: Template
    alone: Template
    uids: tuple[str, ...]

    def write(self, one: Template, number: int, folder: Path) -> ResultObject:
        """The result of a job with this number, as a file."""
        content = one.content
        for uid in self.uids:
            content = content.replace(uid.encode(), renumbered(uid, number).encode())
        uid = renumbered(one.uid, number)
        path = folder / f"{uid}.dcm"
        path.write_bytes(content)
        return ResultObject(one.kind, uid, one.sop_class_uid, str(path))


def renumbered(uid: str, number: int) -> str:
    """A UID of the same length for another job."""
    return uid[:-_DIGITS] + f"{number:0{_DIGITS}d}"


def make_templates(folder: Path) -> Templates:
    """Make the results once; they pass for those of any job."""
    case = make_case(folder / "sources", size=(9, 8, 8))
    (document,) = make(case)
    alone = folder / "alone"
    alone.mkdir()
    report = make_alone(case.context, Analysis(case.labels))
    first, second = written(document, folder), write_alone(report, folder)
    # The report of a destination that takes no segmentation is another object.
    third = pydicom.dcmread(second)
    third.SOPInstanceUID = third.file_meta.MediaStorageSOPInstanceUID = _other(third.SOPInstanceUID)
    third.save_as(alone / "report.dcm", enforce_file_format=True)
    made = [_template("seg", first), _template("sr", second), _template("sr", alone / "report.dcm")]
    found = pydicom.dcmread(second, stop_before_pixels=True)
    places = {str(found.StudyInstanceUID), *(_series(one.content) for one in made)}
    return Templates(*made, tuple({*places, *(one.uid for one in made)}))


def _other(uid: str) -> str:
    last = "1" if uid[-_DIGITS - 1] != "1" else "2"
    return uid[: -_DIGITS - 1] + last + uid[-_DIGITS:]


def _series(content: bytes) -> str:
    return str(pydicom.dcmread(_opened(content), stop_before_pixels=True).SeriesInstanceUID)


def _opened(content: bytes) -> Any:
    from io import BytesIO

    return BytesIO(content)


def _template(kind: str, path: Path) -> Template:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    return Template(kind, str(header.SOPClassUID), str(header.SOPInstanceUID), path.read_bytes())


class Filled(Outbox):
    """The ledger of a node, with results in its outbox."""

    def __init__(self, folder: Path, templates: Templates) -> None:
        super().__init__(folder)
        self.templates = templates
        self.jobs_of: dict[str, list[int]] = {}

    def fill_with_results(
        self, name: str, jobs: int = 1, *, segmentations: int = 1, reserve: bool = True
    ) -> list[str]:
        """Jobs for a destination: segmentations, then a report; the UIDs in order.

        In reserve is a report alone, in case that the destination takes no segmentations.
        """
        found: list[str] = []
        made = self.templates
        with self.ledger.begin() as change:
            for _ in range(jobs):
                job_id = self.plan(change)
                folder = self.spool.results / str(job_id)
                folder.mkdir(parents=True)
                number = job_id * 100
                kinds = [made.seg] * segmentations + [made.sr]
                objects = [
                    self._kept(made.write(one, number + at, folder)) for at, one in enumerate(kinds)
                ]
                change.outbox.add(job_id, name, objects, self.clock.now())
                if reserve:
                    alone = self._kept(made.write(made.alone, number, folder))
                    change.outbox.add(job_id, name, [alone], self.clock.now(), 1)
                self.jobs_of.setdefault(name, []).append(job_id)
                found += [one.sop_instance_uid for one in objects]
        return found

    def _kept(self, made: ResultObject) -> ResultObject:
        where = self.spool.relative(Path(made.path))
        return ResultObject(made.kind, made.sop_instance_uid, made.sop_class_uid, where)

    def items_for(self, name: str) -> list[OutboxItem]:
        """What is in the outbox for a destination, in the order of sending."""
        with self.ledger.read() as view:
            found = view.outbox.of_jobs(self.jobs_of[name])
        return [item for job_id in self.jobs_of[name] for item in found[job_id]]

    def digest_of(self, item: OutboxItem) -> str:
        """The SHA-256 digest of an object's data set, as its file has it."""
        path = self.spool.absolute(item.path)
        with open_object(path) as found:
            return hashlib.sha256(path.read_bytes()[found.offset :]).hexdigest()

    def tally(self, name: str) -> dict[str, int]:
        """How many objects of a destination are in which state, but for those in reserve."""
        states = [item.state for item in self.items_for(name)]
        return dict(Counter(one.value for one in states if one is not DeliveryState.RESERVED))

    def check_jobs(self, name: str, ended: str) -> None:
        """Each job of a destination has come to this end, and none was inferred again."""
        with self.ledger.read() as view:
            for job_id in self.jobs_of[name]:
                job = view.jobs.get(job_id)
                rows = [row for row in view.trail.of_study(job.study_id) if row.event == "job"]
                moves = [row.after for row in rows]
                assert moves[:4] == ["queued", "prepared", "inferred", "written"], moves
                assert not {"queued", "prepared", "inferred"}.intersection(moves[4:]), moves
                assert job.state == ended, (job.state, job.reason)
                assert len(view.jobs.of_study(job.study_id)) == 1

    def check_trail(self) -> None:
        """The trail is whole."""
        with self.ledger.read() as view:
            assert first_break(view.trail.all()) is None


@dataclass(frozen=True)
class Place:
    """One of the ``[[destinations]]``; ``tables`` are those below it, by name."""

    name: str
    values: Values
    tables: Mapping[str, Values] = field(default_factory=dict)


@dataclass
class DeliveryNode:
    """``secondread serve --role deliver``, and ``--role intake`` where archives report to it.

    Attributes:
        reporters: AE titles that may report on commitment at ``port``.
        sections: tables of the configuration besides.
    """

    folder: Path
    places: Sequence[Place]
    reporters: Sequence[str] = ()
    sections: Mapping[str, Values] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data_dir = self.folder / "data"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "secondread.toml"
        self.log = self.folder / "node.log"
        self.configure()

    @property
    def roles(self) -> tuple[str, ...]:
        """Those that are needed."""
        return ("intake", "deliver") if self.reporters else ("deliver",)

    def configure(self) -> None:
        """Write the configuration file."""
        tables = [
            _table("[node]", {"data_dir": str(self.data_dir), "minimum_free_gib": 0.05}),
            _table("[dicom]", {"host": "127.0.0.1", "port": self.port}),
            _table("[log]", {"level": "debug"}),
            *(_table(f"[{name}]", values) for name, values in self.sections.items()),
        ]
        for title in ("CT1", *self.reporters):
            values = {"name": title.lower(), "ae_title": title, "addresses": ["127.0.0.1/32"]}
            may = ["echo", "store"] if title == "CT1" else ["echo", "commitment"]
            tables.append(_table("[[peers]]", {**values, "quiet_s": 3600.0, "may": may}))
        for place in self.places:
            tables.append(_table("[[destinations]]", {"name": place.name, **place.values}))
            for name, values in place.tables.items():
                tables.append(_table(f"[destinations.{name}]", values))
        self.config.write_text("\n".join(tables), encoding="utf-8")

    # --- its life ---

    def start(self) -> None:
        """Start what does not run; the port, if there is one, answers before the rest begins."""
        for role in self.roles:
            if role in self._processes:
                continue
            self._processes[role] = self._begin(role)
            if role == "intake":
                address = Address("127.0.0.1", self.port, NODE, "CT1", 5.0)
                self.wait_until(lambda at=address: echo(at).ok, "an answer to C-ECHO", START_S)

    def _begin(self, role: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "secondread", "serve", "--role", role),
                    *("--config", str(self.config)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, *roles: str) -> None:
        """Kill -9 of these roles, or of all at once."""
        ended = [self._processes.pop(role) for role in roles or tuple(self._processes)]
        for process in ended:
            process.send_signal(signal.SIGKILL)
        for process in ended:
            process.wait(timeout=20)

    def stop(self) -> None:
        """End it as a service manager does."""
        processes, self._processes = self._processes, {}
        for process in processes.values():
            process.terminate()
        codes = {}
        for role, process in processes.items():
            try:
                codes[role] = process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)
                codes[role] = "it did not end in 60 s"
        assert set(codes.values()) <= {0}, (codes, self.tail())

    def pid(self, role: str = "deliver") -> int:
        """The process id of a role."""
        return self._processes[role].pid

    def is_running(self) -> bool:
        """Whether none of its processes has ended by itself."""
        return all(process.poll() is None for process in self._processes.values())

    # --- what it does ---

    def command(self, *arguments: str) -> Any:
        """What a command of the CLI answers with ``--json``."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "secondread", *arguments),
                *("--json", "--config", str(self.config)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the ledger, straight from the file."""
        where = f"file:{self.data_dir / 'ledger.sqlite'}?mode=ro"
        with closing(sqlite3.connect(where, uri=True, timeout=20)) as ledger:
            return ledger.execute(query, values).fetchall()

    def let_pass(self, seconds: float, name: str) -> None:
        """Let time pass for a destination: all that is planned for it comes so much earlier."""
        where = self.data_dir / "ledger.sqlite"
        with closing(sqlite3.connect(where, timeout=30, isolation_level=None)) as ledger:
            ledger.execute("BEGIN IMMEDIATE")
            for table, columns in (
                ("outbox", ("next_at", "prove_at", "sent_at")),
                ("enquiry", ("asked_at", "due_at")),
                ("line", ("since", "next_at")),
            ):
                changes = ", ".join(f"{column} = {column} - :s" for column in columns)
                ledger.execute(
                    f"UPDATE {table} SET {changes} WHERE destination = :name",
                    {"s": seconds, "name": name},
                )
            ledger.execute("COMMIT")

    def line(self, name: str) -> tuple[str, str]:
        """State and reason of the line to a destination."""
        found = self.rows("SELECT state, reason FROM line WHERE destination = ?", name)
        return found[0] if found else ("closed", "")

    def wait_until(self, condition: Callable[[], Any], what: str, within_s: float = END_S) -> Any:
        """Wait for a condition; what it returned."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            with suppress(sqlite3.OperationalError):
                if found := condition():
                    return found
            assert self.is_running(), f"A process has ended while {what} was awaited: {self.tail()}"
            time.sleep(TICK_S)
        raise AssertionError(f"Waited {within_s:g} s in vain for {what}. {self.tail()}")

    def tail(self) -> str:
        """The end of the log."""
        return f"The log:\n{self.log.read_text(errors='replace')[-5000:]}"


def _table(header: str, values: Values) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join((header, *lines, ""))


@contextmanager
def delivery_node(templates: Templates, **arguments: Any) -> Iterator[tuple[DeliveryNode, Filled]]:
    """A node that does not run yet, and its ledger; ends with the block."""
    node = DeliveryNode(**arguments)
    with _OPENING:
        ledger = Filled(node.data_dir, templates)
    try:
        yield node, ledger
        node.stop()
    finally:
        with suppress(AssertionError):
            node.stop()
        ledger.close()
