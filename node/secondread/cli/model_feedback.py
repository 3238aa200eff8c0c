"""``secondread model feedback``: what somebody thinks of a result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.study import StudyArgument
from secondread.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.domain.job import Job
    from secondread.domain.study import Study
    from secondread.store import Transaction

_NAME_MAX = 64
_REMARK_MAX = 2000


def give_feedback(
    study: StudyArgument,
    verdict: Annotated[
        Literal["accept", "modify", "reject"],
        typer.Option(
            "--verdict",
            help="accept: used as it is; modify: used after a correction; reject: not used.",
        ),
    ],
    job: Annotated[
        int | None,
        typer.Option(
            "--job",
            help="The number of the job, where the study has several results.",
            show_default=False,
        ),
    ] = None,
    remark: Annotated[
        str,
        typer.Option(
            "--remark",
            help="For people; it goes into the ledger and into no log, trail or page.",
            show_default=False,
        ),
    ] = "",
    by: Annotated[
        str,
        typer.Option(
            "--by", help="Who says so. Default: the name of your account.", show_default=False
        ),
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write down whether a result was accepted, corrected or rejected."""
    from secondread.cli.output import print_json, print_line
    from secondread.cli.peer_edit import operator
    from secondread.cli.study import open_ledger
    from secondread.config.load import load
    from secondread.domain.monitoring import Feedback, Verdict

    settings, who = load(config), _checked(by.strip() or operator(), _NAME_MAX, "--by")
    said = _checked(remark.strip(), _REMARK_MAX, "--remark")
    with open_ledger(settings) as ledger, ledger.begin() as change:
        found = _result(change, change.studies.find(study), job)
        change.feedbacks.add(Feedback(found.id, time.time(), Verdict(verdict), who, remark=said))
    if as_json:
        print_json(
            {
                "study": found.study_id,
                "job": found.id,
                "model": found.model_id,
                "version": found.model_version,
                "verdict": verdict,
                "by": who,
            }
        )
        return
    print_line(
        f"Noted for job {found.id} of study {found.study_id}, model '{found.model_id}' "
        f"{found.model_version}: {verdict}, by {who}."
    )


def _result(view: Transaction, study: Study, number: int | None) -> Job:
    """The job that is meant; without a number the one newest result that was not in shadow.

    Raises:
        NotFoundError: the study has no such result.
        UsageError: it has several.
    """
    jobs = view.jobs.of_study(study.id)
    replaced = {job.predecessor_id for job in jobs}
    results = [job for job in jobs if job.outcome == "analysed"]
    if number is not None:
        found = [job for job in results if job.id == number]
    else:
        found = [job for job in results if job.id not in replaced and not job.shadow]
    if len(found) == 1:
        return found[0]
    if not found:
        named = f"Job {number} of study" if number is not None else "Study"
        raise NotFoundError(
            f"{named} {study.id} has no result of a model that could be judged. "
            f"'secondread study show {study.id}' tells what became of it."
        )
    listed = ", ".join(f"{job.id} of model '{job.model_id}'" for job in found)
    raise UsageError(f"Study {study.id} has several results; say which with --job: {listed}.")


def _checked(text: str, longest: int, option: str) -> str:
    if len(text) > longest or not text.replace("\n", " ").isprintable():
        raise UsageError(f"{option} takes printable text of at most {longest} characters.")
    return text
