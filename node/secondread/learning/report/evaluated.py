"""The report of one run: figures, plots, subgroups, worst cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secondread.learning.evaluation import Evaluation
from secondread.learning.predictions import Row
from secondread.learning.report import plots
from secondread.learning.report.page import (
    Plot,
    Section,
    Table,
    embed,
    show_estimate,
    show_number,
    write_page,
)
from secondread.learning.report.pictures import draw_scene, load_scene
from secondread.learning.subgroups import Subgroup
from secondread.learning.tasks import FloatArray, columns
from secondread.learning.whole import write_whole

PICTURES = "pictures"

# The figures that subgroups are compared by; the rest is in figures.json.
_CHIEF = {
    "segmentation": ("dice",),
    "classification": ("roc_auc", "sensitivity", "specificity", "brier"),
    "regression": ("mean_absolute_error", "bias"),
}


@dataclass(frozen=True)
class Places:
    """Where things lie: the run, the data if there are any, and where the report goes."""

    run: Path
    data: Path | None
    out: Path


def write_report(evaluation: Evaluation, places: Places) -> Path:
    """Write `report.html`, and pictures of the worst cases beside it; returns the page's path.

    Pictures of an earlier report that this one does not show are removed.

    Raises:
        DataError: a picture's files cannot be read or do not belong together.
    """
    predictions = evaluation.predictions
    sections = [
        Section("Figures", (_how(evaluation),), _figures_table(evaluation)),
        Section("Plots", (), plots=_draw_plots(evaluation)),
    ]
    if evaluation.calibration:
        sections.append(_calibration(evaluation))
    if evaluation.subgroups:
        sections.append(_subgroups(evaluation))
    sections.append(_worst(evaluation, places))
    lead = [
        f"A {predictions.task}, judged by {len(predictions.rows)} cases of {evaluation.subjects} "
        f"subjects, each held out once, in {evaluation.folds} folds that share no subject."
    ]
    return write_page(places.out, f"Evaluation of {predictions.name}", lead, sections)


def chief_figures(evaluation: Evaluation) -> tuple[str, ...]:
    """The names of the figures that say most, in the order of the labels."""
    wanted = _CHIEF[evaluation.predictions.task]
    return tuple(name for name in evaluation.figures if name.rpartition(".")[2] in wanted)


def _how(evaluation: Evaluation) -> str:
    how = evaluation.bootstrap
    return (
        f"Intervals: {how.level:.0%}, percentiles of {how.draws} bootstrap draws of subjects, "
        f"seed {how.seed}."
    )


def _figures_table(evaluation: Evaluation) -> Table:
    entries = {tuple(name.rpartition(".")[::2]): each for name, each in evaluation.figures.items()}
    labels = list(dict.fromkeys(label for label, _ in entries))
    measures = list(dict.fromkeys(measure for _, measure in entries))
    if labels == [""]:
        rows = tuple((name, show_estimate(each)) for (_, name), each in entries.items())
        return Table(("figure", "value (interval)"), rows)
    return Table(
        ("figure", *labels),
        tuple(
            (
                measure,
                *(
                    show_estimate(entries[label, measure]) if (label, measure) in entries else ""
                    for label in labels
                ),
            )
            for measure in measures
        ),
    )


def _draw_plots(evaluation: Evaluation) -> tuple[Plot, ...]:
    predictions = evaluation.predictions
    if predictions.task == "segmentation":
        names = predictions.label_names
        found = [embed("Dice of each case, by label", plots.draw_dice(predictions.rows, names))]
        for name in names:
            truth_ml, found_ml = _volumes(predictions.rows, name)
            picture = plots.draw_bland_altman(truth_ml, found_ml, name)
            found.append(embed(f"Bland–Altman of the volume of {name}", picture))
        return tuple(found)
    truth, answer = columns(predictions.rows)
    if predictions.task == "classification":
        return (
            embed("ROC curve", plots.draw_roc(truth, answer)),
            embed("Calibration", plots.draw_calibration(evaluation.calibration)),
        )
    return (embed("Bland–Altman", plots.draw_agreement(truth, answer)),)


def _volumes(rows: Sequence[Row], name: str) -> tuple[FloatArray, FloatArray]:
    known = [row.labels[name] for row in rows if name in row.labels]
    truth_ml = np.array([measures.truth_ml for measures in known], np.float64)
    return truth_ml, np.array([measures.found_ml for measures in known], np.float64)


def _calibration(evaluation: Evaluation) -> Section:
    rows = tuple(
        (
            f"{each.low:.1f} to {each.high:.1f}",
            str(each.count),
            show_number(each.probability) if each.count else "–",
            show_number(each.share) if each.count else "–",
        )
        for each in evaluation.calibration
    )
    columns_named = ("probability", "cases", "mean probability", "share of positive cases")
    return Section("Calibration", (), Table(columns_named, rows))


def _subgroups(evaluation: Evaluation) -> Section:
    names = chief_figures(evaluation)
    return Section(
        "Subgroups",
        ("A group of too few subjects is listed with its count alone.",),
        Table(
            ("group", "cases", "subjects", *names),
            tuple(_subgroup(each, names) for each in evaluation.subgroups),
        ),
    )


def _subgroup(group: Subgroup, names: Sequence[str]) -> tuple[str, ...]:
    cells = [show_estimate(group.figures[name]) if name in group.figures else "–" for name in names]
    return (f"{group.column}: {group.band}", str(group.cases), str(group.subjects), *cells)


def _worst(evaluation: Evaluation, places: Places) -> Section:
    drawn = []
    stale = set((places.out / PICTURES).glob("worst_*.png"))
    for number, row in enumerate(evaluation.worst, 1):
        scene = load_scene(row, places.run, places.data) if places.data else None
        if scene is not None:
            picture = draw_scene(scene)
            (places.out / PICTURES).mkdir(exist_ok=True)
            path = places.out / PICTURES / f"worst_{number}.png"
            write_whole(path, picture)
            stale.discard(path)
            drawn.append(embed(f"Case {row.id}: {_say(row)}", picture))
    for path in stale:
        path.unlink(missing_ok=True)
    notes: tuple[str, ...] = ()
    if drawn:
        notes = ("Green: the reference; red, dashed: the answer. The patient's right is left.",)
    return Section(
        "Worst cases",
        notes,
        Table(
            ("case", "fold", "what it reached"),
            tuple((row.id, str(row.fold), _say(row)) for row in evaluation.worst),
        ),
        tuple(drawn),
    )


def _say(row: Row) -> str:
    if row.labels:
        return ", ".join(f"{name} Dice {each.dice:.3f}" for name, each in row.labels.items())
    return f"truth {show_number(row.truth)}, answer {show_number(row.found)}"
