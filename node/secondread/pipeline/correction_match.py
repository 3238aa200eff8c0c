"""Which job an object is about that came back: by what it refers to, never by chance.

Three signs, the surest first: it names one of our segmentations; its segments have the Tracking
UIDs that we gave them; a person drew the same structures on the same images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from secondread.monitoring.structures import Structure, pair


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job of the same study whose result somebody may have corrected.

    Attributes:
        lineage: the same for all versions of a job.
        series_instance_uid: of the images that were analysed.
        sources: SOP Instance UIDs of these.
        result_uids: of its segmentations, in every form.
        editions: files of its segmentations, one tuple for each form, the best to read first.
    """

    job_id: int
    model_id: str
    lineage: str
    version: int
    series_instance_uid: str
    sources: tuple[str, ...]
    result_uids: tuple[str, ...]
    editions: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Signs:
    """What a segmentation that came back says about where it comes from.

    Attributes:
        named: SOP Instance UIDs of all objects that it refers to.
        series_uids: of the series that it refers to.
        structures: what its segments show.
        is_automatic: whether every segment was drawn by an algorithm alone.
    """

    named: frozenset[str]
    series_uids: frozenset[str]
    structures: tuple[Structure, ...]
    is_automatic: bool


class NotMatchedError(ValueError):
    """There is no job that it is surely about; the message is a sentence for people."""


def find_job(
    signs: Signs,
    candidates: Sequence[Candidate],
    structures: Mapping[int, Sequence[Structure]],
) -> Candidate:
    """The job that a segmentation corrects.

    Args:
        signs: what it says.
        candidates: the jobs of its study.
        structures: what our segmentation shows, by job id.

    Raises:
        NotMatchedError: it is about none of them, or about several.
    """
    if not candidates:
        raise NotMatchedError(
            "Its study has no segmentation of this node that was sent and is still kept here, so "
            "there is nothing that it could correct."
        )
    named = [one for one in candidates if signs.named.intersection(one.result_uids)]
    if named:
        return _only(named, signs, structures)
    theirs = {one.tracking_uid for one in signs.structures if one.tracking_uid}
    tracked = [
        one
        for one in candidates
        if theirs & {own.tracking_uid for own in structures[one.job_id] if own.tracking_uid}
    ]
    if tracked:
        return _only(tracked, signs, structures)
    return _by_images(signs, candidates, structures)


def _by_images(
    signs: Signs,
    candidates: Sequence[Candidate],
    structures: Mapping[int, Sequence[Structure]],
) -> Candidate:
    same_images = [one for one in candidates if _is_about(signs, one)]
    if not same_images:
        raise NotMatchedError(
            "It names none of our results, and refers to no images that were analysed."
        )
    if signs.is_automatic:
        raise NotMatchedError(
            "It names none of our results, and an algorithm has drawn all of it: it may be "
            "another program's answer, and no correction."
        )
    alike = [one for one in same_images if pair(structures[one.job_id], signs.structures).pairs]
    if not alike:
        raise NotMatchedError(
            "It names none of our results, and shows none of the structures that were found."
        )
    return _only(alike, signs, structures)


def _is_about(signs: Signs, one: Candidate) -> bool:
    if one.sources and signs.named.intersection(one.sources):
        return True
    return not one.sources and one.series_instance_uid in signs.series_uids


def _only(
    found: Sequence[Candidate], signs: Signs, structures: Mapping[int, Sequence[Structure]]
) -> Candidate:
    """The one that is left: the newest version, then that with most of its structures."""
    newest: dict[str, Candidate] = {}
    for one in sorted(found, key=lambda candidate: candidate.version):
        newest[one.lineage] = one
    # A job whose very result is named is meant, though there may be a newer version of it.
    exact = [one for one in found if signs.named.intersection(one.result_uids)]
    left = _unlike(exact or list(newest.values()))
    scores = {one.job_id: len(pair(structures[one.job_id], signs.structures).pairs) for one in left}
    most = [one for one in left if scores[one.job_id] == max(scores.values())]
    if len(most) > 1:
        raise NotMatchedError(
            f"It may correct the results of {len(most)} jobs, and nothing in it says which."
        )
    return most[0]


def _unlike(found: Collection[Candidate]) -> list[Candidate]:
    """One of each: jobs of two rules may have the very same result."""
    first: dict[frozenset[str], Candidate] = {}
    for one in sorted(found, key=lambda candidate: candidate.job_id):
        first.setdefault(frozenset(one.result_uids), one)
    return list(first.values())
