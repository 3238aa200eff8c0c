"""``secondread retention``: what is kept how long, what goes when, and what must not go."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.study import StudyArgument, open_ledger
from secondread.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secondread.config.settings import Settings
    from secondread.domain.hold import Hold
    from secondread.domain.retention import Kind
    from secondread.pipeline.caretaker import Caretaker
    from secondread.pipeline.purge_monitoring import Rows
    from secondread.pipeline.removal import Amount, Amounts, Wish
    from secondread.store import Ledger

app = typer.Typer(
    help="What is kept how long, what goes when, and what must not go.", no_args_is_help=True
)

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it goes into the trail together with your user name.")
]


@app.command("hold")
def place_hold(
    study: StudyArgument,
    reason: ReasonOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let nothing of a study be removed until it is released."""
    from secondread.cli.output import print_json, print_line
    from secondread.cli.peer_edit import operator
    from secondread.config.load import load
    from secondread.domain.hold import Hold

    settings, why = load(config), _stated(reason)
    with open_ledger(settings) as ledger, ledger.begin() as change:
        found = change.studies.find(study)
        hold = Hold(found.id, why, operator(), time.time())
        change.holds.place(hold)
        gone = len(change.keeping.purged_of(found.study_instance_uid))
    if as_json:
        print_json({"hold": _hold_document(hold), "images_gone": gone})
        return
    print_line(f"Study {found.id} is on hold: nothing of it is removed until it is released.")
    if gone:
        print_line(f"{gone} of its images had gone before.", style="yellow")


@app.command("release")
def release_hold(
    study: StudyArgument,
    reason: ReasonOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the hold of a study away; it is kept as long as any other then."""
    from secondread.cli.output import print_json, print_line
    from secondread.cli.peer_edit import operator
    from secondread.config.load import load

    settings, why = load(config), _stated(reason)
    with open_ledger(settings) as ledger, ledger.begin() as change:
        found = change.studies.find(study)
        hold = change.holds.release(found.id, operator(), why, time.time())
    if as_json:
        print_json({"released": _hold_document(hold)})
        return
    print_line(
        f"Study {found.id} is not on hold any more. If its time is over, it goes within the hour."
    )


@app.command("show")
def show_retention(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell what is kept, what goes when, what keeps the rest, and how long the disk lasts."""
    from secondread.cli.output import print_json
    from secondread.cli.retention_story import document, tell
    from secondread.config.load import load
    from secondread.domain.retention import sent_is_safe
    from secondread.pipeline.disk_watch import look_ahead
    from secondread.pipeline.keeping import Surveyor
    from secondread.store import Spool

    settings, now = load(config), time.time()
    terms, spool = settings.retention, Spool(settings.data_dir)
    with open_ledger(settings) as ledger:
        surveyor = Surveyor(ledger, spool, terms, sent_is_safe(settings.destinations))
        survey = surveyor.survey(_caretaker(settings, ledger).quarantine, now)
        free_bytes, minimum = spool.free_bytes(), settings.minimum_free_bytes
        disk = look_ahead(ledger, free_bytes, minimum, terms, now)
        with ledger.read() as view:
            holds = view.holds.list()
    if as_json:
        print_json(document(terms, survey, disk, [_hold_document(hold) for hold in holds]))
        return
    tell(terms, survey, disk, holds, now)


@app.command("purge")
def purge_files(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would go.", show_default=False)
    ] = False,
    now: Annotated[
        bool,
        typer.Option("--now", help="Remove it now instead of within the hour.", show_default=False),
    ] = False,
    study: Annotated[
        str, typer.Option("--study", help="Only of this study.", show_default=False)
    ] = "",
    early: Annotated[
        bool,
        typer.Option(
            "--early",
            help="Also what is safe before its time, if it is as old as early_days says.",
            show_default=False,
        ),
    ] = False,
    any_age: Annotated[
        bool,
        typer.Option(
            "--any-age",
            help="All of the study that is safe, whatever its age; needs --study.",
            show_default=False,
        ),
    ] = False,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", help="Why; needed with --early and --any-age.", show_default=False
        ),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what may go, or tell what would; nothing that is on hold or not safe ever goes."""
    from secondread.cli.output import print_json
    from secondread.cli.peer_edit import ask, operator
    from secondread.config.load import load
    from secondread.domain.retention import Haste
    from secondread.pipeline.removal import Wish

    if dry_run == now:
        raise UsageError("Say either --dry-run or --now.")
    if any_age and not study:
        raise UsageError("--any-age is for one study: name it with --study.")
    haste = Haste.ANY_AGE if any_age else Haste.EARLY if early else Haste.NONE
    why = _stated(reason) if now and haste is not Haste.NONE else reason.strip()
    settings = load(config)
    with open_ledger(settings) as ledger:
        caretaker = _caretaker(settings, ledger)
        wish = Wish(haste=haste, dry=True, who=operator(), why=why)
        planned = _purge(caretaker, ledger, wish, study)
        gone = _Gone({}, planned.objection)
        if now and planned.is_any:
            if not yes:
                ask(f"Remove {planned.told} for good?")
            wish = Wish(haste=haste, who=wish.who, why=why)
            gone = _purge(caretaker, ledger, wish, study)
    found = gone if now else planned
    if as_json:
        rows = {} if found.rows is None else asdict(found.rows)
        kinds = amounts_document(found.amounts)
        document = {"removed": now, "kinds": kinds, "rows": rows, "objection": found.objection}
        print_json(document)
        return
    _tell_purge(found, removed=now)


@dataclass(frozen=True, slots=True)
class _Gone:
    """What went, or would go; ``objection`` is why nothing may of the study that was named.

    ``rows`` are those of the ledger; None where a study was named, for they belong to none.
    """

    amounts: Amounts
    objection: str = ""
    rows: Rows | None = None

    @property
    def is_any(self) -> bool:
        return bool(self.amounts or self.rows)

    @property
    def told(self) -> str:
        from secondread.pipeline.removal import tell_amounts

        parts = [tell_amounts(self.amounts)] if self.amounts else []
        return ", and ".join([*parts, *([str(self.rows)] if self.rows else [])])


def _tell_purge(found: _Gone, *, removed: bool) -> None:
    from secondread.cli.output import print_line

    if found.objection:
        print_line(f"Nothing of the study may go. {found.objection}", style="yellow")
    elif not found.is_any:
        print_line("There is nothing that may go.")
    elif removed:
        print_line(f"Removed {found.told}.", style="green")
    else:
        print_line(f"Would go: {found.told}.")


def _purge(caretaker: Caretaker, ledger: Ledger, wish: Wish, study: str) -> _Gone:
    """Do it, or find out what would go; and what objects where a study is named."""
    from secondread.pipeline.removal import add_up

    stop = threading.Event()
    if not study:
        parts = (caretaker.purge.run(stop, wish), caretaker.quarantine.run(stop, wish))
        return _Gone(add_up(parts), rows=caretaker.monitoring.run(stop, wish))
    with ledger.read() as view:
        study_id = view.studies.find(study).id
    with caretaker.purge.alone():
        found = caretaker.purge.purge_study(study_id, wish)
    return _Gone(found, caretaker.purge.objection(study_id))


def _caretaker(settings: Settings, ledger: Ledger) -> Caretaker:
    from secondread.domain.clock import SystemClock
    from secondread.pipeline.caretaker import engage
    from secondread.store import Spool

    return engage(settings, ledger, Spool(settings.data_dir), SystemClock())


def amounts_document(amounts: Mapping[Kind, Amount]) -> dict[str, dict[str, int]]:
    """Amounts for JSON, by kind."""
    return {
        kind.value: {"files": amount.files, "bytes": amount.size_bytes}
        for kind, amount in amounts.items()
    }


def _hold_document(hold: Hold) -> dict[str, Any]:
    from secondread.cli.output import iso_time

    return {
        "study": hold.study_id,
        "reason": hold.reason,
        "placed_by": hold.placed_by,
        "at": iso_time(hold.at),
    }


def _stated(reason: str) -> str:
    if not reason.strip():
        raise UsageError(
            'Say why: --reason "…". It goes into the trail together with your user name.'
        )
    return reason.strip()
