"""The refusal book: who was not let in, counted in memory and written down once a second."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import structlog

from secondread.access.peers import Caller, Refusal, printable
from secondread.domain.clock import Clock
from secondread.errors import LedgerError
from secondread.store import Ledger
from secondread.store.refusals import RefusedCaller

log = structlog.stdlib.get_logger(__name__)

EVENT = "association-refused"
KEPT_MAX = 1000
"""Rows of the refusal table; those that were refused longest ago go first."""
VARIED = "(more, under other titles)"
"""Stands for the titles of an address that changes them all the time; longer than an AE title."""

_WAITING_MAX = 1000
_PER_ADDRESS_MAX = 16
_ADDRESSES_MAX = 1000
_ADDRESS_S = 3600.0
_QUIET_S = 60.0
_CODE_LENGTH = 32
_REASON_LENGTH = 1000

_Key = tuple[str, str, str, str, str]


@dataclass(slots=True)
class _Spread:
    """The different refusals of one address since a moment."""

    since: float
    keys: set[_Key] = field(default_factory=set)


@dataclass(slots=True)
class _Told:
    """When a refusal was last told, and what has come since."""

    at: float
    since: RefusedCaller | None = None


class RefusalBook:
    """Counts refusals without making the refused dear.

    ``note`` only counts. ``flush`` merges the counts into the refusal table and tells each distinct
    refusal in one log line and one trail row: at once when it is new, and then once a minute with
    the number of times. What is held in memory is bounded: an address with ever new titles is one
    row, and what comes beyond that is counted as dropped.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[_Key, RefusedCaller] = {}
        self._spreads: OrderedDict[str, _Spread] = OrderedDict()
        self._dropped = 0
        self._flushing = threading.Lock()
        self._told: OrderedDict[_Key, _Told] = OrderedDict()
        self._uncounted: dict[_Key, RefusedCaller] = {}
        self._unaudited: list[RefusedCaller] = []
        self._is_broken = False

    def note(self, refusal: Refusal, caller: Caller, peer_name: str = "") -> None:
        """Count a refusal; never waits for anything, and touches neither disk nor log.

        ``peer_name`` is for a refusal that does not name its peer itself.
        """
        at = self._clock.now()
        refused = _refused(refusal, caller, peer_name, at)
        with self._lock:
            self._dropped += _add(self._waiting, self._folded(refused, at))

    def flush(self) -> None:
        """Write down what was counted since the last time; for a timer, once a second.

        Where the ledger cannot be written, the counts stay in memory and the log has them.
        """
        with self._flushing:
            with self._lock:
                batch, self._waiting = self._waiting, {}
                dropped, self._dropped = self._dropped, 0
            told = self._worth_telling(batch.values())
            for refused in told:
                _log(refused)
            if dropped:
                log.warning("refusals dropped, too many at a time", times=dropped)
            self._unaudited = [*self._unaudited, *told][-_WAITING_MAX:]
            for refused in batch.values():
                dropped += _add(self._uncounted, refused)
            if self._uncounted or self._unaudited or dropped:
                self._write(dropped)

    def _folded(self, refused: RefusedCaller, at: float) -> RefusedCaller:
        """Take an address that has come under many titles in the last hour for one caller."""
        spread = self._spreads.get(refused.address)
        if spread is None or at - spread.since > _ADDRESS_S:
            spread = self._spreads[refused.address] = _Spread(at)
            self._spreads.move_to_end(refused.address)
            if len(self._spreads) > _ADDRESSES_MAX:
                self._spreads.popitem(last=False)
        if _key(refused) in spread.keys:
            return refused
        if len(spread.keys) < _PER_ADDRESS_MAX:
            spread.keys.add(_key(refused))
            return refused
        return replace(refused, calling=VARIED, called="", certificate_sha256="", peer="")

    def _worth_telling(self, batch: Iterable[RefusedCaller]) -> list[RefusedCaller]:
        """Those that are new, and sums of those that were told a minute ago or longer."""
        now = self._clock.now()
        due = []
        for refused in batch:
            told = self._told.get(_key(refused))
            if told is None:
                self._told[_key(refused)] = _Told(now)
                due.append(refused)
            else:
                told.since = refused if told.since is None else _sum(told.since, refused)
        for key, told in list(self._told.items()):
            if 0 <= now - told.at < _QUIET_S:
                continue
            if told.since is None:
                del self._told[key]
            else:
                due.append(told.since)
                told.at, told.since = now, None
        while len(self._told) > _WAITING_MAX:
            _, oldest = self._told.popitem(last=False)
            due += [oldest.since] if oldest.since is not None else []
        return due

    def _write(self, dropped: int) -> None:
        try:
            with self._ledger.begin() as change:
                for refused in self._uncounted.values():
                    change.refusals.merge(refused)
                change.refusals.trim(KEPT_MAX)
                for refused in self._unaudited:
                    change.trail.append(
                        refused.last_at, EVENT, refused.reason, detail=_detail(refused)
                    )
                if dropped:
                    change.trail.append(
                        self._clock.now(),
                        EVENT,
                        f"{dropped} more associations were refused, too many at a time to tell "
                        "them apart.",
                        detail={"code": "dropped", "times": dropped},
                    )
        except LedgerError as error:
            if not self._is_broken:
                log.error("refusals could not be recorded", reason=str(error))
            self._is_broken = True
            with self._lock:
                self._dropped += dropped
        else:
            self._uncounted, self._unaudited, self._is_broken = {}, [], False


def _add(counts: dict[_Key, RefusedCaller], refused: RefusedCaller) -> int:
    """Count a refusal among the others; how many had to be dropped because there are too many."""
    key = _key(refused)
    before = counts.get(key)
    if before is None and len(counts) >= _WAITING_MAX:
        return refused.times
    counts[key] = refused if before is None else _sum(before, refused)
    return 0


def _refused(refusal: Refusal, caller: Caller, peer_name: str, at: float) -> RefusedCaller:
    return RefusedCaller(
        code=printable(refusal.code, _CODE_LENGTH),
        calling=printable(caller.calling.strip(" ")),
        called=printable(caller.called.strip(" ")),
        address=printable(caller.address),
        certificate_sha256=caller.fingerprint,
        peer=peer_name or refusal.peer,
        reason="".join(
            char if char.isprintable() else "?" for char in refusal.reason[:_REASON_LENGTH]
        ),
        first_at=at,
        last_at=at,
        times=1,
    )


def _key(refused: RefusedCaller) -> _Key:
    return (
        refused.code,
        refused.calling,
        refused.called,
        refused.address,
        refused.certificate_sha256,
    )


_TITLES = frozenset({"calling", "called"})


def _sum(before: RefusedCaller, after: RefusedCaller) -> RefusedCaller:
    return replace(after, first_at=before.first_at, times=before.times + after.times)


def _detail(refused: RefusedCaller) -> dict[str, str | int]:
    return {
        "code": refused.code,
        "calling": refused.calling,
        "called": refused.called,
        "address": refused.address,
        "certificate_sha256": refused.certificate_sha256,
        "peer": refused.peer,
        "times": refused.times,
    }


def _log(refused: RefusedCaller) -> None:
    """A stranger writes what it likes into its titles: the log has none, the ledger has them."""
    reason = refused.reason
    for title in filter(None, (refused.calling, refused.called)):
        reason = reason.replace(f"'{title}'", "This AE title")
    rest = {key: value for key, value in _detail(refused).items() if key not in _TITLES}
    log.warning("association refused", reason=reason, **rest)
