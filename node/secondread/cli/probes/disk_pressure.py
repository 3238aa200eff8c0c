"""How long the disk will last, at the rate of the last days."""

from __future__ import annotations

import time
from collections.abc import Iterator

from secondread.cli.probes.finding import Finding, failure, warning, well
from secondread.config.settings import Settings
from secondread.domain.disk_pressure import Pressure, judge_pressure

_SUBJECT = "disk ahead"
_REMEDY = (
    'Make room, shorten the times in [retention], or set when_low = "purge-safe" there; '
    "'secondread retention show' tells what is kept."
)


def probe_disk_pressure(settings: Settings) -> Iterator[Finding]:
    """Whether space lasts; nothing is said of a node that has not run yet."""
    from secondread.cli.study import is_begun
    from secondread.errors import LedgerError
    from secondread.pipeline.disk_watch import look_ahead
    from secondread.store import Ledger, Spool

    if not is_begun(settings):
        return
    terms, free_bytes = settings.retention, Spool(settings.data_dir).free_bytes()
    try:
        ledger = Ledger.open(settings.data_dir)
    except LedgerError as error:
        yield failure(_SUBJECT, str(error), "Restore the ledger from a backup.")
        return
    try:
        found = look_ahead(ledger, free_bytes, settings.minimum_free_bytes, terms, time.time())
    finally:
        ledger.close()
    pressure = judge_pressure(found, terms)
    if pressure is Pressure.EASY:
        yield well(_SUBJECT, found.sentence)
    elif pressure is Pressure.SOON:
        yield warning(_SUBJECT, found.sentence, _REMEDY)
    else:
        yield failure(_SUBJECT, found.sentence, _REMEDY)
