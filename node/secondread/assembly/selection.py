"""Which rules want a study, and which of its series each model gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from secondread.assembly.conditions import Circumstances, attributes_of
from secondread.assembly.envelope import Offer, Verdict, judge, name_of, why_not_preferred
from secondread.assembly.wanting import Wish, wish
from secondread.bundles.manifest import Manifest
from secondread.domain.job import Candidate, Plan, PlannedJob
from secondread.domain.network import LateImages, Rule
from secondread.domain.series import SeriesSummary, digest
from secondread.domain.study import Study
from secondread.errors import ConfigurationError

_NAMED_SERIES_MAX = 6
_PARTS_APART_MAX = 8
"""Parts of one series with one and the same reason that have a candidate each."""
_NO_INPUT = frozenset({"secondary-capture", "unwanted"})
_Judged = tuple[Offer, Verdict]
_Rank = tuple[bool, int, str]


def plan(
    study: Study,
    series: Sequence[SeriesSummary],
    rules: Sequence[Rule],
    manifests: Mapping[str, Manifest],
    *,
    explained: bool = True,
) -> Plan:
    """Decide what is to be done with a complete study; the same study gives the same plan.

    Every rule that wants the study gives one job: on the best part of a series that the rule asks
    for and that lies inside the model's envelope, or a refusal that says of each series why it is
    not. Best is the one for which the first of the model's preferred conditions holds, then the
    second, and so on; then most slices, finest voxels, lowest series number. Neither plan nor
    refusal names a person: series are named by their numbers, for a description is free text.

    Args:
        study: where it came from and when.
        series: its series, in any order.
        rules: those that are to be asked.
        manifests: of the models that are loaded, by id.
        explained: whether the answers contain what each condition was compared with, which takes
            most of the time.

    Raises:
        ConfigurationError: a rule names a model that is not loaded.
    """
    if not rules:
        return Plan((), "There are no rules, so nothing is analysed.")
    circumstances = Circumstances(peer=study.peer, first_at=study.first_at)
    offers = tuple(_offers(sorted(series, key=_rank)))
    jobs, answers = [], []
    for rule in rules:
        wanted = wish(rule, offers, circumstances, explained=explained)
        answers.append(wanted.answer)
        if wanted.answer.wanted:
            jobs.append(_job(rule, offers, wanted, _manifest(rule, manifests)))
    if jobs:
        return Plan(tuple(jobs), "", tuple(answers))
    objections = "; ".join(f"rule '{answer.rule}': {answer.reason[:-1]}" for answer in answers)
    return Plan((), f"No rule wants this study: {objections}.", tuple(answers))


def _offers(series: Sequence[SeriesSummary]) -> Iterator[Offer]:
    for item in series:
        for part in item.parts or (None,):
            yield Offer(item, part, attributes_of(item, part))


def _manifest(rule: Rule, manifests: Mapping[str, Manifest]) -> Manifest:
    try:
        return manifests[rule.model]
    except KeyError:
        raise ConfigurationError(
            f"Rule '{rule.name}' names the model '{rule.model}', which is not loaded."
        ) from None


def _job(rule: Rule, offers: Sequence[Offer], wanted: Wish, manifest: Manifest) -> PlannedJob:
    verdicts = judge(offers, manifest.input, wanted.objections)
    judged = list(zip(offers, verdicts, strict=True))
    best = min((pair for pair in judged if pair[1].accepted), key=_by_preference, default=None)
    refusal = ""
    if best is None:
        ranked = sorted(judged, key=_by_nearness)
        refusal = _refusal(manifest, ranked)
    offer = best[0] if best else ranked[0][0]
    return PlannedJob(
        rule=rule.name,
        model_id=manifest.id,
        model_version=manifest.version,
        series_instance_uid=offer.series.series_instance_uid,
        input_digest=_input_digest(rule, judged, best),
        priority=rule.priority,
        refusal=refusal,
        candidates=_candidates(judged, best, manifest),
        part=offer.part.name if best and offer.part else "",
    )


def _input_digest(rule: Rule, judged: Sequence[_Judged], best: _Judged | None) -> str:
    """What the job depends on: what the model gets, or all that it might have got."""
    chosen = best[0].part.digest if best and best[0].part else ""
    is_any = rule.late_images is LateImages.ANY
    if chosen and not is_any:
        return chosen
    # Our own results may come back, and they must not be taken for something new.
    images = [pair for pair in judged if pair[0].series.holds_images]
    if not is_any:
        # Nor does a screen shot that comes late make another report of a refusal necessary.
        images = [pair for pair in images if pair[1].outcome not in _NO_INPUT] or images
    return digest(
        {(offer.series.series_instance_uid, offer.series.digest) for offer, _ in images}, chosen
    )


def _rank(series: SeriesSummary) -> _Rank:
    return series.number is None, series.number or 0, series.series_instance_uid


def _by_preference(pair: _Judged) -> tuple[tuple[bool, ...], int, float]:
    """Between equals the order of the offers decides, which is that of their series' numbers."""
    offer, verdict = pair
    return verdict.lacks, -offer.slices, round(verdict.voxel_mm3, 4)


def _by_nearness(pair: _Judged) -> tuple[int, int]:
    offer, verdict = pair
    return -verdict.progress, -offer.slices


def _candidates(
    judged: Sequence[_Judged], best: _Judged | None, manifest: Manifest
) -> tuple[Candidate, ...]:
    """What is thought of each part; many of one series for which it is the same come together."""
    candidates = tuple(_candidate(pair, best, manifest) for pair in judged)
    if len(candidates) <= _PARTS_APART_MAX:
        return candidates
    alike: dict[Candidate, list[Candidate]] = {}
    for candidate in candidates:
        alike.setdefault(replace(candidate, part=""), []).append(candidate)
    found: list[Candidate] = []
    for members in alike.values():
        if len(members) <= _PARTS_APART_MAX:
            found += members
        else:
            named = f"{members[0].part} and {len(members) - 1} more"
            found.append(replace(members[0], part=named))
    return tuple(found)


def _candidate(pair: _Judged, best: _Judged | None, manifest: Manifest) -> Candidate:
    offer, verdict = pair
    reason = verdict.reason
    if best is pair:
        reason = f"Chosen: {reason}"
    elif best and verdict.accepted:
        reason = f"Suitable, another is better ({_why_behind(pair, best, manifest)}): {reason}"
    described = offer.attributes.get("SeriesDescription", ())
    return Candidate(
        series_instance_uid=offer.series.series_instance_uid,
        description=str(described[0]) if described else "",
        accepted=verdict.accepted,
        reason=reason,
        part=offer.part.name if offer.part else "",
    )


def _why_behind(pair: _Judged, best: _Judged, manifest: Manifest) -> str:
    """Why another offer that can be taken goes before this one."""
    offer, verdict = pair
    for at, (lacks, best_lacks) in enumerate(zip(verdict.lacks, best[1].lacks, strict=True)):
        if lacks and not best_lacks:
            return why_not_preferred(offer, manifest.input, at)
    if offer.slices < best[0].slices:
        return "it has fewer slices"
    if _by_preference(pair) > _by_preference(best):
        return "its voxels are coarser"
    return "it comes later"


def _refusal(manifest: Manifest, ranked: Sequence[_Judged]) -> str:
    """One paragraph: the nearest miss first, the rest by how near they came."""
    misses: dict[tuple[str, str], list[Offer]] = {}
    for offer, verdict in ranked:
        misses.setdefault((offer.series.series_instance_uid, verdict.reason), []).append(offer)
    named = list(misses.items())[:_NAMED_SERIES_MAX]
    sentences = [f"No series of this study can be analysed by {manifest.title}."]
    sentences += [f"{name_of(offers)}: {reason}" for (_, reason), offers in named]
    rest = {uid for uid, _ in misses} - {uid for (uid, _), _ in named}
    if rest:
        sentences.append(f"{len(rest)} more series do not fit either.")
    return " ".join(sentences)
