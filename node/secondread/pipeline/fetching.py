"""What the pipeline asks to be fetched from archives, and how long a report waits for it.

The role ``deliver`` fetches (``delivery.fetcher``); what comes is a study like any other, and the
report on it is what a later one is compared with (``pipeline.earlier``).
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from secondread.assembly.conditions import Circumstances
from secondread.assembly.wanted_series import is_wanted
from secondread.domain.completeness import Completeness
from secondread.domain.fetch import Fetch, FetchKind, FetchState
from secondread.domain.job import Job
from secondread.domain.network import Rule
from secondread.domain.states import StudyState
from secondread.domain.study import Study
from secondread.errors import NotFoundError
from secondread.pipeline.cases import Cases
from secondread.pipeline.headers import summaries
from secondread.pipeline.workplace import Workplace
from secondread.store import Transaction
from secondread.store.fetches import EVENT

log = structlog.stdlib.get_logger(__name__)

WAIT_S = 5.0
"""How long a report waits before it is looked again whether earlier studies have come."""
_ON_ITS_WAY = frozenset({StudyState.RECEIVING, StudyState.ASSEMBLING, StudyState.ANALYSING})
_FOR_PRIORS = frozenset({FetchKind.SEARCH, FetchKind.PRIOR})


def ask_for_missing(place: Workplace, case: Cases, terms: Mapping[str, Completeness]) -> None:
    """Have fetched what an archive has of a study and the node has not, where a rule asks for it.

    Once for each number that the archive tells. Files are read for it only where some archive has
    more than is here.

    Args:
        place: where the node works.
        case: the study, and what is known of it.
        terms: when it is complete, by the rule's name.
    """
    here = len(case.facts.instances)
    asked: dict[str, list[Rule]] = {}
    for rule in place.rules:
        fetch, one = rule.fetch, terms.get(rule.name)
        if fetch is None or not fetch.missing or one is None or one.ask != fetch.source:
            continue
        count = case.facts.archives.get(fetch.source)
        if count is not None and (count.objects or 0) > here:
            asked.setdefault(fetch.source, []).append(rule)
    if not asked:
        return
    study = case.study
    try:
        series = summaries(place, study)
    except NotFoundError:
        # Whoever plans the study says what is gone.
        return
    circumstances = Circumstances(study.peer, study.first_at)
    for source, rules in asked.items():
        if not any(is_wanted(rule, series, circumstances) for rule in rules):
            continue
        counts = (here, case.facts.archives[source].objects or 0)
        with place.ledger.begin() as change:
            if change.fetches.ask_for_missing(
                study.id, source, study.study_instance_uid, counts, case.now
            ):
                log.info("missing images asked for", study_id=study.id, source=source)


def ask_for_priors(change: Transaction, rule: Rule | None, study: Study, now: float) -> None:
    """Have earlier studies looked for, where a rule for which a job was planned wants them.

    A study that was itself fetched for another has none of its own: else the whole past of a
    patient would be fetched, one study after the other.
    """
    if rule is None or rule.shadow or rule.fetch is None or not rule.fetch.priors:
        return
    if not change.fetches.brought(study.study_instance_uid):
        change.fetches.ask(study.id, rule.fetch.source, FetchKind.SEARCH, "", now)


def find_awaited(place: Workplace, job: Job, rule: Rule) -> str:
    """Why the report of a job waits, in one sentence; '' where it does not, or has for long enough.

    That it goes on without an earlier study is in the trail.
    """
    terms = rule.fetch
    if terms is None or not terms.priors or rule.shadow or job.shadow:
        return ""
    with place.ledger.read() as view:
        rows = [
            one
            for one in view.fetches.of_study(job.study_id)
            if one.kind in _FOR_PRIORS and one.source == terms.source
        ]
        reason = next((why for one in rows if (why := _waits_for(view, one))), "")
    if not reason:
        return ""
    if place.clock.now() < job.created_at + terms.wait_s:
        return reason
    text = f"The report goes on after {terms.wait_s:g} s without an earlier study. {reason}"
    with place.ledger.begin() as change:
        said = change.trail.of_study(job.study_id)
        if not any(row.event == EVENT and row.job_id == job.id for row in said):
            change.trail.append(
                place.clock.now(), EVENT, text, study_id=job.study_id, job_id=job.id
            )
            log.warning("report goes on without an earlier study", job=job.key)
    return ""


def _waits_for(view: Transaction, one: Fetch) -> str:
    """Why a report waits for what is fetched; '' where it does not."""
    if one.state is FetchState.READY:
        what = (
            "Earlier studies are looked for" if one.kind is FetchKind.SEARCH else "One is fetched"
        )
        return f"{what} at '{one.source}'. {one.reason}".rstrip()
    if one.kind is not FetchKind.PRIOR or one.state is FetchState.FAILED or not one.objects:
        return ""
    try:
        study = view.studies.find(one.study_instance_uid)
    except NotFoundError:
        return f"One that '{one.source}' has sent is about to come in."
    if study.state in _ON_ITS_WAY:
        return f"One from '{one.source}', study {study.id}, is {study.state}."
    return ""
