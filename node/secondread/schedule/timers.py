"""The timers of the pipeline role."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

log = structlog.stdlib.get_logger(__name__)


class Timers:
    """Calls functions every so often, never two at a time of the same."""

    def __init__(self) -> None:
        # Two lines for every call, at INFO, would drown everything else.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler = BackgroundScheduler(timezone="UTC")
        self._scheduler.add_listener(_log_error, EVENT_JOB_ERROR)

    def every(
        self,
        seconds: float,
        name: str,
        action: Callable[[], object],
        *,
        first_s: float | None = None,
    ) -> None:
        """Call ``action`` every ``seconds``; a call that is late is made once, not caught up.

        Args:
            seconds: from one call to the next.
            name: for the log.
            action: what is called.
            first_s: seconds from now until the first call; None is ``seconds``. What is called
                once a day would never be called on a machine that is restarted every night.
        """
        first_at = datetime.now(UTC) + timedelta(seconds=seconds if first_s is None else first_s)
        self._scheduler.add_job(
            action,
            "interval",
            seconds=seconds,
            next_run_time=first_at,
            id=name,
            name=name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )

    def start(self) -> None:
        """Start calling."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop calling; waits for a call that is under way."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _log_error(event: JobExecutionEvent) -> None:
    log.error("timer failed", timer=event.job_id, error=type(event.exception).__name__)
