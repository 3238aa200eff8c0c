"""The machine's clock: results carry its time, and quiet times and retries go by it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from secondread.cli.probes.finding import Finding, failure, warning, well
from secondread.config.settings import Settings

_RELEASED = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_TOO_FAR = datetime(2056, 1, 1, tzinfo=UTC).timestamp()
_TOLERANCE_S = 60.0
_REMEDY = "Set the clock and keep it with NTP: timedatectl set-ntp true."


def probe_clock(settings: Settings) -> Iterator[Finding]:
    """Whether the time is plausible, not before what was written earlier, and kept by NTP."""
    now = time.time()
    told = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if not _RELEASED < now < _TOO_FAR:
        yield failure("clock", f"The clock says {told}, which cannot be.", _REMEDY)
        return
    latest = _latest_write(settings)
    if latest > now + _TOLERANCE_S:
        yield failure(
            "clock",
            f"The clock says {told}, but the ledger was written {latest - now:.0f} s after that.",
            _REMEDY,
        )
        return
    if _synchronised() is False:
        yield warning("clock", f"The clock says {told}, but nothing keeps it right.", _REMEDY)
        return
    yield well("clock", f"The clock says {told}.")


def _latest_write(settings: Settings) -> float:
    paths = (settings.data_dir / name for name in ("ledger.sqlite", "ledger.sqlite-wal"))
    try:
        return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
    except OSError:
        return 0.0


def _synchronised() -> bool | None:
    """Whether systemd says that the clock is kept by NTP; None where there is nobody to ask."""
    if shutil.which("timedatectl") is None:
        return None
    command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=3, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(answer.stdout.strip())
