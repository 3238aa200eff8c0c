"""What a model answered besides its label map, in the report that the node made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from secondread.domain.code import Code
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.gate.content import Item
from secondread.results.gate.measurements import is_near

_PLACE_TOLERANCE_MM = 0.01


def find_answer_faults(root: Item, context: ResultContext, analysis: Analysis) -> Iterator[str]:
    """What the model answered besides the label map is in the report, and nothing else is."""
    output, answer = context.manifest.output, analysis.answer
    items = list(root.walk())
    declared = {one.id: one for one in output.numbers}
    for number in answer.numbers:
        one = declared[number.id]
        shown = [
            item
            for item in items
            if _is_named(item, one.name)
            and item.number is not None
            and is_near(item.number, number.value)
            and item.unit is not None
            and item.unit.value == one.unit.value
        ]
        if not shown:
            yield f"The report does not give the model's number '{number.id}' as it was answered."
        elif not any(_has_numbers(item, (one.low, one.high)) for item in shown):
            yield f"The report gives the number '{number.id}' without its reference range."
    findings = {one.id: one for one in output.findings}
    for finding in answer.findings:
        known = findings[finding.id]
        value = known.values[finding.value]
        named = [
            item
            for item in items
            if _is_named(item, known.name) and item.code and item.code.value == value.value
        ]
        if not named:
            yield f"The report does not give the model's finding '{finding.id}' as it was answered."
        elif finding.probability is not None and not any(
            _has_numbers(item, (100 * finding.probability,)) for item in named
        ):
            yield f"The report does not say how probable the finding '{finding.id}' is."
    yield from _find_place_faults(items, context, analysis)


def _has_numbers(item: Item, wanted: Sequence[float | None]) -> bool:
    """Whether each of these numbers is among what modifies an item."""
    given = [child.number for child in item.children if child.number is not None]
    return all(value is None or any(is_near(one, value) for one in given) for value in wanted)


def _is_named(item: Item, name: Code) -> bool:
    return item.name is not None and (item.name.value, item.name.scheme) == (
        name.value,
        name.scheme,
    )


def _find_place_faults(
    items: list[Item], context: ResultContext, analysis: Analysis
) -> Iterator[str]:
    wanted = context.reference.get("FrameOfReferenceUID")
    spatial = [item for item in items if item.value_type == "SCOORD3D"]
    if any(item.frame_of_reference_uid != wanted for item in spatial):
        yield "Coordinates in the report are in another Frame of Reference than the source's."
    drawn = [np.array(item.points).reshape(-1, 3) for item in spatial if len(item.points) % 3 == 0]
    affine = context.analysed.affine_lps if analysis.answer.places else np.eye(4)
    for place in analysis.answer.places:
        indices = np.array([[*point, 1.0] for point in place.points])
        points = (indices @ affine.T)[:, :3]
        limit = _PLACE_TOLERANCE_MM + 1e-6 * float(np.abs(points).max(initial=0.0))
        if not any(
            len(one) >= len(points) and np.abs(one[: len(points)] - points).max() <= limit
            for one in drawn
        ):
            yield f"The report does not show the model's place '{place.id}' where it was answered."
