"""When the node pauses a model by itself, and what a paused model's report says."""

from __future__ import annotations

import time
from collections.abc import Sequence

from secondread.domain.monitoring import BY_RULE, ModelPause
from secondread.domain.monitoring_terms import Consequence, MonitoringTerms
from secondread.monitoring.rejects import RejectShare

OUTCOME = "model-paused"
"""The stable name of the reason in the trail, by which a retry finds such jobs."""


def why_pause(drifted: Sequence[str], rejects: RejectShare, terms: MonitoringTerms) -> str:
    """Why a model is to be paused, in one sentence; '' where it is not.

    Args:
        drifted: what was found of the scanners and protocols that drift since this look. One that
            drifted before has been told, and whoever resumed the model knows it.
        rejects: judgements since the model was last resumed.
        terms: what follows from either.
    """
    if rejects.is_high and terms.on_rejects is Consequence.PAUSE:
        return rejects.text
    if drifted and terms.on_drift is Consequence.PAUSE:
        return drifted[0]
    return ""


def refusal(pause: ModelPause, model_id: str) -> str:
    """What the report of a study says that comes while a model is paused, in one sentence.

    Of the reason it has only that the node's own monitoring found one, or a person: how that
    person put it is for the ledger, and not for a patient's file.

    Args:
        pause: of the model, or of one that it builds on.
        model_id: the model that was to look at the study.
    """
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(pause.since))
    who = "by the node's monitoring" if pause.set_by == BY_RULE else "by a person"
    begins, begins_below = beginnings(pause)
    name = (
        begins if pause.model_id == model_id else f"{begins_below}{model_id}' builds on, is paused"
    )
    return f"{name} since {since} {who}; a person can resume it, and the study can be retried then."


def beginnings(pause: ModelPause) -> tuple[str, str]:
    """How such a sentence begins, of the model itself and of one that builds on it.

    By it a retry finds the jobs that ended because of a pause.
    """
    name = f"Model '{pause.model_id}' {pause.model_version}"
    return f"{name} is paused", f"{name}, which '"
