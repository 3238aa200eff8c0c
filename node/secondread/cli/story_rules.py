"""What a rule made of a study, told in lines: what failed, on which series, with which value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secondread.domain.condition import Finding
    from secondread.domain.job import RuleAnswer

_LINES_MAX = 6
"""Failed conditions that are told of one series; all of them are in the JSON document."""


def tell_rule(answer: RuleAnswer, names: Mapping[str, str]) -> Iterator[str]:
    """A rule's answer; ``names`` are what people call each series, by its UID."""
    wants = "wants it" if answer.wanted else "does not want it"
    yield f"  Rule '{answer.rule}' {wants}. {answer.reason}"
    if answer.note:
        yield f"    {answer.note}"
    for uid, finding in answer.findings:
        name = names.get(uid, "A series")
        if finding.holds:
            yield f"    yes  {name}"
            continue
        failed = list(dict.fromkeys(_failed(finding)))
        shown = failed[:_LINES_MAX]
        if len(shown) == 1:
            yield f"    no   {name}: {shown[0]}"
            continue
        yield f"    no   {name}:"
        for text in shown:
            yield f"           {text}"
        if len(failed) > len(shown):
            yield f"           and {len(failed) - len(shown)} more conditions"


def _failed(finding: Finding) -> Iterator[str]:
    """The conditions that made it fail, as deep as they are told apart."""
    deeper = [part for part in finding.parts if not part.holds]
    if finding.holds:
        return
    if not deeper:
        yield finding.text
    for part in deeper:
        yield from _failed(part)
