"""What a listener is told of the rows of the trail: one message for one thing that happened.

A message holds names of the configuration, states, times and the node's own numbers. What the trail
says in words is told to nobody: it is written for the people of the house.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from secondread.delivery.whereabouts import is_settled, is_there
from secondread.domain.destination import Destination
from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.domain.telling import Event, Listener, ListenerKind
from secondread.observe.keys import study_key
from secondread.store import Transaction
from secondread.store.tellings import Message
from secondread.store.trail import TrailRow

_KEY_LENGTH_MAX = 64
_JOB_EVENTS: Mapping[str, Event] = MappingProxyType(
    {JobState.DELIVERED: Event.JOB_DELIVERED, JobState.FAILED: Event.JOB_FAILED}
)
_STUDY_EVENTS: Mapping[str, Event] = MappingProxyType(
    {StudyState.DONE: Event.STUDY_DONE, StudyState.HELD: Event.STUDY_HELD}
)
_LINE_EVENTS: Mapping[str, Event] = MappingProxyType(
    {"open": Event.DESTINATION_DOWN, "closed": Event.DESTINATION_UP}
)
_ARRIVED = frozenset({DeliveryState.SENT.value, DeliveryState.SAFE.value})
_ROWS_OF: Mapping[str, frozenset[Event]] = MappingProxyType(
    {
        "line": frozenset(_LINE_EVENTS.values()),
        "study": frozenset(_STUDY_EVENTS.values()),
        "job": frozenset(_JOB_EVENTS.values()),
        "delivery": frozenset({Event.JOB_SAFE}),
    }
)


def kinds_of_rows(listener: Listener) -> tuple[str, ...]:
    """The kinds of rows of the trail that a listener's messages are made from."""
    return tuple(kind for kind, events in _ROWS_OF.items() if events & listener.events)


@dataclass(frozen=True, slots=True)
class News:
    """Makes the messages of one listener, in one transaction.

    Attributes:
        view: the transaction.
        listener: whom they are for.
        destinations: every destination by the name that the outbox keeps.
        secret: what studies are named by (``observe.keys``).
    """

    view: Transaction
    listener: Listener
    destinations: Mapping[str, Destination]
    secret: bytes

    def of(self, rows: Sequence[TrailRow]) -> Iterator[Message]:
        """The messages from some rows, in their order."""
        # Of the objects that arrived for a job the last one says it all.
        moves = [row for row in rows if row.before != row.after]
        last = {_arrival(row): row.id for row in moves if _is_arrival(row)}
        for row in moves:
            if _is_arrival(row) and last[_arrival(row)] != row.id:
                continue
            for message in self._of_row(row):
                if message.event in self.listener.events and self._is_meant(message):
                    yield message

    def _of_row(self, row: TrailRow) -> Iterator[Message]:
        if row.event == "line" and row.after in _LINE_EVENTS:
            event = _LINE_EVENTS[row.after]
            content = {"event": event, "at": row.at, "destinations": [row.detail["destination"]]}
            yield Message(event, f"{event}/{row.id}", None, None, content)
        elif row.event == "study" and row.after in _STUDY_EVENTS and row.study_id is not None:
            event = _STUDY_EVENTS[row.after]
            content = {"event": event, "at": row.at, **self._study(row.study_id)}
            yield Message(event, f"{event}/{row.id}", row.study_id, None, content)
        elif row.event == "job" and row.after in _JOB_EVENTS and row.job_id is not None:
            if self.view.jobs.get(row.job_id).shadow:
                return  # Of what is only tried out nobody outside the house is told.
            event = _JOB_EVENTS[row.after]
            items = self.view.outbox.of_job(row.job_id)
            yield self._of_job(event, row, f"{event}/{row.id}", items)
        elif _is_arrival(row) and row.job_id is not None:
            yield from self._of_arrival(row, row.job_id, str(row.detail["destination"]))

    def _of_arrival(self, row: TrailRow, job_id: int, destination: str) -> Iterator[Message]:
        """Whether a destination has all of a job.

        The ledger is as it is now, perhaps later than the row; the key makes it one message.
        """
        items = [
            item for item in self.view.outbox.of_job(job_id) if item.destination == destination
        ]
        if any(map(is_there, items)) and all(map(is_settled, items)):
            key = f"{Event.JOB_SAFE}/{job_id}/{destination}"
            if len(key) > _KEY_LENGTH_MAX:
                key = hashlib.sha256(key.encode()).hexdigest()
            yield self._of_job(Event.JOB_SAFE, row, key, items)

    def _of_job(
        self, event: Event, row: TrailRow, key: str, items: Sequence[OutboxItem]
    ) -> Message:
        assert row.job_id is not None
        job = self.view.jobs.get(row.job_id)
        study = self._study(job.study_id)
        there = [item.sop_instance_uid for item in items if is_there(item)]
        content = {
            "event": event,
            "at": row.at,
            **study,
            "times": {**study["times"], "planned": job.created_at},
            "job_id": job.id,
            "job_state": job.state,
            "rule": job.rule,
            "model": job.model_id,
            "model_version": job.model_version,
            "outcome": job.outcome,
            "destinations": sorted({item.destination for item in items}),
            "result_uids": list(dict.fromkeys(there)) if self.listener.with_uids else [],
        }
        return Message(event, key, job.study_id, job.id, content)

    def _study(self, study_id: int) -> Mapping[str, Any]:
        study = self.view.studies.get(study_id)
        return {
            "study_id": study_id,
            "study_key": study_key(study.study_instance_uid, self.secret),
            "study_instance_uid": study.study_instance_uid if self.listener.with_uids else "",
            "times": {"received": study.first_at},
        }

    def _is_meant(self, message: Message) -> bool:
        """Whether it is about a destination that the listener is told of, or about none."""
        names = [str(name) for name in message.content.get("destinations", ())]
        wanted = self.listener.destinations
        # What goes back to a sender is kept under the name of the destination and of the peer.
        if wanted and names and not any(name.split("/")[0] in wanted for name in names):
            return False
        if self.listener.kind is ListenerKind.WEBHOOK:
            return True
        known = [self.destinations[name] for name in names if name in self.destinations]
        return any(destination.ae_title for destination in known)


def _is_arrival(row: TrailRow) -> bool:
    return row.event == "delivery" and row.after in _ARRIVED


def _arrival(row: TrailRow) -> tuple[int | None, str]:
    """The job and the destination that a row of the outbox is about."""
    return row.job_id, str(row.detail.get("destination", ""))
