"""Bringing what waits for one destination there, one batch after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Event

import structlog

from secondread.delivery.bookkeeping import Outcome, write_down
from secondread.delivery.breaker import Breaker
from secondread.delivery.carriers import Blame, Carried, Carrier, Parcel, carrier_for
from secondread.domain.clock import Clock
from secondread.domain.destination import Destination, Way
from secondread.domain.line import Line, LineState
from secondread.domain.states import DeliveryState
from secondread.errors import (
    ConfigurationError,
    DeliveryError,
    PeerRefusedError,
    PeerUnreachableError,
)
from secondread.store import Ledger, Spool, Transaction
from secondread.store.lines import Claimed

log = structlog.stdlib.get_logger(__name__)

BATCH_MAX = 100
"""Objects that are claimed at a time."""
LEASE_S = 600.0
"""How long a claim holds if whoever holds it dies and nobody notices."""

_BATCH_S = 30.0
_WRITE_EVERY_S = 0.5
_PROBE_S = 120.0
_THERE = frozenset({DeliveryState.SENT, DeliveryState.SAFE})
_FILE_GONE = "The result file is not on disk any more; retry the study."
_NOT_CONFIGURED = (
    "Destination '{}' is not in the configuration any more; add it and retry the study."
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What every errand needs to hand; ``owner`` names the claims."""

    ledger: Ledger
    spool: Spool
    clock: Clock
    owner: str


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is to be done next: objects to carry, or a probe; or nothing."""

    parcels: tuple[Parcel, ...] = ()
    probes: bool = False


@dataclass(frozen=True, slots=True)
class _Queue:
    """What could be claimed, and how many at the most."""

    limit: int = 0
    ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What is being written down while the next batch is carried, and what comes after that."""

    outcome: Outcome
    task: Future[_Turn]


class Errand:
    """Works for one destination; for one thread at a time.

    Args:
        desk: what it works with.
        name: the destination's in the outbox.
        breaker: its own, shared by all threads that work for it.
    """

    def __init__(self, desk: Desk, name: str, breaker: Breaker) -> None:
        self._desk = desk
        self.name = name
        self._breaker = breaker
        self._carried_to: Destination | None = None
        self._carrier: Carrier | None = None
        self._clerk: ThreadPoolExecutor | None = None
        # What has not been written down yet, and nobody is about to.
        self._outcome = Outcome()

    def run(
        self, destination: Destination | None, stop: Event, batches_max: int | None = None
    ) -> bool:
        """Bring there what is due until nothing is; whether there was anything to do.

        Args:
            destination: as it is configured now; None is not any more.
            stop: ends it after the object that is under way.
            batches_max: ends it after so many batches and probes.

        Raises:
            LedgerError: it could not be written down; the next call begins with that.
        """
        count = 0

        def wants() -> bool:
            return not stop.is_set() and (batches_max is None or count < batches_max)

        turn = self._turn(destination, wants=wants())
        while turn.probes or turn.parcels:
            count += 1
            if turn.parcels:
                turn = self._work(turn.parcels, destination, stop, wants)
            elif destination is None or not self._probe(destination):
                return False
            else:
                turn = self._turn(destination, wants=wants())
        return count > 0

    def close(self) -> None:
        """Let go of what is open."""
        if self._carrier is not None:
            self._carrier.close()
        if self._clerk is not None:
            self._clerk.shutdown()
            self._clerk = None

    def _work(
        self,
        parcels: Sequence[Parcel],
        destination: Destination | None,
        stop: Event,
        wants: Callable[[], bool],
    ) -> _Turn:
        """Carry a batch; what is next.

        While the queue is long, the batch before is written down and the next is claimed in a
        second thread meanwhile: sending waits for answers most of the time, and not for the disk.
        What is claimed ahead belongs to other jobs, for what goes before it in its own is taken.
        """
        ahead: _Ahead | None = None
        # What is said to be complete in a folder depends on the batch before.
        if len(parcels) >= BATCH_MAX and wants() and not _is_folder(destination):
            ahead = self._send_ahead(destination)
        is_done = False
        turn = _Turn()
        try:
            is_done = self._carry(parcels, destination, stop, ahead)
        finally:
            if ahead is not None:
                turn = self._collect(ahead)
            if not is_done:
                self._outcome.back.extend(parcel.item for parcel in turn.parcels)
        if is_done and turn.parcels:
            return turn
        return self._turn(destination, wants=wants())

    def _send_ahead(self, destination: Destination | None) -> _Ahead:
        if self._clerk is None:
            self._clerk = ThreadPoolExecutor(1, f"ledger of {self.name}")
        outcome, self._outcome = self._outcome, Outcome()
        task = self._clerk.submit(self._write, outcome, destination, wants=True, probes=False)
        return _Ahead(outcome, task)

    def _collect(self, ahead: _Ahead) -> _Turn:
        """What was claimed ahead; after a failure nothing was, and what was to be kept still is."""
        try:
            return ahead.task.result()
        except BaseException:
            self._outcome = ahead.outcome.followed_by(self._outcome)
            raise

    def _turn(self, destination: Destination | None, *, wants: bool) -> _Turn:
        """Write down what has become of the last batch, and claim the next."""
        turn = self._write(self._outcome, destination, wants=wants)
        self._outcome = Outcome()
        return turn

    def _write(
        self,
        outcome: Outcome,
        destination: Destination | None,
        *,
        wants: bool,
        probes: bool = True,
    ) -> _Turn:
        """Write an outcome down, and claim what is next where it is wanted; in one transaction."""
        desk = self._desk
        queue = self._look_at_queue(destination) if wants else _Queue()
        with desk.ledger.begin() as change:
            now = desk.clock.now()
            before = line = change.lines.get(self.name)
            write_down(change, outcome, destination, now)
            if outcome.stored:
                self._breaker.succeed()
            if outcome.trouble is not None:
                line = self._breaker.fail(before, outcome.trouble, now)
                if line != before:
                    change.lines.keep(line, _tell_opening(line))
            turn = _Turn()
            if wants and not line.paused:
                if destination is None or line.state is LineState.CLOSED:
                    turn = self._claim(change, queue, destination, now)
                elif probes and now >= line.next_at:
                    # Nobody else probes meanwhile; whoever dies over it is followed by another.
                    probed = replace(line, state=LineState.HALF_OPEN, next_at=now + _PROBE_S)
                    change.lines.keep(probed)
                    turn = _Turn(probes=True)
        if line != before and outcome.trouble is not None:
            _log_opening(line, outcome.trouble)
        return turn

    def _look_at_queue(self, destination: Destination | None) -> _Queue:
        """What could be claimed; read before the transaction, so that no writer waits for it."""
        now, limit = self._desk.clock.now(), BATCH_MAX
        with self._desk.ledger.read() as view:
            if destination is not None and destination.parallel > 1:
                # Each of them gets its part of what there is.
                parts = destination.parallel
                limit = -(-view.lines.count_ready(self.name, now, BATCH_MAX * parts) // parts)
            limit = max(limit, 1)
            return _Queue(limit, view.lines.candidates(self.name, now, limit))

    def _claim(
        self, change: Transaction, queue: _Queue, destination: Destination | None, now: float
    ) -> _Turn:
        owner = self._desk.owner
        claimed = change.lines.claim_these(queue.ids, owner, now, LEASE_S)
        if not claimed:
            # The last batch may have kept back what follows it in its job, or somebody was faster.
            claimed = change.lines.claim(self.name, owner, now, LEASE_S, queue.limit)
        completing = _completing(change, claimed) if _is_folder(destination) else {}
        return _Turn(
            tuple(
                Parcel(
                    one.item,
                    one.study_id,
                    self._desk.spool.absolute(one.item.path),
                    one.urgency,
                    completing.get(one.item.id),
                )
                for one in claimed
            )
        )

    def _carry(
        self,
        parcels: Sequence[Parcel],
        destination: Destination | None,
        stop: Event,
        ahead: _Ahead | None,
    ) -> bool:
        """Carry a batch as far as it goes; whether to its end, so that more may follow.

        What was not tried is given back with the outcome.
        """
        waiting = deque(parcels)
        held_back: set[int] = set()
        started = written = time.monotonic()
        try:
            carrier = self._carrier_to(destination)
            carrier.expect(parcels)
            while waiting and not stop.is_set() and time.monotonic() - started < _BATCH_S:
                if self._outcome.trouble is not None:
                    break
                if time.monotonic() - written > _WRITE_EVERY_S:
                    if ahead is not None:
                        # One after the other; it ends when the ledger's own wait does.
                        wait([ahead.task])
                    self._turn(destination, wants=False)
                    written = time.monotonic()
                    if not self._may_go_on():
                        break
                wave = self._next_wave(waiting, carrier.at_once, held_back)
                held_back |= self._carry_wave(carrier, wave)
        except (DeliveryError, ConfigurationError) as error:
            while waiting:
                self._outcome.carried.append(Carried(waiting.popleft(), fault=_as_refusal(error)))
            return False
        finally:
            self._outcome.back.extend(parcel.item for parcel in waiting)
        return not waiting and not stop.is_set() and self._outcome.trouble is None

    def _next_wave(self, waiting: deque[Parcel], at_once: int, held_back: set[int]) -> list[Parcel]:
        """The next objects that may go at once: of each job one, for order matters in a job."""
        wave: list[Parcel] = []
        left: deque[Parcel] = deque()
        jobs: set[int] = set()
        while waiting and len(wave) < at_once:
            parcel = waiting.popleft()
            job_id = parcel.item.job_id
            if job_id in held_back:
                self._outcome.back.append(parcel.item)
            elif job_id in jobs:
                left.append(parcel)
            elif not parcel.path.is_file():
                fault = PeerRefusedError(_FILE_GONE)
                self._outcome.add(Carried(parcel, fault=fault))
                held_back.add(job_id)
            else:
                wave.append(parcel)
                jobs.add(job_id)
        waiting.extendleft(reversed(left))
        return wave

    def _carry_wave(self, carrier: Carrier, wave: Sequence[Parcel]) -> set[int]:
        """Carry objects; the jobs of those that were not stored."""
        held_back: set[int] = set()
        count = 0
        for told in _safely(carrier, wave, self.name):
            self._outcome.add(told)
            count += 1
            if told.fault is not None:
                held_back.add(told.parcel.item.job_id)
        self._outcome.back.extend(parcel.item for parcel in wave[count:])
        return held_back

    def _carrier_to(self, destination: Destination | None) -> Carrier:
        """The way to a destination as it is configured now.

        Raises:
            DeliveryError: it is not configured any more.
            ConfigurationError: it lacks what its way needs.
        """
        if destination is None:
            raise PeerRefusedError(_NOT_CONFIGURED.format(self.name))
        if self._carrier is None or destination != self._carried_to:
            self.close()
            self._carrier = None
            self._carrier, self._carried_to = carrier_for(destination), destination
        return self._carrier

    def _may_go_on(self) -> bool:
        with self._desk.ledger.read() as view:
            line = view.lines.get(self.name)
        return line.state is LineState.CLOSED and not line.paused

    def _probe(self, destination: Destination) -> bool:
        """Ask whether somebody is there, and close the line or open it for longer."""
        desk = self._desk
        trouble: DeliveryError | None = None
        try:
            self._carrier_to(destination).probe()
        except DeliveryError as error:
            trouble = error
        except Exception as error:
            trouble = _failed_here(error, self.name)
        with desk.ledger.begin() as change:
            now = desk.clock.now()
            line = change.lines.get(self.name)
            if trouble is None:
                text = f"'{self.name}' answers again; what waits for it is sent."
                change.lines.keep(self._breaker.close(line, now), text)
            else:
                line = self._breaker.fail(line, trouble, now)
                change.lines.keep(line)
        if trouble is None:
            log.info("destination answers again", destination=self.name)
        else:
            log.warning(
                "destination does not answer",
                destination=self.name,
                failures=line.failures,
                wait_s=round(line.next_at - now, 1),
                reason=str(trouble),
            )
        return trouble is None


def _is_folder(destination: Destination | None) -> bool:
    return destination is not None and destination.way is Way.FOLDER


def _completing(change: Transaction, claimed: Sequence[Claimed]) -> dict[int, frozenset[str]]:
    """The claimed objects that are the last of their jobs, each with what is there with it."""
    last: dict[int, frozenset[str]] = {}
    ids = {one.item.id for one in claimed}
    for job_id, study_id in {(one.item.job_id, one.study_id) for one in claimed}:
        name = claimed[0].item.destination
        rows = [item for item in change.outbox.of_job(job_id) if item.destination == name]
        ready = [item for item in rows if item.state is DeliveryState.READY]
        lost = any(item.state is DeliveryState.DEAD for item in rows)
        if lost or not ready or ready[-1].id not in ids:
            continue
        there = {
            item.sop_instance_uid
            for job in change.jobs.of_study(study_id)
            for item in change.outbox.of_job(job.id)
            if item.destination == name and item.state in _THERE
        }
        last[ready[-1].id] = frozenset(there | {item.sop_instance_uid for item in ready})
    return last


def _safely(carrier: Carrier, wave: Sequence[Parcel], name: str) -> Iterator[Carried]:
    """What the carrier tells; a fault in its own code is one of the object and the line."""
    count = 0
    try:
        for told in carrier.carry(wave):
            count += 1
            yield told
    except Exception as error:
        if count < len(wave):
            fault = _failed_here(error, name)
            yield Carried(wave[count], fault=fault, blame=Blame.BOTH)


def _failed_here(error: Exception, name: str) -> PeerUnreachableError:
    log.error("delivery stumbled", destination=name, error=type(error).__name__, exc_info=True)
    return PeerUnreachableError(
        f"The node itself failed over it ({type(error).__name__}); its log says where. It may be "
        "tried again."
    )


def _as_refusal(error: DeliveryError | ConfigurationError) -> DeliveryError:
    return error if isinstance(error, DeliveryError) else PeerRefusedError(str(error))


def _tell_opening(line: Line) -> str:
    return f"Nothing is sent to '{line.destination}' for now. {line.reason}"


def _log_opening(line: Line, trouble: DeliveryError) -> None:
    tell = log.warning if trouble.retryable else log.error
    tell(
        "nothing is sent for now",
        destination=line.destination,
        failures=line.failures,
        reason=line.reason,
    )
