"""The series table: what the headers of each study say, so that no file is read for it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from secondread.domain.series import SeriesSummary, digest
from secondread.domain.series_document import from_document, to_document
from secondread.domain.study import Study
from secondread.store.studies import STUDY_COLUMNS, to_study
from secondread.store.tables import instance, series, study

_PAGE = 500
"""Rows that are fetched at a time."""


class Series:
    """The summaries of series, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def of_study(self, study_id: int) -> Mapping[str, SeriesSummary]:
        """The summaries of a study's series by Series Instance UID, by number and then by UID.

        They are as old as the last ``replace``. What another version of the node wrote in another
        form is left out.
        """
        query = sa.select(series.c.summary).where(series.c.study_id == study_id)
        rows = self._connection.execute(query).scalars()
        return {item.series_instance_uid: item for item in _summaries(rows)}

    def replace(self, study_id: int, summaries: Iterable[SeriesSummary]) -> None:
        """Let these be the summaries of a study's series, and no others."""
        self._connection.execute(sa.delete(series).where(series.c.study_id == study_id))
        rows = [
            {
                "study_id": study_id,
                "series_instance_uid": item.series_instance_uid,
                "digest": item.digest,
                "summary": to_document(item),
            }
            for item in summaries
        ]
        if rows:
            self._connection.execute(series.insert(), rows)

    def digests(self, study_instance_uid: str) -> Mapping[str, str]:
        """The digest over the objects that each series of a study has now, by its UID."""
        query = sa.select(
            instance.c.series_instance_uid, instance.c.sop_instance_uid, instance.c.sha256
        ).where(instance.c.study_instance_uid == study_instance_uid)
        objects: dict[str, list[tuple[str, str]]] = {}
        for uid, sop_instance_uid, sha256 in self._connection.execute(query):
            objects.setdefault(uid, []).append((sop_instance_uid, sha256))
        return {uid: digest(found) for uid, found in objects.items()}

    def since(self, at: float) -> Iterator[tuple[Study, tuple[SeriesSummary, ...]]]:
        """The studies that had a new object at ``at`` or later, and their series; oldest first.

        Studies whose headers have not been looked at yet, or only by a version of the node that
        wrote them in another form, are left out. The rows are fetched as they are asked for.
        """
        query = (
            sa.select(*STUDY_COLUMNS, series.c.summary)
            .join(series, series.c.study_id == study.c.id)
            .where(study.c.last_at >= at)
            .order_by(study.c.id)
            .execution_options(yield_per=_PAGE)
        )
        rows = self._connection.execute(query)
        for _, group in groupby(rows, key=lambda row: row.id):
            members = list(group)
            found = _summaries(row.summary for row in members)
            if len(found) == len(members):
                yield to_study(members[0]), found


def _summaries(documents: Iterable[Any]) -> tuple[SeriesSummary, ...]:
    found = (from_document(document) for document in documents)
    return tuple(sorted((item for item in found if item is not None), key=_order))


def _order(item: SeriesSummary) -> tuple[bool, int, str]:
    return item.number is None, item.number or 0, item.series_instance_uid
