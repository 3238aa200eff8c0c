"""An intake process as a service manager runs it, and what can be seen of it from outside."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.demo.pacs import free_port

from .hostile import Client, EndedError
from .wire import ASSOCIATE_AC, AssociationRequest, MrObject, Proposal

HONEST, HONEST_ADDRESS = "HONEST", "127.0.0.9"
ATTACKER, ATTACKER_ADDRESS = "ATTACKER", "127.0.0.1"
ECHO_LIMIT_S = 1.0
ECHO_EVERY_S = 0.1
MEBIBYTE = 1 << 20
START_TIMEOUT_S = 60.0
ROW_LIMIT_S = 20.0
THREADS_MAX = 24
"""What the process has of its own; pools fill up when they are first needed."""
LEDGER = "ledger.sqlite"
PRIVATE = ("1.2.826.0.1.3680043.10.511", "attack^", "hostile-1", "zzmarker")
"""What objects of these tests say about patients and studies; none of it may be logged."""
_TRACE = ("traceback", "uncaught", "exception ignored")

Values = Mapping[str, Any]

LIMITS: Values = {
    "host": "127.0.0.1",
    "max_associations": 40,
    "max_waiting": 64,
    "association_timeout_s": 3.5,
    "pdu_timeout_s": 2.5,
    "request_timeout_s": 2.0,
    "max_object_mib": 16,
    "max_inflated_mib": 400,
}
"""Short times, so that a test that waits for one takes seconds."""

PEERS: Sequence[Values] = (
    {"name": "honest", "ae_title": HONEST, "addresses": [HONEST_ADDRESS], "quiet_s": 3600.0},
    {
        "name": "attacker",
        "ae_title": ATTACKER,
        "addresses": [f"{ATTACKER_ADDRESS}/32"],
        "quiet_s": 3600.0,
        "max_associations": 12,
    },
)
"""One that behaves, and one that is on the list and does not; each has its own address."""

VERIFY = (Proposal(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),)


@dataclass(frozen=True)
class Usage:
    """What the process takes up; ``rss`` is bytes.

    Connections to the ledger are not among the descriptors: there is a pool of them.
    """

    rss: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Mark:
    """A moment: how long the log was, in bytes, and the time in seconds since the epoch."""

    log: int
    at: float


BEGINNING = Mark(0, 0.0)


@dataclass(frozen=True)
class Row:
    """An object in the ledger, and the file that it names."""

    uid: str
    sha256: str
    size: int
    path: Path

    def data(self) -> bytes:
        """The data set as it stands in the file."""
        with self.path.open("rb") as file:
            file.seek(-self.size, 2)
            return file.read()

    def is_exact(self) -> bool:
        """Whether the file holds what the ledger says."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            file.seek(-self.size, 2)
            while piece := file.read(MEBIBYTE):
                digest.update(piece)
        return digest.hexdigest() == self.sha256


@dataclass(frozen=True)
class Place:
    """Where and how an intake process runs; ``sections`` are tables of the configuration."""

    folder: Path
    data_dir: Path
    sections: Mapping[str, Values] = field(default_factory=dict)
    peers: Sequence[Values] = PEERS


class IntakeNode:
    """``secondread serve --role intake``; everything asked of it is asked from outside."""

    def __init__(self, place: Place) -> None:
        self.folder, self.data_dir = place.folder, place.data_dir
        self.port = free_port()
        self.config = self.folder / "secondread.toml"
        self.log = self.folder / "intake.log"
        sections = {
            "node": {"data_dir": str(self.data_dir), "minimum_free_gib": 0.05},
            "dicom": {**LIMITS, "port": self.port},
            "log": {"level": "debug", "format": "json"},
        }
        for name, values in place.sections.items():
            sections[name] = {**sections.get(name, {}), **values}
        tables = [_table(f"[{name}]", values) for name, values in sections.items()]
        tables += [_table("[[peers]]", peer) for peer in place.peers]
        self.config.write_text("\n".join(tables), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self._absent: set[str] = set()

    # --- its life ---

    def start(self) -> None:
        """Start the process and wait until it answers an honest C-ECHO."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    # As many descriptors as a service gets that asks for nothing.
                    *("/bin/sh", "-c", 'ulimit -S -n 1024 && exec "$@"', "sh"),
                    *(sys.executable, "-m", "secondread", "serve"),
                    *("--role", "intake", "--config", str(self.config)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_for(self._answers, START_TIMEOUT_S, "an answer to C-ECHO")

    def stop(self) -> int:
        """End the process as a service manager does; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
            raise AssertionError("The intake process did not end in 30 s.") from None

    def kill(self) -> None:
        """Kill -9."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=20)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        assert self.is_running(), f"The intake process ended:\n{self._tail()}"
        try:
            return honest_echo(self.port, timeout_s=2.0) is None
        except OSError:
            return False

    # --- what it takes up ---

    def usage(self) -> Usage:
        """Memory, file descriptors and threads, from /proc."""
        folder = Path(f"/proc/{self.pid}")
        fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return Usage(
            rss=int(fields["VmRSS"].split()[0]) * 1024,
            descriptors=sum(LEDGER not in opened for opened in _open_files(folder / "fd")),
            threads=int(fields["Threads"]),
        )

    def wait_until_quiet(self, before: Usage, within_s: float = 12.0) -> None:
        """Wait until descriptors and threads are as before, and nothing is half written."""

        def back() -> bool:
            now = self.usage()
            return (
                now.descriptors <= before.descriptors
                and now.threads <= max(before.threads, THREADS_MAX)
                and not self.incoming()
            )

        try:
            self.wait_for(back, within_s, f"{before} to come back")
        except AssertionError as error:
            now, left = self.usage(), [path.name for path in self.incoming()]
            raise AssertionError(f"left: {now}, in incoming {left}. {error}") from None

    # --- what it keeps ---

    def incoming(self) -> list[Path]:
        """Objects that are being written."""
        return list((self.data_dir / "spool" / "incoming").iterdir())

    def incoming_bytes(self) -> int:
        """How much of them is on disk."""
        total = 0
        for path in self.incoming():
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def object_files(self) -> list[Path]:
        """Every file among the stored objects, also such as no row names."""
        return [path for path in (self.data_dir / "spool" / "objects").rglob("*") if path.is_file()]

    def rows(self) -> dict[str, Row]:
        """Every object in the ledger, by SOP Instance UID."""
        found = self.select("SELECT sop_instance_uid, sha256, size_bytes, path FROM instance")
        return {row[0]: Row(row[0], row[1], row[2], self.data_dir / row[3]) for row in found}

    def row(self, uid: str, within_s: float = ROW_LIMIT_S) -> Row:
        """One object in the ledger, which has it a moment after Success.

        Raises:
            AssertionError: it is not there in time.
        """
        query = "SELECT sop_instance_uid, sha256, size_bytes, path FROM instance"
        found = self.wait_for(
            lambda: self.select(f"{query} WHERE sop_instance_uid = ?", uid),
            within_s,
            "the row of an object that got Success",
        )
        self._absent.discard(uid)
        return Row(*found[0][:3], self.data_dir / found[0][3])

    def settle(self) -> None:
        """Wait until the ledger has every object that got Success so far.

        Rows are entered in the order in which the objects were stored, so that of a last one is
        waited for.
        """
        honest_store(self, f"{PRIVATE[0]}.3.998.{time.time_ns()}")

    def expect_absent(self, uid: str) -> None:
        """Have ``check_absent`` look for an object that was not stored."""
        self._absent.add(uid)

    def check_absent(self) -> None:
        """None of the objects that were not stored is in the ledger."""
        if not self._absent:
            return
        self.settle()
        found = self._absent & self.rows().keys()
        assert not found, f"{len(found)} objects without Success are in the ledger"
        self._absent.clear()

    def select(self, query: str, *values: object) -> list[Any]:
        """What a query of the ledger finds."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.data_dir / LEDGER}?mode=ro", uri=True, timeout=10)
        ) as ledger:
            return ledger.execute(query, values).fetchall()

    # --- what it says ---

    def log_size(self) -> int:
        """Bytes logged so far; a place to read on from."""
        return self.log.stat().st_size

    def log_text(self, since: int = 0) -> str:
        """What was logged since a place."""
        with self.log.open("rb") as file:
            file.seek(since)
            return file.read().decode("utf-8", errors="surrogateescape")

    def log_lines(self, since: int = 0) -> list[Values]:
        """What was logged since a place.

        Raises:
            AssertionError: a line is not one JSON object with an event.
        """
        text = self.log_text(since)
        # Not splitlines(): a form feed or U+2028 within a line must not hide as a line's end.
        lines = text.split("\n")
        found = []
        for line in lines[:-1]:
            try:
                parsed = json.loads(line)
            except ValueError:
                raise AssertionError(f"a log line is not JSON: {line[:300]!r}") from None
            assert isinstance(parsed, dict), f"a log line is no object: {line[:300]!r}"
            assert "event" in parsed, f"a log line has no event: {line[:300]!r}"
            assert line.isprintable(), f"a log line holds control characters: {line[:300]!r}"
            found.append(parsed)
        return found

    def check_log(self, since: int = 0, *, errors: bool = False) -> list[Values]:
        """The lines since a place, of which none tells of a fault of the node's own.

        Args:
            since: where to begin.
            errors: whether alerts are in order.
        """
        lines = self.log_lines(since)
        for line in lines:
            text = json.dumps(line).lower()
            assert not any(word in text for word in PRIVATE), f"a patient in the log: {line}"
            assert not any(word in text for word in _TRACE), f"a traceback in the log: {line}"
            assert "exception" not in line, f"an exception in the log: {line}"
            if not errors:
                assert line.get("level") not in {"error", "critical"}, f"an error: {line}"
        return lines

    def codes(self, since: Mark = BEGINNING) -> set[str]:
        """The codes of everything that was refused or ended since a mark.

        A refusal that comes again and again is logged once a minute, and counted in the ledger.
        """
        told = {str(line["code"]) for line in self.log_lines(since.log) if line.get("code")}
        counted = self.select("SELECT code FROM refusal WHERE last_at >= ?", since.at)
        return told | {code for (code,) in counted}

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""

    # --- waiting ---

    def wait_for(self, condition: Callable[[], Any], within_s: float, what: str) -> Any:
        """Wait for a condition; what it returned."""
        until = time.monotonic() + within_s
        while True:
            if found := condition():
                return found
            if time.monotonic() > until:
                break
            time.sleep(0.02)
        raise AssertionError(f"Waited {within_s:g} s in vain for {what}. Log:\n{self._tail()}")


def _open_files(folder: Path) -> Iterator[str]:
    """What each descriptor of a process is open on."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(path.readlink())


def _table(head: str, values: Values) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join((head, *lines)) + "\n"


def honest_echo(port: int, timeout_s: float = 5.0) -> str | None:
    """An association, C-ECHO and release of the honest peer; what went wrong, or None."""
    try:
        with Client(port, HONEST_ADDRESS, timeout_s) as client:
            answer = client.associate(AssociationRequest(HONEST, contexts=VERIFY))
            if answer.kind != ASSOCIATE_AC:
                return f"PDU {answer.kind} {answer.body.hex()} in place of an acceptance"
            if (status := client.echo()) != 0:
                return f"status 0x{status:04X}"
            client.release()
    except (EndedError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def honest_store(node: IntakeNode, uid: str) -> None:
    """Store an object as the honest peer; it must be there, bit for bit."""
    data = MrObject(uid).encode()
    with Client(node.port, HONEST_ADDRESS) as client:
        answer = client.associate(AssociationRequest(HONEST))
        assert answer.kind == ASSOCIATE_AC, f"PDU {answer.kind} {answer.body.hex()}"
        assert client.store(uid, data) == 0
        client.release()
    row = node.row(uid)
    assert row.data() == data
    assert row.is_exact()


class HonestWatch:
    """C-ECHO of an honest peer, again and again in a thread of its own, while others attack."""

    def __init__(self, node: IntakeNode) -> None:
        self._node = node
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="honest", daemon=True)
        self.times_s: list[float] = []
        self.failures: list[str] = []
        self.rss_max = 0

    def __enter__(self) -> HonestWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while True:
            started = time.monotonic()
            try:
                failure = honest_echo(self._node.port)
            except OSError as error:
                failure = str(error)
            took_s = time.monotonic() - started
            self.times_s.append(took_s)
            if failure:
                self.failures.append(f"{failure} after {took_s:.2f} s")
            with contextlib.suppress(OSError):
                self.rss_max = max(self.rss_max, self._node.usage().rss)
            if self._stop.wait(max(0.0, ECHO_EVERY_S - took_s)):
                return

    def check(self, rss_before: int, growth_mib: float) -> None:
        """Everybody honest was served in time, and the memory stayed under its cap."""
        assert not self.failures, f"honest echoes failed: {self.failures[:5]}"
        assert self.times_s, "no honest echo was tried"
        slowest = max(self.times_s)
        assert slowest < ECHO_LIMIT_S, f"an honest echo took {slowest:.2f} s"
        grown = (self.rss_max - rss_before) / MEBIBYTE
        assert grown < growth_mib, f"the process grew by {grown:.0f} MiB"


@contextlib.contextmanager
def under_attack(
    node: IntakeNode, growth_mib: float = 80.0, *, errors: bool = False
) -> Iterator[Mark]:
    """What must hold during and after any attack; gives the moment at which it begins."""
    before, since = node.usage(), Mark(node.log_size(), time.time())
    with HonestWatch(node) as watch:
        yield since
    assert node.is_running(), "the attack ended the process"
    watch.check(before.rss, growth_mib)
    node.wait_until_quiet(before)
    node.check_log(since.log, errors=errors)


@contextlib.contextmanager
def running_intake(
    folder: Path,
    sections: Mapping[str, Values] | None = None,
    peers: Sequence[Values] = PEERS,
    data_dir: Path | None = None,
) -> Iterator[IntakeNode]:
    """An intake process that has stored one object, so that nothing more is made on first use."""
    node = IntakeNode(Place(folder, data_dir or folder / "data", sections or {}, peers))
    try:
        node.start()
        honest_store(node, "1.2.826.0.1.3680043.10.511.3.999.1")
        time.sleep(0.3)
        yield node
    except BaseException:
        node.kill()
        raise
    code = node.stop()
    assert code == 0, f"the intake process ended with {code}"
