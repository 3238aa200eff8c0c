"""Working off the outbox: one object for one destination at a time, until everything is there."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from secondread.delivery.address import Address
from secondread.delivery.backoff import delay_s
from secondread.delivery.fallback import SEGMENTATION, tell_fallbacks
from secondread.delivery.store_scu import send_one
from secondread.domain.clock import Clock
from secondread.domain.network import Destination
from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState, JobState
from secondread.errors import DeliveryError, KindRefusedError, PeerRefusedError
from secondread.store import Ledger, Spool, Transaction

log = structlog.stdlib.get_logger(__name__)

_LEASE_S = 600.0


class Courier:
    """Takes what is due from the outbox and sends it; ``owner`` names the claims."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        destinations: Mapping[str, Destination],
        clock: Clock,
        owner: str,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._destinations = destinations
        self._clock = clock
        self._owner = owner

    def step(self) -> bool:
        """Send the next object that is due; False where there is none."""
        with self._ledger.begin() as change:
            item = change.outbox.claim(self._owner, self._clock.now(), _LEASE_S)
        if item is None:
            return False
        try:
            remark = self._send(item)
        except KindRefusedError as error:
            if not self._fall_back(item, error):
                self._postpone_or_bury(item, error)
            return True
        except DeliveryError as error:
            self._postpone_or_bury(item, error)
            return True
        text = f"Sent to '{item.destination}'" + (f"; {remark}." if remark else ".")
        log.info("sent", destination=item.destination, job_id=item.job_id, remark=remark)
        with self._ledger.begin() as change:
            now = self._clock.now()
            change.outbox.move(item, DeliveryState.SENT, now, text)
            settle(change, item.job_id, now)
        return True

    def _send(self, item: OutboxItem) -> str:
        destination = self._destinations.get(item.destination)
        if destination is None:
            raise PeerRefusedError(
                f"Destination '{item.destination}' is not in the configuration any more; add it "
                "and retry the study."
            )
        path = self._spool.absolute(item.path)
        if not path.is_file():
            raise PeerRefusedError("The result file is not on disk any more; retry the study.")
        address = Address(
            host=destination.host,
            port=destination.port,
            called=destination.ae_title,
            calling=destination.calling_ae_title,
            timeout_s=destination.timeout_s,
        )
        return send_one(path, address)

    def _fall_back(self, item: OutboxItem, error: KindRefusedError) -> bool:
        """Let another form go instead of a segmentation; False where there is none."""
        if item.kind != SEGMENTATION:
            return False
        with self._ledger.begin() as change:
            found = change.outbox.fall_back(item, self._clock.now(), str(error))
        if found:
            log.warning(
                "segmentation refused, another form goes instead",
                destination=item.destination,
                job_id=item.job_id,
                level=item.level,
                reason=str(error),
            )
        return found

    def _postpone_or_bury(self, item: OutboxItem, error: DeliveryError) -> None:
        destination = self._destinations.get(item.destination)
        tries_left = destination is not None and item.attempts < destination.attempts_max
        if error.retryable and tries_left:
            wait_s = delay_s(item.attempts)
            log.warning(
                "delivery postponed",
                destination=item.destination,
                job_id=item.job_id,
                attempt=item.attempts,
                wait_s=round(wait_s, 1),
                reason=str(error),
            )
            with self._ledger.begin() as change:
                change.outbox.postpone(item, self._clock.now() + wait_s, str(error))
            return
        log.error(
            "delivery given up",
            destination=item.destination,
            job_id=item.job_id,
            attempts=item.attempts,
            reason=str(error),
        )
        with self._ledger.begin() as change:
            now = self._clock.now()
            change.outbox.move(item, DeliveryState.DEAD, now, str(error))
            settle(change, item.job_id, now)


def settle(change: Transaction, job_id: int, now: float) -> None:
    """End a job whose objects have all been sent or given up, and its study with it.

    What is still in reserve then was never needed and stays so, and what was replaced has been
    taken care of.
    """
    items = change.outbox.of_job(job_id)
    if any(item.state is DeliveryState.READY for item in items):
        return
    job = change.jobs.get(job_id)
    if job.state is not JobState.WRITTEN:
        return
    dead = [item for item in items if item.state is DeliveryState.DEAD]
    if dead:
        reason = "Not delivered: " + "; ".join(dict.fromkeys(item.reason for item in dead))
        change.jobs.move(job, JobState.FAILED, now, reason, reason=reason)
    else:
        text = "; ".join(["Everything was delivered", *tell_fallbacks(items)])
        change.jobs.move(job, JobState.DELIVERED, now, f"{text}.")
    change.studies.close_if_finished(job.study_id, now)
