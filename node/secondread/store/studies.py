"""The study table: where each study is on its way."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from secondread.domain.instance import Instance
from secondread.domain.job import RuleAnswer
from secondread.domain.network import Urgency
from secondread.domain.states import JOB_ENDS, JobState, StudyState, check_transition
from secondread.domain.study import Study
from secondread.errors import NotFoundError
from secondread.store.answers import from_documents, to_documents
from secondread.store.claims import claim_one, release_claims_of
from secondread.store.tables import job, study
from secondread.store.trail import Entry, Trail

_HIDDEN = {"claimed_by", "claimed_until", "answers", "rounds"}
STUDY_COLUMNS = [column for column in study.c if column.name not in _HIDDEN]
"""What is read of a study; the rest is asked for by its own functions."""
_NUMBERS = re.compile(r"[0-9]+")


def to_study(row: Any) -> Study:
    """The record of a row that has ``STUDY_COLUMNS``."""
    values = {column.name: getattr(row, column.name) for column in STUDY_COLUMNS}
    return Study(
        **{
            **values,
            "state": StudyState(values["state"]),
            "urgency": Urgency(values["urgency"]),
            "ready": None if values["ready"] is None else tuple(values["ready"]),
        }
    )


_ARRIVED = (
    sa.update(study)
    .where(study.c.study_instance_uid == sa.bindparam("uid"))
    .values(
        last_at=sa.bindparam("at"),
        quiet_s=sa.bindparam("quiet"),
        due_at=sa.case(
            (study.c.next_look_at < sa.bindparam("due"), study.c.next_look_at),
            else_=sa.bindparam("due"),
        ),
        instances=study.c.instances + sa.bindparam("count"),
        quiet_from=sa.null(),
        released_at=sa.null(),
        ready=sa.null(),
        urgency=sa.case(
            (study.c.urgency < sa.bindparam("urgent"), sa.bindparam("urgent")),
            else_=study.c.urgency,
        ),
    )
)


def _never(_: Instance) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the studies of a peer, by its name, are waited for; in seconds.

    Attributes:
        quiet_s: the quiet time.
        look_s: after how much silence a study might be complete at the earliest.
        limit_s: the shortest of the longest waits; infinite where there is no limit.
        is_feedback: whether an object is about results, so that a study that has gone on stays
            where it is.
    """

    quiet_s: Callable[[str], float]
    look_s: Callable[[str], float]
    limit_s: Callable[[str], float]
    is_feedback: Callable[[Instance], bool] = _never


def _arrival(group: Sequence[Instance], waits: Waits, *, again: bool) -> dict[str, Any]:
    last = group[-1]
    quiet_s, look_s = waits.quiet_s(last.peer), waits.look_s(last.peer)
    return {
        "uid": last.study_instance_uid,
        "at": last.received_at,
        "quiet": quiet_s,
        "due": last.received_at + look_s,
        "count": 0 if again else len(group),
        "urgent": max(record.urgency for record in group),
    }


def _outcome(row: Any) -> str:
    return "failed in shadow" if row.state == JobState.FAILED else row.outcome or "analysed"


def _end(
    record: Study, answers: Sequence[RuleAnswer], jobs: Sequence[Any]
) -> tuple[StudyState, str] | None:
    """How a study with these rows of jobs ends, and why; None while it does not.

    A failure in shadow holds no study: whoever waits for results waits for none of it.
    """
    if not all(JobState(row.state) in JOB_ENDS for row in jobs):
        return None
    failed = [row for row in jobs if row.state == JobState.FAILED and not row.shadow]
    if failed:
        text = "; ".join(f"model '{row.model_id}': {row.reason}" for row in failed)
        return StudyState.HELD, f"Waits for a person: {text}"
    if record.state is StudyState.DONE:
        return None
    newest = {(row.rule, row.model_id): _outcome(row) for row in jobs}
    parts = [
        f"model '{model}'{f' by rule {rule!r}' if len(newest) > 1 else ''}: {outcome}"
        for (rule, model), outcome in newest.items()
    ]
    notes = dict.fromkeys(answer.note for answer in answers if answer.note)
    return StudyState.DONE, " ".join(["Finished; " + ", ".join(parts) + ".", *notes])


class Studies:
    """The studies, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def add_instances(
        self,
        records: Sequence[Instance],
        waits: Waits | Callable[[str], float],
        *,
        again: bool = False,
    ) -> None:
        """Note that objects were stored; a study that had gone on comes back.

        ``waits`` may be the quiet time of a peer's studies alone, in seconds. ``again`` is that the
        objects were here before, and are counted already.
        """
        if not isinstance(waits, Waits):
            waits = Waits(waits, waits, lambda _: math.inf)
        groups: dict[str, list[Instance]] = {}
        for record in records:
            groups.setdefault(record.study_instance_uid, []).append(record)
        query = sa.select(study).where(study.c.study_instance_uid.in_(list(groups)))
        known = {row.study_instance_uid: row for row in self._connection.execute(query)}
        for uid in [uid for uid, row in known.items() if row.state != StudyState.RECEIVING]:
            if all(waits.is_feedback(record) for record in groups[uid]):
                group = groups.pop(uid)
                self._count_more(uid, 0 if again else len(group))
        for uid, group in groups.items():
            if uid not in known:
                self._begin(group[0], waits)
            elif known[uid].state != StudyState.RECEIVING:
                found = to_study(known[uid])
                at = group[-1].received_at
                self.move(found, StudyState.RECEIVING, at, "Images are still arriving.")
                self._limit(uid, group[0], waits)
        changes = [_arrival(group, waits, again=again) for group in groups.values()]
        if changes:
            self._connection.execute(_ARRIVED, changes)

    def _count_more(self, study_instance_uid: str, objects: int) -> None:
        """Objects came that change nothing of what is waited for or planned."""
        which = study.c.study_instance_uid == study_instance_uid
        more = study.c.instances + objects
        self._connection.execute(sa.update(study).where(which).values(instances=more))

    def _limit(self, study_instance_uid: str, first: Instance, waits: Waits) -> None:
        """Say when to look at the latest, though objects may go on coming until then."""
        limit_s = waits.limit_s(first.peer)
        at = None if math.isinf(limit_s) else first.received_at + limit_s
        which = study.c.study_instance_uid == study_instance_uid
        self._connection.execute(sa.update(study).where(which).values(next_look_at=at))

    def _begin(self, first: Instance, waits: Waits) -> None:
        values: dict[str, Any] = {
            "study_instance_uid": first.study_instance_uid,
            "state": StudyState.RECEIVING,
            "peer": first.peer,
            "first_at": first.received_at,
            "last_at": first.received_at,
            "quiet_s": waits.quiet_s(first.peer),
            "due_at": first.received_at + waits.look_s(first.peer),
            "instances": 0,
            "urgency": first.urgency,
            "attempts": 0,
            "reason": "Images are still arriving.",
        }
        row = self._connection.execute(study.insert().values(**values).returning(study.c.id)).one()
        self._trail.append(
            first.received_at,
            "study",
            f"First object, from peer '{first.peer}'.",
            study_id=row.id,
            change=("", StudyState.RECEIVING),
        )
        self._limit(first.study_instance_uid, first, waits)

    def move(
        self,
        record: Study,
        after: StudyState,
        at: float,
        reason: str,
        *,
        detail: Mapping[str, Any] | None = None,
        ready: Sequence[str] | None = None,
        next_look_at: float | None = None,
    ) -> None:
        """Change a study's state, give its claim back and leave a row in the trail.

        Args:
            record: the study.
            after: its new state.
            at: now.
            reason: the sentence shown to people.
            detail: what the trail keeps besides.
            ready: for ASSEMBLING, the rules that are to be planned; None is all.
            next_look_at: for ASSEMBLING, when the others are to be asked again; the study then goes
                back to RECEIVING, and is due at that time.
        """
        check_transition(record.state, after)
        values: dict[str, Any] = {"state": after, "reason": reason, "attempts": 0}
        if after is StudyState.ASSEMBLING:
            values["ready"] = None if ready is None else list(ready)
            values["next_look_at"] = next_look_at
        elif after is StudyState.RECEIVING and record.next_look_at is not None:
            values["due_at"] = record.next_look_at
        self._connection.execute(
            sa.update(study)
            .where(study.c.id == record.id)
            .values(**values, claimed_by=None, claimed_until=None)
        )
        self._trail.append(
            at, "study", reason, study_id=record.id, change=(record.state, after), detail=detail
        )

    def restart_quiet_time(self, now: float, look_s: float | None = None) -> int:
        """Give every study that is receiving its whole quiet time again; how many there are.

        They are looked at after ``look_s``, or after the quiet time of their peer.
        """
        statement = (
            sa.update(study)
            .where(study.c.state == StudyState.RECEIVING)
            .values(quiet_from=now, due_at=now + (study.c.quiet_s if look_s is None else look_s))
        )
        return self._connection.execute(statement).rowcount

    def wait(
        self,
        record: Study,
        due_at: float,
        reason: str,
        now: float,
        limit_at: float | None = None,
    ) -> None:
        """Ask again at ``due_at`` whether a study is complete, unless something happens before.

        It is asked at ``limit_at`` even if objects go on coming until then. The trail gets a row
        where the reason is another one than before, not where only times and numbers in it have
        changed.
        """
        self._connection.execute(
            sa.update(study)
            .where(study.c.id == record.id)
            .values(due_at=due_at, reason=reason, next_look_at=limit_at)
        )
        if _NUMBERS.sub("#", reason) != _NUMBERS.sub("#", record.reason):
            same = (record.state, record.state)
            self._trail.append(now, "study", reason, study_id=record.id, change=same)

    def due(self, now: float, limit: int = -1) -> Sequence[Study]:
        """The studies that are receiving and are to be looked at, the most urgent first."""
        query = (
            sa.select(study)
            .where(study.c.state == StudyState.RECEIVING, study.c.due_at <= now)
            .order_by(study.c.urgency.desc(), study.c.due_at, study.c.id)
            .limit(limit if limit >= 0 else None)
        )
        return tuple(to_study(row) for row in self._connection.execute(query))

    def claim(self, owner: str, now: float, lease_s: float) -> Study | None:
        """Claim the most urgent study to be assembled; of equals, that which has waited longest."""
        wanted = (
            sa.select(study.c.id)
            .where(study.c.state == StudyState.ASSEMBLING)
            .order_by(study.c.urgency.desc(), study.c.due_at, study.c.id)
        )
        row = claim_one(self._connection, study, wanted, owner, now, lease_s)
        if row is None:
            return None
        self._connection.execute(
            sa.update(study).where(study.c.id == row.id).values(attempts=study.c.attempts + 1)
        )
        return self.get(row.id)

    def release_claims_of(self, owner_prefix: str) -> int:
        """Give back the claims of an owner that is known to be dead."""
        return release_claims_of(self._connection, study, owner_prefix)

    def close_if_finished(self, study_id: int, at: float) -> None:
        """End a study whose jobs have all ended: done, or held if one of them failed.

        One that was done is held when an archive turns out not to have what it was sent.
        """
        self.close_all_finished([study_id], at)

    def close_all_finished(self, study_ids: Collection[int], at: float) -> None:
        """``close_if_finished`` for several studies, in as many statements as for one."""
        states = (StudyState.ANALYSING, StudyState.DONE)
        query = sa.select(*STUDY_COLUMNS, study.c.answers).where(
            study.c.id.in_(sorted(study_ids)), study.c.state.in_(states)
        )
        open_rows = self._connection.execute(query.order_by(study.c.id)).all()
        if not open_rows:
            return
        query = sa.select(
            *(job.c.study_id, job.c.state, job.c.outcome),
            *(job.c.rule, job.c.model_id, job.c.reason, job.c.shadow),
        ).where(
            job.c.study_id.in_([row.id for row in open_rows]),
            job.c.state != JobState.SUPERSEDED,
        )
        jobs: dict[int, list[Any]] = {row.id: [] for row in open_rows}
        for row in self._connection.execute(query.order_by(job.c.id)):
            jobs[row.study_id].append(row)
        ends = []
        for row in open_rows:
            record = to_study(row)
            end = _end(record, from_documents(row.answers), jobs[row.id])
            if end is not None:
                ends.append((record, *end))
        self._end_all(ends, at)

    def _end_all(self, ends: Sequence[tuple[Study, StudyState, str]], at: float) -> None:
        if not ends:
            return
        for record, after, _ in ends:
            check_transition(record.state, after)
        self._connection.execute(
            sa.update(study)
            .where(study.c.id == sa.bindparam("row_id"))
            .values(
                state=sa.bindparam("after"),
                reason=sa.bindparam("why"),
                attempts=0,
                claimed_by=sa.null(),
                claimed_until=sa.null(),
            ),
            [{"row_id": one.id, "after": after, "why": text} for one, after, text in ends],
        )
        self._trail.append_all(
            [
                Entry(at, "study", text, one.id, change=(one.state, after))
                for one, after, text in ends
            ]
        )

    def answers(self, study_id: int) -> tuple[RuleAnswer, ...]:
        """What each rule made of a study when it was last asked."""
        query = sa.select(study.c.answers).where(study.c.id == study_id)
        return from_documents(self._connection.execute(query).scalar_one())

    def keep_answers(self, study_id: int, answers: Sequence[RuleAnswer]) -> None:
        """Keep what rules made of a study, instead of what the same rules had said before."""
        kept = {answer.rule: answer for answer in (*self.answers(study_id), *answers)}
        statement = sa.update(study).where(study.c.id == study_id)
        documents = to_documents(tuple(kept.values()))
        self._connection.execute(statement.values(answers=documents))

    def get(self, study_id: int) -> Study:
        """The study with this row id."""
        query = sa.select(study).where(study.c.id == study_id)
        return to_study(self._connection.execute(query).one())

    def find(self, key: str) -> Study:
        """The study with this row id or Study Instance UID.

        Raises:
            NotFoundError: there is none.
        """
        condition = study.c.study_instance_uid == key
        if key.isdigit() and len(key) < 16:
            condition = sa.or_(condition, study.c.id == int(key))
        row = self._connection.execute(sa.select(study).where(condition)).first()
        if row is None:
            raise NotFoundError(
                f"There is no study '{key}'. 'secondread study list' shows those that are there."
            )
        return to_study(row)

    def list(self, limit: int = 50) -> Sequence[Study]:
        """The studies that changed last, newest first."""
        query = sa.select(study).order_by(study.c.last_at.desc(), study.c.id.desc()).limit(limit)
        return tuple(to_study(row) for row in self._connection.execute(query))

    def counts(self) -> Mapping[StudyState, int]:
        """How many studies there are in each state."""
        query = sa.select(study.c.state, sa.func.count()).group_by(study.c.state)
        found = {StudyState(state): int(n) for state, n in self._connection.execute(query)}
        return {state: found.get(state, 0) for state in StudyState}
