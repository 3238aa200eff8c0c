"""Receiving into memory that is used again: what is kept is what was fed, whatever comes after."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from secondread.domain.network import Urgency
from secondread.intake.examine import Announcement
from secondread.intake.file_header import digest_of, is_whole, read_file_header
from secondread.intake.reception import Limits, Reception, Sender

from ..acceptance.wire import MR, MrObject, deflated

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
UID = "1.2.826.0.1.3680043.10.511.3.9"
LIMITS = Limits(1 << 30, 1 << 30, 0)
SMALL, LARGE = MrObject(UID).encode(), MrObject(UID, rows=700, fill=bytes(range(100))).encode()
KINDS = {
    "small": (EXPLICIT, SMALL),
    "large": (EXPLICIT, LARGE),
    "deflated": (DEFLATED, deflated(SMALL, 0)),
}
Begun = list[tuple[int, int]]


def receive(folder: Path, syntax: str, begun: Begun) -> Reception:
    return Reception(
        Announcement(MR, UID, syntax),
        Sender("ct", "CT1", 5.0),
        Urgency.MEDIUM,
        str(folder / "object"),
        LIMITS,
        lambda _, offset, size: begun.append((offset, size)),
    )


def feed_from_one_buffer(reception: Reception, data: bytes, step: int, parts: int) -> None:
    """Feed ``parts`` pieces from each turn's memory, which holds other bytes after the turn."""
    buffer = bytearray(step)
    view = memoryview(buffer)
    for start in range(0, len(data), step):
        turn = data[start : start + step]
        buffer[: len(turn)] = turn
        size = max(1, -(-len(turn) // parts))
        for at in range(0, len(turn), size):
            reception.feed(view[at : min(at + size, len(turn))])
        if start + step < len(data) or reception.walks_late:
            reception.drain()
            buffer[:] = b"\xee" * step


def kept(folder: Path, data: bytes, reception: Reception) -> None:
    """Assert that the object was kept as it came, and that its file says that it is whole."""
    arrival = reception.complete()
    arrival.close()
    header = read_file_header(folder / "object")
    assert header.path.read_bytes()[header.data_offset :] == data
    assert arrival.size_bytes == len(data)
    assert is_whole(header)
    assert arrival.sha256 in {b"", digest_of(header.path)}


@pytest.mark.parametrize("kind", ["small", "large", "deflated"])
@pytest.mark.parametrize(("step", "parts"), [(100, 1), (7000, 3), (70_000, 2), (1 << 20, 9)])
def test_what_is_kept_was_fed_before_its_memory_changed(
    tmp_path: Path, kind: str, step: int, parts: int
) -> None:
    syntax, data = KINDS[kind]
    reception = receive(tmp_path, syntax, [])
    feed_from_one_buffer(reception, data, step, parts)
    kept(tmp_path, data, reception)


@pytest.mark.parametrize("most", [1, 1000, 65_536])
def test_disk_that_takes_less_than_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    whole: Callable[[int, Sequence[bytes]], int] = os.writev

    def some(descriptor: int, parts: Sequence[bytes]) -> int:
        return whole(descriptor, [memoryview(parts[0])[:most]])

    monkeypatch.setattr(os, "writev", some)
    reception = receive(tmp_path, EXPLICIT, [])
    feed_from_one_buffer(reception, LARGE, 70_000, 4)
    kept(tmp_path, LARGE, reception)


def test_one_that_never_drains_is_written_as_it_comes(tmp_path: Path) -> None:
    reception = receive(tmp_path, EXPLICIT, [])
    view = memoryview(LARGE)
    for at in range(0, len(LARGE), 1000):
        reception.feed(view[at : at + 1000])
    assert (tmp_path / "object").stat().st_size > len(LARGE) - (1 << 19) - 1000
    kept(tmp_path, LARGE, reception)


def test_large_object_is_written_from_its_first_piece(tmp_path: Path) -> None:
    begun: Begun = []
    reception = receive(tmp_path, EXPLICIT, begun)
    reception.feed(memoryview(LARGE)[:100_000])
    reception.drain()
    assert (tmp_path / "object").stat().st_size > 100_000
    reception.feed(memoryview(LARGE)[100_000:])
    kept(tmp_path, LARGE, reception)
    # Its sync has little to do.
    assert not begun


def test_disk_begins_with_a_very_large_object_while_more_of_it_comes(tmp_path: Path) -> None:
    begun: Begun = []
    data = MrObject(UID, rows=1600, fill=bytes(range(100))).encode()
    reception = receive(tmp_path, EXPLICIT, begun)
    feed_from_one_buffer(reception, data, 131_072, 1)
    ends = [offset + size for offset, size in begun]
    assert [offset for offset, _ in begun] == [0, *ends[:-1]]
    assert len(begun) >= 3
    assert ends[-1] <= (tmp_path / "object").stat().st_size
    kept(tmp_path, data, reception)
    assert len(begun) == len(ends)


def test_small_object_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    whole: Callable[[int, Sequence[bytes]], int] = os.writev

    def counted(descriptor: int, parts: Sequence[bytes]) -> int:
        writes.append(whole(descriptor, parts))
        return writes[-1]

    monkeypatch.setattr(os, "writev", counted)
    reception = receive(tmp_path, EXPLICIT, [])
    feed_from_one_buffer(reception, SMALL, 100, 1)
    kept(tmp_path, SMALL, reception)
    assert len(writes) == 1


def test_abandoned_object_leaves_nothing(tmp_path: Path) -> None:
    reception = receive(tmp_path, EXPLICIT, [])
    reception.feed(memoryview(LARGE)[:300_000])
    reception.drain()
    assert list(tmp_path.iterdir())
    reception.abandon()
    reception.drain()
    assert not list(tmp_path.iterdir())
