"""Numbers from the label maps of other models: volumes → features → estimators in ONNX.

Such a model looks at no voxel itself. It builds on models that it names in ``[[upstream]]``, and
takes the volumes of their structures, and what the headers tell of the patient::

    [[runtime.options.volumes]]
    id = "brain"
    model = "brain_mr"          # among [[upstream]]
    labels = [1, 2, 3]          # of that model, summed; or number = "…", an answer of it in mL

    [[runtime.options.features]]
    id = "brain_share"
    meaning = "brain volume over intracranial volume"      # in refusals
    ratio = ["brain", "intracranial"]    # or volume = "brain", or attribute = "PatientAge"
    low = 0.64                  # the training range; outside it the model refuses
    high = 0.84
    number = "brain_share"      # optional: as [[output.numbers]] declares it

    [[runtime.options.features]]
    id = "sex"
    meaning = "sex"
    attribute = "PatientSex"
    codes = { F = 0.0, M = 1.0 }         # of an attribute that is a text

    [[runtime.options.estimators]]
    file = "svm.onnx"           # among [files]: features (1, n) → probabilities (1, 2)
    features = ["brain_share", "sex"]    # in the order in which it was trained
    number = "probability_svm"
    finding = "pattern"         # optional, with the probability
    above = 0.5                 # the finding is yes from here on
    yes = "present"
    no = "absent"

    [[runtime.options.percentiles]]
    number = "brain_percentile" # from 100 × the lowest to 100 × the highest quantile of the lines
    feature = "brain_share"
    against = "age"
    lines = [[5.0, 0.90, -0.003], [95.0, 0.99, -0.003]]    # percentile, at 0, slope

An age or a sex that the headers do not tell, and a feature outside what was trained on, are
refusals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.bundles.package import MANIFEST_NAME, faults_of
from secondread.domain.answer import AnsweredFinding, AnsweredNumber, ModelAnswer
from secondread.domain.technical import AttributeValue
from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker.prediction import Check, Prediction
from secondread.inference.worker.runtimes.estimating import Estimator, Feature, Percentile, Volume

__all__ = ["FeaturesRuntime"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class FeaturesRuntime:
    """Estimators on volumes and attributes, ready for any number of volumes."""

    takes = ("attributes", "upstream")

    def __init__(self, manifest: Mapping[str, Any], folder: Path, _device: str = "cpu") -> None:
        """Read what is worked out, and load the estimators.

        Args:
            manifest: the parsed `model.toml`.
            folder: where the model's files lie; their digests were checked by the caller.

        Raises:
            ManifestError: the options name what there is not, or a file is no such estimator.
        """
        options = manifest["runtime"].get("options", {})
        with faults_of(folder / MANIFEST_NAME):
            if unknown := set(options) - {"volumes", "features", "estimators", "percentiles"}:
                raise ValueError(f"unknown options: {', '.join(sorted(unknown))}")
            self._volumes = {row["id"]: Volume.read(row) for row in options.get("volumes", ())}
            self._features = {row["id"]: Feature.read(row) for row in options["features"]}
            self._percentiles = [Percentile.read(row) for row in options.get("percentiles", ())]
            self._estimators = [
                Estimator.read(row, folder, manifest["files"]) for row in options["estimators"]
            ]
            self._check(manifest)

    def _check(self, manifest: Mapping[str, Any]) -> None:
        """Hold that whatever is named is there."""
        models = {row["id"] for row in manifest.get("upstream", ())}
        used = {name for one in self._features.values() for name in one.volumes}
        asked = {name for one in self._estimators for name in one.features}
        asked |= {name for one in self._percentiles for name in (one.feature, one.against)}
        told = set(manifest["input"].get("attributes", ()))
        wanted = {one.attribute for one in self._features.values() if one.attribute}
        absent = [
            *sorted({one.model for one in self._volumes.values()} - models),
            *sorted(used - set(self._volumes)),
            *sorted(asked - set(self._features)),
            *sorted(wanted - told),
        ]
        if absent:
            raise ManifestError(
                f"The features of model '{manifest['model']['id']}' are made from "
                f"{', '.join(absent)}, which its model.toml does not declare."
            )

    def predict(
        self,
        voxels: npt.NDArray[np.generic],
        affine_lps: npt.NDArray[np.float64],
        *,
        attributes: Mapping[str, AttributeValue] = _NOTHING,
        upstream: Mapping[str, Prediction] = _NOTHING,
    ) -> Prediction:
        """Work out the features of a volume ``(slice, row, column)``, and what they say.

        Args:
            voxels: only their shape counts.
            affine_lps: 4x4, (slice, row, column, 1) → LPS mm.
            attributes: what the headers tell, by the names of ``domain.technical``.
            upstream: what the models say that this one builds on, by their ids.

        Raises:
            InvalidPredictionError: a model that this one builds on did not give what it should.
        """
        nothing = np.zeros(voxels.shape, np.uint8)
        voxel_ml = abs(float(np.linalg.det(np.asarray(affine_lps)[:3, :3]))) / 1000
        volumes = {name: one.measure(upstream, voxel_ml) for name, one in self._volumes.items()}
        checks: list[Check] = []
        values: dict[str, float] = {}
        for name, feature in self._features.items():
            value = feature.value(volumes, attributes)
            if value is None:
                reason = (
                    f"The {feature.meaning} is not told by the images or is not one that this "
                    "model was trained with; it cannot do without it."
                )
                return Prediction(nothing, reason, tuple(checks))
            check = feature.check(value)
            checks.append(check)
            if not check.passed:
                return Prediction(nothing, feature.refusal(value), tuple(checks))
            values[name] = value
        return Prediction(nothing, None, tuple(checks), answer=self._answer(values))

    def _answer(self, values: Mapping[str, float]) -> ModelAnswer:
        numbers, findings = [], []
        for name, feature in self._features.items():
            if feature.number:
                numbers.append(AnsweredNumber(feature.number, values[name]))
        for line in self._percentiles:
            rank = line.rank(values[line.feature], values[line.against])
            numbers.append(AnsweredNumber(line.number, rank))
        for one in self._estimators:
            probability = one.probability([values[name] for name in one.features])
            if not (math.isfinite(probability) and 0 <= probability <= 1):
                raise InvalidPredictionError(
                    f"The estimator '{one.name}' gave a probability that is not between 0 and 1."
                )
            numbers.append(AnsweredNumber(one.number, probability))
            if one.finding:
                value = one.yes if probability >= one.above else one.no
                findings.append(AnsweredFinding(one.finding, value, probability))
        return ModelAnswer(tuple(numbers), tuple(findings))
