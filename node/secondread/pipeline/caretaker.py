"""What is done every hour about files and the disk."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import structlog

from secondread.config.settings import Settings
from secondread.domain.clock import Clock
from secondread.domain.destination import Destination
from secondread.domain.retention import sent_is_safe
from secondread.errors import SecondReadError, UsageError
from secondread.pipeline.disk_watch import DiskWatch
from secondread.pipeline.purge import Purge
from secondread.pipeline.purge_monitoring import MonitoringPurge
from secondread.pipeline.purge_quarantine import QuarantinePurge
from secondread.pipeline.removal import HOURLY, tell_amounts
from secondread.store import Ledger, Spool

log = structlog.stdlib.get_logger(__name__)

ROUND_S = 3600.0
"""How often files are removed."""
LOOK_S = 600.0
"""How often the disk is looked at."""


@dataclass(frozen=True, slots=True)
class Caretaker:
    """Removes what may go, and watches the disk."""

    purge: Purge
    quarantine: QuarantinePurge
    watch: DiskWatch
    monitoring: MonitoringPurge

    def begin(self) -> None:
        """Finish what a crash interrupted, before anything else happens."""
        try:
            with self.purge.alone():
                if files := self.purge.finish_earlier():
                    log.warning("an interrupted purge was finished", files=files)
        except (SecondReadError, OSError) as error:
            # Studies must not wait because old files cannot be removed; the next round tries again.
            log.warning("an interrupted purge could not be finished", reason=str(error))

    def work(self, stop: threading.Event) -> None:
        """Remove all that may go; ``stop`` ends it after the study that it is at."""
        try:
            for remove in (self.purge.run, self.quarantine.run):
                if gone := remove(stop, HOURLY):
                    log.info("purged", what=tell_amounts(gone))
            if rows := self.monitoring.run(stop):
                log.info("purged", what=str(rows))
            self.watch.relieve(self.purge, stop)
        except UsageError as error:
            log.info("no purge", reason=str(error))
        except OSError as error:
            log.error("files could not be removed", reason=error.strerror)


def engage(settings: Settings, ledger: Ledger, spool: Spool, clock: Clock) -> Caretaker:
    """The caretaker of a node."""
    terms = settings.retention
    destinations: tuple[Destination, ...] = settings.destinations
    is_safe = sent_is_safe(destinations)
    return Caretaker(
        Purge(ledger, spool, clock, terms, is_safe),
        QuarantinePurge(ledger, spool, clock, terms, is_safe),
        DiskWatch(ledger, spool, clock, terms, settings.minimum_free_bytes),
        MonitoringPurge(ledger, clock, terms, settings.monitoring),
    )
