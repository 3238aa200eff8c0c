"""Which rules want a study, and which of its series each model gets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from secondread.assembly.envelope import Verdict, is_worth_stacking, judge
from secondread.assembly.series import SeriesHeaders
from secondread.bundles.manifest import Manifest
from secondread.dicom.geometry import Stack, stack
from secondread.domain.instance import Instance
from secondread.domain.job import Candidate, Plan, PlannedJob
from secondread.domain.network import Rule
from secondread.domain.study import Study
from secondread.errors import ConfigurationError, GeometryError

_NAMED_SERIES_MAX = 6
_IDENTIFIER_RANK = tuple[bool, int, str]


def plan(
    study: Study,
    series: Sequence[SeriesHeaders],
    rules: Sequence[Rule],
    manifests: Mapping[str, Manifest],
) -> Plan:
    """Decide what is to be done with a complete study; the same study gives the same plan.

    Every rule that wants the study gives one job: on the series with the most slices, and among
    those with the finest voxels, that lies inside the model's envelope and is one sound volume; or
    a refusal that says of each series why it is not. Neither names a person: series are named by
    their numbers, for a description is free text.

    Raises:
        ConfigurationError: a rule names a model that is not loaded.
    """
    if not rules:
        return Plan((), "There are no rules, so nothing is analysed.")
    geometries = {
        item.series_instance_uid: _geometry(item) for item in series if is_worth_stacking(item)
    }
    jobs = []
    objections = []
    for rule in rules:
        if objection := _objection(rule, study, series):
            objections.append(f"rule '{rule.name}' {objection}")
        else:
            jobs.append(_job(rule, series, geometries, _manifest(rule, manifests)))
    if jobs:
        return Plan(tuple(jobs), "")
    return Plan((), f"No rule wants this study: {'; '.join(objections)}.")


def _manifest(rule: Rule, manifests: Mapping[str, Manifest]) -> Manifest:
    try:
        return manifests[rule.model]
    except KeyError:
        raise ConfigurationError(
            f"Rule '{rule.name}' names the model '{rule.model}', which is not loaded."
        ) from None


def _objection(rule: Rule, study: Study, series: Sequence[SeriesHeaders]) -> str:
    """Why a rule does not want a study; empty when it does."""
    if rule.peers and study.peer not in rule.peers:
        return f"takes studies from {_either(rule.peers)}, not from {study.peer}"
    found = sorted({item.modality for item in series if item.holds_images})
    if not found and any(item.unreadable for item in series):
        return "needs images, and none of the study's can be read from the spool"
    if not found:
        # Our own results may come back, and they must not be analysed in their turn.
        return "needs images, the study has none"
    if rule.modalities and not set(found) & set(rule.modalities):
        return f"needs modality {_either(rule.modalities)}, the study has {', '.join(found)}"
    if rule.study_description:
        descriptions = {header.study_description for item in series for header in item.headers}
        if not any(re.search(rule.study_description, text) for text in descriptions):
            return f"needs a Study Description that matches '{rule.study_description}'"
    return ""


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)


def _geometry(series: SeriesHeaders) -> Stack | GeometryError:
    try:
        return stack(series.headers)
    except GeometryError as error:
        return error


def _job(
    rule: Rule,
    series: Sequence[SeriesHeaders],
    geometries: Mapping[str, Stack | GeometryError],
    manifest: Manifest,
) -> PlannedJob:
    verdicts = [
        (item, judge(item, geometries.get(item.series_instance_uid), manifest.input))
        for item in series
    ]
    accepted = [pair for pair in verdicts if pair[1].accepted]
    refusal = ""
    if accepted:
        chosen = min(accepted, key=_by_preference)[0]
        sources = chosen.instances
    else:
        ranked = sorted(verdicts, key=_by_nearness)
        chosen = ranked[0][0]
        sources = tuple(
            instance for item in series if item.holds_images for instance in item.instances
        )
        refusal = _refusal(manifest, ranked)
    return PlannedJob(
        rule=rule.name,
        model_id=manifest.id,
        model_version=manifest.version,
        series_instance_uid=chosen.series_instance_uid,
        input_digest=digest(sources),
        priority=rule.priority,
        refusal=refusal,
        candidates=tuple(_candidate(item, verdict, chosen) for item, verdict in verdicts),
    )


def digest(instances: Iterable[Instance]) -> str:
    """sha256 over the sorted (SOP Instance UID, sha256) of the objects, as hex."""
    total = hashlib.sha256()
    for uid, content in sorted((item.sop_instance_uid, item.sha256) for item in instances):
        total.update(f"{uid} {content}\n".encode())
    return total.hexdigest()


def _by_preference(pair: tuple[SeriesHeaders, Verdict]) -> tuple[int, float, _IDENTIFIER_RANK]:
    series, verdict = pair
    return -verdict.slices, round(verdict.voxel_mm3, 4), _rank(series)


def _by_nearness(pair: tuple[SeriesHeaders, Verdict]) -> tuple[int, int, _IDENTIFIER_RANK]:
    series, verdict = pair
    return -verdict.progress, -verdict.slices, _rank(series)


def _rank(series: SeriesHeaders) -> _IDENTIFIER_RANK:
    return series.number is None, series.number or 0, series.series_instance_uid


def _candidate(series: SeriesHeaders, verdict: Verdict, chosen: SeriesHeaders) -> Candidate:
    reason = verdict.reason
    if verdict.accepted:
        reason = f"{'Chosen' if series is chosen else 'Suitable, another is better'}: {reason}"
    return Candidate(series.series_instance_uid, series.description, verdict.accepted, reason)


def _refusal(manifest: Manifest, ranked: Sequence[tuple[SeriesHeaders, Verdict]]) -> str:
    """One paragraph: the nearest miss first, the rest by how near they came."""
    sentences = [f"No series of this study can be analysed by {manifest.title}."]
    for series, verdict in ranked[:_NAMED_SERIES_MAX]:
        sentences.append(f"{_name(series)}: {verdict.reason}")
    rest = len(ranked) - _NAMED_SERIES_MAX
    if rest > 0:
        sentences.append(f"{rest} more series do not fit either.")
    return " ".join(sentences)


def _name(series: SeriesHeaders) -> str:
    return "A series without a number" if series.number is None else f"Series {series.number}"
