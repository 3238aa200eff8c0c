"""What ``secondread model monitor`` shows of one model, read from configuration and ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secondread.errors import ManifestError, NotFoundError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.monitoring.challenge import Summary
    from secondread.monitoring.standing import Standing
    from secondread.store import Transaction
    from secondread.store.model_work import Day, WorkDone

DAYS = 30
"""So many days are in the picture of what was done."""
_REFUSALS_MAX = 1000
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Named:
    """A model by its id and version; ``rules`` use it, each with whether it is in shadow."""

    id: str
    version: str
    switched_on: bool
    rules: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """One version of one model at work.

    Attributes:
        refusals: why it refused, by the name of the check that failed; '' is before it saw an
            image.
        days: what was planned on each of the last ``DAYS`` days on which something was.
        standing: drift, feedback and pause.
        challenges: comparisons of which it is one side.
    """

    model: Named
    done: WorkDone
    refusals: Mapping[str, int]
    days: Sequence[Day]
    standing: Standing
    challenges: tuple[Summary, ...]


def name_models(settings: Settings, view: Transaction, wanted: str | None) -> tuple[Named, ...]:
    """The models that are meant: those switched on, or the one of that id.

    One that is not switched on any more is told by the last version that had a job.

    Raises:
        NotFoundError: there is none, or it has never had a job and is not switched on.
    """
    ids = [model.id for model in settings.models]
    if wanted is None:
        if not ids:
            raise NotFoundError("No model is switched on; add one to [[models]].")
        return tuple(name_model(settings, view, one) for one in ids)
    return (name_model(settings, view, wanted),)


def name_model(settings: Settings, view: Transaction, model_id: str) -> Named:
    """One model by its id.

    Raises:
        NotFoundError: it is not switched on and has never had a job.
    """
    from secondread.bundles.manifest import read_manifest

    reference = next((one for one in settings.models if one.id == model_id), None)
    rules = tuple((rule.name, rule.shadow) for rule in settings.rules if rule.model == model_id)
    versions = view.model_work.versions(model_id)
    if reference is not None:
        try:
            version = read_manifest(Path(reference.path)).version
        except ManifestError:
            # What is wrong with it 'model verify' says; what it did is in the ledger all the same.
            version = versions[0] if versions else "?"
        return Named(model_id, version, switched_on=True, rules=rules)
    if not versions:
        known = ", ".join(one.id for one in settings.models) or "none"
        raise NotFoundError(
            f"No model '{model_id}' is switched on or has had a job here; switched on: {known}."
        )
    return Named(model_id, versions[0], switched_on=False, rules=rules)


def watch(settings: Settings, view: Transaction, model: Named, now: float) -> Watched:
    """Everything about one model."""
    from secondread.pipeline.challengers import read_challenges
    from secondread.pipeline.watching import read_standing

    work, name = view.model_work, (model.id, model.version)
    return Watched(
        model=model,
        done=work.done(*name),
        refusals=work.refusals(*name, _REFUSALS_MAX),
        days=work.days(*name, now - DAYS * _DAY_S),
        standing=read_standing(view, *name, settings.monitoring),
        challenges=read_challenges(view, *name),
    )
