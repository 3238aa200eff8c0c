"""``secondread model pause``, ``resume`` and ``baseline``: a person's hand on a model at work."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.cli.monitor_reading import Named
    from secondread.config.settings import Settings
    from secondread.store import Transaction

ModelId = Annotated[str, typer.Argument(help="The id of the model.")]
VersionOption = Annotated[
    str,
    typer.Option(
        "--version", help="Which version. Default: the one that is in use.", show_default=False
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it goes into the trail together with your user name.")
]


def pause_model(
    model: ModelId,
    reason: ReasonOption,
    version: VersionOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a model look at nothing until it is resumed; its studies end as 'not analysed'."""
    from secondread.cli.output import print_json, print_line
    from secondread.cli.peer_edit import operator
    from secondread.cli.study import open_ledger
    from secondread.config.load import load
    from secondread.domain.monitoring import ModelPause

    settings, why = load(config), _stated(reason)
    with open_ledger(settings) as ledger, ledger.begin() as change:
        found = _named(settings, change, model, version)
        pause = ModelPause(found.id, found.version, time.time(), why, operator())
        change.model_pauses.pause(pause)
    if as_json:
        print_json({"model": found.id, "version": found.version, "paused": True})
        return
    print_line(
        f"Paused model '{found.id}' {found.version}: every study for it ends as 'not analysed', "
        "and its report says why. Those can be retried once the model is resumed."
    )


def resume_model(
    model: ModelId,
    reason: ReasonOption,
    version: VersionOption = "",
    retry: Annotated[
        bool, typer.Option("--retry", help="Have all that came meanwhile looked at.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a paused model work again."""
    from secondread.cli.output import print_json, print_line
    from secondread.cli.peer_edit import operator
    from secondread.cli.study import open_ledger
    from secondread.config.load import load
    from secondread.pipeline.retry import retry_paused

    settings, why, now = load(config), _stated(reason), time.time()
    with open_ledger(settings) as ledger, ledger.begin() as change:
        found = _named(settings, change, model, version)
        before = change.model_pauses.resume(found.id, found.version, operator(), why, now)
        studies = retry_paused(change, before, now) if retry else ()
    if as_json:
        document = {"model": found.id, "version": found.version, "paused": False}
        print_json({**document, "was_paused_for": before.reason, "studies_retried": list(studies)})
        return
    meanwhile = "What came meanwhile has not been analysed: see 'secondread study retry'."
    if retry:
        again = "studies that came meanwhile are on their way again."
        if len(studies) == 1:
            again = "study that came meanwhile is on its way again."
        meanwhile = f"{len(studies)} {again}"
    print_line(f"Model '{found.id}' {found.version} works again. {meanwhile}")


def set_baseline(
    model: ModelId,
    reason: ReasonOption,
    version: VersionOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Begin a new reference for drift from now on, after a change that is known and wanted."""
    from secondread.cli.output import print_json, print_line
    from secondread.cli.peer_edit import operator
    from secondread.cli.study import open_ledger
    from secondread.config.load import load
    from secondread.domain.monitoring import Baseline

    settings, why, now = load(config), _stated(reason), time.time()
    with open_ledger(settings) as ledger, ledger.begin() as change:
        found = _named(settings, change, model, version)
        who = operator()
        change.observations.set_baseline(Baseline(found.id, found.version, now, who, now), why)
    if as_json:
        print_json({"model": found.id, "version": found.version, "reason": why})
        return
    print_line(
        f"The reference of model '{found.id}' {found.version} begins anew: until "
        f"{settings.monitoring.reference} studies of a scanner and protocol were answered, nothing "
        "is said of drift there."
    )


def _named(settings: Settings, view: Transaction, model: str, version: str) -> Named:
    """The model and version that are meant.

    Raises:
        NotFoundError: neither the configuration nor any job knows them.
    """
    from secondread.cli.monitor_reading import name_model

    found = name_model(settings, view, model)
    if not version or version == found.version:
        return found
    known = view.model_work.versions(model)
    if version not in known:
        there = ", ".join(dict.fromkeys((found.version, *known)))
        raise NotFoundError(
            f"There is no version '{version}' of model '{model}'; there is {there}."
        )
    return replace(found, version=version)


def _stated(reason: str) -> str:
    if not reason.strip():
        raise UsageError(
            'Say why: --reason "…". It goes into the trail together with your user name.'
        )
    if not reason.strip().isprintable():
        raise UsageError("--reason takes printable text on one line.")
    return reason.strip()
