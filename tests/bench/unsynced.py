"""The intake role without a single sync: for the bench alone, never for objects that matter.

``python -m tests.bench.unsynced secondread.toml``. It is the same role with the same ledger; only
the calls that wait for the disk are taken out, here and nowhere in the node.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool

from secondread import app
from secondread.config.load import load
from secondread.store.durability import Durability


def main() -> int:
    """Run the role until SIGTERM."""
    os.fsync = _nothing
    Durability.sync = _nothing
    Durability.begin = _nothing
    event.listen(Pool, "checkout", _unsync)
    return app.serve(load(Path(sys.argv[1])), "intake")


def _nothing(*_arguments: object) -> None:
    return


def _unsync(connection: Any, _record: Any, _proxy: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


if __name__ == "__main__":
    sys.exit(main())
