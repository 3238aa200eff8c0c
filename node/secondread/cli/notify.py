"""``secondread notify``: who else is told what happens, and how that stands."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.study import is_begun, open_ledger
from secondread.errors import EXIT_UNAVAILABLE, DeliveryError, NotFoundError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.domain.telling import Listener

app = typer.Typer(help="Who else is told what happens: [[notify]].", no_args_is_help=True)

_TRIAL_S = 10.0
_KEY_BYTES = 8


@app.command("list")
def list_listeners(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the listeners: what waits to be told, what was told, and what was given up."""
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.config.load import load

    settings = load(config)
    rows = _standings(settings)
    if as_json:
        print_json({"listeners": rows})
    elif not rows:
        print_line("There are no [[notify]] in the configuration.")
    else:
        keys = ("name", "kind", "ready", "told", "dead", "reason")
        head = ("NAME", "KIND", "WAITING", "TOLD", "GIVEN UP", "")
        print_table(head, [tuple(str(row[key]) for key in keys) for row in rows])


def _standings(settings: Settings) -> Sequence[Mapping[str, Any]]:
    """A row for each listener; the reason is that of the newest message that was not told."""
    from secondread.domain.telling import TellingState

    rows: list[dict[str, Any]] = [
        {"name": one.name, "kind": one.kind, "events": sorted(one.events - {"test"})}
        | {state.value: 0 for state in TellingState}
        | {"reason": ""}
        for one in settings.listeners
    ]
    if not is_begun(settings):
        return rows
    with open_ledger(settings) as ledger, ledger.read() as view:
        counts = view.tellings.counts()
        for row in rows:
            found = counts.get(row["name"], {})
            row.update({state.value: count for state, count in found.items()})
            last = view.tellings.of_target(row["name"])
            row["reason"] = next((one.reason for one in last if one.reason), "")
    return rows


@app.command("test")
def test_listener(
    name: Annotated[str, typer.Argument(help="The name of one of [[notify]].")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try a listener out: a webhook gets a signed message 'test', another one a C-ECHO."""
    from secondread.cli.output import print_error, print_json, print_line
    from secondread.config.load import load
    from secondread.domain.telling import ListenerKind

    listener = _find(load(config), name)
    by_web = listener.kind is ListenerKind.WEBHOOK
    ok, sentence = _post(listener) if by_web else _echo(listener)
    if as_json:
        print_json({"name": name, "ok": ok, "sentence": sentence})
    elif ok:
        print_line(sentence, style="green")
    else:
        print_error(sentence)
    if not ok:
        raise typer.Exit(EXIT_UNAVAILABLE)


def _find(settings: Settings, name: str) -> Listener:
    """The listener of this name.

    Raises:
        NotFoundError: there is none.
    """
    for one in settings.listeners:
        if one.name == name:
            return one
    known = ", ".join(f"'{one.name}'" for one in settings.listeners) or "none"
    raise NotFoundError(f"There is no '{name}' in [[notify]]; there are: {known}.")


def _post(listener: Listener) -> tuple[bool, str]:
    from secondread.delivery.telling.event import Announcement
    from secondread.delivery.telling.webhook import Webhook, post
    from secondread.domain.telling import Event

    assert listener.web is not None
    now = time.time()
    message = Announcement(f"test/{secrets.token_hex(_KEY_BYTES)}", Event.TEST, now)
    try:
        post(Webhook(listener.web, listener.secret_file, listener.with_uids), message, now)
    except DeliveryError as error:
        return False, str(error)
    return True, f"'{listener.name}' took the message '{message.id}'."


def _echo(listener: Listener) -> tuple[bool, str]:
    """Whether somebody answers there; whether notices are taken only a notice can tell."""
    from secondread.delivery.steps import is_sound
    from secondread.delivery.trial import try_out

    assert listener.call is not None
    trial = try_out(listener.call, _TRIAL_S)
    steps = [*trial.steps]
    return is_sound(steps), trial.conclude(steps)
