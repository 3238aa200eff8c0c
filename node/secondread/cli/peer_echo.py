"""``secondread peer echo``: an echo that says where it fails, and what to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.peer_call import Wishes, trial_of
from secondread.errors import EXIT_UNAVAILABLE, ConfigurationError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.delivery.steps import Step

_STYLES = {"ok": "green", "failed": "bold red", "skipped": "dim", "note": "", "warning": "yellow"}


def echo_peer(
    name: Annotated[
        str,
        typer.Argument(help="The name of a destination or of a peer with a port; or AE@HOST:PORT."),
    ],
    calling: Annotated[
        str | None,
        typer.Option("--calling", help="Call under this AE title.", show_default=False),
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option(
            "--tls/--no-tls", help="Call with TLS; default: as the peer comes.", show_default=False
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            help="PEM file of the CA of its certificate; default: ca in [tls].",
            show_default=False,
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate",
            help="PEM file of our certificate; default: that in [tls].",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="PEM file of its private key.", show_default=False),
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=0.5, help="Seconds for each step; default: 10.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for a sign of life (C-ECHO), and tell step by step how far it came."""
    from secondread.cli.output import print_error, print_json, print_line
    from secondread.delivery.steps import is_sound

    wishes = Wishes(calling, tls, ca, certificate, key, timeout_s)
    trial = trial_of(_settings(config, name), name, wishes)
    steps = []
    for step in trial.steps:
        steps.append(step)
        if not as_json:
            print_line(_line(step), style=_STYLES[step.outcome])
    sentence, ok = trial.conclude(steps), is_sound(steps)
    if as_json:
        seconds = sum(step.milliseconds for step in steps) / 1000
        told = {"name": name, "ok": ok, "sentence": sentence, "seconds": round(seconds, 4)}
        print_json({**told, "steps": [_document(step) for step in steps]})
    elif ok:
        print_line(sentence, style="green")
    else:
        print_error(sentence)
    if not ok:
        raise typer.Exit(EXIT_UNAVAILABLE)


def _line(step: Step) -> str:
    spent = "" if step.outcome == "skipped" else f"{step.milliseconds:.0f} ms"
    return f"{step.outcome:8}{step.name:12}{spent:>8}  {step.sentence}"


def _document(step: Step) -> dict[str, object]:
    return {**dataclasses.asdict(step), "milliseconds": round(step.milliseconds, 2)}


def _settings(config: Path | None, name: str) -> Settings:
    from secondread.config.load import load
    from secondread.config.settings import Settings

    try:
        return load(config)
    except ConfigurationError:
        if "@" not in name or config is not None:
            raise
        return Settings()  # whom to call, and how, is all on the command line
