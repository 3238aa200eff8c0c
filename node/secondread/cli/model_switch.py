"""``secondread model enable`` and ``disable``: which models run, in the operator's own file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from secondread.cli.model_find import ModelArgument, find_package
from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.peer_edit import operator
from secondread.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.bundles.manifest import Manifest
    from secondread.config.blocks import RowChange
    from secondread.config.edit import Draft, Plan
    from secondread.config.settings import Settings

CHANGED = "models-changed"
RESTART = "Start the node anew; until then it goes on as it is."

Qualification = Literal["RESEARCH", "PRODUCT"]


def enable_model(
    model: ModelArgument,
    qualification: Annotated[
        Qualification | None,
        typer.Option(
            "--qualification",
            help="RESEARCH or PRODUCT: what its results say they are. Default: RESEARCH.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switch a model on: check its package, and write it into the configuration."""
    from secondread.cli.output import print_json, print_line
    from secondread.config.load import load

    settings = load(config)
    folder = find_package(settings, model)
    manifest = _checked(settings, folder, qualification)

    def plan(now: Settings) -> Sequence[RowChange]:
        return [_change(now, manifest, qualification)]

    made = _commit(config, plan, manifest.id, f"Model '{manifest.id}' was switched on")
    if as_json:
        print_json({"path": made.path, "changed": made.changed, "id": manifest.id})
        return
    if not made.changed:
        print_line(f"Model '{manifest.id}' {manifest.version} was switched on already.")
        return
    print_line(f"Switched on model '{manifest.id}' {manifest.version}. {RESTART}")
    if all(rule.model != manifest.id for rule in made.settings.rules):
        print_line("No rule uses it yet; name it in [[rules]].")


def disable_model(
    model: Annotated[str, typer.Argument(help="The id of a model that is switched on.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switch a model off: take it out of the configuration; its package stays where it is."""
    from secondread.cli.output import print_json, print_line
    from secondread.config.blocks import Kind, RowChange

    def plan(settings: Settings) -> Sequence[RowChange]:
        _check_on(settings, model)
        return [RowChange(Kind.REMOVE, "models", model, {}), *_pins(settings, model)]

    made = _commit(config, plan, model, f"Model '{model}' was switched off")
    if as_json:
        print_json({"path": made.path, "changed": made.changed, "id": model})
    else:
        print_line(f"Switched off model '{model}'. {RESTART}")


def _checked(settings: Settings, folder: Path, qualification: str | None) -> Manifest:
    """The package as the node would load it at its start.

    Raises:
        ManifestError: it would not.
    """
    from secondread.bundles.manifest import read_manifest
    from secondread.bundles.registry import load_model
    from secondread.domain.network import ModelReference

    name = read_manifest(folder).id
    before = next((row.qualification for row in settings.models if row.id == name), "RESEARCH")
    reference = ModelReference(name, str(folder), qualification or before)
    return load_model(reference, settings.packages, settings.models)


def _change(settings: Settings, manifest: Manifest, qualification: str | None) -> RowChange:
    from secondread.bundles.signature import is_first_party
    from secondread.config.blocks import Kind, RowChange

    folder = None if is_first_party(manifest.folder) else str(manifest.folder.resolve())
    values: dict[str, object] = {"path": folder}
    if qualification is not None:
        values["qualification"] = qualification
    there = next((row for row in settings.models if row.id == manifest.id), None)
    if there is None:
        return RowChange(Kind.ADD, "models", manifest.id, {"id": manifest.id, **values})
    if Path(there.path).resolve() == manifest.folder.resolve():
        del values["path"]
    return RowChange(Kind.CHANGE, "models", manifest.id, values)


def _pins(settings: Settings, model: str) -> Iterator[RowChange]:
    """The other models keep the Series Numbers that they had beside this one."""
    from secondread.config.blocks import Kind, RowChange
    from secondread.domain.series_numbers import first_numbers

    before = first_numbers(settings.models)
    after = first_numbers(row for row in settings.models if row.id != model)
    for row in settings.models:
        if row.id != model and not row.package and after[row.id] != before[row.id]:
            yield RowChange(Kind.CHANGE, "models", row.id, {"series_from": before[row.id]})


def _check_on(settings: Settings, model: str) -> None:
    known = [reference.id for reference in settings.models]
    if model not in known:
        raise NotFoundError(
            f"No model '{model}' is switched on; these are: {', '.join(known) or 'none'}."
        )
    if rules := [f"'{rule.name}'" for rule in settings.rules if rule.model == model]:
        raise UsageError(
            f"Model '{model}' cannot be switched off, because [[rules]] {' and '.join(rules)} "
            f"{'use' if len(rules) > 1 else 'uses'} it. Change or remove them first."
        )


def _commit(config: Path | None, plan: Plan, model: str, text: str) -> Draft:
    """Write a change and its row of the trail, both or neither."""
    from secondread.config.edit import write

    detail = {"model": model, "by": operator()}

    def around(made: Draft) -> AbstractContextManager[object]:
        return recorded(made.settings, text, detail)

    return write(config, plan, around=around)


@contextmanager
def recorded(settings: Settings, text: str, detail: Mapping[str, str]) -> Iterator[None]:
    """A row of the trail around a change, both or neither.

    A folder without a ledger, where no node has ever run, has no trail to write to.
    """
    from secondread.cli.study import is_begun
    from secondread.store import Ledger

    if not is_begun(settings):
        yield
        return
    with closing(Ledger.open(settings.data_dir)) as ledger, ledger.begin() as change:
        change.trail.append(time.time(), CHANGED, f"{text} by {detail['by']}.", detail=detail)
        yield
