"""Quotas: associations at a time and by the hour, objects and bytes by the hour."""

from __future__ import annotations

import threading

import pytest

from secondread.access.peers import Refusal
from secondread.access.quotas import QuotaBook
from secondread.domain.network import Peer, Quotas

GIB = 1024**3
HOUR_S = 3600.0


class Seconds:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = 12345.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def book(seconds: Seconds) -> QuotaBook:
    return QuotaBook(seconds)


def peer(name: str = "mr1", **quotas: int) -> Peer:
    return Peer(name, name.upper(), ("10.0.0.1",), 30.0, quotas=Quotas(**quotas))


def test_associations_at_a_time(book: QuotaBook) -> None:
    scanner = peer(associations=2)
    assert book.open(scanner) is None
    assert book.open(scanner) is None
    refusal = book.open(scanner)
    assert isinstance(refusal, Refusal)
    assert (refusal.result, refusal.source, refusal.diagnostic) == (2, 3, 2)
    assert (refusal.code, refusal.peer) == ("too-many-associations", "mr1")
    assert "max_associations in [[peers]] 'mr1'" in refusal.reason
    assert book.open(peer("ct1", associations=1)) is None
    book.close("mr1")
    assert book.open(scanner) is None


def test_closing_what_is_not_open_opens_nothing(book: QuotaBook) -> None:
    book.close("mr1")
    book.close("nobody")
    assert book.open(peer(associations=1)) is None
    assert book.open(peer(associations=1)) is not None


def test_associations_in_an_hour(book: QuotaBook, seconds: Seconds) -> None:
    scanner = peer(associations_per_hour=3)
    for _ in range(3):
        assert book.open(scanner) is None
        book.close("mr1")
        seconds.at += 600
    refusal = book.open(scanner)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "over-quota"
    assert (refusal.result, refusal.source, refusal.diagnostic) == (2, 3, 2)
    seconds.at += HOUR_S - 3 * 600 + 60
    assert book.open(scanner) is None, "the first of them is an hour old"
    assert book.open(scanner) is not None, "the second is not"


def test_a_refused_association_does_not_count(book: QuotaBook, seconds: Seconds) -> None:
    scanner = peer(associations=1, associations_per_hour=2)
    assert book.open(scanner) is None
    for _ in range(10):
        assert book.open(scanner) is not None
    book.close("mr1")
    assert book.open(scanner) is None


def test_objects_in_an_hour(book: QuotaBook, seconds: Seconds) -> None:
    scanner = peer(objects_per_hour=2)
    assert book.exhausted(scanner) is None
    assert book.take(scanner, 10) is None
    assert book.take(scanner, 10) is None
    said = book.take(scanner, 10)
    assert said is not None
    assert "objects_per_hour in [[peers]] 'mr1'" in said
    assert said.endswith(".")
    assert book.exhausted(scanner) == said
    seconds.at += HOUR_S + 60
    assert book.exhausted(scanner) is None
    assert book.take(scanner, 10) is None


def test_bytes_in_an_hour(book: QuotaBook, seconds: Seconds) -> None:
    scanner = peer(bytes_per_hour=GIB)
    assert book.take(scanner, GIB // 2) is None
    said = book.take(scanner, GIB // 2 + 1)
    assert said is not None
    assert "0.50 GiB" in said
    assert "gib_per_hour" in said
    assert book.take(scanner, GIB // 2) is None, "what was refused did not count"
    assert book.exhausted(scanner) is not None
    seconds.at += HOUR_S + 60
    assert book.take(scanner, GIB) is None


def test_without_quotas_nothing_is_refused(book: QuotaBook) -> None:
    for _ in range(1000):
        assert book.take(peer(), 10 * GIB) is None


def test_no_hour_exceeds_the_quota_wherever_it_begins(book: QuotaBook, seconds: Seconds) -> None:
    scanner = peer(objects_per_hour=10)
    taken: list[float] = []
    for _ in range(3000):
        seconds.at += 7.3
        if book.take(scanner, 1) is None:
            taken.append(seconds.at)
    for start in taken:
        assert sum(1 for at in taken if start <= at < start + HOUR_S) <= 10
    assert len(taken) >= 10 * (3000 * 7.3 / 3720) - 10, "nor is it given much less"


def test_a_changed_quota_applies_to_what_was_before(book: QuotaBook) -> None:
    for _ in range(5):
        assert book.take(peer(), 1) is None
    assert book.take(peer(objects_per_hour=5), 1) is not None
    assert book.take(peer(objects_per_hour=6), 1) is None


def test_memory_does_not_grow_with_time(book: QuotaBook, seconds: Seconds) -> None:
    for _ in range(1000):
        seconds.at += 45
        book.take(peer(), 1)
    assert len(book._accounts["mr1"].hour) <= 61


def test_threads_cannot_overdraw() -> None:
    book = QuotaBook()
    scanner = peer(objects_per_hour=100, associations=3)
    taken, opened = [], []

    def work() -> None:
        opened.append(book.open(scanner) is None)
        taken.extend(book.take(scanner, 1) is None for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 100
    assert sum(opened) == 3
