"""Where the leak test looks: the worker from outside, and everything that the node writes."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from secondread.store import Ledger
from tests.planted.objects import KINDS
from tests.planted.scanner import MARK, UID_MARK, YEAR, Scanner, spellings

WORKER = "secondread.inference.worker"
PIECE = 1 << 24
OVERLAP = 64
SECURE = ("spool/objects/", "spool/quarantine/", "spool/incoming/", "results/", "ledger.sqlite")
"""The side of the node that knows the patients: names are looked at, contents are not."""
MEASURE_EVERY_S = 0.2
_LOOKS_LEAST, _LOOKS_WITHIN_S = 3, 60.0

Found = dict[str, list[bytes]]


def names() -> Iterator[bytes]:
    """The planted names in the scripts of their character sets, and as UTF-8 and UTF-16."""
    for kind in KINDS:
        for codec in (kind.codec, "utf-8", "utf-16-le"):
            yield kind.surname.encode(codec)


def full_scanner() -> Scanner:
    """Looks for marks, dates and names in all encodings, packed too."""
    return Scanner(others=names())


_NEEDLES = tuple({*spellings(MARK), *spellings(UID_MARK), *names()})
_DATE = re.compile(rb"(?<![0-9.])%d(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])(?![0-9.])" % YEAR)


def find_in_memory(content: bytes) -> list[bytes]:
    """What of the planted stands in a piece of memory; what is packed is not unpacked here."""
    found = []
    for needle in _NEEDLES:
        at = content.find(needle)
        if at >= 0:
            found.append(content[max(at - 40, 0) : at + 60])
    at = content.find(b"%d" % YEAR)
    while at >= 0:
        if match := _DATE.search(content, max(at - 1, 0), at + 10):
            found.append(content[max(match.start() - 20, 0) : match.end() + 20])
        at = content.find(b"%d" % YEAR, at + 1)
    return found


@dataclass
class Watch:
    """What was seen of the workers.

    Attributes:
        found: tokens, by where they stood.
        pids: the processes that were looked at.
        memory_bytes: how much memory was read.
        looks: how often.
    """

    found: Found = field(default_factory=dict)
    pids: set[int] = field(default_factory=set)
    memory_bytes: int = 0
    looks: int = 0


class Watcher(threading.Thread):
    """Looks at every worker below a process, again and again, as root of the machine can."""

    def __init__(self, root_pid: int) -> None:
        super().__init__(daemon=True)
        self.watch = Watch()
        self._root = root_pid
        self._done = threading.Event()

    def run(self) -> None:
        """Look until ``end``."""
        while not self._done.wait(MEASURE_EVERY_S):
            for pid in descendants(self._root):
                self._look(pid)

    def end(self) -> Watch:
        """Stop, but not before some looks at workers, which stay when their study is done."""
        until = time.monotonic() + _LOOKS_WITHIN_S
        while self.watch.looks < _LOOKS_LEAST and time.monotonic() < until:
            time.sleep(0.1)
        self._done.set()
        self.join(60)
        return self.watch

    def _look(self, pid: int) -> None:
        process = Path(f"/proc/{pid}")
        try:
            arguments = (process / "cmdline").read_bytes()
            self._note("cmdline", arguments)
            if WORKER.encode() not in arguments:
                return
            for name in ("environ", "maps", "comm", "mountinfo"):
                self._note(name, (process / name).read_bytes())
            for link in (process / "cwd", process / "exe", *(process / "fd").iterdir()):
                self._note(link.name, str(link.readlink()).encode())
            if re.search(rb"python[0-9.]*\0", arguments[:200]):
                self._read_memory(process)
                self.watch.pids.add(pid)
                self.watch.looks += 1
        except OSError:
            return  # it has ended meanwhile

    def _read_memory(self, process: Path) -> None:
        places = re.findall(
            r"^(\w+)-(\w+) r(.).. \w+ \S+ \d+ *(.*)$", _text(process / "maps"), re.M
        )
        with (process / "mem").open("rb", 0) as memory:
            for start, end, writable, name in places:
                # What nobody can write is the code of libraries.
                if (writable != "w" and "memfd" not in name) or name in {"[vvar]", "[vsyscall]"}:
                    continue
                for at in range(int(start, 16), int(end, 16), PIECE):
                    self._read_piece(memory, at, min(PIECE + OVERLAP, int(end, 16) - at))

    def _read_piece(self, memory: object, at: int, size: int) -> None:
        try:
            content = os.pread(memory.fileno(), size, at)  # type: ignore[attr-defined]
        except OSError:
            return
        self.watch.memory_bytes += len(content)
        if found := find_in_memory(content):
            self.watch.found.setdefault("memory", []).extend(found)

    def _note(self, where: str, content: bytes) -> None:
        if found := full_scanner().scan(content):
            self.watch.found.setdefault(where, []).extend(found)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def descendants(pid: int) -> list[int]:
    """Every process below one."""
    found = []
    waiting = [pid]
    while waiting:
        try:
            tasks = list(Path(f"/proc/{waiting.pop()}/task").iterdir())
            children = [int(one) for task in tasks for one in _text(task / "children").split()]
        except OSError:
            continue
        found += children
        waiting += children
    return found


def scan_written(data_dir: Path, scanner: Scanner) -> Found:
    """What stands in the files of a node outside the secure side, and in all their names."""
    found: Found = {}
    for path in sorted(data_dir.rglob("*")):
        name = str(path.relative_to(data_dir))
        here = scanner.scan(name.encode())
        if path.is_file() and not name.startswith(SECURE):
            here += scanner.scan(path.read_bytes())
        if here:
            found[name] = here
    return found


def scan_trail(data_dir: Path, scanner: Scanner) -> Found:
    """What stands in the trail, but for the titles of callers that were not let in."""
    ledger = Ledger.open(data_dir)
    with ledger.read() as view:
        rows = view.trail.all()
    ledger.close()
    found: Found = {}
    for row in rows:
        detail = {k: v for k, v in row.detail.items() if k not in {"calling", "called"}}
        text = f"{row.before} {row.after} {row.text} {json.dumps(detail, ensure_ascii=False)}"
        for title in filter(None, (row.detail.get("calling"), row.detail.get("called"))):
            text = text.replace(f"'{title}'", "")
        if here := scanner.scan(text.encode(), layer=9):
            found.setdefault(row.event, []).extend(here)
    return found


def scan_reasons(data_dir: Path, scanner: Scanner) -> Found:
    """What stands in the reasons of studies and jobs, which reports repeat."""
    ledger = Ledger.open(data_dir)
    found: Found = {}
    with ledger.read() as view:
        for study in view.studies.list():
            reasons = [study.reason, *(job.reason for job in view.jobs.of_study(study.id))]
            if here := scanner.scan("\n".join(reasons).encode(), layer=9):
                found[f"study {study.id}"] = here
    ledger.close()
    return found
