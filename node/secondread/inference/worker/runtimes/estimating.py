"""The parts of the runtime `features`: volumes, features, percentiles and estimators."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from secondread.bundles.entry import Entry
from secondread.domain.technical import AttributeValue
from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker.prediction import Check, Prediction
from secondread.inference.worker.runtimes.onnx_session import open_session

__all__ = ["Estimator", "Feature", "Percentile", "Volume"]

_LINE_PARTS = 3
_CLASSES = 2


@dataclass(frozen=True, slots=True)
class Volume:
    """The volume of structures of another model, or a number of mL that it gives itself."""

    model: str
    labels: tuple[int, ...] = ()
    number: str = ""

    @classmethod
    def read(cls, row: object) -> Volume:
        """Read an entry; raises EntryFault where something is wrong with it."""
        entry = Entry("[[runtime.options.volumes]]", row, ("id", "model", "labels", "number"))
        if entry.has("labels") == entry.has("number"):
            raise entry.fault("has to have either labels or a number")
        if entry.has("number"):
            return cls(entry.text("model"), number=entry.name("number"))
        labels = entry.value("labels")
        if not isinstance(labels, list) or not labels or not all(type(n) is int for n in labels):
            raise entry.fault("has labels that are no list of numbers of labels")
        return cls(entry.text("model"), tuple(labels))

    def measure(self, upstream: Mapping[str, Prediction], voxel_ml: float) -> float:
        """Give mL.

        Raises:
            InvalidPredictionError: the model is not there, or did not give the number.
        """
        if self.model not in upstream:
            raise InvalidPredictionError(f"The model '{self.model}' did not run before this one.")
        found = upstream[self.model]
        if not self.number:
            return float(np.isin(found.labels, self.labels).sum()) * voxel_ml
        for one in found.answer.numbers:
            if one.id == self.number:
                return one.value
        raise InvalidPredictionError(f"The model '{self.model}' gave no number '{self.number}'.")


@dataclass(frozen=True, slots=True)
class Feature:
    """One number that estimators take, and the range of it that they were trained on."""

    id: str
    meaning: str
    volumes: tuple[str, ...] = ()
    """One volume, or two of which the first is divided by the second."""
    attribute: str = ""
    codes: Mapping[str, float] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    number: str = ""

    @classmethod
    def read(cls, row: object) -> Feature:
        """Read an entry; raises EntryFault where something is wrong with it."""
        keys = {one.name for one in fields(cls)} - {"volumes"} | {"ratio", "volume"}
        entry = Entry("[[runtime.options.features]]", row, keys)
        sources = [key for key in ("ratio", "volume", "attribute") if entry.has(key)]
        if len(sources) != 1:
            raise entry.fault("has to have one of ratio, volume and attribute")
        volumes: tuple[str, ...] = (entry.text("volume"),) if entry.has("volume") else ()
        if entry.has("ratio"):
            volumes = tuple(str(name) for name in entry.value("ratio"))
            if len(volumes) != 2:
                raise entry.fault("has a ratio that is not of two volumes")
        codes = entry.value("codes") if entry.has("codes") else {}
        return cls(
            id=entry.name(),
            meaning=entry.text("meaning"),
            volumes=volumes,
            attribute=entry.text("attribute", ""),
            codes={str(text): float(number) for text, number in dict(codes).items()},
            low=entry.number_if_any("low"),
            high=entry.number_if_any("high"),
            number=entry.name("number") if entry.has("number") else "",
        )

    def value(
        self, volumes_ml: Mapping[str, float], attributes: Mapping[str, AttributeValue]
    ) -> float | None:
        """Give the feature; None where the headers do not tell it or it would be divided by 0.

        ``volumes_ml`` is by the ids of the volumes.
        """
        if self.attribute:
            told = attributes.get(self.attribute)
            if isinstance(told, str):
                return self.codes.get(told)
            return float(told) if isinstance(told, int | float) and not self.codes else None
        first, *rest = (volumes_ml[name] for name in self.volumes)
        if not rest:
            return first
        return first / rest[0] if rest[0] > 0 else None

    def check(self, value: float) -> Check:
        """Compare with what was trained on."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        largest = float(np.finfo(np.float32).max)
        ends = (max(low, -largest), min(high, largest))
        return Check(self.id, value, *ends, low <= value <= high)

    def refusal(self, value: float) -> str:
        """Say that a value is outside what was trained on."""
        low = "any" if self.low is None else f"{self.low:.4g}"
        high = "any" if self.high is None else f"{self.high:.4g}"
        return (
            f"The {self.meaning} is {value:.4g}, outside what this model was trained with "
            f"({low} to {high}); it can say nothing about this patient."
        )


@dataclass(frozen=True, slots=True)
class Percentile:
    """Where a feature stands among others of the same age: lines of quantiles, from low to high."""

    number: str
    feature: str
    against: str
    lines: tuple[tuple[float, float, float], ...]
    """Percentile, value at 0, slope."""

    @classmethod
    def read(cls, row: object) -> Percentile:
        """Read an entry; raises EntryFault where something is wrong with it."""
        entry = Entry("[[runtime.options.percentiles]]", row, {one.name for one in fields(cls)})
        lines = tuple(tuple(float(part) for part in line) for line in entry.value("lines"))
        ranks = [line[0] for line in lines]
        if len(lines) < 2 or ranks != sorted(set(ranks)):
            raise entry.fault("has lines that are not two or more, from low to high")
        if any(len(line) != _LINE_PARTS for line in lines):
            raise entry.fault("has a line that is not [percentile, value at 0, slope]")
        return cls(
            entry.name("number"),
            entry.text("feature"),
            entry.text("against"),
            tuple((a, b, c) for a, b, c in lines),
        )

    def rank(self, value: float, against: float) -> float:
        """Give the percentile; what lies beyond the outer lines gets theirs."""
        # Lines fitted one by one may cross at the ends; sorted they cannot.
        ends = np.sort([at + slope * against for _, at, slope in self.lines])
        return float(np.interp(value, ends, [rank for rank, _, _ in self.lines]))


@dataclass(frozen=True, slots=True)
class Estimator:
    """A trained estimator: features (1, n) float32 → probabilities (1, 2), in ONNX Runtime."""

    name: str
    session: Any
    features: tuple[str, ...]
    number: str
    finding: str = ""
    above: float = 0.5
    yes: str = ""
    no: str = ""

    @classmethod
    def read(cls, row: object, folder: Path, files: Mapping[str, str]) -> Estimator:
        """Read an entry and load its file.

        Raises:
            EntryFault: something is wrong with the entry.
            ManifestError: the file is not one that ONNX Runtime can run, or takes another number
                of features.
        """
        keys = ("file", "features", "number", "finding", "above", "yes", "no")
        entry = Entry("[[runtime.options.estimators]]", row, keys)
        name = entry.text("file")
        if name not in files:
            raise entry.fault(f"names the file '{name}', which is not among [files]")
        features = tuple(str(one) for one in entry.value("features"))
        finding = entry.name("finding") if entry.has("finding") else ""
        return cls(
            name=name,
            session=_open(folder / name, len(features)),
            features=features,
            number=entry.name("number"),
            finding=finding,
            above=entry.number("above") if finding else 0.5,
            yes=entry.text("yes") if finding else "",
            no=entry.text("no") if finding else "",
        )

    def probability(self, values: Sequence[float]) -> float:
        """Give the probability of the second class.

        Raises:
            InvalidPredictionError: there are not two.
        """
        rows = np.array([values], np.float32)
        (found,) = self.session.run(["probabilities"], {"features": rows})
        if np.shape(found) != (1, _CLASSES):
            raise InvalidPredictionError(
                f"The estimator '{self.name}' gave {np.size(found)} probabilities; it has to give "
                "those of two classes."
            )
        return float(np.asarray(found)[0, 1])


def _open(path: Path, feature_count: int) -> Any:
    session = open_session(path)
    takes = [(one.name, one.shape[-1:]) for one in session.get_inputs()]
    # A sequence of tables, which classifiers give as well, is no row of probabilities.
    gives = [one.name for one in session.get_outputs() if one.type.startswith("tensor(")]
    if takes != [("features", [feature_count])] or "probabilities" not in gives:
        raise ManifestError(
            f"'{path.name}' has to take {feature_count} 'features' and give 'probabilities'."
        )
    return session
