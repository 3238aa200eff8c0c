"""How 'secondread study show' tells what was fetched."""

from __future__ import annotations

from secondread.cli.story_fetches import fetch_document, tell_fetches
from secondread.domain.fetch import Fetch, FetchKind, FetchState


def row(kind: FetchKind, state: FetchState, objects: int | None, reason: str) -> Fetch:
    return Fetch(1, 1, "pacs", kind, "2.25.7", state, 2, objects, 100.0, 200.0, reason)


def test_what_came_is_summed_up_and_what_did_not_says_why() -> None:
    fetches = [
        row(FetchKind.SEARCH, FetchState.DONE, None, "'pacs' has 3 earlier studies."),
        row(FetchKind.PRIOR, FetchState.DONE, 20, "Fetched."),
        row(FetchKind.PRIOR, FetchState.DONE, 20, "Fetched."),
        row(FetchKind.PRIOR, FetchState.READY, None, "Nobody is there."),
    ]
    assert list(tell_fetches(fetches, 300.0)) == [
        "  Fetched from 'pacs': 2 earlier studies, 40 objects.",
        "    done      'pacs' has 3 earlier studies.",
        "    done      Fetched.",
        "    done      Fetched.",
        "    ready     earlier study, try 3 now, because: Nobody is there.",
    ]


def test_missing_images_are_no_earlier_study() -> None:
    (line, _) = tell_fetches([row(FetchKind.MISSING, FetchState.DONE, 1, "Fetched.")], 300.0)
    assert line == "  Fetched from 'pacs': 1 object."
    assert fetch_document(row(FetchKind.MISSING, FetchState.DONE, 1, ""))["kind"] == "missing"
