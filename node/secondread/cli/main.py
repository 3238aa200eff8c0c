"""The console script ``secondread``: its commands, and what becomes of errors.

Every error is one sentence on standard error and an exit code; a traceback is shown only where
SECONDREAD_DEBUG=1 asks for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from secondread import __version__
from secondread.cli import (
    compare,
    config,
    crosswalk,
    destination,
    doctor,
    evaluate,
    export,
    gate,
    model,
    notify,
    peer,
    retention,
    rule,
    send,
    serve,
    study,
    train,
)
from secondread.cli.output import print_error, print_json
from secondread.errors import (
    EXIT_FAILED,
    EXIT_IO,
    EXIT_NO_PERMISSION,
    EXIT_OK,
    EXIT_SOFTWARE,
    EXIT_USAGE,
    SecondReadError,
)

DEBUG_VARIABLE = "SECONDREAD_DEBUG"

app = typer.Typer(
    name="secondread",
    help="The AI node of a hospital's imaging network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("send")(send.send)
app.add_typer(peer.app, name="peer")
app.add_typer(destination.app, name="destination")
app.add_typer(notify.app, name="notify")
app.add_typer(study.app, name="study")
app.add_typer(rule.app, name="rule")
app.add_typer(model.app, name="model")
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("gate")(gate.gate)
app.command("export")(export.export)
app.add_typer(crosswalk.app, name="crosswalk")
app.add_typer(retention.app, name="retention")
app.add_typer(config.app, name="config")
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """The AI node of a hospital's imaging network: studies in, segmentations and reports back."""


def run() -> NoReturn:
    """The entry point of the console script."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code instead of leaving the process."""
    as_json = "--json" in arguments
    try:
        app(args=list(arguments), prog_name="secondread")
    except SystemExit as stop:
        code = _code(stop)
        if code == EXIT_USAGE and as_json:
            sentence = "The command line is wrong; standard error says how."
            print_json({"error": {"code": "usage", "sentence": sentence}})
        return code
    except SecondReadError as error:
        return _tell(str(error), error.audit_code, error.exit_code, as_json)
    except OSError as error:
        denied = isinstance(error, PermissionError)
        what = f"'{error.filename}': {error.strerror}" if error.filename else str(error)
        hint = " Run the command as the user that runs the node." if denied else ""
        code = EXIT_NO_PERMISSION if denied else EXIT_IO
        return _tell(f"The command could not go on; {what}.{hint}", "input-output", code, as_json)
    except Exception as error:  # the last net: whatever this is, a person gets a sentence
        return _tell(_unexpected(error, arguments), "unexpected", EXIT_SOFTWARE, as_json)
    return EXIT_OK


def _code(stop: SystemExit) -> int:
    if stop.code is None:
        return EXIT_OK
    return stop.code if isinstance(stop.code, int) else EXIT_FAILED


def _tell(sentence: str, code: str, exit_code: int, as_json: bool) -> int:
    if os.environ.get(DEBUG_VARIABLE) == "1":
        import traceback

        traceback.print_exc()
    if as_json:
        print_json({"error": {"code": code, "sentence": sentence}})
    print_error(sentence)
    return exit_code


def _unexpected(error: Exception, arguments: Sequence[str]) -> str:
    """One sentence about an error that nobody foresaw, and where to read more about it."""
    reference = os.urandom(4).hex()
    if "serve" in arguments[:1]:
        import structlog

        log = structlog.stdlib.get_logger(__name__)
        log.error("unforeseen error", reference=reference, exc_info=error)
        kept = "it is described in the log"
    else:
        place = _keep_traceback(error, reference)
        kept = f"it is described in '{place}'" if place else f"set {DEBUG_VARIABLE}=1 to see it"
    return (
        f"Something unforeseen stopped the command ({type(error).__name__}, reference "
        f"{reference}); {kept}. Please report it with that reference."
    )


def _keep_traceback(error: Exception, reference: str) -> Path | None:
    """Write the traceback, without identifiers, where only this user can read it."""
    import platformdirs

    from secondread.observe.tracebacks import format_error

    path = platformdirs.user_log_path("secondread") / f"crash-{reference}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(format_error(error) + "\n")
    except OSError:
        return None
    return path


if __name__ == "__main__":
    run()
