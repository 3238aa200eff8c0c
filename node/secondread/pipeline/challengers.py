"""The comparisons of a model with its challengers, as they are kept, summed up."""

from __future__ import annotations

from collections.abc import Mapping

from secondread.domain.job import Job
from secondread.domain.monitoring import Verdict
from secondread.monitoring.challenge import STUDIES_MAX, PairedStudy, Summary, figures
from secondread.monitoring.conclusions import concluded
from secondread.observe.model_metrics import ChallengerNumbers
from secondread.store import Transaction

_Model = tuple[str, str]
_ROWS_MAX = 4 * STUDIES_MAX
"""More than one study of a patient may have been compared, and more than one challenger."""


def read_challenges(view: Transaction, model_id: str, version: str) -> tuple[Summary, ...]:
    """Every champion and challenger of which the model is one, with what can be concluded."""
    rows = view.comparisons.of_model(model_id, version, _ROWS_MAX)
    jobs = view.jobs.of_ids(
        {number for row in rows for number in (row.champion_job_id, row.challenger_job_id)}
    )
    studies: dict[tuple[_Model, _Model], list[PairedStudy]] = {}
    verdicts: dict[_Model, Mapping[int, Verdict]] = {}
    for row in rows:
        pair = jobs[row.champion_job_id], jobs[row.challenger_job_id]
        first, second = (_model(job) for job in pair)
        for model in (first, second):
            if model not in verdicts:
                verdicts[model] = _verdicts(view, model)
        said = verdicts[first].get(pair[0].id), verdicts[second].get(pair[1].id)
        studies.setdefault((first, second), []).append(
            PairedStudy(_patient(*pair), row.measures, said)
        )
    return tuple(
        concluded(figures(champion, challenger, found))
        for (champion, challenger), found in studies.items()
    )


def challenger_numbers(
    view: Transaction, model_id: str, version: str
) -> tuple[ChallengerNumbers, ...]:
    """The challengers of a model, for a monitoring system."""
    return tuple(
        ChallengerNumbers(
            model=found.challenger[0],
            version=found.challenger[1],
            studies={
                "neither": found.refusals.neither,
                "both": found.refusals.both,
                "champion": found.refusals.champion_only,
                "challenger": found.refusals.challenger_only,
            },
            dice=None if found.dice is None else found.dice.value,
        )
        for found in read_challenges(view, model_id, version)
        if found.champion == (model_id, version)
    )


def _model(job: Job) -> _Model:
    return job.model_id, job.model_version


def _patient(champion: Job, challenger: Job) -> str:
    """Whose study it is; one that does not say is a patient of its own."""
    return champion.patient_mark or challenger.patient_mark or f"study {champion.study_id}"


def _verdicts(view: Transaction, model: _Model) -> Mapping[int, Verdict]:
    """The last word on each job, whoever said it."""
    return {one.job_id: one.verdict for one in view.feedbacks.last_words(*model)}
