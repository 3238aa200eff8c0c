"""``secondread peer refused`` and ``allow``: who was not let in, and letting one in after all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.admission import Admission, admit, why_not
from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.peer_edit import LIVE, Record, YesOption, ask, commit_peers, shown_block
from secondread.errors import EXIT_FAILED, NotFoundError

if TYPE_CHECKING:
    from secondread.config.edit import Draft
    from secondread.config.settings import Settings
    from secondread.store import Transaction
    from secondread.store.refusals import RefusedCaller

ALLOWED = "peer-allowed"
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0


def list_refusals(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to list.")] = 20,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who was not let in last: from where, for which reason, and how often."""
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.cli.study import is_begun
    from secondread.config.load import load
    from secondread.store import Ledger

    settings = load(config)
    refused: Sequence[RefusedCaller] = ()
    if is_begun(settings):
        with closing(Ledger.open(settings.data_dir)) as ledger, ledger.read() as view:
            refused = view.refusals.newest(limit)
    if as_json:
        print_json({"refusals": [_document(row) for row in refused]})
        return
    if not refused:
        print_line("Nobody was refused.")
        return
    now = time.time()
    print_table(
        ("REFUSAL", "WHO", "FROM", "TIMES", "FIRST", "LAST", "WHY"),
        [
            (
                row.id,
                row.calling,
                row.address,
                row.times,
                ago(now - row.first_at),
                ago(now - row.last_at),
                row.reason,
            )
            for row in refused
        ],
    )
    print_line("To let one in: secondread peer allow REFUSAL")


def allow_refusal(
    refusal: Annotated[int, typer.Argument(help="The number of the refusal.")],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Your name for a new peer.", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="A network to let it in from, instead of its address alone.",
            show_default=False,
        ),
    ] = None,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let in who was refused: a new peer, a new address, or a new certificate."""
    from secondread.cli.output import print_error, print_json, print_line
    from secondread.config.edit import draft
    from secondread.config.load import load

    settings = load(config)
    row = _find(settings, refusal)
    remedy = why_not(row, settings)
    if not remedy:
        admission = admit(row, settings, name, address)
        planned = draft(config, admission.plan)
        if not planned.changed:
            remedy = (
                f"Refusal {row.id} needs no change: peer '{admission.peer}' has that already. If "
                f"it is refused again: {row.reason}"
            )
    if remedy:
        if as_json:
            print_json({"ok": False, "refusal": _document(row), "sentence": remedy})
        print_error(remedy)
        raise typer.Exit(EXIT_FAILED)
    if not yes:
        _ask(row, admission, planned)
    made = commit_peers(config, admission.plan, _record(row, admission))
    if as_json:
        document = {"peer": admission.peer, "set": admission.values, "path": made.path}
        print_json({"ok": True, "refusal": _document(row), **document})
        return
    print_line(f"{admission.sentence} {LIVE}")


def _ask(row: RefusedCaller, admission: Admission, planned: Draft) -> None:
    from secondread.cli.output import print_note

    since = ago(time.time() - row.last_at)
    often = "once" if row.times == 1 else f"{row.times} times"
    print_note(f"Refused {often}, last {since}: {row.reason}")
    print_note(f"{admission.sentence} In '{planned.path}' it will read:\n")
    print_note("\n".join(shown_block(block).rstrip() for block in planned.blocks) + "\n")
    ask("Write this?")


def _record(row: RefusedCaller, admission: Admission) -> Record:
    def forget(change: Transaction) -> None:
        change.refusals.forget(row.id)

    return Record(
        ALLOWED,
        f"Refusal {row.id} ({row.code}) was allowed for peer '{admission.peer}'",
        admission.peer,
        admission.values,
        more={"refusal": asdict(row)},
        also=forget,
    )


def ago(seconds: float) -> str:
    """A length of time back from now, in words."""
    if seconds < _MINUTE_S:
        return "just now" if seconds < 1 else f"{seconds:.0f} s ago"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min ago"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.0f} h ago"
    return f"{seconds / _DAY_S:.0f} days ago"


def _find(settings: Settings, number: int) -> RefusedCaller:
    from secondread.cli.study import is_begun
    from secondread.store import Ledger

    if not is_begun(settings):
        raise NotFoundError(
            f"There is no ledger in '{settings.data_dir}', so nobody was refused yet, or data_dir "
            "in [node] is not that of the node."
        )
    with closing(Ledger.open(settings.data_dir)) as ledger, ledger.read() as view:
        return view.refusals.find(number)


def _document(row: RefusedCaller) -> dict[str, object]:
    from secondread.cli.output import iso_time

    times = {"first_at": iso_time(row.first_at), "last_at": iso_time(row.last_at)}
    return {"id": row.id, **asdict(row), **times}
