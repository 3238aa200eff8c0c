"""What every attack has in common: what a refusal looks like from outside, and what must hold."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from .hostile import Client, EndedError, open_association
from .intake_node import ATTACKER, IntakeNode, Mark, honest_store, under_attack
from .wire import ABORT, ASSOCIATE_RJ, ASSOCIATE_RQ, AssociationRequest, pdu

AT_ONCE_S = 1.5
"""Sooner than any of the node's deadlines."""
LATE_S = 5.0
"""Later than the deadlines for a PDU and for a request, with something to spare."""
REASON_LIMIT_S = 3.0
UID = "1.2.826.0.1.3680043.10.511.4"


@dataclass(frozen=True)
class Attack:
    """One row of the table in docs/security.md.

    ``codes``: the log must name at least one of them. ``growth_mib``: how much memory it may cost.
    """

    run: Callable[[IntakeNode], None]
    codes: frozenset[str] = frozenset()
    growth_mib: float = 80.0


def attack(run: Callable[[IntakeNode], None], *codes: str, growth_mib: float = 80.0) -> Attack:
    """A row of the table."""
    return Attack(run, frozenset(codes), growth_mib)


def last_word(client: Client, within_s: float) -> int | None:
    """The type of the PDU that ends it all; None where the connection is just closed.

    After an A-ABORT or a rejection it is for the caller to close the connection (PS3.8 9.2.3).

    Raises:
        AssertionError: neither comes in time.
    """
    until = time.monotonic() + within_s
    while True:
        try:
            received = client.receive(max(until - time.monotonic(), 0.001))
        except TimeoutError:
            raise AssertionError(f"the connection still stands after {within_s} s") from None
        if received is None or received.kind in {ABORT, ASSOCIATE_RJ}:
            return None if received is None else received.kind


def assert_aborted(client: Client, within_s: float = AT_ONCE_S) -> None:
    """The node sends an A-ABORT."""
    kind = last_word(client, within_s)
    assert kind == ABORT, f"PDU {kind} where an A-ABORT was expected"


def assert_turned_away(client: Client, within_s: float = AT_ONCE_S) -> None:
    """No association: rejected, aborted or just closed."""
    last_word(client, within_s)


def turned_away(node: IntakeNode, content: bytes, within_s: float = AT_ONCE_S) -> None:
    """A stranger sends bytes and gets no association."""
    with Client(node.port) as client:
        with contextlib.suppress(EndedError):
            client.send(content)
        assert_turned_away(client, within_s)


def aborted(node: IntakeNode, content: bytes, within_s: float = AT_ONCE_S) -> None:
    """A peer with an association sends bytes and is aborted, and nothing is stored."""
    with open_association(node.port, ATTACKER) as client:
        with contextlib.suppress(EndedError):
            client.send(content)
        assert_aborted(client, within_s)


def request(**fields: object) -> bytes:
    """An association request of the attacker."""
    return AssociationRequest(ATTACKER, **fields).encode()  # type: ignore[arg-type]


def bent_request(items: bytes) -> bytes:
    """An association request with these variable items."""
    return pdu(ASSOCIATE_RQ, AssociationRequest(ATTACKER).fixed() + items)


def check_reasons(node: IntakeNode, since: Mark, codes: Collection[str]) -> None:
    """The log names at least one of these reasons; refusals are written down in groups."""
    if codes:
        node.wait_for(
            lambda: node.codes(since).intersection(codes),
            REASON_LIMIT_S,
            f"one of {set(codes)} in the log, which tells of {node.codes(since)}",
        )


def withstand(node: IntakeNode, row: Attack) -> None:
    """Run an attack; everybody honest is served meanwhile and afterwards."""
    with under_attack(node, row.growth_mib) as since:
        row.run(node)
    check_reasons(node, since, row.codes)
    honest_store(node, f"{UID}.9.{time.time_ns()}")
    node.check_absent()
