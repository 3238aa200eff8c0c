"""How much each peer takes up: associations now, and what it did in the last hour."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from secondread.access.peers import (
    LOCAL_LIMIT,
    SERVICE_PROVIDER_PRESENTATION,
    TRANSIENT,
    Refusal,
)
from secondread.domain.network import Peer

_GIB = 1024**3
_SLICE_S = 60.0
# One slice more than an hour has, so that no hour, wherever it begins, exceeds its quota.
_SLICES = 61


@dataclass(slots=True)
class _Slice:
    """What a peer did in one minute."""

    number: int
    associations: int = 0
    objects: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class _Account:
    """What a peer has open, and its last hour; never more than ``_SLICES`` slices."""

    open: int = 0
    hour: deque[_Slice] = field(default_factory=lambda: deque(maxlen=_SLICES))

    def now(self, number: int) -> _Slice:
        """The slice of this minute, after those that are over are dropped."""
        while self.hour and self.hour[0].number <= number - _SLICES:
            self.hour.popleft()
        if not self.hour or self.hour[-1].number != number:
            self.hour.append(_Slice(number))
        return self.hour[-1]


class QuotaBook:
    """Counts for each peer and says when it has had enough; safe to use from several threads.

    The hour slides in steps of a minute. What is kept for a peer does not grow with what it does.
    """

    def __init__(self, clock_monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = clock_monotonic
        self._accounts: dict[str, _Account] = {}
        self._lock = threading.Lock()

    def open(self, peer: Peer) -> Refusal | None:
        """Count an association, or say why it is one too many; then nothing is counted.

        Both refusals are transient, so that the modality tries again (PS3.8 table 9-21).
        """
        quotas = peer.quotas
        with self._lock:
            account = self._account(peer.name)
            now = account.now(self._number())
            if account.open >= quotas.associations:
                return _local_limit(
                    peer,
                    "too-many-associations",
                    f"Peer '{peer.name}' has {account.open} associations open, which is its "
                    f"limit; raise max_associations in [[peers]] '{peer.name}' if it needs more.",
                )
            hourly = quotas.associations_per_hour
            if hourly and sum(part.associations for part in account.hour) >= hourly:
                return _local_limit(
                    peer,
                    "over-quota",
                    f"Peer '{peer.name}' opened {hourly} associations in the last hour, which is "
                    f"its quota; raise associations_per_hour in [[peers]] '{peer.name}' if it "
                    "needs more.",
                )
            account.open += 1
            now.associations += 1
        return None

    def close(self, peer_name: str) -> None:
        """Count an association that ended."""
        with self._lock:
            account = self._account(peer_name)
            account.open = max(0, account.open - 1)

    def take(self, peer: Peer, size_bytes: int) -> str | None:
        """Count an object, or say in a sentence why it is beyond the quota; then it is not counted.

        An object that is refused is answered 0xA700, and the peer tries again later.
        """
        with self._lock:
            account = self._account(peer.name)
            now = account.now(self._number())
            if over := _over(peer, account, 1, size_bytes):
                return over
            now.objects += 1
            now.size_bytes += size_bytes
        return None

    def exhausted(self, peer: Peer) -> str | None:
        """The sentence where not even an empty object would be taken; counts nothing.

        For the moment before an object's bytes are read, when its size is not known yet.
        """
        with self._lock:
            account = self._account(peer.name)
            account.now(self._number())
            return _over(peer, account, 1, 1)

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account()
        return account

    def _number(self) -> int:
        return int(self._monotonic() // _SLICE_S)


def _over(peer: Peer, account: _Account, objects: int, size_bytes: int) -> str | None:
    quotas = peer.quotas
    if quotas.objects_per_hour:
        stored = sum(part.objects for part in account.hour)
        if stored + objects > quotas.objects_per_hour:
            return (
                f"Peer '{peer.name}' stored {stored} objects in the last hour, and its quota is "
                f"{quotas.objects_per_hour}; raise objects_per_hour in [[peers]] '{peer.name}' if "
                "it needs more."
            )
    if quotas.bytes_per_hour:
        stored = sum(part.size_bytes for part in account.hour)
        if stored + size_bytes > quotas.bytes_per_hour:
            return (
                f"Peer '{peer.name}' stored {stored / _GIB:.2f} GiB in the last hour, and its "
                f"quota is {quotas.bytes_per_hour / _GIB:.2f} GiB; raise gib_per_hour in [[peers]] "
                f"'{peer.name}' if it needs more."
            )
    return None


def _local_limit(peer: Peer, code: str, reason: str) -> Refusal:
    return Refusal(TRANSIENT, SERVICE_PROVIDER_PRESENTATION, LOCAL_LIMIT, code, reason, peer.name)
