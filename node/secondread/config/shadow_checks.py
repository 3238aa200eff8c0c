"""What must hold of rules in shadow that challenge others, and of models under another name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secondread.config.faults import Fault, nearest
from secondread.config.remark import Remark
from secondread.config.schema import ModelRow, RuleRow
from secondread.config.settings import Settings
from secondread.config.source import Source
from secondread.config.tables import Tables, place


def check_shadows(source: Source, tables: Tables) -> Iterator[Fault]:
    """Challengers that would send, or have nobody to challenge; other names that would leave."""
    rules = {row.name: row for row in tables.rows["rules"] if isinstance(row, RuleRow)}
    models = {row.id: row for row in tables.rows["models"] if isinstance(row, ModelRow)}
    for index, rule in enumerate(tables.rows["rules"]):
        if not isinstance(rule, RuleRow):
            continue
        if trouble := _trouble(rule, rules) if rule.challenges else "":
            where = place(source, ("rules", index, "challenges"))
            yield Fault(where, f"'challenges' of [[rules]] '{rule.name}' {trouble}")
        model = models.get(rule.model)
        if model is not None and model.package and not rule.shadow:
            sentence = (
                f"[[rules]] '{rule.name}' would send results of '{model.id}', which is a name of "
                f"your own for a version of '{model.package}'. Set shadow = true in the rule, or "
                "give the model its own id."
            )
            yield Fault(place(source, ("rules", index, "model")), sentence)


def shadow_remarks(settings: Settings) -> Iterator[Remark]:
    """Challengers that see other studies than whom they challenge, or see them at another time."""
    rules = {rule.name: rule for rule in settings.rules}
    for rule in settings.rules:
        if not rule.challenges:
            continue
        champion = rules[rule.challenges]
        if rule.when != champion.when:
            yield Remark(
                f"Rule '{rule.name}' challenges '{champion.name}', but asks for other studies: "
                "only those that both want are compared.",
                "Give both the same conditions, if that is not meant.",
            )
        if rule.complete != champion.complete:
            yield Remark(
                f"Rule '{rule.name}' challenges '{champion.name}', but waits for other things: "
                "what the first has answered may be gone before the second begins.",
                "Give both the same [rules.complete].",
            )
        if rule.priority >= champion.priority:
            yield Remark(
                f"Rule '{rule.name}' challenges '{champion.name}' with the same priority or a "
                "higher one, so that patients may wait for it.",
                f"Set its priority below {champion.priority}.",
            )


def _trouble(rule: RuleRow, rules: Mapping[str, RuleRow]) -> str:
    """The end of a sentence; '' where all is well."""
    if not rule.shadow:
        return "needs shadow = true: a challenger sends nothing."
    champion = rules.get(rule.challenges)
    if champion is None:
        others = [name for name in rules if name != rule.name]
        hint = nearest(rule.challenges, others) if others else "there is no other rule."
        return f"names '{rule.challenges}', which is not among the [[rules]]; {hint}"
    if champion is rule:
        return "names the rule itself."
    if champion.model == rule.model:
        return (
            f"names a rule with the same model, '{rule.model}', which would agree with itself. "
            "Give this rule another model."
        )
    return ""
