"""``secondread crosswalk``: who is behind a pseudonym, and the key that keeps it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.study import is_begun, open_ledger
from secondread.errors import EXIT_FAILED, CrosswalkKeyError, UsageError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.deid.crosswalk import Found
    from secondread.domain.crosswalk import Access

app = typer.Typer(
    help="Who is behind a pseudonym of an export, and the key that keeps it.", no_args_is_help=True
)

ReasonOption = Annotated[
    str,
    typer.Option("--reason", help="Why; it goes into the trail together with your user name."),
]
_NAMES = {
    "patient_id": "Patient ID",
    "issuer": "Issuer of Patient ID",
    "patient_name": "Patient's Name",
    "birth_date": "Patient's Birth Date",
    "study": "Study Instance UID",
    "series": "Series Instance UID",
    "instance": "SOP Instance UID",
}


@app.command("key")
def make_key(
    only_print: Annotated[
        bool,
        typer.Option(
            "--print", help="Print a key for a systemd credential instead.", show_default=False
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the first key of the crosswalk, as a file that only this user can read."""
    from secondread.cli.output import print_json, print_line
    from secondread.config.load import load
    from secondread.deid.keys import Key, create_key_file, key_line

    settings, key = load(config), Key.new()
    if only_print:
        line = key_line(key).strip()
        print_json({"id": key.id, "line": line}) if as_json else print_line(line)
        return
    path = settings.crosswalk_key_file
    if path.exists():
        raise UsageError(
            f"'{path}' is there already. For another key: secondread crosswalk rotate."
        )
    _check_no_crosswalk(settings)
    create_key_file(path, key)
    if as_json:
        print_json({"id": key.id, "path": path})
        return
    print_line(f"Wrote the key {key.id} of the crosswalk to '{path}'.")
    print_line("Keep a copy of it, apart from the backups of the ledger: without it nobody can say")
    print_line("any more who is behind a pseudonym.")


def _check_no_crosswalk(settings: Settings) -> None:
    """A new key must not take the place of one that is needed and only seems to be gone."""
    if not is_begun(settings):
        return
    from secondread.domain.crosswalk import KeyState

    with open_ledger(settings) as ledger, ledger.read() as view:
        used = [key.id for key in view.crosswalk.known_keys() if key.state is not KeyState.RETIRED]
    if used:
        raise CrosswalkKeyError(
            f"The ledger has a crosswalk already, sealed with the key {', '.join(used)}, which a "
            "new key cannot open. Restore the key file from its backup. Only where it is lost for "
            "good: secondread crosswalk discard."
        )


@app.command("status")
def show_status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell which keys and projects there are, and whether everything can be opened."""
    from secondread.cli.output import iso_time, local_time, print_json, print_line, print_table
    from secondread.config.load import load
    from secondread.deid.crosswalk import usable_keys
    from secondread.deid.keys import read_ring

    settings, fault = load(config), ""
    with open_ledger(settings) as ledger, ledger.read() as view:
        keys, pairs = view.crosswalk.known_keys(), view.crosswalk.count_by_key()
        projects = [(each, view.crosswalk.count_of(each.id)) for each in view.crosswalk.projects()]
        try:
            usable_keys(view, read_ring(settings.crosswalk_key_file, settings.crosswalk_credential))
        except CrosswalkKeyError as error:
            fault = str(error)
    if as_json:
        print_json(
            {
                "ok": not fault,
                "sentence": fault,
                "keys": [
                    {"id": key.id, "state": key.state, "pairs": pairs.get(key.id, 0)}
                    for key in keys
                ],
                "projects": [
                    {"name": project.name, "since": iso_time(project.since), "pairs": counts}
                    for project, counts in projects
                ],
            }
        )
    else:
        if keys:
            rows = [
                (key.id, key.state, pairs.get(key.id, 0), local_time(key.since)) for key in keys
            ]
            print_table(("KEY", "STATE", "PAIRS", "SINCE"), rows)
        else:
            print_line("Nothing was exported yet, so there is no crosswalk.")
        if projects:
            print_line("")
            print_table(
                ("PROJECT", "PATIENTS", "STUDIES", "SERIES", "OBJECTS", "SINCE"),
                [
                    (each.name, *counts.values(), local_time(each.since))
                    for each, counts in projects
                ],
            )
        if not fault:
            print_line("The key opens it." if keys else "The key is there.", style="green")
    if fault:
        if not as_json:
            from secondread.cli.output import print_error

            print_error(fault)
        raise typer.Exit(EXIT_FAILED)


@app.command("find")
def find_original(
    pseudonym: Annotated[
        str, typer.Argument(help="A Patient ID or a UID of an export, or of a result about it.")
    ],
    reason: ReasonOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whom or what a pseudonym stands for. The trail keeps who asked, and why."""
    from secondread.cli.output import print_error, print_json
    from secondread.config.load import load
    from secondread.deid.crosswalk import Crosswalk
    from secondread.deid.keys import read_ring
    from secondread.domain.clock import SystemClock

    settings = load(config)
    ring = read_ring(settings.crosswalk_key_file, settings.crosswalk_credential)
    with open_ledger(settings) as ledger:
        crosswalk = Crosswalk(ledger, ring, SystemClock())
        found = crosswalk.find(pseudonym, _access(reason))
    if as_json:
        print_json({"found": [_document(each) for each in found]})
    for each in () if as_json else found:
        _tell(each)
    if not found:
        if not as_json:
            print_error(
                "The crosswalk has no such pseudonym: it is from another node, an export of "
                "another ledger, or misspelt. That you asked is in the trail."
            )
        raise typer.Exit(EXIT_FAILED)


@app.command("rotate")
def rotate_key(
    reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Seal the crosswalk with another key; goes on where it was interrupted."""
    from secondread.cli.export_progress import show_progress
    from secondread.cli.output import print_json, print_line
    from secondread.config.load import load
    from secondread.deid.rotation import KeyPlace, Rotation
    from secondread.domain.clock import SystemClock

    settings = load(config)
    place = KeyPlace(settings.crosswalk_key_file, settings.crosswalk_credential)
    with open_ledger(settings) as ledger, show_progress(quiet=as_json) as report:
        rotation = Rotation(ledger, settings.data_dir, place, _access(reason), SystemClock())
        done = rotation.run(lambda count, total: report("Sealing pairs", count, total))
    if as_json:
        print_json(done)
        return
    again = " an earlier rotation had been interrupted, and" if done.went_on else ""
    print_line(
        f"The crosswalk is sealed with the key {done.key_id};{again} {done.pairs} pairs were "
        "sealed anew.",
        style="green",
    )
    print_line(
        f"The ledger needs the key {', '.join(done.old)} no more. Keep it as long as you keep "
        "backups of the ledger from before; then remove its line."
    )


@app.command("discard")
def discard_crosswalk(
    reason: ReasonOption,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give up the crosswalk for good, where its key is lost: there is no way back from exports."""
    from secondread.cli.output import print_json, print_line
    from secondread.cli.peer_edit import ask
    from secondread.config.load import load
    from secondread.deid.crosswalk import check_reason, note

    settings, access = load(config), _access(reason)
    check_reason(access)
    with open_ledger(settings) as ledger:
        if not yes:
            ask(
                "Remove every pair and project of the crosswalk? Nobody can say any more who is "
                "behind the pseudonyms of earlier exports, and new ones will not fit them."
            )
        at = time.time()
        with ledger.begin() as change:
            pairs = change.crosswalk.discard(at)
            text = f"{access.who} discarded the crosswalk of {pairs} pairs"
            note(change, at, text, access, {"act": "discard", "pairs": pairs})
    if as_json:
        print_json({"pairs": pairs})
        return
    print_line(f"The crosswalk of {pairs} pairs is gone. Make a new key before the next export.")


def _access(reason: str) -> Access:
    from secondread.cli.peer_edit import operator
    from secondread.domain.crosswalk import Access

    return Access(operator(), reason.strip())


def _tell(found: Found) -> None:
    from secondread.cli.output import print_line

    for name, value in _named(found).items():
        print_line(f"{name}: {value}")
    if found.shift_days:
        print_line(
            f"Dates: where the export moved them, by {found.shift_days} days; add "
            f"{-found.shift_days} days for the original."
        )
    print_line(f"Project: {found.project}")


def _named(found: Found) -> dict[str, str]:
    """The original in DICOM's words, the thing itself first."""
    named = {_NAMES[key]: value for key, value in found.pair.more.items() if value}
    if found.pair.kind.value in _NAMES:
        named = {_NAMES[found.pair.kind.value]: found.pair.original, **named}
    return named


def _document(found: Found) -> dict[str, object]:
    document: dict[str, object] = {
        "kind": found.pair.kind,
        "project": found.project,
        **found.pair.more,
    }
    if found.pair.kind.value in _NAMES:
        document[found.pair.kind.value] = found.pair.original
    else:
        document["bytes"] = found.pair.original
        document["shift_days"] = found.shift_days
    return document
