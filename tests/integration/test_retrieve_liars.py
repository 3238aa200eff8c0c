"""Archives that lie, break off or say nothing: every query and retrieval ends in a sentence."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondread.delivery import find_scu
from secondread.delivery.address import Address
from secondread.delivery.arrival import Landing
from secondread.delivery.dialogue import C_GET_RQ
from secondread.delivery.find_scu import find_instances, find_series, find_studies
from secondread.delivery.get_scu import GetOrder, get
from secondread.delivery.move_scu import MoveOrder, move
from secondread.delivery.query import Patience, TooMuchError
from secondread.delivery.study_keys import StudyKeys
from secondread.delivery.wanted import Wanted
from secondread.errors import (
    DeliveryError,
    PeerUnreachableError,
    ServiceMissingError,
)
from tests.acceptance import wire
from tests.query_peers import (
    CT,
    SERIES,
    STUDY,
    Behave,
    Inbox,
    Peer,
    as_header,
    lying_archive,
    made,
    match,
)

QUICK = Patience(silence_s=1.0, whole_s=10.0)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    found = Inbox(tmp_path / "landing")
    yield found
    assert found.leftovers == []


def order(inbox: Inbox, wanted: Wanted | None = None, **landing: int) -> GetOrder:
    place = Landing(inbox.landing.folder, **landing)
    return GetOrder(wanted or Wanted(STUDY), place, patience=QUICK)


def find(address: Address) -> Any:
    return find_instances(address, STUDY, SERIES)


def fetch(address: Address) -> Any:
    return move(address, MoveOrder(Wanted(STUDY), "SECONDREAD", patience=QUICK))


def silent(peer: Peer) -> None:
    """Say nothing."""


def closing(peer: Peer) -> None:
    peer.line.close()


def aborting(peer: Peer) -> None:
    peer.line.abort()


def saying(content: bytes) -> Behave:
    def behave(peer: Peer) -> None:
        peer.line.send(content)

    return behave


def to_another(peer: Peer) -> None:
    elements = {**peer.heard.elements, 0x110: wire.us(77)}
    Peer(peer.line, peer.asked, replace(peer.heard, elements=elements)).respond(0x0000)


def another_message(peer: Peer) -> None:
    peer.line.say(peer.heard.context_id, wire.echo_rq())


def without_status(peer: Peer) -> None:
    elements = {
        2: peer.heard.elements[2],
        0x100: wire.us(peer.heard.number(0x100) | 0x8000),
        0x120: wire.us(peer.heard.number(0x110)),
        0x800: wire.us(0x0101),
    }
    peer.line.say(peer.heard.context_id, wire.command_set(elements))


def cut_short(peer: Peer) -> None:
    peer.respond(0xFF00, match(StudyInstanceUID=STUDY)[:-3])


def empty_fragments(peer: Peer) -> None:
    nothing = wire.pdv(peer.heard.context_id, b"", command=True, last=False)
    while True:
        peer.line.send(wire.p_data(nothing))


LIES: dict[str, tuple[Behave, str]] = {
    "silent": (silent, "did not answer .* in time"),
    "closing": (closing, "closed the connection"),
    "aborting": (aborting, "aborted"),
    "release": (saying(wire.release_rq()), "asked to end the association"),
    "garbage": (saying(b"\x99" * 64), "sent something that is not DICOM|PDU"),
    "endless PDU": (saying(as_header(1 << 30)), "said to have"),
    "half a PDU": (saying(as_header(1000) + b"123"), "did not answer"),
    "another message": (another_message, "another message"),
    "another request": (to_another, "to a message that was not sent"),
    "no status": (without_status, "without a status"),
    "cut short": (cut_short, "cannot be read"),
    "empty fragments": (empty_fragments, "did not answer"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("ask", [find, fetch], ids=["find", "move"])
def test_a_lie_ends_in_a_sentence(lie: str, ask: Callable[[Address], Any]) -> None:
    behave, says = LIES[lie]
    with lying_archive(behave) as (address, _), pytest.raises(PeerUnreachableError, match=says):
        ask(address)


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_instead_of_objects_leaves_nothing_behind(lie: str, inbox: Inbox) -> None:
    behave, says = LIES[lie]
    with lying_archive(behave) as (address, _), pytest.raises(PeerUnreachableError, match=says):
        get(address, order(inbox), inbox)
    assert inbox.kept == {}


@pytest.mark.parametrize("status", [0xA701, 0xA702, 0xA900, 0xC001, 0xFE00, 0x0122, 0x0124, 0x7777])
def test_every_status_is_a_sentence(status: int, inbox: Inbox) -> None:
    with lying_archive(lambda peer: peer.respond(status)) as (address, _):
        for ask in (find, fetch, lambda at: get(at, order(inbox), inbox)):
            with pytest.raises(DeliveryError, match=f"0x{status:04X}: .*\\.$") as caught:
                ask(address)
            passing = status in (0xA701, 0xA702, 0xFE00)
            assert isinstance(caught.value, PeerUnreachableError) is passing


def test_answers_without_end_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def flood(peer: Peer) -> None:
        while True:
            peer.respond(0xFF00, match(SOPInstanceUID="1.2.5"))

    for limits in (Patience(answers_max=500), Patience(bytes_max=10_000)):
        monkeypatch.setattr(find_scu, "_PATIENCE", limits)
        with (
            lying_archive(flood) as (address, _),
            pytest.raises(TooMuchError, match="without an end"),
        ):
            find(address)


def test_pending_answers_without_end_are_cut_off() -> None:
    def flood(peer: Peer) -> None:
        while True:
            peer.respond(0xFF00, remaining=5)

    for patience, error in (
        (Patience(silence_s=1.0, whole_s=0.5), PeerUnreachableError),
        (Patience(answers_max=300), TooMuchError),
    ):
        with lying_archive(flood) as (address, _), pytest.raises(error):
            move(address, MoveOrder(Wanted(STUDY), "SECONDREAD", patience=patience))


def test_an_archive_without_the_service_is_named() -> None:
    from tests.echo_peers import scp

    with scp() as port:
        address = Address("127.0.0.1", port, "PACS", "SECONDREAD", 5.0)
        for ask, name in ((find, "C-FIND"), (fetch, "C-MOVE")):
            with pytest.raises(ServiceMissingError, match=f"no presentation context for {name}"):
                ask(address)


def test_matches_that_nobody_asked_for_count_for_nothing() -> None:
    def strangers(peer: Peer) -> None:
        for uid, series, study in (
            ("1.5.1", SERIES, STUDY),
            ("1.5.2", "1.2.4.9", STUDY),
            ("1.5.3", SERIES, "1.2.3.9"),
            ("no uid", SERIES, STUDY),
        ):
            named = match(SOPInstanceUID=uid, SeriesInstanceUID=series, StudyInstanceUID=study)
            peer.respond(0xFF00, named)
        peer.respond(0x0000)

    with lying_archive(strangers) as (address, _):
        assert find(address) == {"1.5.1"}


def test_another_patients_studies_are_never_a_patients_own() -> None:
    def everybody(peer: Peer) -> None:
        for number, whose in enumerate(("P-1", "P-10", "p-1", "", "P-1 ")):
            peer.respond(0xFF00, match(PatientID=whose, StudyInstanceUID=f"1.2.{number + 1}"))
        issued = match(PatientID="P-1", StudyInstanceUID="1.2.9", IssuerOfPatientID="HERE")
        peer.respond(0xFF00, issued)
        peer.respond(0x0000)

    with lying_archive(everybody) as (address, _):
        uids = {study.study_instance_uid for study in find_studies(address, StudyKeys("P-1"))}
        assert uids == {"1.2.1", "1.2.5", "1.2.9"}
        (study,) = find_studies(address, StudyKeys("P-1", issuer_of_patient_id="HERE"))
        assert study.study_instance_uid == "1.2.9"


@pytest.mark.parametrize("key", ["", " ", "*", "P?1", "A\\B", "A\nB", "x" * 65])
def test_a_key_that_would_find_strangers_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="one Patient ID"):
        StudyKeys(key)


def test_a_patient_id_beyond_ascii_goes_out_in_utf_8() -> None:
    asked: list[bytes] = []

    def look(peer: Peer) -> None:
        asked.append(peer.heard.data)
        peer.respond(0x0000)

    with lying_archive(look) as (address, _):
        assert find_studies(address, StudyKeys("Ä-1")) == ()
    assert "Ä-1".encode() in asked[0]
    assert b"ISO_IR 192" in asked[0]


def test_series_that_are_none_are_left_out() -> None:
    def odd(peer: Peer) -> None:
        peer.respond(0xFF00, match(SeriesInstanceUID="x", Modality="MR"))
        peer.respond(0xFF00, match(SeriesInstanceUID="1.7", NumberOfSeriesRelatedInstances="-4"))
        peer.respond(0xFF00)
        peer.respond(0x0000)

    with lying_archive(odd) as (address, _):
        (series,) = find_series(address, STUDY)
    assert (series.series_instance_uid, series.instances) == ("1.7", None)


def test_move_tells_how_far_it_has_come() -> None:
    def send(peer: Peer) -> None:
        peer.respond(0xFF00, remaining=2, completed=0, failed=0, warned=0)
        peer.respond(0xFF00, remaining=1, completed=1)
        failed = match(FailedSOPInstanceUIDList="1.9.7\\1.9.8\\x")
        peer.respond(0xB000, failed, completed=1, failed=1)

    told = []
    with lying_archive(send) as (address, _):
        wanted = MoveOrder(Wanted(STUDY), "SECONDREAD", told.append, QUICK)
        result = move(address, wanted)
    assert [(one.remaining, one.completed) for one in told] == [(2, 0), (1, 1)]
    assert result.failed_uids == {"1.9.7", "1.9.8"}
    assert not result.is_complete
    assert "1 object and could not send 1" in result.sentence


def test_success_without_counts_is_not_taken_for_nothing() -> None:
    with lying_archive(lambda peer: peer.respond(0x0000)) as (address, _):
        assert "does not say how much" in fetch(address).sentence


@pytest.mark.parametrize("title", ["", " ", "x" * 17, "A\\B", "Ä"])
def test_a_destination_is_an_ae_title(title: str) -> None:
    with pytest.raises(ValueError, match="AE title"):
        MoveOrder(Wanted(STUDY), title)


@pytest.mark.parametrize(
    "wanted", [("x",), ("1.2", "y"), ("1.2", "", ("1.3",)), ("1.2", "1.3", ("1.4",) * 1001)]
)
def test_what_is_wanted_is_named_by_uids(wanted: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="UIDs|series|At most"):
        Wanted(*wanted)


def recorded(peer: Peer) -> bytes:
    """What an honest archive says to the request, in one piece; the answers it gets it leaves."""
    said = bytearray()

    class Tape:
        """A line that keeps what is said."""

        def say(self, context_id: int, command: bytes, data: bytes | None = None) -> None:
            said.extend(wire.message(context_id, command, data, 4096))

    tape = Peer(Tape(), peer.asked, peer.heard)  # type: ignore[arg-type]
    named = match(SOPInstanceUID="1.9.1", SeriesInstanceUID=SERIES, StudyInstanceUID=STUDY)
    is_get = peer.heard.number(0x100) == C_GET_RQ
    tape.respond(0xFF00, None if is_get else named, remaining=1)
    if is_get:
        context = peer.context_for(CT)
        tape.line.say(context, wire.store_rq("1.9.1", 1, CT), made("1.9.1", 9000))
    tape.respond(0x0000, completed=1)
    return bytes(said)


def mutated(content: bytes, seed: int) -> bytes:
    """The same with a few bytes changed, left out or said twice."""
    chance = random.Random(seed)
    found = bytearray(content)
    for _ in range(chance.randrange(1, 4)):
        # Most of what matters stands at the beginning of PDUs, commands and the data set.
        at = min(chance.randrange(len(found)), chance.choice((80, 400, 900, len(found) - 1)))
        length = chance.randrange(1, 12)
        match chance.randrange(4):
            case 0:
                found[at] = chance.randrange(256)
            case 1:
                del found[at : at + length]
            case 2:
                found[at:at] = found[at : at + length]
            case _:
                found[at : at + length] = chance.randbytes(length)
    return bytes(found)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_an_archive_sends_ends_in_a_sentence(seed: int, inbox: Inbox) -> None:
    def behave(peer: Peer) -> None:
        peer.line.send(mutated(recorded(peer), seed))
        peer.line.connection.shutdown(socket.SHUT_WR)

    with lying_archive(behave) as (address, _):
        for ask in (find, fetch, lambda at: get(at, order(inbox), inbox)):
            with suppress(DeliveryError):
                ask(address)
    assert inbox.leftovers == []
    for uid, content in inbox.kept.items():
        # Pixels that were changed on the way nobody can tell; all else is what was asked for.
        assert uid == "1.9.1"
        assert STUDY.encode() in content
