"""The cases of a recipe, and which of them each fold holds out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from secondread.errors import DataError
from secondread.learning.case import Case, Loaded
from secondread.learning.readers import dicom_seg, nifti, table
from secondread.learning.readers.dicom_labels import LabelTable
from secondread.learning.recipe import DataSource, Recipe
from secondread.learning.splits import grouped_folds


def find_cases(recipe: Recipe, data: Path) -> tuple[Case, ...]:
    """The cases of a recipe, by name; those of a table in its order.

    Raises:
        DataError: there are none, one lacks its labels, or does not tell its subject.
    """
    source = recipe.data
    column = recipe.target.column if recipe.target else ""
    if source.reader == "table":
        layout = table.TableLayout(
            id=source.id,
            subject=source.subject_column,
            target=column,
            subject_pattern=source.subject,
            needed=(*source.columns, *recipe.figures.subgroups),
        )
        cases = table.read_table(data / source.table, layout)
        return tuple(case for case in cases if case.id not in source.leave_out)
    known = _known(recipe, column, data)
    if source.reader == "dicom_seg":
        return tuple(
            _with(case, known) for case in dicom_seg.find_cases(data, _layout(source, data))
        )
    images = nifti.NiftiLayout(
        images=source.images,
        labels=source.labels,
        subject=source.subject,
        targets={name: case.target for name, case in known.items() if case.target is not None},
        values={name: case.values for name, case in known.items()},
        leave_out=source.leave_out,
    )
    cases = nifti.find_cases(data, images)
    return tuple(map(_pair, cases)) if source.pairs else cases


def load_case(recipe: Recipe, case: Case) -> Loaded:
    """Read the files of a case with the recipe's reader.

    Raises:
        DataError: they cannot be used; the reader's own function says why.
    """
    if recipe.data.reader != "dicom_seg":
        return nifti.load_case(case)
    segments = recipe.data.segments
    names = recipe.figures.labels or tuple(segments)
    return dicom_seg.load_case(case, LabelTable.read(segments, names))


def split(cases: Sequence[Case], recipe: Recipe) -> tuple[tuple[Case, ...], ...]:
    """The held-out cases of each fold; a subject lies in one fold only."""
    subjects = [case.subject for case in cases]
    folds = grouped_folds(subjects, recipe.folds.count, recipe.seed)
    return tuple(tuple(case for case in cases if case.subject in held) for held in folds)


def _known(recipe: Recipe, column: str, data: Path) -> Mapping[str, Case]:
    """What the table beside the images says, by image.

    No column is kept but those that the recipe names: what is kept gets into the run, and a table
    of patients has their names.
    """
    source, subgroups = recipe.data, recipe.figures.subgroups
    if not source.table:
        return {}
    # Subgroups of DICOM may be of its headers instead.
    needed = source.columns if source.reader == "dicom_seg" else (*source.columns, *subgroups)
    layout = table.TableLayout(id=source.id, subject=source.id, target=column, needed=needed)
    kept = {*source.columns, *subgroups}
    return {
        case.id: dataclasses.replace(
            case, values={name: value for name, value in case.values.items() if name in kept}
        )
        for case in table.read_table(data / source.table, layout)
    }


def _layout(source: DataSource, data: Path) -> dicom_seg.DicomLayout:
    key = dicom_seg.read_key(data / source.subject_key) if source.subject_key else b""
    return dicom_seg.DicomLayout(source.images, source.subject, key, source.leave_out)


def _with(case: Case, known: Mapping[str, Case]) -> Case:
    """A case with what the table says of it, and what its headers say."""
    if case.id not in known:
        return case
    told = known[case.id]
    return dataclasses.replace(case, target=told.target, values={**case.values, **told.values})


def _pair(case: Case) -> Case:
    if not case.subject.isdigit():
        raise DataError(
            f"'pairs' of [data] counts files, but the subject of '{case.id}' is no number."
        )
    return dataclasses.replace(case, subject=f"{(int(case.subject) + 1) // 2:03d}")
