"""What a claim costs when much waits, against what it costs when little does."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from secondread.domain.result import ResultObject
from tests.bench.figures import Goal, Measured
from tests.outbox_cases import Outbox

FEW, MANY = 1_000, 100_000
_OF_A_JOB = 50
_AT_A_TIME = 100
_OURS, _RIVAL = f"{MANY:,} waiting", f"{FEW:,} waiting"
GOAL = Goal(f"claims of {_AT_A_TIME} with {MANY:,} waiting", "claims/s", _OURS, _RIVAL, 0.5)


def fill(folder: Path, objects: int) -> Outbox:
    """An outbox in which so many objects wait for one destination; none has a file."""
    box = Outbox(folder)
    with box.ledger.begin() as change:
        for number in range(objects // _OF_A_JOB):
            results = [
                ResultObject("sr", f"2.25.{number}.{at}", "1.2", f"{number}/{at}")
                for at in range(_OF_A_JOB)
            ]
            change.outbox.add(box.plan(change), "pacs", results, box.clock.now())
    return box


def claim_once(box: Outbox) -> float:
    """Claims per second of one claim with its synced commit; it is given back afterwards."""
    started = time.perf_counter()
    with box.ledger.begin() as change:
        claimed = change.lines.claim("pacs", "bench", box.clock.now(), 60.0, _AT_A_TIME)
    seconds = time.perf_counter() - started
    if len(claimed) != _AT_A_TIME:
        raise RuntimeError(f"{len(claimed)} objects were claimed.")
    with box.ledger.begin() as change:
        change.outbox.give_back(*[one.item for one in claimed])
    return 1 / seconds


def measure_backlog(rounds: int, folder: Path) -> dict[str, object]:
    """The line of this part, after rounds of A B A B … of ten claims each."""
    many, few = fill(folder / "many", MANY), fill(folder / "few", FEW)
    rates: dict[str, list[float]] = {_OURS: [], _RIVAL: []}
    for number in range(rounds):
        for name, box in ((_OURS, many), (_RIVAL, few)):
            values = sorted(claim_once(box) for _ in range(10))
            rates[name].append(values[len(values) // 2])
            print(f"  backlog {number + 1} {rates[name][-1]:8.1f}/s  {name}", file=sys.stderr)
    many.close()
    few.close()
    return GOAL.line(Measured(tuple(rates[_OURS])), Measured(tuple(rates[_RIVAL])))
