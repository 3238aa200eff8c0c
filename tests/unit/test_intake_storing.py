"""Storing when the node itself fails in the middle: no file may keep a name without its row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from secondread.domain.clock import SystemClock
from secondread.domain.instance import Instance
from secondread.domain.network import Urgency
from secondread.errors import WriteFailedError
from secondread.intake.examine import Announcement
from secondread.intake.file_header import is_whole, read_file_header
from secondread.intake.reception import Arrival, Limits, Reception, Sender
from secondread.intake.storing import ObjectStore, Stored
from secondread.store import Spool
from secondread.store.durability import Durability

from ..acceptance.wire import MR, MrObject
from ..storing import store_arrivals

EXPLICIT = "1.2.840.10008.1.2.1"
UID = "1.2.826.0.1.3680043.10.511.3.9"
LIMITS = Limits(1 << 30, 1 << 30, 0)


class FaultyDurability(Durability):
    """Fails once in a way that nobody expects of a disk."""

    faulty = True

    def sync(self, descriptors: Sequence[int], folders: Sequence[str]) -> None:
        """Fail, or sync."""
        if self.faulty:
            raise RuntimeError("a fault of the node's own")
        super().sync(descriptors, folders)


class Store:
    """An object store, and the rows that it had entered."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder)
        self.spool.prepare()
        self.durability = FaultyDurability(folder)
        self.rows: list[Instance] = []
        self.objects = ObjectStore(self.spool, self.durability, LIMITS, SystemClock(), self._enter)

    def _enter(self, to_record: Callable[[Stored], Instance], stored: Sequence[Stored]) -> None:
        self.rows += [to_record(one) for one in stored]

    def arrive(self) -> Arrival:
        """The object, whole, in its temporary file."""
        reception = Reception(
            Announcement(MR, UID, EXPLICIT),
            Sender("ct", "CT1", 5.0),
            Urgency.MEDIUM,
            self.spool.new_incoming(),
            LIMITS,
            self.durability.begin,
        )
        reception.feed(memoryview(MrObject(UID).encode()))
        return reception.complete()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "data")
    yield made
    made.durability.close()


def test_object_whose_commit_failed_is_stored_when_it_comes_again(store: Store) -> None:
    with pytest.raises(RuntimeError, match="of the node's own"):
        store_arrivals(store.objects, [store.arrive()])
    assert not store.rows
    assert not list(store.spool.stored())
    store.durability.faulty = False
    assert store_arrivals(store.objects, [store.arrive()]) == [True]
    assert [row.sop_instance_uid for row in store.rows] == [UID]
    assert store_arrivals(store.objects, [store.arrive()]) == [False]
    assert len(store.rows) == 1


def test_object_that_comes_again_before_the_first_is_synced_waits_for_it(store: Store) -> None:
    store.durability.faulty = False
    first, second = store.objects.place([store.arrive(), store.arrive()])
    assert (first.named, second.named) == (True, False)
    assert store.objects.commit([first, second]) == [True, False]
    assert len(store.rows) == 1
    first.arrival.close()


def test_object_that_comes_again_takes_the_place_of_one_that_the_disk_did_not_take(
    store: Store,
) -> None:
    first, second = store.objects.place([store.arrive(), store.arrive()])
    with pytest.raises(RuntimeError, match="of the node's own"):
        store.objects.commit([first])
    assert not list(store.spool.stored())
    store.durability.faulty = False
    assert store.objects.commit([second]) == [True]
    assert [row.sop_instance_uid for row in store.rows] == [UID]
    (path,) = store.spool.stored()
    assert is_whole(read_file_header(path))
    second.arrival.close()


def test_fault_in_a_group_leaves_nothing_of_those_that_had_no_name_yet(store: Store) -> None:
    placed = store.objects.place([store.arrive(), store.arrive()])
    with pytest.raises(RuntimeError, match="of the node's own"):
        store.objects.commit(placed)
    assert not list(store.spool.stored())
    assert not list(store.spool.incoming.iterdir())


def test_name_that_cannot_be_given_fails_that_object_alone(store: Store) -> None:
    store.durability.faulty = False
    lost, sound = store.arrive(), store.arrive()
    Path(lost.temporary).unlink()
    placed = store.objects.place([lost, sound])
    assert [one.named for one in placed] == [False, True]
    failure, stored = store.objects.commit(placed)
    assert isinstance(failure, WriteFailedError)
    assert stored is True
    assert len(store.rows) == 1
    sound.close()
