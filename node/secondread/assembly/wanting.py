"""Whether a rule wants a study, and which of its series it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secondread.assembly.conditions import Circumstances, examine, holds
from secondread.assembly.envelope import Offer, name_of
from secondread.assembly.objections import why_not
from secondread.domain.condition import Finding
from secondread.domain.job import RuleAnswer
from secondread.domain.network import Rule

_NAMED_MAX = 6


@dataclass(frozen=True, slots=True)
class Wish:
    """What a rule makes of a study.

    Attributes:
        objections: for each offer, a sentence why the rule does not ask for it; '' where it does.
    """

    answer: RuleAnswer
    objections: tuple[str, ...]


def wish(
    rule: Rule, offers: Sequence[Offer], circumstances: Circumstances, *, explained: bool
) -> Wish:
    """Ask a rule about every part of every series of images.

    Without ``explained`` the answer has no findings, and nothing is worked out for them.
    """
    images = [offer for offer in offers if offer.series.holds_images]
    clauses = [_clause(rule, offer, circumstances) for offer in images]
    said = f"Rule '{rule.name}' does not ask for it: "
    objections = iter(f"{said}{clause}." if clause else "" for clause in clauses)
    answer = RuleAnswer(
        rule=rule.name,
        wanted=not all(clauses),
        reason=_reason(rule, offers, list(zip(images, clauses, strict=True)), circumstances),
        findings=_findings(rule, images, circumstances) if explained else (),
    )
    return Wish(
        answer,
        tuple(next(objections) if offer.series.holds_images else "" for offer in offers),
    )


def _clause(rule: Rule, offer: Offer, circumstances: Circumstances) -> str:
    """Why the first condition that does not hold does not; empty where all of them hold."""
    if holds(rule.when, offer.attributes, circumstances):
        return ""
    clauses = (why_not(condition, offer.attributes, circumstances) for condition in rule.when)
    return next(filter(None, clauses), "its conditions do not hold")


def _reason(
    rule: Rule,
    offers: Sequence[Offer],
    images: Sequence[tuple[Offer, str]],
    circumstances: Circumstances,
) -> str:
    if not images and any(offer.series.unreadable for offer in offers):
        return "It needs images, and none of the study's can be read from the spool."
    if not images:
        # Our own results may come back, and they must not be analysed in their turn.
        return "It needs images, the study has none."
    asked: dict[str, list[Offer]] = {}
    for offer, clause in images:
        if not clause:
            asked.setdefault(offer.series.series_instance_uid, []).append(offer)
    if asked:
        names = [name_of(members) for members in asked.values()]
        rest = len(names) - _NAMED_MAX
        more = f" and {rest} more" if rest > 0 else ""
        named = ", ".join(f"{name[:1].lower()}{name[1:]}" for name in names[:_NAMED_MAX]) + more
        return f"It asks for {named}."
    clauses = {clause for _, clause in images}
    offer, clause = max(images, key=lambda pair: _held(rule, pair[0], circumstances))
    if len(clauses) == 1:
        return f"{clause[:1].upper()}{clause[1:]}."
    return f"{name_of([offer])} comes nearest: {clause}."


def _held(rule: Rule, offer: Offer, circumstances: Circumstances) -> int:
    return sum(holds((condition,), offer.attributes, circumstances) for condition in rule.when)


def _findings(
    rule: Rule, offers: Sequence[Offer], circumstances: Circumstances
) -> tuple[tuple[str, Finding], ...]:
    """What every condition was compared with, series by series."""
    found: dict[str, list[tuple[str, Finding]]] = {}
    for offer in offers:
        finding = examine(rule.when, offer.attributes, circumstances)
        name = offer.part.name if offer.part else ""
        found.setdefault(offer.series.series_instance_uid, []).append((name, finding))
    return tuple((uid, _of_series(parts)) for uid, parts in found.items())


def _of_series(parts: Sequence[tuple[str, Finding]]) -> Finding:
    """One finding for a series; its parts are told apart only where they differ."""
    if len(parts) == 1:
        return parts[0][1]
    alike: dict[Finding, list[str]] = {}
    for name, finding in parts:
        alike.setdefault(finding, []).append(name)
    if len(alike) == 1:
        return next(iter(alike))
    return Finding(
        holds=any(finding.holds for finding in alike),
        text="for its parts:",
        parts=tuple(
            Finding(finding.holds, f"{', '.join(names)}: {finding.text}", finding.parts)
            for finding, names in alike.items()
        ),
    )
