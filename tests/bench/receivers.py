"""The receivers that are compared: started in a folder of their own, counted, and ended."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from deploy.demo.pacs import LOOPBACK, OrthancPacs, free_port, orthanc_program
from secondread.store import Ledger
from tests.bench.objects import Sample
from tests.bench.scu import echo

REPOSITORY = Path(__file__).resolve().parents[2]
CALLING, CALLED = "BENCH", "SECONDREAD"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
START_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 30.0

# The node as it comes, but all fifty associations come from one address here.
_CONFIGURATION = """\
[node]
ae_title = "{called}"
data_dir = "{data_dir}"
minimum_free_gib = 0.1
[dicom]
host = "{host}"
port = {port}
[[models]]
id = "brain_mr"
[[peers]]
name = "bench"
ae_title = "{calling}"
addresses = ["{host}"]
quiet_s = 3600.0
"""


class BenchError(Exception):
    """A run that gives no figure: a receiver that did not start, or an object that is missing."""


class MissingProgramError(Exception):
    """A program that is not installed; the text says which package has it."""


class Receiver(Protocol):
    """A storage SCP that runs."""

    port: int
    pid: int

    def verify(self, samples: Sequence[Sample]) -> None:
        """Stop it, and check that everything that was sent is there.

        Raises:
            BenchError: it is not.
        """

    def close(self) -> None:
        """Stop it; safe to call twice."""


Start = Callable[[Path], Receiver]


class _Program:
    """A receiver that is a child process; its output is in ``<folder>/log``."""

    port: int

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        *,
        nodelay: bool = True,
        preloaded: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log_path = folder / "log"
        # Python's receivers run in their own folder and still find the bench.
        paths = (str(REPOSITORY), os.environ.get("PYTHONPATH", ""))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        environment.pop("TCP_NODELAY", None)
        if nodelay:
            environment["TCP_NODELAY"] = "1"
        if preloaded is not None:
            environment["LD_PRELOAD"] = str(preloaded)
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment
            )
        self.pid = self._process.pid

    def _wait_for(self, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                ready()
            except (OSError, RuntimeError) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    message = f"A receiver did not start ({error}): {self._end_of_log()}"
                    raise BenchError(message) from None
                time.sleep(0.05)
            else:
                return

    def _connect(self) -> None:
        socket.create_connection((LOOPBACK, self.port), timeout=5.0).close()

    def _end_of_log(self) -> str:
        return self._log_path.read_text(errors="replace")[-1500:].strip() or "it said nothing."

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Node(_Program):
    """The intake role of a node of ours, with fsync and ledger, or without sync."""

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        folder.mkdir(parents=True)
        self.port, self.data_dir = free_port(), folder / "data"
        config = folder / "secondread.toml"
        config.write_text(
            _CONFIGURATION.format(
                data_dir=self.data_dir,
                host=LOOPBACK,
                port=self.port,
                called=CALLED,
                calling=CALLING,
            )
        )
        role = ("secondread", "serve", "--role", "intake", "--config")
        command = role if sync else ("tests.bench.unsynced",)
        super().__init__(folder, (sys.executable, "-m", *command, str(config)))
        self._wait_for(lambda: echo(self.port, CALLING, CALLED))

    def verify(self, samples: Sequence[Sample]) -> None:
        """Every object is in the ledger once, and its file holds the very bytes that were sent."""
        self.close()
        ledger = Ledger.open(self.data_dir)
        try:
            with ledger.read() as view:
                studies = dict.fromkeys(sample.study_instance_uid for sample in samples)
                rows = [row for study in studies for row in view.instances.of_study(study)]
                count = view.instances.count()
        finally:
            ledger.close()
        if count != len(samples) or len(rows) != count:
            raise BenchError(f"{len(samples)} objects were sent, {count} are in the ledger.")
        paths = {row.sop_instance_uid: self.data_dir / row.path for row in rows}
        for sample in samples:
            path = paths.get(sample.sop_instance_uid)
            content = path.read_bytes() if path and path.is_file() else b""
            # The file meta information starts with its own length (PS3.10 7.1).
            start = 144 + int.from_bytes(content[140:144], "little")
            if content[start:] != sample.data:
                raise BenchError(f"An object is not what was sent; its file is {path}.")


class Storescp(_Program):
    """DCMTK's receiver; it syncs nothing."""

    def __init__(
        self, folder: Path, *arguments: str, nodelay: bool = True, preloaded: Path | None = None
    ) -> None:
        program = installed("storescp")
        self._stored = folder / "stored"
        self._stored.mkdir(parents=True)
        self.port = free_port()
        command = (program, *arguments, "-od", str(self._stored), str(self.port))
        super().__init__(folder, command, nodelay=nodelay, preloaded=preloaded)
        self._wait_for(lambda: echo(self.port, CALLING, CALLED))

    def verify(self, samples: Sequence[Sample]) -> None:
        self.close()
        expect_count(self._stored, samples)


class SyncedStorescp(Storescp):
    """DCMTK's receiver, made to sync each file before it answers (``syncing.c``)."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        compiler = installed("cc", "gcc")
        library = folder / "syncing.so"
        folder.mkdir(parents=True)
        source = Path(__file__).with_name("syncing.c")
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", library, source]
        if subprocess.run(command, check=False).returncode:
            raise MissingProgramError("libc6-dev")
        super().__init__(folder, *arguments, preloaded=library)

    def verify(self, samples: Sequence[Sample]) -> None:
        super().verify(samples)
        count = self._log_path.read_bytes().count(b"synced\n")
        if count < len(samples):
            raise BenchError(f"{len(samples)} objects were sent, {count} files were synced.")


class RawLoop(_Program):
    """The bare receive-write-fsync loop of ``raw_loop``."""

    def __init__(self, folder: Path) -> None:
        self._stored = folder / "stored"
        self._stored.mkdir(parents=True)
        self.port = free_port()
        arguments = ("-m", "tests.bench.raw_loop", str(self.port), str(self._stored))
        super().__init__(folder, (sys.executable, *arguments))
        self._wait_for(self._connect)

    def verify(self, samples: Sequence[Sample]) -> None:
        self.close()
        expect_count(self._stored, samples)


class Sink(_Program):
    """The receiver of ``sink``, which keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(folder, (sys.executable, "-m", "tests.bench.sink", str(self.port)))
        self._wait_for(self._connect)

    def verify(self, samples: Sequence[Sample]) -> None:
        """There is nothing to look at; the sender was told of every object that it went well."""
        self.close()


class Bare(_Program):
    """The receiver of ``bare``, which stores and looks at nothing."""

    def __init__(self, folder: Path, *, sync: bool) -> None:
        self.port = free_port()
        self._stored = folder / "stored"
        self._stored.mkdir(parents=True)
        command = (sys.executable, "-m", "tests.bench.bare", str(self.port), str(self._stored))
        super().__init__(folder, (*command, "sync") if sync else command)
        self._wait_for(self._connect)

    def verify(self, samples: Sequence[Sample]) -> None:
        """There is a file for every object, as long as its data set."""
        self.close()
        lengths = sorted(path.stat().st_size for path in self._stored.iterdir())
        if lengths != sorted(len(sample.data) for sample in samples):
            raise BenchError(f"{len(samples)} objects were sent, {len(lengths)} files are there.")


class Orthanc(OrthancPacs):
    """Orthanc, tuned for speed: large PDUs, no digest, no sync, no plug-ins, no log."""

    def __init__(self, folder: Path) -> None:
        program = orthanc_program()
        if program is None:
            raise MissingProgramError("orthanc")
        try:
            super().__init__(program, folder, (CALLING,), ae_title=CALLED)
        except RuntimeError as error:
            log = (folder / "orthanc.log").read_text(errors="replace")
            raise BenchError(f"{error} It ends with: {log[-500:].strip()}") from None
        self.pid = self._process.pid
        echo(self.port, CALLING, CALLED)

    def _configuration(self, folder: Path, callers: tuple[str, ...]) -> dict[str, Any]:
        return {
            **super()._configuration(folder, callers),
            "MaximumPduLength": 131072,
            "StorageCompression": False,
            "StoreMD5ForAttachments": False,
            "SyncStorageArea": False,
            "DicomScpTimeout": 30,
        }

    def verify(self, samples: Sequence[Sample]) -> None:
        counted = Counter(held.sop_instance_uid for held in self.held())
        self.close()
        if counted != Counter(sample.sop_instance_uid for sample in samples):
            raise BenchError(f"{len(samples)} objects were sent to Orthanc, {len(counted)} are in.")


def installed(program: str, package: str = "dcmtk") -> str:
    """Where a program is.

    Raises:
        MissingProgramError: it is not installed.
    """
    path = shutil.which(program)
    if path is None:
        raise MissingProgramError(package)
    return path


def expect_count(folder: Path, samples: Sequence[Sample]) -> None:
    """Check by number.

    Raises:
        BenchError: there are more files or fewer, or one is too small.
    """
    files = list(folder.iterdir())
    if len(files) != len(samples):
        raise BenchError(f"{len(samples)} objects were sent, {len(files)} files are there.")
    smallest = min(len(sample.data) for sample in samples)
    if any(path.stat().st_size < smallest for path in files):
        raise BenchError("A file that was stored is smaller than the object that was sent.")


def cpu_s(pid: int) -> float:
    """CPU time of a process, all its threads and the children it has waited for, in seconds."""
    with suppress(OSError):
        # The name, in brackets, may hold anything; utime is the twelfth field after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * TICK_S
    return 0.0
