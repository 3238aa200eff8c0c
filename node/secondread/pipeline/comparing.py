"""Champion and challenger on one study: their answers are laid over each other, and it is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from secondread.bundles.manifest import Manifest
from secondread.deid.boundary import PreparedVolume, load_prepared
from secondread.domain.answer import ModelAnswer
from secondread.domain.job import Job
from secondread.domain.monitoring import Comparison
from secondread.errors import SecondReadError
from secondread.inference.answer import ANSWER_NAME, load_answer, load_labels
from secondread.monitoring.challenge import ANALYSED, PAUSED, SAME_INPUT, SECONDS, UNMATCHED
from secondread.monitoring.pairing import (
    CHALLENGER,
    CHAMPION,
    Numbers,
    compare_maps,
    compare_numbers,
    match,
)
from secondread.monitoring.pausing import OUTCOME
from secondread.pipeline.infer import LABELS_NAME
from secondread.pipeline.work import NOT_ANALYSED
from secondread.pipeline.workplace import Workplace
from secondread.store import Transaction
from secondread.store.comparisons import Challenge

log = structlog.stdlib.get_logger(__name__)

LOOK_S = 10.0
"""Seconds between two looks for pairs that can be compared."""
_BATCH = 20
_OLDEST_S = 30 * 86_400.0
"""A challenger's job that was planned before is not waited for any more."""
_MM3_PER_ML = 1000.0
_SAME_MM = 1e-3


def challenges_of(place: Workplace) -> tuple[Challenge, ...]:
    """The pairs of rules that are compared."""
    return tuple(Challenge(rule.challenges, rule.name) for rule in place.rules if rule.challenges)


def awaited_keys(place: Workplace) -> frozenset[str]:
    """Keys of the jobs whose work folders are needed for a comparison that is still to come."""
    challenges = challenges_of(place)
    if not challenges:
        return frozenset()
    with place.ledger.read() as view:
        return view.comparisons.awaited(challenges, place.clock.now() - _OLDEST_S)


class Comparing:
    """Compares a challenger's answers with the champion's, once both have ended.

    It reads what the models left in their work folders, which stay for as long as somebody waits
    for them. Of a pair whose folders are gone only the outcomes and times are kept. A comparison
    can be made twice and is kept once.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def step(self) -> int:
        """Compare what can be compared now; how many pairs that was."""
        place = self._place
        done = 0
        for challenge in challenges_of(place):
            since = place.clock.now() - _OLDEST_S
            with place.ledger.read() as view:
                pairs = view.comparisons.due(challenge, since, _BATCH)
            for champion_id, challenger_id in pairs:
                self._compare(champion_id, challenger_id)
            done += len(pairs)
        return done

    def _compare(self, champion_id: int, challenger_id: int) -> None:
        place = self._place
        with place.ledger.read() as view:
            champion, challenger = view.jobs.get(champion_id), view.jobs.get(challenger_id)
            measures = _outcomes(view, champion, challenger)
        if measures.get(SAME_INPUT):
            measures |= self._answers(champion, challenger)
        found = Comparison(champion_id, challenger_id, place.clock.now(), measures)
        with place.ledger.begin() as change:
            change.comparisons.keep(found)
        log.info("challenger compared", job=challenger.key, champion=champion.key)

    def _answers(self, champion: Job, challenger: Job) -> dict[str, float]:
        """Where one answer cannot be read there is nothing to compare."""
        place = self._place
        first = place.manifests.get(champion.model_id)
        second = place.manifests.get(challenger.model_id)
        if first is None or second is None:
            return {SAME_INPUT: 0.0}
        if (first.version, second.version) != (champion.model_version, challenger.model_version):
            # Another version is switched on by now, and what its labels mean may be another thing.
            return {SAME_INPUT: 0.0}
        try:
            return self._laid_over(self._read(champion, first), self._read(challenger, second))
        except (SecondReadError, OSError) as error:
            log.warning("answers not compared", job=challenger.key, reason=type(error).__name__)
        except Exception as error:
            # One pair must not keep all others waiting, and their files on the disk.
            log.error("answers not compared", job=challenger.key, exc_info=error)
        return {SAME_INPUT: 0.0}

    def _laid_over(self, ours: _Answer, theirs: _Answer) -> dict[str, float]:
        first, second = ours.manifest, theirs.manifest
        if not _is_same_grid(ours.prepared, theirs.prepared):
            return {SAME_INPUT: 0.0}
        matched = match(first.labels, second.labels)
        return {
            f"{CHAMPION}.{UNMATCHED}": float(len(matched.champion_only)),
            f"{CHALLENGER}.{UNMATCHED}": float(len(matched.challenger_only)),
            **compare_maps(
                ours.labels, theirs.labels, matched.pairs, _voxel_ml(ours.prepared.affine_lps)
            ),
            **compare_numbers(
                Numbers(first.output.numbers, first.labels, ours.answer),
                Numbers(second.output.numbers, second.labels, theirs.answer),
            ),
        }

    def _read(self, job: Job, manifest: Manifest) -> _Answer:
        """Raises ``SecondReadError`` or ``OSError`` where the folder is not whole any more."""
        folder = self._place.spool.work / job.key
        prepared = load_prepared(folder)
        values = [label.value for label in manifest.labels]
        return _Answer(
            manifest,
            prepared,
            load_labels(folder / LABELS_NAME, prepared.shape, values),
            load_answer(folder / ANSWER_NAME, manifest.output, prepared.shape),
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one model saw and answered; ``labels`` are ``(slice, row, column)``."""

    manifest: Manifest
    prepared: PreparedVolume
    labels: npt.NDArray[np.uint8]
    answer: ModelAnswer


def _is_same_grid(first: PreparedVolume, second: PreparedVolume) -> bool:
    same = np.allclose(first.affine_lps, second.affine_lps, atol=_SAME_MM)
    return first.shape == second.shape and bool(same)


def _voxel_ml(affine_lps: tuple[tuple[float, ...], ...]) -> float:
    axes = np.array(affine_lps, np.float64)[:3, :3]
    return float(abs(np.linalg.det(axes))) / _MM3_PER_ML


def _outcomes(view: Transaction, champion: Job, challenger: Job) -> dict[str, float]:
    """What became of either, how long it took, and whether both saw the same images."""
    measures: dict[str, float] = {}
    for side, job in ((CHAMPION, champion), (CHALLENGER, challenger)):
        measures[f"{side}.{ANALYSED}"] = float(job.outcome != NOT_ANALYSED)
        rows = [row for row in view.trail.of_study(job.study_id) if row.job_id == job.id]
        seconds = [row.detail["seconds"] for row in rows if "seconds" in row.detail]
        if seconds:
            measures[f"{side}.{SECONDS}"] = float(seconds[-1])
        if any(row.detail.get("outcome") == OUTCOME for row in rows):
            measures[f"{side}.{PAUSED}"] = 1.0
    if NOT_ANALYSED not in (champion.outcome, challenger.outcome):
        same = (champion.series_instance_uid, champion.part) == (
            challenger.series_instance_uid,
            challenger.part,
        ) and view.jobs.sources(champion.id) == view.jobs.sources(challenger.id)
        measures[SAME_INPUT] = float(same)
    return measures
