"""Commitment reports on new associations, to real SCUs that wait for them or do not."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from secondread.domain.commitment import (
    Commitment,
    CommitmentState,
    Failure,
    FailureReason,
    Reference,
    Result,
)
from secondread.errors import PeerRefusedError, PeerUnreachableError
from secondread.intake.event_report import ReportAddress, send_event_report
from secondread.intake.reporter import GIVE_UP_AFTER_S, CommitmentReporter
from tests.conftest import REPOSITORY
from tests.service_cases import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Place, open_place

ANSWERED, REPORTED, FAILED = CommitmentState
RESULT = Result(
    "1.2.99",
    tuple(Reference("1.2.840", f"1.2.{number}") for number in range(300)),
    (Failure(Reference("1.2.841", "1.3"), FailureReason.NO_SUCH_INSTANCE),),
)


@dataclass
class Scanner:
    """An SCU that waits for reports, as pynetdicom offers it, and what it was told."""

    status: int = 0x0000
    reports: list[Any] = field(default_factory=list)
    roles: list[tuple[bool, bool]] = field(default_factory=list)
    titles: list[tuple[str, str]] = field(default_factory=list)
    server: Any = None

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def hear(self, event: Any) -> tuple[int, None]:
        request = event.request
        assert request.AffectedSOPClassUID == StorageCommitmentPushModel
        assert request.AffectedSOPInstanceUID == "1.2.840.10008.1.20.1.1"
        asked = event.assoc.requestor
        for item in asked.role_selection.values():
            self.roles.append((item.scu_role, item.scp_role))
        self.titles.append((asked.ae_title, asked.primitive.called_ae_title))
        self.reports.append((request.EventTypeID, event.event_information))
        return self.status, None


@pytest.fixture
def scanner() -> Iterator[Callable[..., Scanner]]:
    """``scanner(status=0, roles=True, syntaxes=…)`` listens on a free loopback port."""
    started: list[Scanner] = []

    def start(
        status: int = 0x0000,
        *,
        roles: bool = True,
        syntaxes: tuple[str, ...] = (IMPLICIT_LITTLE, EXPLICIT_LITTLE),
        sop_class: str = StorageCommitmentPushModel,
    ) -> Scanner:
        entity = AE("CT1")
        entity.require_called_aet = True
        entity.require_calling_aet = ["SECONDREAD"]
        answer = {"scu_role": False, "scp_role": True} if roles else {}
        entity.add_supported_context(sop_class, list(syntaxes), **answer)
        found = Scanner(status)
        found.server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, found.hear)]
        )
        started.append(found)
        return found

    yield start
    for found in started:
        found.server.shutdown()


def address(port: int, **values: Any) -> ReportAddress:
    given = {"called": "CT1", "calling": "SECONDREAD", "timeout_s": 5.0, **values}
    return ReportAddress("127.0.0.1", port, **given)


@pytest.mark.parametrize("roles", [True, False])
@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE])
def test_result_arrives_whole(scanner: Callable[..., Scanner], roles: bool, syntax: str) -> None:
    there = scanner(roles=roles, syntaxes=(syntax,))
    send_event_report(address(there.port), RESULT)
    ((kind, content),) = there.reports
    assert (kind, content.TransactionUID) == (2, "1.2.99")
    assert len(content.ReferencedSOPSequence) == 300
    assert content.ReferencedSOPSequence[299].ReferencedSOPInstanceUID == "1.2.299"
    (failed,) = content.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("1.3", 0x0112)
    # The node calls as SCP of the service, by the title that the peer knows.
    assert there.roles == [(False, True)]
    assert there.titles == [("SECONDREAD", "CT1")]


def test_refusals_are_told_in_words(
    scanner: Callable[..., Scanner], free_port: Callable[[], int]
) -> None:
    there = scanner(0x0110)
    with pytest.raises(PeerRefusedError, match="'CT1' at 127.0.0.1:.* answered .* 0x0110"):
        send_event_report(address(there.port), RESULT)
    with pytest.raises(PeerRefusedError, match="does not know the calling AE title"):
        send_event_report(address(there.port, calling="WRONG"), RESULT)
    with pytest.raises(PeerRefusedError, match="does not know the called AE title"):
        send_event_report(address(there.port, called="WRONG"), RESULT)
    with pytest.raises(PeerRefusedError, match="does not take commitment reports"):
        send_event_report(address(scanner(sop_class=Verification).port), RESULT)
    with pytest.raises(PeerUnreachableError, match="Nobody listens"):
        send_event_report(address(free_port()), RESULT)


def test_peer_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PeerUnreachableError, match="broke off"):
            send_event_report(address(port, timeout_s=1.0), RESULT)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_place(tmp_path)


def wait_for_report(place: Place, **values: Any) -> int:
    """A result in the ledger that is due now."""
    now = place.clock.now()
    given = {"host": "127.0.0.1", "port": 0, "next_at": now, **values}
    row = Commitment(
        id=0,
        peer="ct",
        called_ae_title="SECONDREAD",
        state=ANSWERED,
        asked_at=now,
        attempts=0,
        result=RESULT,
        reason="",
        **given,
    )
    with place.ledger.begin() as change:
        return change.commitments.record(row, ())


def reporter(place: Place) -> CommitmentReporter:
    return CommitmentReporter(place.ledger, place.peer_of, place.clock)


def row(place: Place, row_id: int) -> Commitment:
    with place.ledger.read() as view:
        (found,) = view.commitments.of_ids([row_id])
    return found


def alarms(place: Place) -> list[str]:
    with place.ledger.read() as view:
        return [entry.text for entry in view.trail.of_event("commitment-unreported")]


def test_what_waits_is_reported_once(place: Place, scanner: Callable[..., Scanner]) -> None:
    there = scanner()
    place.change_peer(port=there.port)
    row_id = wait_for_report(place)
    assert reporter(place).step()
    assert not reporter(place).step()
    assert (row(place, row_id).state, len(there.reports)) == (REPORTED, 1)


def test_what_is_not_due_waits(place: Place, scanner: Callable[..., Scanner]) -> None:
    there = scanner()
    place.change_peer(port=there.port)
    wait_for_report(place, next_at=place.clock.now() + 60)
    assert not reporter(place).step()
    place.clock.at += 61
    assert reporter(place).step()
    assert len(there.reports) == 1


def test_tries_are_further_and_further_apart_and_end_after_a_day(
    place: Place, free_port: Callable[[], int]
) -> None:
    place.change_peer(port=free_port())
    row_id, tries, waits = wait_for_report(place), 0, []
    begun = place.clock.at
    while row(place, row_id).state is ANSWERED:
        assert reporter(place).step()
        assert not reporter(place).step()
        tries += 1
        waits.append(row(place, row_id).next_at - place.clock.at)
        place.clock.at = max(row(place, row_id).next_at, place.clock.at)
    assert waits[0] < 10 < waits[3] < 100
    assert max(waits) <= 1.2 * 900
    assert GIVE_UP_AFTER_S <= place.clock.at - begun < GIVE_UP_AFTER_S + 1100
    assert tries < 150
    found = row(place, row_id)
    assert found.state is FAILED
    assert alarms(place) == [found.reason]
    assert "Given up after a day: Nobody listens" in found.reason


def test_peer_without_a_port_is_one_sentence_for_the_administrator(
    place: Place, scanner: Callable[..., Scanner]
) -> None:
    row_id = wait_for_report(place)
    for _ in range(3):
        assert reporter(place).step()
        place.clock.at = row(place, row_id).next_at
    assert "give the peer's port in [[peers]]" in row(place, row_id).reason
    assert alarms(place) == [row(place, row_id).reason]
    # Once it is given, what waits is reported.
    place.change_peer(port=scanner().port)
    assert reporter(place).step()
    assert row(place, row_id).state is REPORTED


def test_host_of_the_list_goes_before_the_address_it_called_from(
    place: Place, scanner: Callable[..., Scanner]
) -> None:
    place.change_peer(port=scanner().port, host="127.0.0.1")
    row_id = wait_for_report(place, host="192.0.2.1")
    assert reporter(place).step()
    assert row(place, row_id).state is REPORTED


def test_peer_that_was_taken_off_the_list_is_not_called(
    place: Place, scanner: Callable[..., Scanner]
) -> None:
    place.peers.clear()
    row_id = wait_for_report(place, port=scanner().port)
    assert reporter(place).step()
    assert row(place, row_id).state is FAILED
    assert "not among the [[peers]]" in alarms(place)[0]


def test_peer_that_takes_tls_only_is_not_called_in_clear(
    place: Place, scanner: Callable[..., Scanner]
) -> None:
    there = scanner()
    place.change_peer(port=there.port, tls=True)
    row_id = wait_for_report(place)
    assert reporter(place).step()
    assert "set up [tls]" in row(place, row_id).reason
    assert there.reports == []


def test_no_association_is_left_behind(scanner: Callable[..., Scanner]) -> None:
    there = scanner()
    for _ in range(3):
        send_event_report(address(there.port), RESULT)
    left = [thread for thread in threading.enumerate() if isinstance(thread, Association)]
    for thread in left:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in left)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.unit.test_intake_commitment import ask, cts
from tests.service_cases import open_place
place = open_place(Path(sys.argv[1]))
place.store(["1.1"])
assert ask(place, cts("1.1", "1.2")).answers[0].status == 0
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_promise_is_kept_after_a_kill(tmp_path: Path, scanner: Callable[..., Scanner]) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=REPOSITORY, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    there, place = scanner(), open_place(tmp_path)
    place.change_peer(port=there.port)
    place.clock.at += 1
    again = reporter(place)
    assert again.step()
    assert not again.step()
    ((kind, content),) = there.reports
    assert (kind, content.TransactionUID) == (2, "1.2.99.1")
    assert [item.ReferencedSOPInstanceUID for item in content.ReferencedSOPSequence] == ["1.1"]
