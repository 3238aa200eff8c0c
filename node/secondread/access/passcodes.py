"""Passcodes of peers: hashing one, and checking many without being worn out by it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any

from secondread.domain.passcode import PasscodeHash
from secondread.errors import UsageError

# About 15 ms and 8 MiB: dear for whoever tries words, bearable for a peer that pays it once.
_COST, _BLOCK, _PARALLEL = 2**13, 8, 1
_SALT_BYTES = 16
_DIGEST_BYTES = 32
_MEMORY_MAX_BYTES = 64 * 1024**2

WRONG_MAX = 5
"""Wrong passcodes in a minute after which an address must wait."""
WRONG_PER_PEER_MAX = 20
"""The same from all addresses of a peer together."""
PERIOD_S = 60.0
_REMEMBERED_MAX = 1024


def hash_passcode(passcode: str) -> str:
    """The text to keep instead of a passcode: ``scrypt$n$r$p$salt$hash``, with a new salt.

    Raises:
        UsageError: the passcode is empty, which would be none at all.
    """
    if not passcode:
        raise UsageError("A passcode must not be empty.")
    salt = secrets.token_bytes(_SALT_BYTES)
    empty = PasscodeHash(_COST, _BLOCK, _PARALLEL, salt, bytes(_DIGEST_BYTES))
    return str(replace(empty, digest=_scrypt(passcode, empty)))


def verify_passcode(passcode: str, stored: str) -> bool:
    """Whether the passcode is the one that was hashed; a broken hash and '' fit none."""
    try:
        kept = PasscodeHash.parse(stored)
    except ValueError:
        return False
    return hmac.compare_digest(_scrypt(passcode, kept), kept.digest) and bool(passcode)


def _scrypt(passcode: str, kept: PasscodeHash) -> bytes:
    return hashlib.scrypt(
        passcode.encode("utf-8", "surrogatepass"),
        salt=kept.salt,
        n=kept.cost,
        r=kept.block,
        p=kept.parallel,
        maxmem=_MEMORY_MAX_BYTES,
        dklen=len(kept.digest),
    )


class Verdict(StrEnum):
    """What became of a passcode."""

    RIGHT = "right"
    WRONG = "wrong"
    WAIT = "wait"
    """Too many were wrong in the last minute; this one was not looked at."""


class PasscodeGuard:
    """Checks passcodes so that guessing costs the guesser, and not the node or an honest peer.

    What was right once is remembered for the address that said it, as a keyed hash, so that an
    honest peer pays for scrypt once. Wrong ones are counted by address and by peer: an address
    that guesses must wait, and other addresses of the peer that were right before do not.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._wrong: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, peer: str, address: str, passcode: str, stored: str) -> Verdict:
        """Whether a caller that says it is this peer knows the passcode that ``stored`` is of."""
        at, place = self._monotonic(), (peer, address)
        mark = self._mark(stored, passcode)
        with self._lock:
            if self._count(place, at) >= WRONG_MAX:
                return Verdict.WAIT
            if hmac.compare_digest(self._right.get(place, b""), mark):
                self._right.move_to_end(place)
                return Verdict.RIGHT
            if self._count((peer, ""), at) >= WRONG_PER_PEER_MAX:
                return Verdict.WAIT
        right = verify_passcode(passcode, stored)
        with self._lock:
            if right:
                self._right[place] = mark
                _shrink(self._right)
                return Verdict.RIGHT
            for key in (place, (peer, "")):
                self._wrong.setdefault(key, deque(maxlen=WRONG_PER_PEER_MAX)).append(at)
                self._wrong.move_to_end(key)
            _shrink(self._wrong)
        return Verdict.WRONG

    def _mark(self, stored: str, passcode: str) -> bytes:
        """Differs for another hash, so that a changed passcode_hash forgets what was right."""
        content = stored.encode() + b"\0" + passcode.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, content, "sha256")

    def _count(self, key: tuple[str, str], at: float) -> int:
        times = self._wrong.get(key)
        if times is None:
            return 0
        while times and times[0] <= at - PERIOD_S:
            times.popleft()
        return len(times)


def _shrink(entries: OrderedDict[tuple[str, str], Any]) -> None:
    while len(entries) > _REMEMBERED_MAX:
        entries.popitem(last=False)
