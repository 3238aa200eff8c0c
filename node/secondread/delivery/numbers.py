"""How deliveries stand, told each minute: a log line for each destination, and a file of numbers.

No patient is in it: names of destinations and counts alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import structlog

from secondread.domain.clock import Clock
from secondread.domain.destination import Destination
from secondread.domain.line import Line, LineState
from secondread.domain.states import DeliveryState
from secondread.observe.delivery_metrics import DeliveryNumbers, write_delivery
from secondread.store import Ledger, Spool
from secondread.store.deliveries import Figures

log = structlog.stdlib.get_logger(__name__)

METRICS_FILE = Path("metrics", "delivery.prom")
EVERY_S = 60.0
_UNFINISHED = (DeliveryState.READY, DeliveryState.SENT, DeliveryState.DEAD)


def collect_numbers(
    ledger: Ledger, destinations: Collection[str], now: float
) -> Sequence[DeliveryNumbers]:
    """How deliveries stand to each destination that is configured or that something is kept for."""
    with ledger.read() as view:
        figures = view.deliveries.figures()
        lines = {line.destination: line for line in view.lines.all()}
    names = sorted({*destinations, *figures})
    return tuple(
        _numbers(figures.get(name, Figures(name)), lines.get(name, Line(name)), now)
        for name in names
    )


class Reporter:
    """Tells each minute how deliveries stand; ``destinations`` are those that hold now."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        destinations: Callable[[], Mapping[str, Destination]],
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._destinations = destinations
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Tell it each minute until ``stop`` is set."""
        while not stop.is_set():
            self.tell()
            stop.wait(EVERY_S)

    def tell(self) -> None:
        """Log how deliveries stand where anything waits, and replace ``metrics/delivery.prom``."""
        numbers = collect_numbers(self._ledger, self._destinations(), self._clock.now())
        free_bytes = self._spool.free_bytes()
        for one in numbers:
            counts = {str(state): one.objects.get(state, 0) for state in _UNFINISHED}
            if any(counts.values()) or one.is_open or one.is_paused:
                log.info(
                    "delivery",
                    destination=one.destination,
                    line="paused" if one.is_paused else "open" if one.is_open else "closed",
                    oldest_waiting_s=round(one.oldest_waiting_s),
                    oldest_unproven_s=round(one.oldest_unproven_s),
                    free_mib=free_bytes // 1024**2,
                    **counts,
                )
        try:
            write_delivery(self._spool.root / METRICS_FILE, numbers, free_bytes)
        except OSError as error:
            log.warning("metrics could not be written", reason=error.strerror)


def _numbers(figures: Figures, line: Line, now: float) -> DeliveryNumbers:
    return DeliveryNumbers(
        destination=figures.destination,
        objects={state: figures.count(state) for state in DeliveryState},
        is_open=line.state is not LineState.CLOSED,
        is_paused=line.paused,
        oldest_waiting_s=_age(figures.oldest_waiting_at, now),
        oldest_unproven_s=_age(figures.oldest_sent_at, now),
    )


def _age(at: float | None, now: float) -> float:
    return 0.0 if at is None else max(0.0, now - at)
