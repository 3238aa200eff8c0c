"""``secondread model``: the models of this node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.model_card import show_card
from secondread.cli.model_export import export_model, sign_model
from secondread.cli.model_feedback import give_feedback
from secondread.cli.model_find import imported_packages, load_if_any, terms_of
from secondread.cli.model_import import import_model
from secondread.cli.model_monitor import monitor_models
from secondread.cli.model_pause import pause_model, resume_model, set_baseline
from secondread.cli.model_remove import remove_model
from secondread.cli.model_switch import disable_model, enable_model
from secondread.cli.model_test import test_model
from secondread.cli.options import ConfigOption, JsonOption
from secondread.config.settings import Settings
from secondread.domain.network import ModelReference
from secondread.errors import EXIT_FAILED, ManifestError, NotFoundError

if TYPE_CHECKING:
    from secondread.domain.packages import PackageTerms

app = typer.Typer(help="The models of this node.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model, as its package and the configuration say; ``fault`` is empty where it is sound.

    ``signature`` says who vouches for it.
    """

    id: str
    version: str
    title: str
    structures: int
    qualification: str
    switched_on: bool
    folder: str
    digest: str
    fault: str
    signature: str = ""


app.command("test")(test_model)
app.command("card")(show_card)
app.command("import")(import_model)
app.command("export")(export_model)
app.command("sign")(sign_model)
app.command("enable")(enable_model)
app.command("disable")(disable_model)
app.command("monitor")(monitor_models)
app.command("feedback")(give_feedback)
app.command("pause")(pause_model)
app.command("resume")(resume_model)
app.command("baseline")(set_baseline)
app.command("remove")(remove_model)


@app.command("list")
def list_models(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the models that are switched on, and those that could be."""
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.config.load import load

    states = tuple(inspect_models(load(config)))
    if as_json:
        print_json({"models": states})
        return
    if not states:
        print_line(
            "There are no models: neither [[models]] in the configuration nor built-in ones."
        )
        return
    print_table(
        ("MODEL", "VERSION", "STATE", "STRUCTURES", "QUALIFICATION", "TITLE"),
        [
            (
                state.id,
                state.version or "?",
                ("on" if state.switched_on else "off") if not state.fault else "fail",
                "?" if state.fault else state.structures,
                state.qualification or "-",
                state.fault or state.title,
            )
            for state in states
        ],
    )


@app.command("verify")
def verify_models(
    model: Annotated[
        str | None,
        typer.Argument(
            help="The id of a model, or a package's folder. Default: all that are switched on.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare every file of a model package with its digest, and look at its signature."""
    from secondread.cli.output import print_error, print_json, print_line

    states = _wanted(model, config)
    if as_json:
        print_json({"ok": all(not state.fault for state in states), "models": states})
    for state in () if as_json else states:
        if state.fault:
            print_error(state.fault)
        else:
            print_line(
                f"{state.id} {state.version} is sound (sha256 {state.digest[:12]}…); "
                f"{state.signature}.",
                style="green",
            )
    if any(state.fault for state in states):
        raise typer.Exit(EXIT_FAILED)


def _wanted(model: str | None, config: Path | None) -> tuple[ModelState, ...]:
    from secondread.config.load import load

    if model is not None and Path(model).is_dir():
        settings = load_if_any(config)
        others = settings.models if settings else ()
        terms = Terms(terms_of(settings), others)
        return (inspect_model(ModelReference("", model, ""), terms, switched_on=False),)
    states = tuple(inspect_models(load(config)))
    if model is None:
        chosen = tuple(state for state in states if state.switched_on)
        if not chosen:
            raise NotFoundError("No model is switched on; add one to [[models]].")
        return chosen
    chosen = tuple(state for state in states if model in (state.id, Path(state.folder).name))
    if not chosen:
        known = ", ".join(state.id for state in states) or "none"
        raise NotFoundError(f"There is neither a model nor a folder '{model}'; models: {known}.")
    return chosen


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of a package, and the models among which it finds what it builds on."""

    packages: PackageTerms
    others: Sequence[ModelReference]


def inspect_models(settings: Settings) -> Iterator[ModelState]:
    """All models: those switched on, imported ones, and those that come with SecondRead."""
    from secondread.bundles.registry import first_party_models

    terms = Terms(settings.packages, settings.models)
    for reference in settings.models:
        yield inspect_model(reference, terms, switched_on=True)
    configured = {Path(reference.path).resolve() for reference in settings.models}
    for folder in (*imported_packages(settings), *first_party_models()):
        if folder.resolve() not in configured:
            yield inspect_model(ModelReference("", str(folder), ""), terms, switched_on=False)


def inspect_model(reference: ModelReference, terms: Terms, *, switched_on: bool) -> ModelState:
    """Read and verify one model; what is wrong becomes its fault."""
    from secondread.bundles.manifest import read_manifest
    from secondread.bundles.registry import load_manifest, load_model
    from secondread.bundles.signature import check_signature

    try:
        if switched_on:
            manifest = load_model(reference, terms.packages, terms.others)
        else:
            manifest = read_manifest(Path(reference.path))
            manifest = load_manifest(manifest, terms.packages, terms.others)
        vouched = check_signature(manifest.folder, manifest.digest, terms.packages)
    except ManifestError as error:
        return ModelState(
            id=reference.id or Path(reference.path).name,
            version="",
            title="",
            structures=0,
            qualification=reference.qualification,
            switched_on=switched_on,
            folder=reference.path,
            digest="",
            fault=str(error),
        )
    return ModelState(
        id=manifest.id,
        version=manifest.version,
        title=manifest.title,
        structures=len(manifest.labels),
        qualification=reference.qualification,
        switched_on=switched_on,
        folder=reference.path,
        digest=manifest.digest,
        fault="",
        signature=vouched.sentence,
    )
