"""``secondread config``: the configuration file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import EXIT_CONFIGURATION, UsageError

app = typer.Typer(help="The configuration file.", no_args_is_help=True)

_FILE_MODE = 0o640


@app.command("init")
def init_config(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("secondread.toml"),
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Where the node keeps its data.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is there.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a commented configuration to start from."""
    from secondread.cli.output import print_json, print_line
    from secondread.config.template import render_template

    if path.is_dir():
        raise UsageError(f"'{path}' is a folder; name the file, such as '{path}/secondread.toml'.")
    if path.exists() and not force:
        raise UsageError(f"'{path}' is there already; use --force to replace it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    absolute = None if data_dir is None else data_dir.expanduser().absolute()
    draft.write_text(render_template(absolute), encoding="utf-8")
    draft.chmod(_FILE_MODE)
    draft.replace(path)
    if as_json:
        print_json({"path": path.absolute()})
        return
    print_line(f"Wrote '{path}'. Enter your peers, destinations and rules, then try:")
    print_line(f"  secondread config check --config '{path}'")
    print_line(f"  secondread doctor --config '{path}'")


@app.command("check")
def check_config(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell everything that is wrong with the configuration."""
    from secondread.cli.output import print_json, print_line
    from secondread.config.checks import remarks
    from secondread.config.faults import faults_error
    from secondread.config.load import examine

    examined = examine(config)
    notes = () if examined.settings is None else remarks(examined.settings)
    if as_json:
        print_json(
            {
                "path": examined.source.path,
                "ok": examined.settings is not None,
                "faults": [
                    {"where": fault.where, "sentence": fault.sentence} for fault in examined.faults
                ],
                "remarks": notes,
            }
        )
        if examined.settings is None:
            raise typer.Exit(EXIT_CONFIGURATION)
        return
    if examined.settings is None:
        raise faults_error(examined.source.path, examined.faults)
    print_line(f"'{examined.source.path}' is sound.", style="green")
    for note in notes:
        print_line(f"  Note: {note.sentence} {note.remedy}", style="yellow")


@app.command("show")
def show_config(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every value, and where it came from: default, file and line, or environment."""
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.config.explain import explain

    settings, values = explain(config)
    if as_json:
        print_json({"path": settings.path, "values": values})
        return
    print_line(f"From '{settings.path}':")
    print_table(
        ("KEY", "VALUE", "FROM"),
        [(value.key, _shown(value.value), value.origin) for value in values],
    )


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "(empty)"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else "(empty)"
