"""A worklist by DIMSE: every status, and managers that hang, do not end, or are none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset

from secondread.access.tls import client_context
from secondread.delivery.reach import Security
from secondread.delivery.telling.worklist.channel import GoneError, TakenError
from secondread.delivery.telling.worklist.dimse import DimseWorklist
from secondread.delivery.telling.worklist.performer import (
    cancel,
    claim,
    complete,
    find_work,
)
from secondread.delivery.telling.worklist.workitem import (
    Criteria,
)
from secondread.errors import PeerRefusedError, PeerUnreachableError, ServiceMissingError
from tests.certificates import Certificates
from tests.echo_peers import LIVENESS_S, server_side, storescp
from tests.service_cases import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tests.telling_peers import (
    CANCELED,
    COMPLETED,
    DONE,
    GIVEN_UP,
    ITEM,
    OURS,
    SEGMENT,
    Manager,
    address,
    dimse_manager,
    scheduled,
    uids,
)


@pytest.fixture
def manager() -> Manager:
    found = Manager()
    found.add(scheduled(ITEM))
    return found


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_either_syntax_will_do(manager: Manager, syntax: str) -> None:
    with dimse_manager(manager, syntaxes=(syntax,)) as port:
        worklist = DimseWorklist(address(port))
        assert uids(worklist, Criteria((SEGMENT,))) == [ITEM]
        claim(worklist, OURS)
        complete(worklist, OURS, DONE)
    assert manager.state(ITEM) == COMPLETED


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (0xC300, GoneError, "may not be changed any more"),
        (0xC301, TakenError, "another performer"),
        (0xC302, TakenError, "in progress already"),
        (0xC303, PeerRefusedError, "scheduled when it is made"),
        (0xC304, PeerRefusedError, "final state"),
        (0xC307, GoneError, "not there"),
        (0xC310, PeerRefusedError, "nobody has claimed"),
        (0xC311, GoneError, "completed"),
        (0xC313, PeerRefusedError, "chooses not to cancel"),
        (0xC314, PeerRefusedError, "cannot be done"),
        (0xB304, GoneError, "cancelled already"),
        (0xB306, GoneError, "completed already"),
        (0x0112, GoneError, "no such SOP instance"),
        (0x0119, PeerRefusedError, "class and instance do not match"),
        (0x0123, PeerRefusedError, "no such action"),
        (0x0124, PeerRefusedError, "not authorised"),
        (0x0122, ServiceMissingError, "SOP class not supported"),
        (0x0213, PeerUnreachableError, "resource limitation"),
        (0x0110, PeerUnreachableError, "processing failure"),
    ],
)
def test_every_status_has_a_sentence(
    manager: Manager, status: int, error: type[Exception], words: str
) -> None:
    manager.answer["action"] = status
    with dimse_manager(manager) as port, pytest.raises(error, match=words) as raised:
        claim(DimseWorklist(address(port)), OURS)
    assert type(raised.value) is error
    assert f"0x{status:04X}" in str(raised.value)
    assert ITEM not in str(raised.value)
    assert OURS.transaction_uid not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [(0xA700, PeerUnreachableError), (0xA900, PeerRefusedError), (0xC000, PeerRefusedError)],
)
def test_a_search_that_fails(manager: Manager, status: int, error: type[Exception]) -> None:
    manager.answer["find"] = status
    with dimse_manager(manager) as port, pytest.raises(error, match="search for work"):
        find_work(DimseWorklist(address(port)), Criteria((SEGMENT,)))


def test_matches_without_end_are_cut_off(manager: Manager) -> None:
    item = manager.items[ITEM]

    def search(_: Dataset) -> Iterator[Dataset]:
        while True:
            yield item

    manager.search = search
    manager.heeds_cancel = False
    with dimse_manager(manager) as port, pytest.raises(PeerUnreachableError, match="no answer"):
        find_work(DimseWorklist(address(port)), Criteria((SEGMENT,), limit=1))


def test_a_manager_that_hangs_is_given_up(manager: Manager) -> None:
    over, started = threading.Event(), time.monotonic()
    manager.search = lambda _: over.wait(LIVENESS_S) and iter(())
    with dimse_manager(manager) as port:
        with pytest.raises(PeerUnreachableError, match="did not answer in time"):
            find_work(DimseWorklist(address(port, timeout_s=0.5)), Criteria())
        assert time.monotonic() - started < LIVENESS_S
        over.set()


def test_a_peer_that_is_no_manager(dcmtk: Any, tmp_path: Any) -> None:
    with storescp(dcmtk("storescp"), tmp_path) as port, pytest.raises(ServiceMissingError):
        find_work(DimseWorklist(address(port)), Criteria())


def test_dimse_with_tls(manager: Manager, certificates: Certificates) -> None:
    security = Security(client_context(certificates.settings()))
    context = server_side(certificates, certificates.server)
    with dimse_manager(manager, context=context) as port:
        worklist = DimseWorklist(address(port), security)
        claim(worklist, OURS)
        cancel(worklist, OURS, GIVEN_UP)
    assert manager.state(ITEM) == CANCELED
