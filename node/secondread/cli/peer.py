"""``secondread peer``: who the node talks to."""

from __future__ import annotations

from typing import Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.config.settings import Settings
from secondread.domain.network import Destination
from secondread.errors import EXIT_UNAVAILABLE, NotFoundError

app = typer.Typer(help="Who the node talks to: senders and destinations.", no_args_is_help=True)


@app.command("list")
def list_peers(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the peers that may send, and the destinations of results."""
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.config.load import load

    settings = load(config)
    if as_json:
        print_json({"peers": settings.peers, "destinations": settings.destinations})
        return
    rows: list[tuple[str, ...]] = [
        (
            peer.name,
            "sends",
            peer.ae_title,
            ", ".join(peer.addresses),
            f"complete after {peer.quiet_s:g} s",
        )
        for peer in settings.peers
    ]
    rows += [
        (
            there.name,
            "receives",
            there.ae_title,
            f"{there.host}:{there.port}",
            f"called by {there.calling_ae_title}",
        )
        for there in settings.destinations
    ]
    if not rows:
        print_line("There are neither [[peers]] nor [[destinations]] in the configuration.")
        return
    print_table(("NAME", "DIRECTION", "AE TITLE", "ADDRESS", ""), rows)


@app.command("echo")
def echo_peer(
    name: Annotated[str, typer.Argument(help="The name of a destination.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a destination for a sign of life (C-ECHO)."""
    from secondread.cli.output import print_error, print_json, print_line
    from secondread.config.load import load
    from secondread.delivery.store_scu import Address, echo

    there = find_callable(load(config), name)
    result = echo(
        Address(there.host, there.port, there.ae_title, there.calling_ae_title, there.timeout_s)
    )
    if as_json:
        print_json(
            {
                "name": there.name,
                "ok": result.ok,
                "sentence": result.sentence,
                "seconds": round(result.seconds, 4),
            }
        )
    elif result.ok:
        print_line(result.sentence, style="green")
    else:
        print_error(result.sentence)
    if not result.ok:
        raise typer.Exit(EXIT_UNAVAILABLE)


def find_callable(settings: Settings, name: str) -> Destination:
    """The destination of that name, or the one with the AE title of the peer of that name.

    Raises:
        NotFoundError: there is none; a peer that only sends has no port to be called at.
    """
    for destination in settings.destinations:
        if destination.name == name:
            return destination
    for peer in settings.peers:
        if peer.name != name:
            continue
        for destination in settings.destinations:
            if destination.ae_title == peer.ae_title:
                return destination
        raise NotFoundError(
            f"Peer '{name}' only calls this node and has no port of its own in the configuration. "
            f"Echo from there: to '{settings.ae_title}', port {settings.port}."
        )
    known = [there.name for there in settings.destinations]
    known += [peer.name for peer in settings.peers]
    raise NotFoundError(
        f"There is no peer or destination '{name}'; "
        f"the configuration has: {', '.join(known) or 'none'}."
    )
