"""``secondread serve``: the node itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from secondread.cli.options import ConfigOption


class Role(StrEnum):
    """A process of the node."""

    INTAKE = "intake"
    """Takes objects from the network."""
    PIPELINE = "pipeline"
    """Assembles studies, runs models, writes results."""
    DELIVER = "deliver"
    """Sends results."""


def serve(
    role: Annotated[
        Role | None,
        typer.Option(
            "--role",
            help="Run one role alone, for systemd or Kubernetes. Default: all, supervised.",
            show_default=False,
        ),
    ] = None,
    supervised: Annotated[
        bool, typer.Option("--supervised", hidden=True, help="End when standard input closes.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Run the node until it is told to stop."""
    from secondread.config.load import load

    settings = load(config)
    from secondread import app

    raise typer.Exit(
        app.serve(settings, None if role is None else str(role), supervised=supervised)
    )
