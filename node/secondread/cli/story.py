"""What the ledger knows about one study, told in the order in which people ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secondread.cli.output import local_time
from secondread.cli.story_fetches import tell_fetches
from secondread.cli.story_rules import tell_rule
from secondread.cli.story_series import SeriesStory, tell_series
from secondread.delivery.fallback import tell_fallbacks
from secondread.domain.commitment import CommitmentState
from secondread.domain.network import Urgency
from secondread.domain.states import DeliveryState, JobState, StudyState

if TYPE_CHECKING:
    from secondread.domain.commitment import Commitment
    from secondread.domain.fetch import Fetch
    from secondread.domain.instance import Instance
    from secondread.domain.job import Candidate, Job, RuleAnswer
    from secondread.domain.notice import Notice
    from secondread.domain.result import OutboxItem
    from secondread.domain.study import Study
    from secondread.store import Transaction
    from secondread.store.trail import TrailRow

_KINDS = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR",
    "1.2.840.10008.5.1.4.1.1.88.59": "Key Object Selection",
    "1.2.840.10008.5.1.4.1.1.11.1": "Presentation State",
    "1.2.840.10008.5.1.4.1.1.11.2": "Colour Presentation State",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF",
    "1.2.840.10008.5.1.4.1.1.30": "Parametric Map",
    "1.2.840.10008.5.1.4.1.1.481.3": "RT Structure Set",
}
_NOTICE_KINDS = {"mpps": "procedure step", "availability": "availability"}
_COMMITMENTS_TOLD = 20
_URGENCY = {Urgency.LOW: ", not urgent", Urgency.MEDIUM: "", Urgency.HIGH: ", urgent"}
_NO_LIMIT = 1e30
Check = tuple[str, float, float, float, bool]


@dataclass(frozen=True, slots=True)
class JobStory:
    """One job, with what was considered, what was checked and where its results went.

    Attributes:
        objects: how many it is about; 0 where that was not kept.
        replaced: whether there is a newer version of it.
    """

    job: Job
    objects: int
    replaced: bool
    candidates: tuple[Candidate, ...]
    checks: tuple[Check, ...]
    deliveries: tuple[OutboxItem, ...]


@dataclass(frozen=True, slots=True)
class NoticeStory:
    """What a peer said, and how many of the objects it named are here."""

    notice: Notice
    here: int


@dataclass(frozen=True, slots=True)
class StudyStory:
    """One study.

    Attributes:
        answers: what each rule made of it when it was last asked.
        not_asked: names of rules that have not been asked, and what was last decided about whether
            the study is complete for each; '' where nothing was said of it alone.
    """

    study: Study
    log_key: str
    series: tuple[SeriesStory, ...]
    answers: tuple[RuleAnswer, ...]
    not_asked: Mapping[str, str]
    notices: tuple[NoticeStory, ...]
    commitments: tuple[Commitment, ...]
    fetches: tuple[Fetch, ...]
    jobs: tuple[JobStory, ...]
    trail: tuple[TrailRow, ...]


def read_story(
    view: Transaction, study: Study, log_key: str, rules: Sequence[str] = ()
) -> StudyStory:
    """Collect everything that the ledger knows about a study; ``rules`` are those configured."""
    instances = view.instances.of_study(study.study_instance_uid)
    jobs = tuple(
        JobStory(
            job,
            len(view.jobs.sources(job.id)),
            view.jobs.has_newer(job),
            view.jobs.candidates(job.id),
            view.jobs.checks(job.id),
            tuple(view.outbox.of_job(job.id)),
        )
        for job in view.jobs.of_study(study.id)
    )
    here = {instance.sop_instance_uid for instance in instances}
    notices = tuple(
        NoticeStory(notice, len(here.intersection(notice.objects)))
        for notice in view.notices.of_study(study.study_instance_uid)
    )
    trail = tuple(view.trail.of_study(study.id))
    order = {name: at for at, name in enumerate(rules)}
    answers = sorted(view.studies.answers(study.id), key=lambda a: order.get(a.rule, len(order)))
    decided: dict[str, str] = {}
    for row in trail:
        for name, decision in row.detail.get("completeness", {}).items():
            decided[name] = decision["reason"]
    asked = sorted({row.detail["commitment"] for row in trail if "commitment" in row.detail})
    return StudyStory(
        study=study,
        log_key=log_key,
        series=_series(view, study, instances),
        answers=tuple(answers),
        not_asked={n: decided.get(n, "") for n in rules if n not in {a.rule for a in answers}},
        notices=notices,
        commitments=tuple(view.commitments.of_ids(asked[-_COMMITMENTS_TOLD:])),
        fetches=tuple(view.fetches.of_study(study.id)),
        jobs=jobs,
        trail=trail,
    )


def _series(
    view: Transaction, study: Study, instances: Sequence[Instance]
) -> tuple[SeriesStory, ...]:
    """Every series that has come, by number; those whose headers have not been read come last."""
    counts = Counter(instance.series_instance_uid for instance in instances)
    summaries = view.series.of_study(study.id)
    known = [SeriesStory(uid, counts[uid], one) for uid, one in summaries.items() if uid in counts]
    rest = [SeriesStory(uid, counts[uid], None) for uid in sorted(counts) if uid not in summaries]
    return (*known, *rest)


def tell(story: StudyStory, now: float) -> Iterator[str]:
    """The story in lines; ``now`` is seconds since the epoch, UTC."""
    study = story.study
    yield f"Study {study.id}: {study.state}"
    yield f"  {_waits(study, now)}"
    yield f"  Study Instance UID  {study.study_instance_uid}"
    yield f"  Name in the log     {story.log_key}"
    yield ""
    yield "What came"
    yield (
        f"  {study.instances} objects from peer '{study.peer}', "
        f"{local_time(study.first_at)} to {local_time(study.last_at)}{_URGENCY[study.urgency]}"
    )
    for one in story.series:
        yield from tell_series(one)
    if story.notices or story.commitments:
        yield ""
        yield "What its senders said and asked"
    for said in story.notices:
        yield f"  {local_time(said.notice.at)}  {_said(said)}"
    for asked in story.commitments:
        yield f"  {local_time(asked.asked_at)}  {_asked(asked, now)}"
    if story.fetches:
        yield ""
        yield "What was fetched for it"
        yield from tell_fetches(story.fetches, now)
    names = {one.series_instance_uid: one.name for one in story.series}
    if story.answers or story.not_asked:
        yield ""
        yield "What the rules made of it"
    for answer in story.answers:
        yield from tell_rule(answer, names)
    for name, reason in story.not_asked.items():
        yield f"  Rule '{name}' has not been asked. {reason}".rstrip()
    for entry in story.jobs:
        yield ""
        yield from _tell_job(entry, now, names)
    yield ""
    yield "What happened"
    for row in story.trail:
        step = f"{row.event} {row.before} → {row.after}"
        if row.before == row.after:
            step = f"{row.event} {row.after}".rstrip()
        yield f"  {local_time(row.at)}  {step}: {row.text}"


def _waits(study: Study, now: float) -> str:
    """What the study waits for, and until when."""
    match study.state:
        case StudyState.RECEIVING:
            left = study.due_at - now
            until = local_time(study.due_at)
            if left > 0:
                return f"{study.reason} Looked at again at {until}, {left:.0f} s from now."
            return f"{study.reason} It is due since {until}; the node looks when it runs."
        case StudyState.ASSEMBLING:
            return "Is complete; its series are being looked at."
        case StudyState.ANALYSING:
            return "Waits for its jobs, below."
        case _:
            return study.reason


def _said(story: NoticeStory) -> str:
    notice = story.notice
    kind = _NOTICE_KINDS[notice.kind]
    said = f"peer '{notice.peer}', {kind}: {notice.status}"
    if notice.objects:
        return f"{said}, {len(notice.objects)} objects named, {story.here} of them here"
    return f"{said}, no objects named"


def _asked(asked: Commitment, now: float) -> str:
    safe, unsafe = len(asked.result.committed), len(asked.result.failed)
    text = f"peer '{asked.peer}', commitment: {safe} objects safe, {unsafe} not; {asked.state}"
    if asked.state is CommitmentState.ANSWERED and asked.next_at > now:
        text += f", to be reported at {local_time(asked.next_at)}"
    return text if asked.state is CommitmentState.REPORTED else f"{text}. {asked.reason}"


def _tell_job(entry: JobStory, now: float, names: Mapping[str, str]) -> Iterator[str]:
    job = entry.job
    yield f"Model {job.model_id} {job.model_version}, by rule '{job.rule}'{_version(job)}"
    yield f"  {_state(job)[:1].upper()}{_state(job)[1:]}{_shadow(job)}."
    if job.shadow and job.outcome:
        yield f"  Kept as job {job.id} in 'results/{job.key}' of the data folder."
    if job.reason:
        yield f"  {job.reason}"
    if entry.objects:
        part = f", part '{job.part}'" if job.part else ""
        whole = names.get(job.series_instance_uid, "the study")
        yield f"  It is about {entry.objects} objects of {whole}{part}."
    # What was weighed for an older version is in the JSON document.
    if entry.candidates and not entry.replaced:
        yield "  Series looked at:"
        for candidate in entry.candidates:
            yield f"    {_tell_candidate(candidate, job, names)}"
    if entry.checks and not entry.replaced:
        yield "  Plausibility:"
        for name, value, low, high, passed in entry.checks:
            mark = "ok" if passed else "fail"
            yield f"    {mark:6}  {name} {value:g} ({_range(low, high)})"
    if entry.deliveries:
        yield "  Results:"
    for item in entry.deliveries:
        # What is in reserve matters when it is needed; the JSON document has it.
        if item.state is not DeliveryState.RESERVED:
            to = f"{kind_of(item)} to '{item.destination}'{_delivery(item, now)}"
            yield f"    {item.state:8}  {to}"
    for clause in tell_fallbacks(entry.deliveries):
        yield f"    {clause[:1].upper()}{clause[1:]}."


def _tell_candidate(candidate: Candidate, job: Job, names: Mapping[str, str]) -> str:
    place = (candidate.series_instance_uid, candidate.part)
    chosen = candidate.accepted and place == (job.series_instance_uid, job.part)
    mark = "chosen" if chosen else "fits" if candidate.accepted else "no"
    name = names.get(candidate.series_instance_uid, "A series")
    if candidate.description:
        name += f" '{candidate.description}'"
    if candidate.part:
        name += f", {candidate.part}"
    why = candidate.reason.removeprefix("Chosen: ").removeprefix("Suitable, ")
    return f"{mark:6}  {name}: {why}" if why else f"{mark:6}  {name}"


def _version(job: Job) -> str:
    return f", version {job.version}" if job.version > 1 else ""


def _shadow(job: Job) -> str:
    return ", in shadow: nothing is sent" if job.shadow else ""


def _range(low: float, high: float) -> str:
    """Limits in words; a limit beyond ``_NO_LIMIT`` is none."""
    if high > _NO_LIMIT:
        return f"expected at least {low:g}"
    if low < -_NO_LIMIT:
        return f"expected at most {high:g}"
    return f"expected {low:g} to {high:g}"


def _state(job: Job) -> str:
    if job.state is JobState.DELIVERED:
        return f"{job.outcome or 'analysed'}, delivered"
    return f"{job.outcome}, {job.state}" if job.outcome else str(job.state)


def kind_of(item: OutboxItem) -> str:
    """What a result object is, in words."""
    return _KINDS.get(item.sop_class_uid, item.sop_class_uid)


def _delivery(item: OutboxItem, now: float) -> str:
    """How it stands with one object, for a line that names it."""
    why = f", because: {item.reason}" if item.reason else ""
    match item.state:
        case DeliveryState.READY:
            when = "now" if item.next_at <= now else f"at {local_time(item.next_at)}"
            return f", try {item.attempts + 1} {when}{why}"
        case DeliveryState.SENT if item.prove_at is not None:
            when = "now" if item.prove_at <= now else f"at {local_time(item.prove_at)}"
            return f": {item.reason} It is asked for proof {when}."
        case DeliveryState.SAFE if item.remark:
            return f": {item.reason} When it was sent: {item.remark}."
        case _:
            return f": {item.reason}" if item.reason else ""
