"""What becomes of the objects that come by C-GET, and of what is none."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondread.delivery.arrival import Landing, Received, discard_leftovers
from secondread.delivery.get_scu import GetOrder, get
from secondread.delivery.query import Patience, TooMuchError
from secondread.delivery.wanted import Wanted
from secondread.errors import (
    OutOfResourcesError,
    PeerUnreachableError,
    WriteFailedError,
)
from tests.acceptance import wire
from tests.query_peers import (
    CT,
    SERIES,
    STUDY,
    Inbox,
    Peer,
    as_header,
    data_set,
    lying_archive,
    made,
)

MR = "1.2.840.10008.5.1.4.1.1.4"
QUICK = Patience(silence_s=1.0, whole_s=10.0)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    found = Inbox(tmp_path / "landing")
    yield found
    assert found.leftovers == []


def order(inbox: Inbox, wanted: Wanted | None = None, **landing: int) -> GetOrder:
    place = Landing(inbox.landing.folder, **landing)
    return GetOrder(wanted or Wanted(STUDY), place, patience=QUICK)


def test_more_objects_than_promised_are_taken_and_told(inbox: Inbox) -> None:
    def generous(peer: Peer) -> None:
        peer.respond(0xFF00, remaining=1, completed=0, failed=0)
        for number in range(3):
            peer.store(f"1.9.{number}", made(f"1.9.{number}"), CT)
        peer.respond(0x0000, completed=1, failed=0, warned=0)

    with lying_archive(generous) as (address, statuses):
        result = get(address, order(inbox), inbox)
    assert (result.received, result.progress.completed) == (3, 1)
    assert statuses == [0, 0, 0]


def test_objects_without_end_are_cut_off(inbox: Inbox) -> None:
    def endless(peer: Peer) -> None:
        number = 0
        while True:
            number += 1
            peer.store(f"1.9.{number}", made(f"1.9.{number}", 100), CT)

    with lying_archive(endless) as (address, _), pytest.raises(TooMuchError, match="More than 5"):
        get(address, order(inbox, objects_max=5), inbox)
    assert len(inbox.kept) == 5


def test_stores_without_objects_are_refused_and_counted(inbox: Inbox) -> None:
    def empty(peer: Peer) -> None:
        context = peer.context_for(CT)
        elements = {2: wire.uid_value(CT), 0x100: wire.us(1), 0x110: wire.us(7)}
        elements |= {0x800: wire.us(0x0101), 0x1000: wire.uid_value("1.9.1")}
        while True:
            peer.line.say(context, wire.command_set(elements))
            answer = peer.line.read_message(*peer.line.read_header(), lambda *_: None)
            peer.statuses.append(answer.number(0x900))

    with lying_archive(empty) as (address, statuses), pytest.raises(TooMuchError):
        get(address, order(inbox, objects_max=5), inbox)
    assert statuses == [0xA900] * 5


@pytest.mark.parametrize("limit", ["object_bytes_max", "bytes_max"])
def test_an_object_without_end_is_cut_off(inbox: Inbox, limit: str) -> None:
    def endless(peer: Peer) -> None:
        context = peer.context_for(CT)
        peer.line.send(wire.message(context, wire.store_rq("1.9.1", 1, CT)))
        while True:
            peer.line.send(wire.p_data(wire.pdv(context, bytes(60_000), last=False)))

    with lying_archive(endless) as (address, _), pytest.raises(TooMuchError, match="1 MiB"):
        get(address, order(inbox, **{limit: 1 << 20}), inbox)
    assert inbox.kept == {}


def test_an_object_that_breaks_off_is_nowhere_and_the_others_stay(inbox: Inbox) -> None:
    def break_off(peer: Peer) -> None:
        peer.store("1.9.1", made("1.9.1"), CT)
        context = peer.context_for(CT)
        peer.line.send(wire.message(context, wire.store_rq("1.9.2", 2, CT)))
        peer.line.send(wire.p_data(wire.pdv(context, made("1.9.2")[:5000], last=False)))
        peer.line.send(as_header(9000) + b"half")
        peer.line.close()

    with (
        lying_archive(break_off) as (address, _),
        pytest.raises(PeerUnreachableError, match="Before that 1 object came and stayed"),
    ):
        get(address, order(inbox), inbox)
    assert list(inbox.kept) == ["1.9.1"]


def test_an_object_that_comes_too_slowly_ends(inbox: Inbox) -> None:
    def stop(peer: Peer) -> None:
        context = peer.context_for(CT)
        peer.line.send(wire.message(context, wire.store_rq("1.9.2", 2, CT)))
        peer.line.send(wire.p_data(wire.pdv(context, made("1.9.2")[:5000], last=False)))

    with lying_archive(stop) as (address, _), pytest.raises(PeerUnreachableError, match="in time"):
        get(address, order(inbox), inbox)


def test_what_is_not_what_it_says_is_refused_and_the_rest_comes(inbox: Inbox) -> None:
    def odd(peer: Peer) -> None:
        peer.store("1.9.1", made("1.9.2"), CT, 1)
        peer.store("1.9.3", made("1.9.3", study="1.2.99"), CT, 2)
        peer.store("1.9.4", made("1.9.4")[:-7], CT, 3)
        peer.store("1.9.5", b"garbage " * 50, CT, 4)
        peer.store("1.9.6", made("1.9.6", sop_class=MR), CT)
        peer.store("no uid", made("1.9.7"), CT, 5)
        peer.store("1.9.8", made("1.9.8"), CT, 6)
        peer.respond(0xB000, completed=1, failed=6)

    with lying_archive(odd) as (address, statuses):
        result = get(address, order(inbox), inbox)
    assert list(inbox.kept) == ["1.9.8"]
    assert (result.received, result.refused) == (1, 6)
    assert [hex(status) for status in statuses] == [
        *("0xa900", "0xa900", "0xc000", "0xc000", "0xa900", "0xc000"),
        "0x0",
    ]


def test_objects_of_other_series_are_not_taken_for_those_asked_for(inbox: Inbox) -> None:
    def push(peer: Peer) -> None:
        peer.store("1.9.1", made("1.9.1"), CT)
        peer.store("1.9.2", made("1.9.2"), CT, 2)
        peer.respond(0x0000, completed=2)

    wanted = Wanted(STUDY, SERIES, ("1.9.2",))
    with lying_archive(push) as (address, statuses):
        assert get(address, order(inbox, wanted), inbox).refused == 1
    assert (list(inbox.kept), statuses) == (["1.9.2"], [0xA900, 0])


def test_an_object_is_answered_only_after_it_was_taken(inbox: Inbox) -> None:
    seen: list[int] = []

    def send(peer: Peer) -> None:
        for number in range(3):
            peer.store(f"1.9.{number}", made(f"1.9.{number}"), CT)
        peer.respond(0x0000, completed=3)

    with lying_archive(send) as (address, statuses):

        def take(received: Received) -> None:
            seen.append(len(statuses))
            inbox(received)

        get(address, order(inbox), take)
    assert seen == [0, 1, 2]


def test_whoever_takes_objects_may_move_them_away(inbox: Inbox, tmp_path: Path) -> None:
    def send(peer: Peer) -> None:
        peer.store("1.9.1", made("1.9.1"), CT)
        peer.respond(0x0000, completed=1)

    kept = tmp_path / "kept.dcm"
    with lying_archive(send) as (address, _):
        get(address, order(inbox), lambda received: received.path.rename(kept) and None)
    assert data_set(kept)[0] == "1.9.1"


def test_an_error_of_whoever_takes_objects_goes_to_the_caller(inbox: Inbox) -> None:
    def send(peer: Peer) -> None:
        peer.store("1.9.1", made("1.9.1"), CT)

    def fail(_: Received) -> None:
        raise KeyError("theirs")

    with lying_archive(send) as (address, statuses), pytest.raises(KeyError):
        get(address, order(inbox), fail)
    assert statuses == []


def test_too_little_space_ends_it_before_the_object(inbox: Inbox) -> None:
    def send(peer: Peer) -> None:
        peer.store("1.9.1", made("1.9.1"), CT)

    with lying_archive(send) as (address, _), pytest.raises(OutOfResourcesError, match="free"):
        get(address, order(inbox, free_bytes_min=1 << 60), inbox)


def test_a_folder_that_is_not_there_ends_it(tmp_path: Path) -> None:
    def send(peer: Peer) -> None:
        peer.store("1.9.1", made("1.9.1"), CT)

    nowhere = GetOrder(Wanted(STUDY), Landing(tmp_path / "nowhere"), patience=QUICK)
    with lying_archive(send) as (address, _), pytest.raises(WriteFailedError, match="kept"):
        get(address, nowhere, lambda _: None)


def test_memory_does_not_grow_with_an_object(inbox: Inbox) -> None:
    size = 64 << 20

    def send(peer: Peer) -> None:
        context = peer.context_for(CT)
        head = made("1.9.1", 0)[:-12]
        pixels = b"\xe0\x7f\x10\x00OB\x00\x00" + size.to_bytes(4, "little")
        peer.line.send(wire.message(context, wire.store_rq("1.9.1", 1, CT)))
        peer.line.send(wire.p_data(wire.pdv(context, head + pixels, last=False)))
        piece = wire.p_data(wire.pdv(context, bytes(1 << 16), last=False))
        for _ in range(size >> 16):
            peer.line.send(piece)
        peer.line.send(wire.p_data(wire.pdv(context, b"", last=True)))
        peer.line.read_message(*peer.line.read_header(), lambda *_: None)
        peer.respond(0x0000, completed=1)

    sizes: list[int] = []
    with lying_archive(send) as (address, _):
        tracemalloc.start()
        try:
            get(address, order(inbox), lambda received: sizes.append(received.size_bytes))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert sizes[0] > size
    assert peak < size / 4


def test_what_a_killed_retrieval_left_is_found(tmp_path: Path) -> None:
    (tmp_path / "arrival-abc.part").write_bytes(b"half")
    (tmp_path / "other.dcm").write_bytes(b"whole")
    assert discard_leftovers(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["other.dcm"]
