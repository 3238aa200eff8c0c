"""``secondread destination``: how deliveries stand, and what a person can do about them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.peer_edit import operator
from secondread.cli.study import is_begun, open_ledger
from secondread.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.domain.destination import Destination
    from secondread.store import Transaction

app = typer.Typer(help="Where results go: how deliveries stand.", no_args_is_help=True)

DestinationArgument = Annotated[str, typer.Argument(help="The name of the destination.")]
_DEAD_SHOWN = 20
RESENT = "resent"
"""The trail's rows about what a person has sent again."""


@app.command("list")
def list_destinations(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the destinations: whether they are reached, what waits, what is safe, what is dead."""
    from secondread.cli.destination_standing import read_standings, row, standing_document
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.config.load import load

    settings = load(config)
    standings = read_standings(settings, is_begun(settings))
    if as_json:
        print_json({"destinations": [standing_document(one) for one in standings]})
    elif not standings:
        print_line("There are no [[destinations]] in the configuration.")
    else:
        head = ("NAME", "KIND", "LINE", "WAITING", "SENT", "SAFE", "DEAD", "OLDEST", "")
        now = time.time()
        print_table(head, [row(one, now) for one in standings])


@app.command("show")
def show_destination(
    name: DestinationArgument, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show how deliveries to one destination stand, what proves them, and what keeps them back."""
    from secondread.cli.destination_standing import (
        dead_rows,
        facts,
        read_detail,
        standing_document,
    )
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.config.load import load

    settings = load(config)
    details = [
        read_detail(settings, one, is_begun(settings), _DEAD_SHOWN)
        for one in _names(settings, name)
    ]
    if as_json:
        print_json({"destinations": [standing_document(one, detailed=True) for one in details]})
        return
    for detail in details:
        print_table(("", ""), facts(detail, time.time()))
        if detail.dead:
            print_line("\nWhat waits for a person:")
            print_table(("OBJECT", "STUDY", "KIND", "TRIES", ""), dead_rows(detail.dead))
            print_line(f"To send it again: secondread destination resend '{detail.name}'")


@app.command("dead")
def list_dead(
    name: Annotated[
        str | None, typer.Argument(help="The name of one destination.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to list.")] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the objects that wait for a person, with the reason of each."""
    from secondread.cli.destination_standing import dead_document, dead_rows
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.config.load import load

    settings = load(config)
    names = [None] if name is None else _names(settings, name)
    found = []
    if is_begun(settings):
        with open_ledger(settings) as ledger, ledger.read() as view:
            found = [letter for one in names for letter in view.deliveries.dead(one, limit)]
    if as_json:
        print_json({"dead": [dead_document(letter) for letter in found]})
    elif not found:
        print_line("Nothing waits for a person.")
    else:
        head = ("OBJECT", "STUDY", "KIND", "TRIES", "DESTINATION", "")
        print_table(head, dead_rows(found, with_destination=True))
        print_line("To send them again: secondread destination resend NAME, or --object OBJECT")


@app.command("resend")
def resend_dead(
    name: Annotated[
        str | None,
        typer.Argument(help="Send again what was given up for it.", show_default=False),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option("--study", help="What was given up of this study.", show_default=False),
    ] = None,
    outbox_id: Annotated[
        int | None,
        typer.Option(
            "--object",
            help="This object, by its number; even if it was sent, for who has lost it.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send again what was given up; nothing is analysed again, and no UID changes."""
    from secondread.cli.output import print_json, print_line
    from secondread.config.load import load

    if [name, study, outbox_id].count(None) != 2:
        raise UsageError("Say what is to be sent again: a destination, --study, or --object.")
    settings = load(config)
    with open_ledger(settings) as ledger, ledger.begin() as change:
        names = [] if name is None else _names(settings, name, change)
        now = time.time()
        sent, purged, study_id = _resend(change, names, study, outbox_id, now)
        detail = {"destination": name or "", "outbox_id": outbox_id, "objects": sent}
        text = f"{_counted(sent)} to be sent again, says {operator()}."
        change.trail.append(now, RESENT, text, study_id=study_id, detail=detail)
    if as_json:
        print_json({"resent": sent, "purged": purged})
        return
    print_line(f"{_counted(sent)} on the way again.")
    if purged:
        print_line(
            f"{_counted(purged)} not, because the local files were removed, as the retention rules "
            "say; send the images again and retry the study."
        )


def _resend(
    change: Transaction, names: Sequence[str], study: str | None, outbox_id: int | None, now: float
) -> tuple[int, int, int | None]:
    """How many objects are on the way again, how many cannot be, and of which study, if of one.

    Raises:
        NotFoundError: there is no such study or object.
        UsageError: there is nothing that could be sent again.
    """
    from secondread.delivery import resending

    if outbox_id is not None:
        made = resending.resend_object(change, outbox_id, now)
        return made.objects, made.purged, None
    if study is not None:
        found = change.studies.find(study)
        made = resending.resend_study(change, found.id, now)
        return made.objects, made.purged, found.id
    # Of a sender's lines those alone of which something was given up, if there are any.
    some = [one for one in names if change.deliveries.dead(one, 1)] or names[:1]
    each = [resending.resend_destination(change, one, now) for one in some]
    return sum(one.objects for one in each), sum(one.purged for one in each), None


@app.command("pause")
def pause_destination(
    name: DestinationArgument, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Send nothing there until it is resumed; a node that runs heeds it by itself."""
    _hold(config, name, as_json, paused=True)


@app.command("resume")
def resume_destination(
    name: DestinationArgument, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Send there again."""
    _hold(config, name, as_json, paused=False)


def _hold(config: ConfigOption, name: str, as_json: bool, *, paused: bool) -> None:
    from secondread.cli.output import print_json, print_line
    from secondread.config.load import load

    settings = load(config)
    changed = []
    with open_ledger(settings) as ledger, ledger.begin() as change:
        for one in _names(settings, name, change):
            if _set_paused(change, one, paused=paused):
                changed.append(one)
    word = "paused" if paused else "resumed"
    if as_json:
        print_json({"destination": name, "paused": paused, "changed": changed})
    elif changed:
        print_line(f"Deliveries to '{name}' are {word}; a node that runs heeds it by itself.")
    else:
        print_line(f"Deliveries to '{name}' were {word} before.")


def _set_paused(change: Transaction, name: str, *, paused: bool) -> bool:
    """Write the line and a row of the trail; False where it was so before."""
    from secondread.domain.line import LineState
    from secondread.store.lines import EVENT

    line = change.lines.get(name)
    if line.paused == paused:
        return False
    now = time.time()
    # An open line keeps the time since when it is; it is still so when it is resumed.
    since = now if line.state is LineState.CLOSED else line.since
    change.lines.keep(replace(line, paused=paused, since=since))
    word = "paused" if paused else "resumed"
    change.trail.append(
        now,
        EVENT,
        f"Deliveries to '{name}' were {word} by {operator()}.",
        change=(line.state, line.state),
        detail={"destination": name, "paused": paused},
    )
    return True


def _names(settings: Settings, name: str, view: Transaction | None = None) -> list[str]:
    """The names in the outbox that a name means: of a sender, one for each peer.

    Raises:
        NotFoundError: nothing is configured or kept under it.
    """
    known = _known(settings)
    found = [one for one in known if one == name or one.startswith(f"{name}/")]
    if found:
        return found
    kept: Mapping[str, object] = {}
    if view is not None:
        kept = view.deliveries.figures()
    elif is_begun(settings):
        with open_ledger(settings) as ledger, ledger.read() as reading:
            kept = reading.deliveries.figures()
    found = [one for one in kept if one == name or one.startswith(f"{name}/")]
    if found:
        return found
    raise NotFoundError(
        f"There is no destination '{name}'; there are: {', '.join([*known, *kept]) or 'none'}."
    )


def _known(settings: Settings) -> Mapping[str, Destination]:
    from secondread.domain.destination import reachable

    return reachable(settings.destinations, settings.peers)


def _counted(count: int) -> str:
    return "1 object is" if count == 1 else f"{count} objects are"
