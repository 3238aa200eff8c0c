"""A model and those that it builds on, in one worker: they run one after another on one volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.bundles.package import Package, faults_of, read_package
from secondread.errors import ManifestError
from secondread.inference.worker.model import RUNTIMES, Builder, LoadedModel, load_model
from secondread.inference.worker.prediction import Check, Prediction

__all__ = ["LoadedChain", "load_chain"]


@dataclass(frozen=True, slots=True)
class _Link:
    """A loaded model, and what of its manifest the others need."""

    id: str
    model: LoadedModel
    upstream: tuple[str, ...]
    attributes: frozenset[str]
    label_values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LoadedChain:
    """Models that are ready to run; the last one answers."""

    links: tuple[_Link, ...]

    def predict(
        self,
        voxels: npt.NDArray[np.generic],
        affine_lps: npt.NDArray[np.float64],
        told: Mapping[str, Any],
    ) -> Prediction:
        """Run every model once; the first refusal is the answer.

        A runtime that takes ``upstream`` gets the predictions of the models that its manifest
        names, by id. The checks of the others come with the answer, with the name of their model.
        """
        found: dict[str, Prediction] = {}
        checks: list[Check] = []
        for link in self.links:
            last = link is self.links[-1]
            given = {**(told if last else _less(link, told))}
            given["upstream"] = {name: found[name] for name in link.upstream}
            prediction = link.model.predict(voxels, affine_lps, given)
            if last:
                return replace(prediction, checks=(*checks, *prediction.checks))
            checks += [replace(one, name=f"{link.id}: {one.name}") for one in prediction.checks]
            if prediction.refusal is not None:
                nothing = np.zeros(voxels.shape, np.uint8)
                return Prediction(nothing, prediction.refusal, tuple(checks))
            # What is handed on is for reading: the next model must not change it for another.
            labels = prediction.labels.view()
            labels.flags.writeable = False
            found[link.id] = replace(prediction, labels=labels, label_values=link.label_values)
        raise ManifestError("There is no model to run.")


def _less(link: _Link, told: Mapping[str, Any]) -> dict[str, Any]:
    """What a model may be told that is not the one that was asked for: no more than it asks for."""
    attributes = told.get("attributes", {})
    kept = {name: attributes[name] for name in attributes if name in link.attributes}
    return {**told, "attributes": kept}


def load_chain(
    packages: Sequence[tuple[Path, str]], device: str, runtimes: Mapping[str, Builder] = RUNTIMES
) -> LoadedChain:
    """Verify and load packages, each by its folder and digest, what others need first.

    Raises:
        ManifestError: a byte of one has changed, its runtime is not one of ours, or what it builds
            on is not among those before it.
    """
    links: dict[str, _Link] = {}
    for folder, digest in packages:
        model = load_model(folder, digest, device, runtimes)
        link = _link(read_package(folder), model, links)
        links[link.id] = link
    return LoadedChain(tuple(links.values()))


def _link(package: Package, model: LoadedModel, before: Mapping[str, _Link]) -> _Link:
    with faults_of(package.path):
        pins = {str(row["id"]): str(row["sha256"]) for row in package.raw.get("upstream", ())}
        labels = {str(row["name"]): int(row["value"]) for row in package.raw.get("labels", ())}
        attributes = frozenset(map(str, package.raw.get("input", {}).get("attributes", ())))
    for name, sha256 in pins.items():
        if name not in before or before[name].model.digest != sha256:
            raise ManifestError(
                f"Model '{package.id}' builds on '{name}' (sha256 {sha256[:12]}…), which did not "
                "come with it; restart the node."
            )
    return _Link(package.id, model, tuple(pins), attributes, labels)
