"""The outbox table: each result object, for each destination."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from secondread.domain.result import OutboxItem, ResultObject
from secondread.domain.states import DeliveryState, check_transition
from secondread.store.claims import release_claims_of
from secondread.store.tables import job, outbox
from secondread.store.trail import Entry, Trail

_AT_A_TIME = 500
_READ_BACK_AT_ONCE = "'{}' has it: it was read back there."
_NAMES = tuple(field.name for field in fields(OutboxItem))
_STATE = _NAMES.index("state")
_values_of = attrgetter(*_NAMES)


def to_item(row: Any) -> OutboxItem:
    """A row as a record."""
    values = list(_values_of(row))
    values[_STATE] = DeliveryState(values[_STATE])
    return OutboxItem(*values)


def _entry(item: OutboxItem, study_id: int, change: tuple[str, str], at: float, text: str) -> Entry:
    named = {"destination": item.destination, "sop_instance_uid": item.sop_instance_uid}
    return Entry(at, "delivery", text, study_id, item.job_id, change, named)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a destination said when it stored an object.

    Attributes:
        status: 0x0000 or a warning (PS3.4 B.2.3); None where the way has no such number.
        remark: what it said or changed, in words of ours and without values; or "".
        prove_at: when it is asked for proof; None is never.
    """

    status: int | None
    remark: str
    prove_at: float | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object that a destination has stored; ``proof`` where it has been proven at once."""

    item: OutboxItem
    study_id: int
    answer: Stored
    proof: str = ""


class Outbox:
    """The outbox, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def add(
        self,
        job_id: int,
        destination: str,
        objects: Sequence[ResultObject],
        at: float,
        level: int = 0,
    ) -> None:
        """Queue the objects of a job for a destination, to be sent in this order.

        Those of level 1 and more are held in reserve until ``fall_back`` wants them. What the
        destination has got already, or is to get, is left out.
        """
        state = DeliveryState.RESERVED if level else DeliveryState.READY
        urgency = sa.select(job.c.urgency).where(job.c.id == job_id)
        values = {
            "job_id": job_id,
            "destination": destination,
            "urgency": self._connection.execute(urgency).scalar_one(),
            "level": level,
            "state": state,
            "attempts": 0,
            "next_at": at,
            "reason": "",
        }
        for sequence, item in enumerate(objects):
            known = sa.select(outbox.c.id).where(
                outbox.c.destination == destination,
                outbox.c.sop_instance_uid == item.sop_instance_uid,
            )
            if self._connection.execute(known).first() is not None:
                continue
            self._connection.execute(
                outbox.insert().values(
                    sequence=sequence,
                    kind=item.kind,
                    sop_instance_uid=item.sop_instance_uid,
                    sop_class_uid=item.sop_class_uid,
                    path=item.path,
                    **values,
                )
            )

    def fall_back(self, item: OutboxItem, at: float, refusal: str) -> bool:
        """Let what is in reserve go instead of what a destination refused.

        Everything of the same level that has not been sent yet is replaced, because it refers to
        the refused object; what has been sent stays where it is. All of it is one transaction with
        the trail rows that say why.

        Args:
            item: the object that was refused.
            at: now.
            refusal: what the destination said, a sentence.

        Returns:
            Whether there was anything in reserve; if not, nothing is changed.
        """
        rows = [one for one in self.of_job(item.job_id) if one.destination == item.destination]
        levels = [
            one.level
            for one in rows
            if one.state is DeliveryState.RESERVED and one.level > item.level
        ]
        if not levels:
            return False
        to = f"'{item.destination}'"
        for one in rows:
            if one.level == item.level and one.state is DeliveryState.READY:
                text = f"Not sent, because {to} refused the segmentation that it goes with."
                if one.id == item.id:
                    text = f"{refusal} What is in reserve goes instead."
                self.move(one, DeliveryState.REPLACED, at, text)
        for one in rows:
            if one.level == min(levels) and one.state is DeliveryState.RESERVED:
                text = f"{to} refused the segmentation; this goes instead."
                self.move(one, DeliveryState.READY, at, text)
        return True

    def knows(self, sop_instance_uid: str) -> bool:
        """Whether an object was sent or is to be sent to anybody, and not held in reserve alone."""
        query = sa.select(outbox.c.id).where(
            outbox.c.sop_instance_uid == sop_instance_uid,
            outbox.c.state.not_in([DeliveryState.RESERVED, DeliveryState.REPLACED]),
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def move(self, item: OutboxItem, after: DeliveryState, at: float, reason: str) -> None:
        """Change an item's state, give its claim back and leave a row in the trail."""
        self._move(item, after, at, reason, {})

    def keep_sent(self, item: OutboxItem, answer: Stored, at: float) -> None:
        """The destination has stored an object; from ``prove_at`` on it is asked for proof."""
        self.keep_all_sent([Arrival(item, self._study_of(item), answer)], at)

    def keep_all_sent(self, arrivals: Sequence[Arrival], at: float) -> None:
        """The destination has stored these objects, in this order; as many as there are in one go.

        What is written for each is what ``keep_sent``, and ``keep_safe`` for those with a proof,
        would write.
        """
        if not arrivals:
            return
        alike: dict[tuple[Stored, str, str], list[OutboxItem]] = {}
        entries: list[Entry] = []
        for one in arrivals:
            item, answer = one.item, one.answer
            remark = f"; {answer.remark}." if answer.remark else "."
            text = f"Sent to '{item.destination}'{remark}"
            moves = [(DeliveryState.SENT, text)]
            if one.proof:
                moves.append((DeliveryState.SAFE, _READ_BACK_AT_ONCE.format(item.destination)))
            before = item.state
            for after, said in moves:
                check_transition(before, after)
                entries.append(_entry(item, one.study_id, (before, after), at, said))
                before = after
            alike.setdefault((answer, one.proof, moves[-1][1]), []).append(item)
        for (answer, proof, reason), items in alike.items():
            values = {
                "state": DeliveryState.SAFE if proof else DeliveryState.SENT,
                "reason": reason,
                "status": answer.status,
                "remark": answer.remark,
                "sendings": outbox.c.sendings + 1,
                "sent_at": at,
                "safe_at": at if proof else None,
                "proof": proof,
                "proof_tries": 0,
                "prove_at": None if proof else answer.prove_at,
            }
            self._give_back(items, values)
        self._trail.append_all(entries)

    def keep_safe(self, item: OutboxItem, proof: str, at: float, reason: str) -> None:
        """The destination has proven that it has an object, by ``proof``."""
        self.keep_all_safe([item], proof, at, reason)

    def keep_all_safe(
        self, items: Sequence[OutboxItem], proof: str, at: float, reason: str
    ) -> None:
        """The destination has proven that it has these objects, by ``proof``."""
        for item in items:
            check_transition(item.state, DeliveryState.SAFE)
        values = {
            "state": DeliveryState.SAFE,
            "reason": reason,
            "proof": proof,
            "safe_at": at,
            "prove_at": None,
        }
        self._give_back(items, values)
        studies = self._studies_of(items)
        self._trail.append_all(
            [
                _entry(item, studies[item.job_id], (item.state, DeliveryState.SAFE), at, reason)
                for item in items
            ]
        )

    def add_remark(self, item: OutboxItem, remark: str, at: float) -> None:
        """Keep what a destination turns out to have done to an object, unless it is known."""
        if remark in item.remark:
            return
        whole = f"{item.remark}; {remark}" if item.remark else remark
        statement = sa.update(outbox).where(outbox.c.id == item.id)
        self._connection.execute(statement.values(remark=whole))
        text = f"'{item.destination}' {remark}."
        self._trail.append_all([_entry(item, self._study_of(item), ("", ""), at, text)])

    def _move(
        self,
        item: OutboxItem,
        after: DeliveryState,
        at: float,
        reason: str,
        more: Mapping[str, Any],
    ) -> None:
        check_transition(item.state, after)
        values: dict[str, Any] = {"state": after, "reason": reason, **more}
        if after is DeliveryState.READY:
            values.update(attempts=0, next_at=at, prove_at=None)
        self._connection.execute(
            sa.update(outbox)
            .where(outbox.c.id == item.id)
            .values(claimed_by=None, claimed_until=None, **values)
        )
        entry = _entry(item, self._study_of(item), (item.state, after), at, reason)
        self._trail.append_all([entry])

    def _studies_of(self, items: Sequence[OutboxItem]) -> Mapping[int, int]:
        """The study of each of the jobs of some objects."""
        found: dict[int, int] = {}
        jobs = sorted({item.job_id for item in items})
        for at in range(0, len(jobs), _AT_A_TIME):
            query = sa.select(job.c.id, job.c.study_id)
            wanted = query.where(job.c.id.in_(jobs[at : at + _AT_A_TIME]))
            found.update((row.id, row.study_id) for row in self._connection.execute(wanted))
        return found

    def _study_of(self, item: OutboxItem) -> int:
        query = sa.select(job.c.study_id).where(job.c.id == item.job_id)
        return int(self._connection.execute(query).scalar_one())

    def postpone(self, item: OutboxItem, next_at: float, reason: str) -> None:
        """Give a claim back after a try that failed; the object is sent again at ``next_at``.

        What follows it in the same job waits with it.
        """
        self._give_back(
            [item], {"next_at": next_at, "reason": reason, "attempts": outbox.c.attempts + 1}
        )
        self._connection.execute(
            sa.update(outbox)
            .where(
                outbox.c.job_id == item.job_id,
                outbox.c.destination == item.destination,
                outbox.c.sequence > item.sequence,
                outbox.c.state == DeliveryState.READY,
                outbox.c.next_at < next_at,
            )
            .values(next_at=next_at)
        )

    def give_back(self, *items: OutboxItem, reason: str = "") -> None:
        """Give claims back without a try having failed: it is not their turn any more."""
        self._give_back(items, {"reason": reason} if reason else {})

    def _give_back(self, items: Sequence[OutboxItem], values: Mapping[str, Any]) -> None:
        ids = [item.id for item in items]
        for at in range(0, len(ids), _AT_A_TIME):
            where = outbox.c.id.in_(ids[at : at + _AT_A_TIME])
            statement = sa.update(outbox).where(where)
            free = {"claimed_by": None, "claimed_until": None, **values}
            self._connection.execute(statement.values(**free))

    def release_claims_of(self, owner_prefix: str) -> int:
        """Give back the claims of an owner that is known to be dead."""
        return release_claims_of(self._connection, outbox, owner_prefix)

    def of_job(self, job_id: int) -> Sequence[OutboxItem]:
        """The objects of a job, for every destination and level, in the order of sending."""
        query = sa.select(outbox).where(outbox.c.job_id == job_id)
        order = (outbox.c.destination, outbox.c.level, outbox.c.sequence)
        rows = self._connection.execute(query.order_by(*order))
        return tuple(to_item(row) for row in rows)

    def dead_for(self, destination: str) -> Sequence[OutboxItem]:
        """What was given up for a destination, in the order in which it would have been sent."""
        query = sa.select(outbox).where(
            outbox.c.destination == destination, outbox.c.state == DeliveryState.DEAD
        )
        rows = self._connection.execute(query.order_by(outbox.c.job_id, outbox.c.sequence))
        return tuple(to_item(row) for row in rows)

    def of_jobs(self, job_ids: Collection[int]) -> Mapping[int, Sequence[OutboxItem]]:
        """What ``of_job`` says of each of these jobs."""
        found: dict[int, list[OutboxItem]] = {job_id: [] for job_id in job_ids}
        query = sa.select(outbox).where(outbox.c.job_id.in_(sorted(found)))
        order = (outbox.c.destination, outbox.c.level, outbox.c.sequence)
        for row in self._connection.execute(query.order_by(*order)):
            found[row.job_id].append(to_item(row))
        return found

    def states_of_jobs(self, job_ids: Collection[int]) -> Mapping[int, frozenset[DeliveryState]]:
        """The states in which the objects of each of these jobs are."""
        query = sa.select(outbox.c.job_id, outbox.c.state).where(
            outbox.c.job_id.in_(sorted(job_ids))
        )
        found: dict[int, set[DeliveryState]] = {job_id: set() for job_id in job_ids}
        for job_id, state in self._connection.execute(query.distinct()):
            found[job_id].add(DeliveryState(state))
        return {job_id: frozenset(states) for job_id, states in found.items()}

    def of_ids(self, ids: Collection[int]) -> Mapping[int, OutboxItem]:
        """Those of these rows that are there, by id."""
        found: dict[int, OutboxItem] = {}
        wanted = sorted(set(ids))
        for at in range(0, len(wanted), _AT_A_TIME):
            query = sa.select(outbox).where(outbox.c.id.in_(wanted[at : at + _AT_A_TIME]))
            found.update((row.id, to_item(row)) for row in self._connection.execute(query))
        return found

    def due_for_proof(self, destination: str, now: float, limit: int) -> Sequence[OutboxItem]:
        """Sent objects that the destination is to be asked about, the longest waiting first."""
        query = sa.select(outbox).where(
            outbox.c.destination == destination,
            outbox.c.state == DeliveryState.SENT,
            outbox.c.prove_at <= now,
        )
        rows = self._connection.execute(query.order_by(outbox.c.prove_at, outbox.c.id).limit(limit))
        return tuple(to_item(row) for row in rows)

    def prove_later(
        self, item: OutboxItem, prove_at: float | None, reason: str, *, counts: bool
    ) -> None:
        """Ask about a sent object at ``prove_at``; ``counts`` is whether a question was in vain."""
        values: dict[str, Any] = {"prove_at": prove_at, "reason": reason}
        if counts:
            values["proof_tries"] = outbox.c.proof_tries + 1
        self._connection.execute(sa.update(outbox).where(outbox.c.id == item.id).values(**values))
