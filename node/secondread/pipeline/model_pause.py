"""A paused model works on nothing: its jobs end as 'not analysed', and can be run later."""

from __future__ import annotations

from secondread.bundles.manifest import Manifest
from secondread.errors import ModelPausedError
from secondread.monitoring.pausing import OUTCOME, refusal
from secondread.pipeline.workplace import Workplace


def check_pause(place: Workplace, manifest: Manifest) -> None:
    """Refuse where a model is paused, or one that it builds on, also by way of others.

    Raises:
        ModelPausedError: it is; the message is for the report.
    """
    named = [(manifest.id, manifest.version)]
    named += [(pin.id, pin.version) for pin in manifest.upstream]
    named += [(one.id, one.version) for one in manifest.builds_on]
    with place.ledger.read() as view:
        for model_id, version in dict.fromkeys(named):
            pause = view.model_pauses.paused(model_id, version)
            if pause is not None:
                raise ModelPausedError(refusal(pause, manifest.id), outcome=OUTCOME)
