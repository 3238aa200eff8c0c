"""What each rule made of a study, as a document for the study table, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secondread.domain.condition import Finding
from secondread.domain.job import RuleAnswer


def to_documents(answers: Sequence[RuleAnswer]) -> list[dict[str, Any]]:
    """One document for each answer."""
    return [
        {
            "rule": answer.rule,
            "wanted": answer.wanted,
            "reason": answer.reason,
            "findings": [[uid, _finding_document(finding)] for uid, finding in answer.findings],
            "note": answer.note,
        }
        for answer in answers
    ]


def from_documents(documents: Sequence[dict[str, Any]]) -> tuple[RuleAnswer, ...]:
    """The answers."""
    return tuple(
        RuleAnswer(
            rule=document["rule"],
            wanted=document["wanted"],
            reason=document["reason"],
            findings=tuple((uid, _finding(found)) for uid, found in document["findings"]),
            note=document["note"],
        )
        for document in documents
    )


def _finding_document(finding: Finding) -> list[Any]:
    return [finding.holds, finding.text, [_finding_document(part) for part in finding.parts]]


def _finding(document: Sequence[Any]) -> Finding:
    holds, text, parts = document
    return Finding(holds, text, tuple(_finding(part) for part in parts))
