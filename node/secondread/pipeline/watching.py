"""Looking at the models at work: how each stands, what has changed, and which is paused for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from secondread.domain.monitoring import BY_RULE, Drift, DriftRow, ModelPause
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.errors import LedgerError
from secondread.monitoring.drift import Windows
from secondread.monitoring.pausing import why_pause
from secondread.monitoring.standing import Seen, Standing, of_model
from secondread.observe.model_metrics import GroupNumbers, ModelNumbers, write_models
from secondread.pipeline.challengers import challenger_numbers
from secondread.pipeline.workplace import Workplace
from secondread.store import Transaction

log = structlog.stdlib.get_logger(__name__)

METRICS_FILE = Path("metrics", "models.prom")
METRICS_S = 60.0
"""How often that is written."""
FIRST_LOOK_S = 120.0
"""After a start, studies come first; a node that starts again and again does not look each time."""


def read_standing(
    view: Transaction, model_id: str, version: str, terms: MonitoringTerms
) -> Standing:
    """How one version of a model stands, as ``secondread model monitor`` tells it."""
    seen, pauses = view.observations, view.model_pauses
    baseline = seen.baseline(model_id, version)
    since = baseline.since if baseline else 0.0
    feedback_since = max(since, pauses.last_resumed(model_id, version))
    return of_model(
        Seen(
            model_id=model_id,
            model_version=version,
            counts=seen.counts(model_id, version),
            windows={
                group: _windows(view, (model_id, version), group, since, terms)
                for group in seen.groups(model_id, version)
            },
            noted={(row.scanner, row.protocol): row for row in seen.drift_rows(model_id, version)},
            feedback=view.feedbacks.last_words(model_id, version, feedback_since),
            verdicts=view.feedbacks.counts(model_id, version),
            pause=pauses.paused(model_id, version),
            baseline=baseline,
        ),
        terms,
    )


def _windows(
    view: Transaction,
    model: tuple[str, str],
    group: tuple[str, str],
    since: float,
    terms: MonitoringTerms,
) -> Windows:
    seen = view.observations
    reference = seen.first_answered(*model, group, since, terms.reference)
    if not reference:
        recent = seen.last(*model, group, since, terms.recent)
        return Windows((), 0, tuple(recent))
    end = reference[-1].at
    refused = seen.refused(*model, group, (since, end))
    recent = seen.last(*model, group, end, terms.recent)
    return Windows(tuple(reference), refused, tuple(recent))


@dataclass(frozen=True, slots=True)
class ModelWatch:
    """Looks at every model that is switched on; what changed goes to the log and the trail.

    Attributes:
        place: where the node works, with the ledger, the clock and the models.
        terms: when something has changed, and what follows.
    """

    place: Workplace
    terms: MonitoringTerms

    def wait_s(self) -> float:
        """Seconds from a start until the first look.

        The time from one look to the next goes on over a restart, as the ledger knows the last one:
        a node that is restarted more often than it looks would never look otherwise.
        """
        interval_s = self.terms.look_minutes * 60
        with self.place.ledger.read() as view:
            looks = [view.observations.last_look(*model) for model in self._models()]
        left_s = min(looks, default=0.0) + interval_s - self.place.clock.now()
        # Never longer than usual, also where a clock was set back since.
        return min(max(left_s, FIRST_LOOK_S), interval_s)

    def look(self) -> None:
        """Judge every model, and pause where the rule says so."""
        for model_id, version in self._models():
            try:
                self._judge(model_id, version)
            except LedgerError:
                raise
            except Exception as error:
                # The other models must not go unwatched for it.
                log.error("model not judged", model=model_id, version=version, exc_info=error)
        self.write_metrics()

    def write_metrics(self) -> None:
        """Replace ``metrics/models.prom``; of drift it has what the last look found."""
        with self.place.ledger.read() as view:
            numbers = [_numbers(view, *model) for model in self._models()]
        try:
            write_models(self.place.spool.root / METRICS_FILE, numbers)
        except OSError as error:
            log.warning("metrics not written", reason=error.strerror)

    def _models(self) -> Sequence[tuple[str, str]]:
        """Those that are switched on: an old version that drifted is nobody's worry any more."""
        return [(one.id, one.version) for one in self.place.manifests.values()]

    def _judge(self, model_id: str, version: str) -> None:
        # Reading and judging take a while, and intake must not wait for the ledger meanwhile.
        with self.place.ledger.read() as view:
            standing = read_standing(view, model_id, version, self.terms)
        # In one transaction: drift that has been noted is not news at the next look, and would
        # pause nothing any more.
        with self.place.ledger.begin() as change:
            changed = [row for row in self._rows(standing) if change.observations.note_drift(row)]
            drifted = [row.text for row in changed if row.state is Drift.DRIFT]
            reason = why_pause(drifted, standing.rejects, self.terms)
            # One that was resumed since it was read is let be.
            is_running = standing.pause is None
            paused = bool(reason) and is_running and self._pause(change, model_id, version, reason)
        for row in changed:
            _tell(row)
        if paused:
            log.error("model paused", model=model_id, version=version, reason=reason)

    def _rows(self, standing: Standing) -> Sequence[DriftRow]:
        now = self.place.clock.now()
        return [
            DriftRow(
                model_id=standing.model_id,
                model_version=standing.model_version,
                scanner=group.scanner,
                protocol=group.protocol,
                state=group.found.state,
                since=now,
                looked_at=now,
                text=group.found.text,
                psi_max=group.found.psi_max,
            )
            for group in standing.groups
        ]

    def _pause(self, change: Transaction, model_id: str, version: str, reason: str) -> bool:
        """Pause a model; False where it is paused already."""
        if change.model_pauses.paused(model_id, version) is not None:
            return False
        now = self.place.clock.now()
        change.model_pauses.pause(ModelPause(model_id, version, now, reason, BY_RULE))
        return True


def _tell(row: DriftRow) -> None:
    say = log.warning if row.state in {Drift.DRIFT, Drift.WATCH} else log.info
    say(
        "model drift",
        model=row.model_id,
        version=row.model_version,
        state=row.state.value,
        reason=row.text,
    )


def _numbers(view: Transaction, model_id: str, version: str) -> ModelNumbers:
    counts = view.observations.counts(model_id, version)
    verdicts = view.feedbacks.counts(model_id, version)
    return ModelNumbers(
        model=model_id,
        version=version,
        is_paused=view.model_pauses.paused(model_id, version) is not None,
        observations={outcome.value: count for outcome, count in counts.items()},
        feedback={verdict.value: count for verdict, count in verdicts.items()},
        groups=tuple(
            GroupNumbers(row.scanner, row.protocol, row.state.value, row.psi_max)
            for row in view.observations.drift_rows(model_id, version)
        ),
        challengers=challenger_numbers(view, model_id, version),
    )
