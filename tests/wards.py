"""A house whose clock the test moves, for studies that wait to be complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from secondread.assembly.completeness import first_look_s, policy, shortest_limit_s
from secondread.domain.completeness import Completeness
from secondread.domain.instance import Instance
from secondread.domain.network import Peer, Rule, Urgency
from secondread.domain.states import StudyState
from secondread.intake.storing import Stored
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.complete import Complete
from secondread.store.studies import Waits
from tests.house import House, StillClock


class WallClock(StillClock):
    """A clock that can be set, beside one that nobody sets."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_700_000_000.0
        self.steady = 50.0

    def steady_s(self) -> float:
        """Seconds since some moment."""
        return self.steady

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds
        self.steady += seconds


class Ward(House):
    """A house whose door is open, with terms of its own, stepped as the timer does."""

    clock: WallClock

    def __init__(self, folder: Path, complete: Completeness | None, quiet_s: float = 5.0) -> None:
        super().__init__(folder, WallClock())
        self.quiet_s = quiet_s
        self.facts: dict[str, Any] = {}
        self.urgency = Urgency.MEDIUM
        peer = Peer("ct", "CT1", ("10.0.0.1",), quiet_s, complete=complete)
        self.place = replace(self.place, peers=MappingProxyType({"ct": peer}))
        self.restart()

    def restart(self) -> None:
        """The pipeline was killed, and another one takes its place."""
        self.complete = Complete(self.place)

    def rules(self, *rules: Rule) -> None:
        """Other rules, of the same model."""
        model = self.place.rules[0].model
        self.place = replace(self.place, rules=tuple(replace(r, model=model) for r in rules))
        self.restart()

    def _enter(self, to_record: Callable[[Stored], Instance], stored: Sequence[Stored]) -> None:
        records = [
            replace(found, facts={**found.facts, **self.facts}, urgency=self.urgency)
            for found in map(to_record, stored)
        ]
        peer = self.place.peers["ct"]
        terms = [policy(peer, rule, self.quiet_s) for rule in (None, *self.place.rules)]
        waits = Waits(
            lambda _: self.quiet_s, lambda _: first_look_s(terms), lambda _: shortest_limit_s(terms)
        )
        with self.place.ledger.begin() as change:
            change.instances.add(records)
            change.studies.add_instances(records, waits)

    def run(self, seconds: float) -> list[str]:
        """Let time pass, half a second at a time; why the study went on meanwhile."""
        before = len(self.went_on)
        for _ in range(round(seconds * 2)):
            self.clock.run(0.5)
            self.complete.step()
            while Assemble(self.place).step():
                continue
        return self.went_on[before:]

    def remember(self, pauses: Sequence[float]) -> None:
        """As if more studies of the first one's peer and protocol had come, with these pauses."""
        with self.place.ledger.begin() as change:
            protocol = change.pauses.of_study(1)
            assert protocol is not None
            uid = change.studies.get(1).study_instance_uid
            one = change.instances.of_study(uid)[0]
            for number, longest_s in enumerate(pauses):
                other = replace(one, study_instance_uid=f"1.5.{number}")
                change.studies.add_instances([other], lambda _: 5.0)
                found = change.studies.find(other.study_instance_uid)
                change.studies.move(found, StudyState.DONE, self.clock.time, "Long ago.")
                change.pauses.keep(replace(protocol, study_id=found.id, longest_s=longest_s))

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.clock.time += seconds

    @property
    def went_on(self) -> list[str]:
        """Why the study went on, each time."""
        with self.place.ledger.read() as view:
            rows = view.trail.of_study(1)
        ends = {StudyState.ASSEMBLING, StudyState.HELD, StudyState.DONE}
        return [
            row.text for row in rows if row.before == StudyState.RECEIVING and row.after in ends
        ]

    @property
    def planned(self) -> list[str]:
        """The rules of the jobs, in the order in which they were planned."""
        return [job.rule for job in self.jobs]


Acquired = Callable[..., list[Path]]
Wards = Callable[..., Ward]
