"""Passcodes: what is kept of them, and what guessing costs."""

from __future__ import annotations

import threading

import pytest

from secondread.access import passcodes
from secondread.access.passcodes import PasscodeGuard, Verdict, hash_passcode, verify_passcode
from secondread.domain.passcode import PasscodeHash
from secondread.errors import UsageError

HASH = hash_passcode("right")


class Seconds:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every passcode that scrypt was asked for."""
    asked: list[str] = []
    compute = passcodes.verify_passcode

    def verify(passcode: str, stored: str) -> bool:
        asked.append(passcode)
        return compute(passcode, stored)

    monkeypatch.setattr(passcodes, "verify_passcode", verify)
    return asked


def test_a_passcode_fits_its_hash_only() -> None:
    assert verify_passcode("right", HASH)
    assert not verify_passcode("Right", HASH)
    assert not verify_passcode("", HASH)
    assert "right" not in HASH
    assert HASH.startswith("scrypt$8192$8$1$")


def test_the_same_passcode_is_never_kept_the_same() -> None:
    assert hash_passcode("right") != HASH


def test_other_letters_than_ascii_and_signs_work() -> None:
    assert verify_passcode("grün$ß·日本", hash_passcode("grün$ß·日本"))


def test_an_empty_passcode_is_none() -> None:
    with pytest.raises(UsageError, match="empty"):
        hash_passcode("")


def test_a_hash_is_read_back_as_it_was_written() -> None:
    assert str(PasscodeHash.parse(HASH)) == HASH


@pytest.mark.parametrize(
    "text",
    [
        "",
        "right",
        HASH.replace("scrypt", "bcrypt"),
        HASH.replace("$8192$", "$8191$"),
        HASH.replace("$8192$", "$1073741824$"),
        HASH.replace("$8$1$", "$800$1$"),
        HASH.replace("$8$1$", "$8$1000$"),
        HASH.replace("$8192$", "$many$"),
        HASH[:-20],
        HASH + "$",
        "scrypt$8192$8$1$$",
        "scrypt$8192$8$1$*$*",
    ],
    ids=map(str, range(12)),
)
def test_a_broken_hash_fits_nothing_and_costs_nothing(text: str) -> None:
    assert not verify_passcode("right", text)
    with pytest.raises(ValueError, match="scrypt|power|length|needs"):
        PasscodeHash.parse(text)


def test_an_honest_peer_pays_once(counted: list[str]) -> None:
    guard = PasscodeGuard(Seconds())
    for _ in range(50):
        assert guard.check("mr1", "10.0.0.1", "right", HASH) is Verdict.RIGHT
    assert counted == ["right"]


def test_a_new_hash_forgets_what_was_right() -> None:
    guard = PasscodeGuard(Seconds())
    assert guard.check("mr1", "10.0.0.1", "right", HASH) is Verdict.RIGHT
    other = hash_passcode("other")
    assert guard.check("mr1", "10.0.0.1", "right", other) is Verdict.WRONG
    assert guard.check("mr1", "10.0.0.1", "other", other) is Verdict.RIGHT


def test_after_five_wrong_ones_nothing_is_computed_for_a_minute(counted: list[str]) -> None:
    seconds = Seconds()
    guard = PasscodeGuard(seconds)
    for number in range(5):
        assert guard.check("mr1", "10.0.0.1", f"guess {number}", HASH) is Verdict.WRONG
    for _ in range(200):
        assert guard.check("mr1", "10.0.0.1", "right", HASH) is Verdict.WAIT
    assert len(counted) == 5
    seconds.at += 60.0
    assert guard.check("mr1", "10.0.0.1", "right", HASH) is Verdict.RIGHT


def test_guessing_from_many_addresses_is_bounded_and_spares_the_honest(
    counted: list[str],
) -> None:
    guard = PasscodeGuard(Seconds())
    assert guard.check("mr1", "10.0.0.1", "right", HASH) is Verdict.RIGHT
    for number in range(300):
        guard.check("mr1", f"10.0.1.{number}", "guess", HASH)
    assert len(counted) == 1 + passcodes.WRONG_PER_PEER_MAX
    assert guard.check("mr1", "10.0.0.1", "right", HASH) is Verdict.RIGHT
    assert guard.check("mr1", "10.0.0.2", "right", HASH) is Verdict.WAIT
    assert guard.check("ct1", "10.0.0.2", "right", HASH) is Verdict.RIGHT


def test_memory_does_not_grow_with_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passcodes, "verify_passcode", lambda *_: True)
    guard = PasscodeGuard(Seconds())
    for number in range(5000):
        guard.check(f"peer {number}", f"10.0.{number >> 8}.{number & 255}", "x", HASH)
    assert len(guard._right) <= 1024


def test_several_threads_may_ask() -> None:
    guard = PasscodeGuard()
    verdicts: list[Verdict] = []
    threads = [
        threading.Thread(target=lambda: verdicts.append(guard.check("p", "a", "right", HASH)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [Verdict.RIGHT] * 6
