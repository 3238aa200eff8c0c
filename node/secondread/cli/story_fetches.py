"""What was fetched from archives for a study, in lines and for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from secondread.cli.output import iso_time, local_time
from secondread.domain.fetch import FetchKind, FetchState

if TYPE_CHECKING:
    from secondread.domain.fetch import Fetch

_WHAT = {
    FetchKind.MISSING: "missing images",
    FetchKind.SEARCH: "search for earlier studies",
    FetchKind.PRIOR: "earlier study",
    FetchKind.WORK: "study of a worklist",
}


def tell_fetches(fetches: Sequence[Fetch], now: float) -> Iterator[str]:
    """A line for each, and what came in all; ``now`` is seconds since the epoch, UTC."""
    for source in dict.fromkeys(one.source for one in fetches):
        own = [one for one in fetches if one.source == source]
        if what := _sum(own):
            yield f"  Fetched from '{source}': {what}."
        for one in own:
            yield f"    {one.state:8}  {_tell(one, now)}"


def fetch_document(one: Fetch) -> dict[str, Any]:
    """One of them for JSON; times are ISO 8601, UTC."""
    return {
        "source": one.source,
        "kind": one.kind,
        "study_instance_uid": one.study_instance_uid,
        "state": one.state,
        "objects": one.objects,
        "attempts": one.attempts,
        "created_at": iso_time(one.created_at),
        "next_at": iso_time(one.next_at),
        "reason": one.reason,
    }


def _sum(fetches: Sequence[Fetch]) -> str:
    came = [one for one in fetches if one.state is FetchState.DONE and one.objects]
    if not came:
        return ""
    priors = sum(one.kind is FetchKind.PRIOR for one in came)
    total = sum(one.objects or 0 for one in came)
    studies = f"{priors} earlier {'study' if priors == 1 else 'studies'}, " if priors else ""
    return f"{studies}{total} object{'' if total == 1 else 's'}"


def _tell(one: Fetch, now: float) -> str:
    if one.state is not FetchState.READY:
        return one.reason
    when = "now" if one.next_at <= now else f"at {local_time(one.next_at)}"
    why = f", because: {one.reason}" if one.reason else ""
    return f"{_WHAT[one.kind]}, try {one.attempts + 1} {when}{why}"
