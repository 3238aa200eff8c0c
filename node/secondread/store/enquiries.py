"""The enquiry table: what the node asks archives to commit to, and what they report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any, TypeVar

import sqlalchemy as sa

from secondread.domain.enquiry import AskedObject, EnquiryState, HeardReport, StoredEnquiry
from secondread.store.tables import enquiry

KEPT_MAX = 20_000
"""Rows that are kept; the oldest that are judged or expired go first."""
REPORTS_MAX = 8
"""Reports on one transaction that are kept until they are judged; one more is not taken."""
STRANGERS_MAX = 100
"""Objects that nobody asked about and that are kept of each list of a report, to be counted."""

_Named = TypeVar("_Named", bound=tuple[Any, ...])


def _record(row: Any) -> StoredEnquiry:
    values = dict(row._mapping)
    values["state"] = EnquiryState(row.state)
    values["objects"] = tuple(AskedObject(*one) for one in row.objects)
    values["reports"] = tuple(
        HeardReport(
            tuple((str(a), str(b)) for a, b in one["committed"]),
            tuple((str(a), str(b), reason) for a, b, reason in one["failed"]),
        )
        for one in row.reports
    )
    return StoredEnquiry(**values)


def _without_crowds(report: HeardReport, asked: Collection[str]) -> HeardReport:
    """A report with no more than a few of the objects that nobody asked about."""
    return HeardReport(
        _few_strangers(report.committed, asked), _few_strangers(report.failed, asked)
    )


def _few_strangers(named: Sequence[_Named], asked: Collection[str]) -> tuple[_Named, ...]:
    strangers = count()
    return tuple(one for one in named if one[1] in asked or next(strangers) < STRANGERS_MAX)


class Enquiries:
    """The enquiries, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(
        self,
        transaction_uid: str,
        destination: str,
        ae_title: str,
        objects: Sequence[AskedObject],
        at: float,
        due_at: float,
    ) -> None:
        """Keep a question before it leaves, for the report may come before its answer."""
        values = {
            "transaction_uid": transaction_uid,
            "destination": destination,
            "ae_title": ae_title,
            "state": EnquiryState.ASKED,
            "objects": [
                [one.outbox_id, one.sop_class_uid, one.sop_instance_uid] for one in objects
            ],
            "asked_at": at,
            "due_at": due_at,
            "reports": [],
        }
        newest = self._connection.execute(
            enquiry.insert().values(**values).returning(enquiry.c.id)
        ).scalar_one()
        self._connection.execute(
            sa.delete(enquiry).where(
                enquiry.c.id <= newest - KEPT_MAX,
                enquiry.c.state.in_([EnquiryState.JUDGED, EnquiryState.EXPIRED]),
            )
        )

    def hear(self, transaction_uid: str, ae_title: str, report: HeardReport) -> bool:
        """Keep what an archive reports; False where it was never asked in this transaction."""
        query = sa.select(enquiry).where(
            enquiry.c.transaction_uid == transaction_uid, enquiry.c.ae_title == ae_title
        )
        row = self._connection.execute(query).one_or_none()
        if row is None:
            return False
        document = asdict(_without_crowds(report, {uid for _, _, uid in row.objects}))
        known = [
            {
                "committed": [tuple(pair) for pair in one["committed"]],
                "failed": [tuple(failure) for failure in one["failed"]],
            }
            for one in row.reports
        ]
        same = {"committed": list(document["committed"]), "failed": list(document["failed"])}
        if same in known or len(row.reports) >= REPORTS_MAX:
            return True
        self._connection.execute(
            sa.update(enquiry)
            .where(enquiry.c.id == row.id)
            .values(state=EnquiryState.REPORTED, reports=[*row.reports, document])
        )
        return True

    def reported(self, limit: int = 20) -> Sequence[StoredEnquiry]:
        """Those with reports that have not been judged, oldest first."""
        query = sa.select(enquiry).where(enquiry.c.state == EnquiryState.REPORTED)
        rows = self._connection.execute(query.order_by(enquiry.c.id).limit(limit))
        return tuple(_record(row) for row in rows)

    def overdue(self, now: float, limit: int = 20) -> Sequence[StoredEnquiry]:
        """Those whose report has not come in time, oldest first."""
        query = sa.select(enquiry).where(
            enquiry.c.state == EnquiryState.ASKED, enquiry.c.due_at <= now
        )
        rows = self._connection.execute(query.order_by(enquiry.c.due_at).limit(limit))
        return tuple(_record(row) for row in rows)

    def close(self, one: StoredEnquiry, state: EnquiryState) -> None:
        """Its reports have been judged, or there was none in time."""
        statement = sa.update(enquiry).where(enquiry.c.id == one.id)
        self._connection.execute(statement.values(state=state, reports=[]))

    def find(self, transaction_uid: str) -> StoredEnquiry | None:
        """The one with this Transaction UID."""
        query = sa.select(enquiry).where(enquiry.c.transaction_uid == transaction_uid)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _record(row)
