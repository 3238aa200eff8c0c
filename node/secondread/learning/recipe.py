"""A recipe: one TOML file that says how a model is trained, checked before anything is read.

A run from a recipe is the same training wherever it runs: what is drawn at random hangs on the
recipe's seed, the fold and the step alone.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from secondread.errors import RecipeError

TASKS = ("segmentation", "classification", "regression")
READERS = ("nifti", "dicom_seg", "table")
WHOLE_IMAGE = ("cnn2d", "cnn3d", "cnn_gru")
"""Networks that tell one thing of a whole image."""
TABLES = ("svm", "tree", "forest", "logistic")
"""Estimators that learn from the columns of a table."""
ESTIMATORS = ("unet3d", "yardstick", "hybrid", *WHOLE_IMAGE, *TABLES)
_SECTIONS = (
    *("recipe", "data", "target", "preprocessing", "augmentation", "features"),
    *("estimator", "training", "folds", "figures"),
)
_LEAST_FOLDS = 2
_SEEDS = 2**32
"""What the generators of all packages take."""
_MEAN = "mean"
"""Figures give the mean of the labels under this name."""
_AXES = 3
_T = TypeVar("_T")


@dataclass(frozen=True)
class Heading:
    """``[recipe]``: what is trained, for which task, and the seed of everything random.

    ``independent_draws``: whether nothing that another seed, fold or step draws is drawn again
    (`learning.seeds`); without it neighbours share some of it, as they did when the models that
    come with SecondRead were trained.
    """

    name: str
    task: str
    seed: int
    independent_draws: bool = False


@dataclass(frozen=True)
class DataSource:
    """``[data]``: where the cases are. Folders and files are relative to ``--data``.

    ``subject`` is a regular expression with one group over the file's name. ``pairs``: the
    subject's number counts files, and the files 1 and 2 are the first subject's, 3 and 4 the
    second's (a left and a right side), so that both sides of a subject stay in one fold.
    ``leave_out`` names cases that are passed over, such as an image that nobody has labelled.

    ``table`` is a CSV file with a header line. With the reader ``table`` its rows are the cases and
    ``columns`` the features; ``subject`` then looks into the column ``subject_column``, and
    ``coding`` has the numbers that stand for the texts of a column. With images, ``id`` is the
    column that names the image, and its columns are targets, and values for subgroups.

    With the reader ``dicom_seg``, ``segments`` has for each label what its segments are called, and
    ``subject_key`` is the file with the key of the hash that stands for the Patient ID; ``subject``
    then looks into the Patient ID, else into the folder of the series.
    """

    reader: str
    subject: str
    images: str = ""
    labels: str = ""
    pairs: bool = False
    leave_out: tuple[str, ...] = ()
    table: str = ""
    id: str = ""
    subject_column: str = ""
    columns: tuple[str, ...] = ()
    coding: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    segments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    subject_key: str = ""


@dataclass(frozen=True)
class Target:
    """``[target]``: what is to be told of a case, where that is no label map.

    ``source`` is ``labels``, a ``measure`` of the case's label map over the label values
    ``labels``: their ``volume`` in mL, or their ``share`` of all labels together. Or it is
    ``column``, the column ``column`` of the table of [data].

    A classification makes two classes of it. Class 1 is what lies above ``above``, or above the
    median of the subjects that teach (``above_median``; those held out have no part in it), or what
    is one of the words ``positive``.
    """

    source: str
    measure: str = ""
    labels: tuple[int, ...] = ()
    column: str = ""
    above: float = math.nan
    above_median: bool = False
    positive: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One entry of ``[[preprocessing]]`` or ``[[augmentation]]``: its name and its sizes."""

    name: str
    options: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class FeatureSet:
    """``[features]``: which numbers of an image a hybrid estimator learns from.

    ``groups`` are some of ``shape``, ``first_order``, ``texture`` and ``embedding``. The first
    three are of a region: of ``labels`` (of the case's label map, which somebody has to draw), of
    the ``network``'s own answer, or of the whole ``image``. With ``labels`` each of these label
    values is a region by itself; else all of them together are one. ``bins`` are grey levels.

    ``network`` is a model that comes with SecondRead, or ``./NAME`` for a run beside this one; a
    fold takes its network of the same fold. ``untrained`` takes weights drawn at random instead,
    and ``taught_elsewhere`` says that no image of these data had a part in its training.
    ``layers`` are those whose activations are pooled: ``bottom``, ``half``, ``full``.
    """

    groups: tuple[str, ...]
    region: str = "labels"
    labels: tuple[int, ...] = ()
    bins: int = 32
    network: str = ""
    layers: tuple[str, ...] = ("bottom",)
    untrained: bool = False
    taught_elsewhere: bool = False


@dataclass(frozen=True)
class Estimator:
    """``[estimator]``: the kind, and the options that this kind takes."""

    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """``[training]``: how a network is trained; the rate rises in ``warm_steps``, then falls.

    ``grid`` is the size in voxels (x, y, z) of what is trained on; ``half_weight`` the weight of
    the loss at half resolution (deep supervision); ``average`` the decay of the running mean of the
    weights, which is what is kept; ``smooth`` the voxels that soften the Dice loss.

    Estimators that are no networks have no such section.
    """

    steps: int = 0
    batch: int = 0
    grid: tuple[int, ...] = ()
    peak_rate: float = 2e-3
    last_rate: float = 1e-5
    warm_steps: int = 100
    weight_decay: float = 1e-3
    clip: float = 2.0
    average: float = 0.995
    half_weight: float = 0.3
    smooth: float = 5.0
    mirror: bool = True
    save_every_s: float = 90.0


@dataclass(frozen=True)
class Folds:
    """``[folds]``: how many, grouped by subject.

    ``nested``: how many within the rest, by which an estimator for tables chooses its sizes.
    """

    count: int = 5
    nested: int = 5


@dataclass(frozen=True)
class Figures:
    """``[figures]``: the names of labels 1, 2 …, which are what is segmented.

    ``threshold`` is the probability from which on a classification says 1; ``subgroups`` are the
    columns that an evaluation splits its figures by.
    """

    labels: tuple[str, ...] = ()
    threshold: float = 0.5
    subgroups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A whole recipe, checked; ``text`` is the file as it was, for the copy in the run's folder."""

    heading: Heading
    data: DataSource
    preprocessing: tuple[Step, ...]
    augmentation: tuple[Step, ...]
    estimator: Estimator
    training: Training
    folds: Folds
    figures: Figures
    text: str
    target: Target | None = None
    features: FeatureSet | None = None

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.heading.name

    @property
    def task(self) -> str:
        """One of `TASKS`."""
        return self.heading.task

    @property
    def seed(self) -> int:
        """The seed of folds, first weights and augmentation."""
        return self.heading.seed


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: the file is not there, is not TOML, or says something that cannot be trained.
    """
    try:
        return parse_recipe(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"There is no recipe '{path.name}' there.") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"The recipe '{path.name}' is not UTF-8 text.") from error
    except IsADirectoryError as error:
        raise RecipeError(f"'{path.name}' is a folder; name the recipe, a TOML file.") from error


def parse_recipe(text: str) -> Recipe:
    """Check the text of a recipe; what it raises is what `read_recipe` raises."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"The recipe is not TOML: {error}.") from error
    for name in document:
        if name not in _SECTIONS:
            known = ", ".join(_SECTIONS)
            raise RecipeError(f"A recipe has no section [{name}]; it knows {known}.")
    estimator = dict(_table(document, "estimator"))
    kind = estimator.pop("kind", None)
    recipe = Recipe(
        heading=make_options(Heading, _table(document, "recipe"), "[recipe]"),
        data=make_options(DataSource, _table(document, "data"), "[data]"),
        estimator=Estimator(str(kind), estimator),
        preprocessing=_steps(document, "preprocessing"),
        augmentation=_steps(document, "augmentation"),
        training=make_options(Training, _table(document, "training"), "[training]"),
        folds=make_options(Folds, _table(document, "folds"), "[folds]"),
        figures=make_options(Figures, _table(document, "figures"), "[figures]"),
        text=text,
        target=_target(document),
        features=make_options(FeatureSet, _table(document, "features"), "[features]")
        if "features" in document
        else None,
    )
    _check(recipe)
    return recipe


def make_options(cls: type[_T], table: Mapping[str, Any], where: str) -> _T:
    """A frozen dataclass from a table of the recipe; every key is one of its fields.

    Args:
        cls: the dataclass; fields are bool, int, float, str, a tuple of one of these, or a mapping
            to one of these.
        table: the keys as TOML gave them.
        where: how a sentence names the table, such as ``[training]``.

    Raises:
        RecipeError: a key is unknown, missing or of another type.
    """
    types = get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in table:
        if key not in names:
            known = ", ".join(names) or "none"
            raise RecipeError(f"{where} has no key '{key}'; its keys are {known}.")
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        has_default = (
            f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        )
        if f.name not in table and not has_default:
            raise RecipeError(f"{where} lacks the key '{f.name}'.")
    return cls(**{k: _value(v, types[k], f"'{k}' of {where}") for k, v in table.items()})


def _value(value: Any, wanted: Any, what: str) -> Any:
    if get_origin(wanted) is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{what} is {value!r}, but must be a list.")
        return tuple(_value(item, get_args(wanted)[0], f"An entry of {what}") for item in value)
    if get_origin(wanted) is Mapping:
        if not isinstance(value, dict):
            raise RecipeError(f"{what} is {value!r}, but must be a table.")
        return {k: _value(v, get_args(wanted)[1], f"'{k}' in {what}") for k, v in value.items()}
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        raise RecipeError(f"{what} is {value!r}, but must be {names[wanted]}.")
    return value


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise RecipeError(f"'{name}' of the recipe must be a section, written [{name}].")
    return table


def _target(document: Mapping[str, Any]) -> Target | None:
    return (
        make_options(Target, _table(document, "target"), "[target]")
        if ("target" in document)
        else None
    )


def _steps(document: Mapping[str, Any], name: str) -> tuple[Step, ...]:
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RecipeError(f"Steps of {name} are a list, each written [[{name}]].")
    steps = []
    for number, entry in enumerate(entries, 1):
        options = dict(entry)
        step = options.pop("step", None)
        if not isinstance(step, str) or not step:
            raise RecipeError(f'Entry {number} of [[{name}]] lacks its name, such as step = "…".')
        steps.append(Step(step, options, f"[[{name}]] '{step}'"))
    return tuple(steps)


def _check(recipe: Recipe) -> None:
    _check_choice(recipe.task, TASKS, "'task' of [recipe]")
    _check_choice(recipe.data.reader, READERS, "'reader' of [data]")
    _check_choice(recipe.estimator.kind, ESTIMATORS, "'kind' of [estimator]")
    if re.fullmatch(r"[a-z][a-z0-9_]*", recipe.name) is None:
        raise RecipeError(
            f"The recipe's name is '{recipe.name}', but must be small letters, digits and '_'."
        )
    if not 0 <= recipe.seed < _SEEDS:
        raise RecipeError(f"'seed' of [recipe] must be 0 or more, and less than {_SEEDS}.")
    if recipe.folds.count < _LEAST_FOLDS:
        raise RecipeError(f"[folds] has count = {recipe.folds.count}, but must be 2 or more.")
    _check_subject(recipe.data)
    _check_task(recipe)
    if recipe.estimator.kind in ("unet3d", *WHOLE_IMAGE):
        _check_training(recipe.training)
    _check_figures(recipe.figures)
    if recipe.task == "segmentation" and not recipe.figures.labels:
        raise RecipeError("'labels' of [figures] must name what is segmented, label 1 first.")


def _check_figures(figures: Figures) -> None:
    names = figures.labels
    if len(set(names)) < len(names) or _MEAN in names or "" in names:
        raise RecipeError(
            f"'labels' of [figures] must be names that differ, none of them empty or '{_MEAN}'."
        )
    if not 0 <= figures.threshold <= 1:
        raise RecipeError("'threshold' of [figures] is a probability, between 0 and 1.")


def _check_task(recipe: Recipe) -> None:
    """Hold that estimator, task, reader and target go together."""
    kind, task, reader = recipe.estimator.kind, recipe.task, recipe.data.reader
    if (kind == "unet3d") != (task == "segmentation"):
        raise RecipeError(f"A {kind} does no {task}; a segmentation is what a unet3d does.")
    if (kind in TABLES) != (reader == "table"):
        raise RecipeError(f"A {kind} does not learn from the reader '{reader}' of [data].")
    needed: tuple[str, ...] = ("images",)
    if reader == "table":
        needed = ("table", "subject_column", "columns")
    elif recipe.data.table:
        needed = ("images", "id")
    if missing := [name for name in needed if not getattr(recipe.data, name)]:
        raise RecipeError(f"[data] lacks the key '{missing[0]}'.")
    if recipe.figures.subgroups and reader == "nifti" and not recipe.data.table:
        raise RecipeError("'subgroups' of [figures] are columns, but [data] names no 'table'.")
    if (recipe.target is None) != (task == "segmentation"):
        word = "has no section" if task == "segmentation" else "lacks the section"
        raise RecipeError(f"A {task} {word} [target], which says what is told of a case.")


def _check_choice(value: str, choices: tuple[str, ...], what: str) -> None:
    if value not in choices:
        raise RecipeError(f"{what} is '{value}', but must be one of {', '.join(choices)}.")


def _check_subject(data: DataSource) -> None:
    try:
        groups = re.compile(data.subject).groups
    except re.error as error:
        raise RecipeError(f"'subject' of [data] is not a regular expression: {error}.") from error
    if groups != 1:
        raise RecipeError(
            f"'subject' of [data] has {groups} groups, but must have one: the subject's name."
        )


def _check_training(training: Training) -> None:
    for name in ("steps", "batch", "peak_rate", "warm_steps", "clip", "save_every_s"):
        if getattr(training, name) <= 0:
            raise RecipeError(f"'{name}' of [training] must be more than 0.")
    for name in ("last_rate", "weight_decay", "half_weight", "smooth"):
        if getattr(training, name) < 0:
            raise RecipeError(f"'{name}' of [training] must be 0 or more.")
    if not 0 <= training.average < 1:
        raise RecipeError("'average' of [training] must be 0 or more, and less than 1.")
    if len(training.grid) != _AXES or min(training.grid) < 1:
        raise RecipeError(
            "'grid' of [training] must be three sizes in voxels, such as [40, 56, 40]."
        )
