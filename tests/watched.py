"""Observations of one model on one scanner, drawn from a distribution that a test may shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from secondread.domain.monitoring import Observation, Observed

SCANNER, PROTOCOL = "Siemens SKYRA", "MR, GR 3D, 3 T, short TE, no contrast agent, up to 1 mm"
GROUP = (SCANNER, PROTOCOL)
MEASURES = 12


def draw(
    rng: np.random.Generator,
    count: int,
    shift: Mapping[str, float] | None = None,
    *,
    refused: float = 0.0,
    first: int = 0,
) -> Sequence[Observation]:
    """Observations with twelve measures; ``shift`` is in standard deviations, by measure."""
    found = []
    for number in range(first, first + count):
        measures = {f"m{i:02d}": float(rng.normal()) for i in range(MEASURES)}
        measures["spacing"] = 1.0
        for name, sd in (shift or {}).items():
            measures[name] += sd
        outcome = Observed.REFUSED if rng.random() < refused else Observed.ANSWERED
        found.append(
            Observation(number + 1, float(number), "m", "1", SCANNER, PROTOCOL, outcome, measures)
        )
    return found
