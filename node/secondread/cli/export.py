"""``secondread export``: a study leaves the node without saying whose it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.study import StudyArgument, open_ledger
from secondread.domain.export import ExportOption
from secondread.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.deid.shipment import Shipment, Shipped
    from secondread.domain.study import Study
    from secondread.store import Ledger


def export(
    study: StudyArgument,
    to: Annotated[Path, typer.Option("--to", help="The folder to make.")],
    profile: Annotated[
        str, typer.Option("--profile", help="'basic', 'research', or a name of [[exports]].")
    ] = "basic",
    option: Annotated[
        list[ExportOption] | None,
        typer.Option("--option", help="Keep or clean this besides; may be repeated."),
    ] = None,
    project: Annotated[
        str,
        typer.Option(
            "--project",
            help="Whose pseudonyms to use: exports of one project belong together.",
            show_default=False,
        ),
    ] = "",
    series: Annotated[
        list[str] | None,
        typer.Option(
            "--series", help="Only this series, by its UID; may be repeated.", show_default=False
        ),
    ] = None,
    allow_heads: Annotated[
        str,
        typer.Option(
            "--allow-heads",
            metavar="REASON",
            help="Let out heads and faces, for this reason; it goes into trail and manifest.",
            show_default=False,
        ),
    ] = "",
    allow_burned_in: Annotated[
        str,
        typer.Option(
            "--allow-burned-in",
            metavar="REASON",
            help="Let out pixels that may hold text, for this reason, likewise.",
            show_default=False,
        ),
    ] = "",
    reason: Annotated[
        str,
        typer.Option(
            "--reason", help="Why, for the trail. Default: for the project.", show_default=False
        ),
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a study, de-identified, into a new folder, with a record of what was done."""
    from secondread.cli.export_progress import show_progress
    from secondread.config.load import load
    from secondread.deid.crosswalk import Crosswalk
    from secondread.deid.keys import read_ring
    from secondread.deid.shipment import Shipping, check_folder
    from secondread.domain.clock import SystemClock

    settings = load(config)
    asked = _Asked(study, to, profile, tuple(option or ()), project, tuple(series or ()), reason)
    check_folder(_place(settings, to))
    with open_ledger(settings) as ledger:
        wanted = _shipment(
            settings, ledger, asked, {"faces": allow_heads, "burned_in": allow_burned_in}
        )
        ring = read_ring(settings.crosswalk_key_file, settings.crosswalk_credential)
        crosswalk = Crosswalk(ledger, ring, SystemClock())
        began = time.monotonic()
        with show_progress(quiet=as_json) as report:
            shipped = Shipping(ledger, crosswalk, SystemClock()).ship(wanted, report)
        seconds = time.monotonic() - began
    _tell_json(wanted, shipped, seconds) if as_json else _tell(wanted, shipped, seconds)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The command line."""

    study: str
    to: Path
    profile: str
    options: tuple[ExportOption, ...]
    project: str
    series: tuple[str, ...]
    reason: str


def _shipment(
    settings: Settings, ledger: Ledger, asked: _Asked, allowed: dict[str, str]
) -> Shipment:
    from secondread.cli.peer_edit import operator
    from secondread.deid.choice import choose
    from secondread.deid.profile.risks import Overrides
    from secondread.deid.shipment import Shipment
    from secondread.domain.crosswalk import Access

    profile, usual = choose(asked.profile, asked.options, settings.exports)
    project = asked.project or usual
    if not project:
        raise UsageError(
            "Say for which project this is: --project NAME. A patient has the same pseudonym in "
            "all exports of a project, and another one in every other project."
        )
    with ledger.read() as view:
        study = view.studies.find(asked.study)
    return Shipment(
        study=study,
        sources=_sources(settings, ledger, study, asked.series),
        folder=asked.to.absolute(),
        project=project,
        uid_root=settings.uid_root,
        profile=profile,
        overrides=Overrides(**allowed),
        access=Access(operator(), asked.reason.strip() or f"for the project '{project}'"),
    )


def _sources(
    settings: Settings, ledger: Ledger, study: Study, series: tuple[str, ...]
) -> tuple[Path, ...]:
    from secondread.store import Spool

    with ledger.read() as view:
        found = view.instances.of_study(study.study_instance_uid)
    if series:
        there = {instance.series_instance_uid for instance in found}
        for uid in series:
            if uid not in there:
                raise NotFoundError(f"Study {study.id} has no series with the UID '{uid}'.")
        found = [instance for instance in found if instance.series_instance_uid in series]
    spool = Spool(settings.data_dir)
    paths = tuple(spool.absolute(instance.path) for instance in found)
    if gone := sum(not path.is_file() for path in paths):
        raise NotFoundError(
            f"{gone} of the {len(paths)} objects of study {study.id} are not in the spool any "
            "more. Send them again, then export."
        )
    if not paths:
        raise NotFoundError(f"Study {study.id} has no objects to export.")
    return paths


def _place(settings: Settings, to: Path) -> Path:
    """The folder to make; it may not lie in the node's own."""
    folder = to.absolute()
    if folder.resolve().is_relative_to(settings.data_dir.resolve()):
        raise UsageError(
            f"'{to}' lies in data_dir, the node's own folder. Name one somewhere else."
        )
    return folder


def _tell(wanted: Shipment, shipped: Shipped, seconds: float) -> None:
    from secondread.cli.output import print_line

    manifest = shipped.manifest
    people = "1 patient" if shipped.patients == 1 else f"{shipped.patients} patients"
    print_line(
        f"Exported {manifest.objects} objects of {people} to '{wanted.folder}' in {seconds:.1f} s, "
        f"by the profile '{manifest.profile.name}'.",
        style="green",
    )
    print_line(f"What was done: {wanted.folder}/summary.txt, attribute by attribute: manifest.json")
    if shipped.project_is_new:
        print_line(
            f"The project '{wanted.project}' began with this export. Back up the ledger and the "
            "key of the crosswalk: they are the only way back."
        )
    for kind, entry in manifest.overrides.items():
        what = "that may show a face" if kind == "faces" else "with text in their pixels, perhaps,"
        print_line(f"{entry['objects']} objects {what} went out because: {entry['reason']}")


def _tell_json(wanted: Shipment, shipped: Shipped, seconds: float) -> None:
    from secondread.cli.output import print_json

    manifest = shipped.manifest
    print_json(
        {
            "study": wanted.study.id,
            "folder": wanted.folder,
            "project": wanted.project,
            "project_is_new": shipped.project_is_new,
            "profile": manifest.profile.name,
            "methods": [f"{code} {meaning}" for code, meaning in manifest.profile.codes()],
            "objects": manifest.objects,
            "objects_with_blanked_pixels": manifest.blanked,
            "patients": shipped.patients,
            "overrides": manifest.overrides,
            "seconds": round(seconds, 3),
        }
    )
