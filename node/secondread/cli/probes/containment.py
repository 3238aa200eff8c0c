"""How well a model is kept in on this machine."""

from __future__ import annotations

from secondread.cli.probes.finding import Finding, warning, well
from secondread.inference.containment.survey import Containment, survey

_SUBJECT = "containment"


def probe_containment(device: str = "cpu", found: Containment | None = None) -> Finding:
    """Contain a process that does nothing, as well as it can be done, and say how well that is.

    Args:
        device: where models run.
        found: what was found out already.
    """
    containment = found or survey(device)
    if remedy := containment.remedy:
        return warning(_SUBJECT, containment.sentence, remedy)
    return well(_SUBJECT, containment.sentence)
