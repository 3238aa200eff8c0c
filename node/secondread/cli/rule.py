"""``secondread rule``: which rules there are, what they make of a study, and of the past days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from secondread.cli import rule_replay, rule_test
from secondread.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from secondread.domain.network import Rule

app = typer.Typer(
    help="Which rules there are, what they make of a study, and of the past days.",
    no_args_is_help=True,
)
app.command("test")(rule_test.test_rules)
app.command("replay")(rule_replay.replay_rules)


@app.command("list")
def list_rules(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the rules, and what each of them asks for."""
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.config.load import load

    rules = load(config).rules
    if as_json:
        print_json({"rules": [rule_document(rule) for rule in rules]})
        return
    if not rules:
        print_line("There are no rules; studies are kept, but no model looks at them.")
        return
    print_table(
        ("RULE", "MODEL", "MODE", "PRIORITY", "RESULTS GO TO", "ASKS FOR"),
        [
            (
                rule.name,
                rule.model,
                _mode(rule),
                rule.priority,
                "nowhere" if rule.shadow else ", ".join(rule.destinations),
                "\n".join(_asked(rule)) or "any images",
            )
            for rule in rules
        ],
    )


def rule_document(rule: Rule) -> Mapping[str, Any]:
    """A rule for JSON, with its conditions in words."""
    return {
        "name": rule.name,
        "model": rule.model,
        "destinations": rule.destinations,
        "priority": rule.priority,
        "shadow": rule.shadow,
        "challenges": rule.challenges or None,
        "late_images": rule.late_images,
        "versions_max": rule.versions_max,
        "report_not_analysed": rule.report_not_analysed,
        "asks_for": _asked(rule),
        "waits_for": rule.complete,
    }


def _mode(rule: Rule) -> str:
    if rule.challenges:
        return f"shadow, challenges {rule.challenges}"
    return "shadow" if rule.shadow else "live"


def _asked(rule: Rule) -> Sequence[str]:
    from secondread.assembly.phrases import asked

    return [asked(condition) for condition in rule.when]
