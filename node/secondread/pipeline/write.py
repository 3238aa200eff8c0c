"""Fourth stage: answers and refusals become DICOM objects in the outbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from pydicom import dcmread

from secondread import __version__
from secondread.bundles.manifest import Manifest
from secondread.domain.destination import Destination, returned_to
from secondread.domain.form import Form
from secondread.domain.instance import Instance
from secondread.domain.job import Job
from secondread.domain.network import Rule
from secondread.domain.result import ResultObject
from secondread.domain.series_numbers import first_numbers
from secondread.domain.states import DeliveryState, JobState
from secondread.domain.volume import Volume
from secondread.errors import ClaimLostError, ConfigurationError, ResultError
from secondread.pipeline.answers import load_analysis
from secondread.pipeline.earlier import find_earlier, mark_patient
from secondread.pipeline.editions import Edition, plan_editions, plan_refusals
from secondread.pipeline.fetching import WAIT_S, find_awaited
from secondread.pipeline.images import read_images
from secondread.pipeline.infer import LABELS_NAME
from secondread.pipeline.predecessor import find_pending, find_predecessor
from secondread.pipeline.work import NOT_ANALYSED, attempt, claim, postpone, queue_again, renew
from secondread.pipeline.workplace import Workplace
from secondread.results.context import SEG, ResultContext
from secondread.results.report.language import choose_tongue
from secondread.results.write import write_refusal, write_results

log = structlog.stdlib.get_logger(__name__)

_ORDER_S = 2.0
"""How long the report of a version waits before it looks again for that of the one before."""
_SENT_NOWHERE = "The rule is in shadow: the results are kept, and sent nowhere."
_ALREADY_SENT = "Another rule has sent the same results to the same places."

_Make = Callable[[Edition], tuple[ResultObject, ...]]
_Written = tuple[Edition, tuple[ResultObject, ...]]


@dataclass(frozen=True, slots=True)
class _Writing:
    """One job that is being written.

    Attributes:
        names: the rule's destinations by their configured names, each with its name in the
            outbox, which differs where results go back to whoever sent the study.
        shadow: whether its results are kept and sent nowhere.
        context: in no form yet.
    """

    job: Job
    names: Mapping[str, str]
    shadow: bool
    context: ResultContext

    @property
    def receivers(self) -> tuple[str, ...]:
        """Who gets the results, by the outbox's names."""
        return tuple(self.names.values())


class Write:
    """Claims an answer or a refusal and writes its objects, once for each form that is wanted."""

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def step(self) -> bool:
        """Write the objects of one job; False where none is waiting."""
        job = claim(self._place, [JobState.INFERRED, JobState.REFUSED])
        if job is None:
            return False
        attempt(self._place, job, self._write)
        return True

    def _write(self, job: Job) -> None:
        place = self._place
        rule = place.rule(job.rule)
        if rule is None:
            raise ConfigurationError(
                f"Rule '{job.rule}' is not in the configuration any more, so nobody knows where "
                "the result should go; add it and retry."
            )
        with place.ledger.read() as view:
            pending = find_pending(tuple(view.jobs.before(job)))
        if pending is not None:
            # Its report is named in this one, so that it has to be there first.
            postpone(place, job, f"Version {pending.version} is still on its way.", _ORDER_S)
            return
        if job.state is JobState.INFERRED and (awaited := find_awaited(place, job, rule)):
            postpone(place, job, awaited, WAIT_S)
            return
        if job.state is JobState.INFERRED:
            if not (place.spool.work / job.key / LABELS_NAME).is_file():
                queue_again(place, job, "The model's answer is gone; it is computed again.")
                return
            self._write_analysis(job, rule)
        elif rule.report_not_analysed:
            self._write_refusal(job, rule)
        else:
            self._end_silently(job)

    def _write_analysis(self, job: Job, rule: Rule) -> None:
        place = self._place
        instances = place.instances_of(job)
        volume = read_images(place, job, instances)
        writing = self._begin(job, rule, instances, volume)
        analysis = load_analysis(place, job, writing.context.manifest, volume)

        def make(edition: Edition) -> tuple[ResultObject, ...]:
            source = writing.context.reference
            earlier = find_earlier(place, job, source, edition, shadow=writing.shadow)
            context = self._context_of(writing, edition)
            return write_results(context, replace(analysis, earlier=earlier), place.spool.root)

        editions = plan_editions(writing.receivers, self._known(writing))
        self._commit(writing, self._write_each(writing, editions, make), "analysed")

    def _write_refusal(self, job: Job, rule: Rule) -> None:
        place = self._place
        writing = self._begin(job, rule, place.instances_of(job), None)

        def make(edition: Edition) -> tuple[ResultObject, ...]:
            return write_refusal(self._context_of(writing, edition), job.reason, place.spool.root)

        editions = plan_refusals(writing.receivers, self._known(writing))
        self._commit(writing, self._write_each(writing, editions, make), NOT_ANALYSED)

    def _write_each(
        self, writing: _Writing, editions: Sequence[Edition], make: _Make
    ) -> Sequence[_Written]:
        """Write every edition that somebody may need.

        Nothing is held in reserve for a destination that gets no segmentation, for there is nothing
        then that it could refuse; nor in shadow, where nobody is asked.
        """
        at_once = [one for one in editions if not one.is_reserve]
        written = [(one, self._write_one(writing, one, make)) for one in at_once]
        may_refuse = {
            name
            for edition, objects in written
            if not writing.shadow and any(item.kind == SEG for item in objects)
            for name in edition.receivers(level=0)
        }
        for edition in editions:
            if edition.is_reserve and may_refuse & set(edition.levels):
                written.append((edition, self._write_one(writing, edition, make)))
        return [(edition.limited_to(may_refuse), objects) for edition, objects in written]

    def _write_one(
        self, writing: _Writing, edition: Edition, make: _Make
    ) -> tuple[ResultObject, ...]:
        renew(self._place, writing.job)
        self._place.spool.new_result_folder(writing.job.key, edition.form.mark)
        return make(edition)

    def _begin(
        self, job: Job, rule: Rule, instances: Sequence[Instance], volume: Volume | None
    ) -> _Writing:
        place = self._place
        manifest = self._manifest(job)
        paths = {one.sop_instance_uid: place.spool.absolute(one.path) for one in instances}
        if volume is not None:
            uids = list(dict.fromkeys(source.sop_instance_uid for source in volume.sources))
        else:
            uids = sorted(paths)
        context = ResultContext(
            job=job,
            manifest=manifest,
            qualification=place.models[job.model_id].qualification,
            sources=tuple(dcmread(paths[uid], stop_before_pixels=True) for uid in uids),
            volume=volume,
            ae_title=place.ae_title,
            device_serial=place.device_serial,
            uid_root=place.uid_root,
            software_version=__version__,
            series_from=first_numbers(place.models.values())[job.model_id],
        )
        return _Writing(job, self._names(job, rule), job.shadow or rule.shadow, context)

    def _names(self, job: Job, rule: Rule) -> Mapping[str, str]:
        known = self._place.destinations
        with self._place.ledger.read() as view:
            peer = view.studies.get(job.study_id).peer
        return {
            name: returned_to(known[name], peer) if name in known else name
            for name in rule.destinations
        }

    def _known(self, writing: _Writing) -> Mapping[str, Destination]:
        """The destinations that are configured, by the outbox's names."""
        known = self._place.destinations
        return {to: known[name] for name, to in writing.names.items() if name in known}

    def _manifest(self, job: Job) -> Manifest:
        manifest = self._place.manifests.get(job.model_id)
        if manifest is None:
            raise ResultError(f"Model '{job.model_id}' is not switched on any more.")
        if manifest.version != job.model_version:
            # The report would name a model that has not seen the images.
            raise ResultError(
                f"Model '{job.model_id}' is version {manifest.version} now, and this was for "
                f"version {job.model_version}; retry the study, and the new one looks at it."
            )
        return manifest

    def _context_of(self, writing: _Writing, edition: Edition) -> ResultContext:
        predecessor = find_predecessor(self._place, writing.job, edition, shadow=writing.shadow)
        return replace(writing.context, form=edition.form, predecessor=predecessor)

    def _commit(self, writing: _Writing, written: Sequence[_Written], outcome: str) -> None:
        place, job = self._place, writing.job
        remarks = _remark_languages(writing.context, written)
        text = " ".join([_tell(written), *remarks])
        mark = mark_patient(place, writing.context.reference)
        with place.ledger.begin() as change:
            if not change.jobs.holds(job, place.owner):
                raise ClaimLostError(f"Job {job.id} is worked on by somebody else.")
            now = place.clock.now()
            for destination in () if writing.shadow else writing.receivers:
                for level, objects in sorted(_levels(written, destination).items()):
                    change.outbox.add(job.id, destination, objects, now, level)
            change.jobs.move(job, JobState.WRITTEN, now, text, outcome=outcome, patient_mark=mark)
            rows = change.outbox.of_job(job.id)
            if all(item.state is DeliveryState.RESERVED for item in rows):
                end = _SENT_NOWHERE if writing.shadow else _ALREADY_SENT
                change.jobs.move(change.jobs.get(job.id), JobState.DELIVERED, now, end)
                change.studies.close_if_finished(job.study_id, now)
        log.info("results written", job=job.key, what=text, sent=not writing.shadow)
        for remark in remarks:
            log.warning("report in another language", job=job.key, reason=remark)

    def _end_silently(self, job: Job) -> None:
        place = self._place
        with place.ledger.begin() as change:
            now = place.clock.now()
            change.jobs.move(job, JobState.DELIVERED, now, "The rule wants no report of this.")
            change.studies.close_if_finished(job.study_id, now)


def _levels(
    written: Sequence[_Written], destination: str
) -> Mapping[int, tuple[ResultObject, ...]]:
    return {
        edition.levels[destination]: objects
        for edition, objects in written
        if destination in edition.levels
    }


def _remark_languages(context: ResultContext, written: Sequence[_Written]) -> Sequence[str]:
    """A sentence for each language that was asked for and cannot be written."""
    remarks = []
    for wanted in dict.fromkeys(edition.form.language for edition, _ in written):
        found = choose_tongue(replace(context, form=Form(language=wanted))).language
        if found is not wanted:
            remarks.append(
                f"The report should be in language '{wanted}' and is in '{found}', because the "
                "character set of the study has no signs for it."
            )
    return remarks


def _tell(written: Sequence[_Written]) -> str:
    """What was written, in one sentence."""
    at_once = [objects for edition, objects in written if not edition.is_reserve]
    kinds = dict.fromkeys(item.kind.upper() for objects in at_once for item in objects)
    text = f"{' and '.join(kinds)} written and checked"
    if len(at_once) > 1:
        text += f", in {len(at_once)} forms"
    if reserve := len(written) - len(at_once):
        text += f", and {reserve} form{'s' * (reserve > 1)} in reserve"
    return f"{text}."
