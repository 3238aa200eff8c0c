"""Qualitative findings of a model, with how sure it is of them (PS3.16 TID 1500 row 13)."""

from __future__ import annotations

from secondread.errors import ResultError
from secondread.results.report.content import CONTAINS, HAS_PROPERTIES, Item
from secondread.results.report.draft import Draft
from secondread.results.report.quantities import write_certainty, write_declared_number


def list_findings(draft: Draft, label: str = "") -> list[Item]:
    """The findings about one label, by its name; '' for those about the whole image.

    Raises:
        ResultError: the model answered what its manifest does not declare.
    """
    declared = {one.id: one for one in draft.context.manifest.output.findings}
    items = []
    for answered in draft.analysis.answer.findings:
        finding = declared.get(answered.id)
        if finding is None or answered.value not in finding.values:
            raise ResultError(
                f"The model answered the finding '{answered.id}' with '{answered.value}', which "
                "its manifest does not declare."
            )
        if finding.label != label:
            continue
        details = []
        if answered.probability is not None:
            details.append(write_certainty(draft.writer, answered.probability, HAS_PROPERTIES))
        value = finding.values[answered.value]
        items.append(draft.writer.code(CONTAINS, finding.name, value, details))
    return items


def list_numbers(draft: Draft, label: str = "") -> list[Item]:
    """The numbers of the model's own about one label; '' for those about the whole image.

    Raises:
        ResultError: the model answered what its manifest does not declare.
    """
    declared = {one.id: one for one in draft.context.manifest.output.numbers}
    items = []
    for answered in draft.analysis.answer.numbers:
        number = declared.get(answered.id)
        if number is None:
            raise ResultError(
                f"The model answered the number '{answered.id}', which its manifest does not "
                "declare."
            )
        if number.label == label:
            items.append(write_declared_number(draft.writer, number, answered.value))
    return items
