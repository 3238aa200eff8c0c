"""The model_pause table: models whose jobs end as 'not analysed' until a person resumes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from secondread.domain.monitoring import ModelPause
from secondread.errors import UsageError
from secondread.store.monitoring_tables import model_pause
from secondread.store.tables import trail
from secondread.store.trail import Trail

EVENT = "model-pause"
"""Trail event: a model was paused or resumed; before and after are 'running' and 'paused'."""
RUNNING, PAUSED = "running", "paused"


class ModelPauses:
    """The pauses, in one transaction; each change leaves a row in the trail."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def pause(self, wanted: ModelPause) -> None:
        """Let a model's jobs end as 'not analysed' from now on.

        Raises:
            UsageError: it is paused already.
        """
        if (before := self.paused(wanted.model_id, wanted.model_version)) is not None:
            raise UsageError(
                f"Model '{wanted.model_id}' {wanted.model_version} is paused already, by "
                f"{before.set_by}: {before.reason}"
            )
        self._connection.execute(
            model_pause.insert().values(
                model_id=wanted.model_id,
                model_version=wanted.model_version,
                since=wanted.since,
                reason=wanted.reason,
                set_by=wanted.set_by,
            )
        )
        text = f"Model '{wanted.model_id}' {wanted.model_version} was paused by {wanted.set_by}."
        self._note(wanted, text, (RUNNING, PAUSED))

    def resume(self, model_id: str, version: str, who: str, why: str, at: float) -> ModelPause:
        """Let a model work again; what its pause was.

        Raises:
            UsageError: it is not paused.
        """
        found = self.paused(model_id, version)
        if found is None:
            raise UsageError(f"Model '{model_id}' {version} is not paused.")
        self._connection.execute(sa.delete(model_pause).where(*_is(model_id, version)))
        text = f"Model '{model_id}' {version} was resumed by {who}."
        self._note(ModelPause(model_id, version, at, why, who), text, (PAUSED, RUNNING))
        return found

    def paused(self, model_id: str, version: str) -> ModelPause | None:
        """The pause of a model, or None where it works."""
        query = sa.select(model_pause).where(*_is(model_id, version))
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _record(row)

    def last_resumed(self, model_id: str, version: str) -> float:
        """When a model was resumed last, in seconds since the epoch; 0 where it never was."""
        query = (
            sa.select(trail.c.at, trail.c.detail)
            .where(trail.c.event == EVENT, trail.c.after == RUNNING)
            .order_by(trail.c.id.desc())
        )
        for row in self._connection.execute(query):
            if (row.detail["model"], row.detail["version"]) == (model_id, version):
                return float(row.at)
        return 0.0

    def list(self) -> Sequence[ModelPause]:
        """Every pause, the oldest first."""
        query = sa.select(model_pause).order_by(model_pause.c.since, model_pause.c.id)
        return tuple(_record(row) for row in self._connection.execute(query))

    def _note(self, acted: ModelPause, text: str, change: tuple[str, str]) -> None:
        # The reason may be somebody's own words, which the trail keeps beside the text, not in it.
        detail = {
            "model": acted.model_id,
            "version": acted.model_version,
            "who": acted.set_by,
            "why": acted.reason,
        }
        self._trail.append(acted.since, EVENT, text, change=change, detail=detail)


def _is(model_id: str, version: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (model_pause.c.model_id == model_id, model_pause.c.model_version == version)


def _record(row: Any) -> ModelPause:
    return ModelPause(row.model_id, row.model_version, row.since, row.reason, row.set_by)
