"""``secondread model test``: one model, once, contained as it is in the node; nothing is sent."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.model_find import ModelArgument, find_package, load_if_any, terms_of
from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import EXIT_FAILED, NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.bundles.manifest import Manifest
    from secondread.cli.model_trial import Trial
    from secondread.config.settings import Settings

_AXES = 3
_NO_LIMIT = 1e30
_POINTS_SHOWN = 3


def test_model(
    model: ModelArgument,
    study: Annotated[
        Path | None,
        typer.Option("--study", help="A folder with a study's DICOM files.", show_default=False),
    ] = None,
    volume: Annotated[
        Path | None,
        typer.Option(
            "--volume",
            help="An array, .npy, (slice, row, column), axial; or NIfTI.",
            show_default=False,
        ),
    ] = None,
    spacing: Annotated[
        str,
        typer.Option(
            "--spacing",
            help="Voxel sides of an array in mm: slice,row,column. Default: 1,1,1.",
            show_default=False,
        ),
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a model once on images that are at hand, contained as in the node; nothing is sent."""
    from secondread.cli.model_trial import Trial, prepare_study, run_once
    from secondread.observe.logging import configure

    if (study is None) is (volume is None):
        raise UsageError("Give the images: either --study FOLDER or --volume FILE.")
    configure("model-test", level="warning", output="console")
    settings = load_if_any(config)
    folder = find_package(settings, model)
    manifest = _loaded(settings, folder)
    device = settings.device if settings else "cpu"
    with tempfile.TemporaryDirectory(prefix="secondread-test-") as made:
        work = Path(made) / "job"
        if study is not None:
            refusal = prepare_study(study, manifest, work)
        else:
            assert volume is not None
            refusal = ""
            _prepare_volume(volume, spacing, work)
        if refusal:
            trial = Trial(manifest.id, manifest.version, refusal=refusal)
        else:
            trial = run_once(manifest, work, device)
    _report(trial, manifest, as_json)


def _prepare_volume(volume: Path, spacing: str, work: Path) -> None:
    from secondread.cli.model_volume import is_nifti, prepare_array, prepare_nifti

    if not volume.is_file():
        raise NotFoundError(f"There is no file '{volume}'.")
    if not is_nifti(volume):
        prepare_array(volume, _sides(spacing or "1,1,1"), work)
        return
    if spacing:
        raise UsageError("A NIfTI image tells its own spacing; leave out --spacing.")
    prepare_nifti(volume, work)


def _loaded(settings: Settings | None, folder: Path) -> Manifest:
    from secondread.bundles.manifest import read_manifest
    from secondread.bundles.registry import load_model
    from secondread.domain.network import ModelReference

    reference = ModelReference(read_manifest(folder).id, str(folder), "RESEARCH")
    return load_model(reference, terms_of(settings), settings.models if settings else ())


def _sides(text: str) -> tuple[float, ...]:
    try:
        sides = tuple(float(part) for part in text.split(","))
    except ValueError:
        sides = ()
    if len(sides) != _AXES or not all(0 < side < float("inf") for side in sides):
        raise UsageError("--spacing is three numbers in mm, such as 1.5,0.9,0.9.")
    return sides


def _limits(low: float, high: float) -> str:
    """In words; an end that is as far away as a float32 goes is none."""
    ends = (("from", low), ("to", high))
    said = [f"{word} {end:g}" for word, end in ends if abs(end) < _NO_LIMIT]
    return " ".join(said) or "any"


def _report(trial: Trial, manifest: Manifest, as_json: bool) -> None:
    from secondread.cli.output import print_error, print_json, print_line

    if as_json:
        print_json(trial)
    elif trial.fault:
        print_error(trial.fault)
    elif trial.refusal:
        print_line(f"Not analysed by {trial.model} {trial.version}: {trial.refusal}")
    else:
        print_line(
            f"{trial.model} {trial.version} answered in {trial.seconds:.1f} s; nothing was sent."
        )
    if not as_json:
        tabulate(trial, {one.id: one.unit.value for one in manifest.output.numbers})
    if trial.fault or trial.refusal:
        raise typer.Exit(EXIT_FAILED)


def tabulate(trial: Trial, units: Mapping[str, str]) -> None:
    """Print what a model answered, a table for each kind of it; ``units`` of its numbers."""
    from secondread.cli.output import print_table

    if trial.volumes_ml:
        rows = [(name, f"{volume:.1f} mL") for name, volume in trial.volumes_ml]
        print_table(("STRUCTURE", "VOLUME"), rows)
    if trial.numbers:
        rows = [
            (name, f"{value:g} {units[name]}".removesuffix(" 1")) for name, value in trial.numbers
        ]
        print_table(("NUMBER", "VALUE"), rows)
    if trial.findings:
        rows_of_findings = [
            (name, value, _probability(probability)) for name, value, probability in trial.findings
        ]
        print_table(("FINDING", "VALUE", "PROBABILITY"), rows_of_findings)
    if trial.places:
        rows_of_places = [
            (name, _points(points), _probability(probability))
            for name, points, probability in trial.places
        ]
        print_table(("PLACE", "SLICE, ROW, COLUMN", "PROBABILITY"), rows_of_places)
    if trial.checks:
        rows_of_checks = [
            (name, f"{value:g}", _limits(low, high), "ok" if passed else "fail")
            for name, value, low, high, passed in trial.checks
        ]
        print_table(("CHECK", "VALUE", "LIMITS", ""), rows_of_checks)


def _probability(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _points(points: Sequence[tuple[float, float, float]]) -> str:
    """The first of them; a line may have thousands."""
    said = "; ".join(", ".join(f"{at:.1f}" for at in point) for point in points[:_POINTS_SHOWN])
    return said if len(points) <= _POINTS_SHOWN else f"{said}; … {len(points)} points"
