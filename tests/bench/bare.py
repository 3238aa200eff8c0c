"""A bare loop that stores and looks at nothing: what one thread of Python reaches at the most.

``python -m tests.bench.bare PORT FOLDER`` serves any number of associations. It writes what comes
as the node does, one new file for each object that is renamed when it is whole, and answers. With
``sync`` behind it a second thread syncs by the node's own rule, a group at a time, before the
answers. There are no checks, no digest, no ledger, no quotas and no deadlines.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
import threading
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from secondread.store.durability import Durability
from tests.bench import sink

Stored = tuple[int, socket.socket, bytes]
"""An open file, and who is to get which answer."""


class Association(sink.Association):
    """One connection; its objects become files of a store."""

    def __init__(self, connection: socket.socket, store: Store) -> None:
        super().__init__(connection)
        self._store = store
        self._pieces: list[memoryview] = []
        self._file = -1
        self._name = ""

    def ready(self, buffer: memoryview) -> bool:
        """Read, and write what was read."""
        goes_on = super().ready(buffer)
        self._write()
        return goes_on

    def keep(self, piece: memoryview) -> None:
        """Keep a piece until the buffer is used again."""
        self._pieces.append(piece)

    def complete(self, answer: bytes) -> None:
        """Give the file its name, and have it answered."""
        self._write()
        os.rename(self._name + ".part", self._name)
        self._store.stored.append((self._file, self.connection, answer))
        self._file = -1

    def _write(self) -> None:
        if not self._pieces:
            return
        if self._file < 0:
            self._name = f"{self._store.folder}/{next(self._store.numbers)}"
            self._file = os.open(self._name + ".part", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.writev(self._file, self._pieces)
        self._pieces.clear()


class Store:
    """Files in a folder, and the thread that syncs them where they are synced."""

    def __init__(self, folder: Path, *, sync: bool) -> None:
        self.folder = folder
        self.numbers = itertools.count()
        self.stored: list[Stored] = []
        self._waiting: SimpleQueue[list[Stored]] = SimpleQueue()
        self._durability = Durability(folder, enabled=sync)
        self._sync = sync
        if sync:
            threading.Thread(target=self._run, daemon=True).start()

    def after_turn(self) -> None:
        """Have everybody answered whose object is whole."""
        if not self.stored:
            return
        group, self.stored = self.stored, []
        if self._sync:
            self._waiting.put(group)
        else:
            self._answer(group)

    def _run(self) -> None:
        while True:
            group = self._waiting.get()
            while True:
                try:
                    group += self._waiting.get_nowait()
                except Empty:
                    break
            self._answer(group)

    def _answer(self, group: list[Stored]) -> None:
        self._durability.sync([file for file, _, _ in group], [str(self.folder)])
        for file, connection, answer in group:
            connection.sendall(answer)
            os.close(file)


def main() -> None:
    """Serve until ended."""
    store = Store(Path(sys.argv[2]), sync="sync" in sys.argv[3:])
    sink.serve(int(sys.argv[1]), partial(Association, store=store), store.after_turn)


if __name__ == "__main__":
    main()
