"""What a PACS may do to whoever delivers to it, and what becomes of the objects: the table.

``tests/acceptance/test_delivery_liar.py`` has a running node go through every row; the table of
``docs/lying-pacs.md`` is made of the same rows by ``python -m tests.delivery_cases``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.lying_manners import Break, By, Commit, Hang, always, each

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
COMMITMENT = "1.2.840.10008.1.20.1"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
JOBS = 3
OBJECTS = 2 * JOBS
"""A segmentation and a report for each job; a report alone is in reserve."""
AGES_S = 90_000.0
"""Longer than anything is put off."""


class Mend(StrEnum):
    """What it takes until everything is safe."""

    NOTHING = "nothing"
    HONESTY = "the PACS becomes honest"
    REPORT = "the PACS reports"
    PERSON = "the PACS becomes honest, and a person has it sent again"


@dataclass(frozen=True, kw_only=True)
class DeliveryCase:
    """A manner, and what comes of it.

    Attributes:
        name: for the test.
        does: what the PACS does, for the table.
        behaviour: fields of ``lying_manners.Behaviour``.
        is_down: nobody listens.
        calls_back: it reports on associations of its own.
        proof: the destination's [destinations.proof], besides short times.
        passes_s: time that passes before the state below is looked at.
        passes: how often.
        ends: where the objects are then; those in reserve do not count.
        exact: whether it is so many in each state, or some.
        line: the state of the line then.
        says: what the reason of an object, or of the line, says then.
        job: where the jobs are then.
        mend: what it takes until everything is safe.
        status: what the PACS answered when it stored an object, as the ledger has it.
        again_max: how many objects too many the PACS gets, always the same contents.
        told: what the table says of it.
    """

    name: str
    does: str
    told: str
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    is_down: bool = False
    calls_back: bool = False
    proof: Mapping[str, Any] = field(default_factory=dict)
    passes_s: float = 0.0
    passes: int = 0
    ends: Mapping[str, int] = field(default_factory=lambda: {"safe": OBJECTS})
    exact: bool = True
    line: str = "closed"
    says: str = ""
    job: str = "delivered"
    mend: Mend = Mend.NOTHING
    status: int = 0x0000
    again_max: int = 0


READY, SENT, DEAD = {"ready": OBJECTS}, {"sent": OBJECTS}, {"dead": OBJECTS}

UNREACHED = (
    DeliveryCase(
        name="down",
        does="is down",
        told="waits; no tries are used up, and somebody asks now and then (C-ECHO)",
        is_down=True,
        ends=READY,
        line="open",
        says="refuses connections",
        job="written",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="hangs",
        does="takes the connection and says nothing",
        told="the same, after three time-outs in a row",
        behaviour={"hang": Hang.CONNECTION},
        ends=READY,
        line="open",
        says="silent",
        job="written",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="hangs-later",
        does="accepts the association and hangs",
        told="the same; the object that was on its way is tried again later",
        behaviour={"hang": Hang.ASSOCIATION},
        ends=READY,
        line="open",
        says="it was silent for 1 s",
        job="written",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="aborts",
        does="aborts in the middle of a PDU",
        told="the same",
        behaviour={"breaks": Break.IN_OBJECT},
        ends=READY,
        line="open",
        says="it aborted",
        job="written",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="rejects",
        does="rejects every association for good",
        told="waits, with the reason and what to do about it; it is asked again within the hour",
        behaviour={"rejects": (1, 1, 3)},
        ends=READY,
        line="open",
        says="rejected the association",
        job="written",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="rejects-now",
        does="rejects every association for now",
        told="waits, and is tried again",
        behaviour={"rejects": (2, 3, 2)},
        ends=READY,
        line="open",
        says="rejected the association",
        job="written",
        mend=Mend.HONESTY,
    ),
)

STORING = (
    DeliveryCase(
        name="honest",
        does="does what it should",
        told="sent, then safe",
    ),
    DeliveryCase(
        name="refuses-context",
        does="refuses the context for segmentations",
        told="what is in reserve goes instead: another form, or the report alone",
        behaviour={"refused": frozenset({SEG})},
        ends={"replaced": OBJECTS, "safe": JOBS},
        says="What is in reserve goes instead.",
    ),
    DeliveryCase(
        name="refuses-kind",
        does="answers segmentations with A900",
        told="the same",
        behaviour={"status_of": {SEG: 0xA900}},
        ends={"replaced": OBJECTS, "safe": JOBS},
        says="What is in reserve goes instead.",
    ),
    DeliveryCase(
        name="a700",
        does="answers A700 to each third object",
        told="the object waits and goes again, and so does what follows it in its study",
        behaviour={"status": each(3, 0xA700)},
    ),
    DeliveryCase(
        name="b000",
        does="answers B000",
        told="stored, with a remark; safe when it is proven",
        behaviour={"status": always(0xB000)},
        status=0xB000,
    ),
    DeliveryCase(
        name="unauthorised",
        does="answers 0124",
        told="refused; waits for a person",
        behaviour={"status": always(0x0124)},
        ends=DEAD,
        says="0x0124",
        job="failed",
        mend=Mend.PERSON,
    ),
    DeliveryCase(
        name="closes",
        does="closes the connection after Success",
        told="sent; the next object opens a new association",
        behaviour={"breaks": Break.AFTER_SUCCESS},
    ),
    DeliveryCase(
        name="keeps-silent",
        does="keeps the object and resets without an answer",
        told="sent again, the very same object",
        behaviour={"breaks": Break.BEFORE_SUCCESS, "breaks_left": 2},
        again_max=2,
    ),
    DeliveryCase(
        name="has-it",
        does="the same, and says the next time that it has it (0111)",
        told="stored, with a remark",
        behaviour={"breaks": Break.BEFORE_SUCCESS, "breaks_left": 2, "again_status": 0x0111},
        status=0x0111,
    ),
    DeliveryCase(
        name="half-answer",
        does="resets in the middle of its answer",
        told="sent again, the very same object",
        behaviour={"breaks": Break.IN_ANSWER, "breaks_left": 2},
        again_max=2,
    ),
    DeliveryCase(
        name="loses",
        does="answers Success and loses the object",
        told="it says so when it is asked to commit (0112H); sent again",
        behaviour={"loses": frozenset({2, 3})},
    ),
)

COMMITTING = (
    DeliveryCase(
        name="commits-nothing",
        does="commits to nothing (0110H), for a while",
        told="stays sent and is asked about again; safe when it commits",
        behaviour={"commit": Commit.NOTHING},
        ends=SENT,
        says="does not commit to it",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="commits-never",
        does="commits to nothing, ever",
        told="after `tries_max` questions it waits for a person",
        behaviour={"commit": Commit.NOTHING},
        proof={"tries_max": 2},
        passes_s=30.0,
        passes=1,
        ends=DEAD,
        says="It was asked 2 times.",
        job="failed",
        mend=Mend.PERSON,
        again_max=OBJECTS,
    ),
    DeliveryCase(
        name="commits-not-to-kind",
        does="does not commit to its kind (0122H)",
        told="waits for a person at once; its local copy stays",
        behaviour={"commit": Commit.NOTHING, "failure_reason": 0x0122},
        ends=DEAD,
        says="does not commit to it",
        job="failed",
        mend=Mend.PERSON,
        again_max=OBJECTS,
    ),
    DeliveryCase(
        name="commits-half",
        does="commits to half of what it is asked about",
        told="that half is safe; the other one stays sent and is asked about again",
        behaviour={"commit": Commit.HALF},
        ends={"safe": JOBS, "sent": JOBS},
        exact=False,
        says="does not commit to it",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="commits-later",
        does="commits on a new association, at once",
        told="safe",
        behaviour={"by": By.NEW},
        calls_back=True,
    ),
    DeliveryCase(
        name="commits-late",
        does="commits late, on a new association",
        told="stays sent until the report comes; then it is safe",
        behaviour={"by": By.LATER},
        calls_back=True,
        proof={"report_timeout_s": 3600.0},
        ends=SENT,
        says="its report is awaited",
        mend=Mend.REPORT,
    ),
    DeliveryCase(
        name="commits-too-late",
        does="commits after the node has asked again",
        told="the report on the first question counts as much as that on the second",
        behaviour={"by": By.LATER},
        calls_back=True,
        proof={"report_timeout_s": 3600.0},
        passes_s=3700.0,
        passes=1,
        ends=SENT,
        says="did not report in time",
        mend=Mend.REPORT,
    ),
    DeliveryCase(
        name="commits-strangers",
        does="commits besides to what nobody asked about",
        told="safe; the rest counts for nothing",
        behaviour={"commit": Commit.STRANGERS},
    ),
    DeliveryCase(
        name="commits-to-lost",
        does="commits to what it never got",
        told="safe, as far as anybody can tell: whoever fears that has it read back",
        behaviour={"commit": Commit.EVERYTHING, "loses": frozenset({2, 3})},
        proof={"kind": "commitment"},
    ),
    DeliveryCase(
        name="lost-read-back",
        does='the same, and is read back (`kind = "read-back"`)',
        told="found out after three looks, and sent again",
        behaviour={"commit": Commit.EVERYTHING, "loses": frozenset({2, 3})},
        proof={"kind": "read-back"},
        passes_s=120.0,
        passes=2,
    ),
    DeliveryCase(
        name="wrong-transaction",
        does="reports under another Transaction UID",
        told="not believed (0115H); asked again with a new one when the time is over",
        behaviour={"commit": Commit.WRONG_TRANSACTION},
        passes_s=3700.0,
        passes=1,
        ends=SENT,
        says="did not report in time",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="wrong-transaction-new",
        does="the same on a new association",
        told="the same, and it is in the trail",
        behaviour={"commit": Commit.WRONG_TRANSACTION, "by": By.NEW},
        calls_back=True,
        passes_s=3700.0,
        passes=1,
        ends=SENT,
        says="did not report in time",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="never-reports",
        does="takes the question on and never reports",
        told="asked again; after `tries_max` questions it waits for a person, who reads what to "
        "look for",
        behaviour={"commit": Commit.NEVER},
        proof={"tries_max": 2},
        passes_s=3700.0,
        passes=3,
        ends=DEAD,
        says="is one of the [[peers]] here",
        job="failed",
        mend=Mend.PERSON,
        again_max=OBJECTS,
    ),
    DeliveryCase(
        name="not-now",
        does="turns the question down for now (0213H)",
        told="stays sent and is asked again",
        behaviour={"action_status": 0x0213},
        ends=SENT,
        says="0x0213",
        mend=Mend.HONESTY,
    ),
    DeliveryCase(
        name="no-commitment",
        does="has no commitment",
        told="read back by C-FIND, and safe",
        behaviour={"refused": frozenset({COMMITMENT})},
    ),
    DeliveryCase(
        name="no-proof",
        does="has neither commitment nor queries",
        told="stays sent, and says why; asked once a day",
        behaviour={"refused": frozenset({COMMITMENT, FIND})},
        ends=SENT,
        says="offers no proof",
        mend=Mend.HONESTY,
    ),
)

CASES = (*UNREACHED, *STORING, *COMMITTING)

_HEADS = {
    "Cannot be reached": UNREACHED,
    "Storing": STORING,
    "Proof": COMMITTING,
}
_LINE = {"open": "; nothing is sent", "closed": ""}


def make_table() -> str:
    """The table of ``docs/lying-pacs.md``."""
    lines = []
    for head, cases in _HEADS.items():
        lines += [f"## {head}", "", "| the PACS | what the node does | ends | safe once |"]
        lines.append("|---|---|---|---|")
        lines += [f"| {one.does} | {one.told} | {_ends(one)} | {one.mend} |" for one in cases]
        lines.append("")
    return "\n".join([*lines, ""])


def _ends(case: DeliveryCase) -> str:
    return " and ".join(f"`{state}`" for state in case.ends) + _LINE[case.line]


if __name__ == "__main__":
    sys.stdout.write(make_table())
