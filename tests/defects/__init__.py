"""Defects that are seeded into sound results, one by one, to see whether the gate stops them.

``python -m tests.defects`` writes the table of them into ``docs/gate.md``.
"""

from __future__ import annotations

from tests.defects import companions, reports, segmentations
from tests.defects.seeding import Defect

DEFECTS: tuple[Defect, ...] = (
    *segmentations.DEFECTS,
    *reports.DEFECTS,
    *companions.DEFECTS,
)
