"""``secondread rule test``: what every condition of every rule was compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import NotFoundError

if TYPE_CHECKING:
    from secondread.bundles.manifest import Manifest
    from secondread.cli.rule_study import Subject
    from secondread.config.settings import Settings
    from secondread.domain.condition import Finding
    from secondread.domain.job import Candidate, Plan, PlannedJob, RuleAnswer
    from secondread.domain.network import Rule
    from secondread.domain.series import SeriesSummary

_MARKS = {True: "✓", False: "✗"}


@dataclass(frozen=True, slots=True)
class Trial:
    """What one rule makes of a study; ``job`` is None where it does not want it."""

    rule: Rule
    answer: RuleAnswer
    job: PlannedJob | None


def test_rules(
    study: Annotated[
        str,
        typer.Argument(
            help="The number of the study, its Study Instance UID, or a folder of DICOM files."
        ),
    ],
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", "-r", help="Only this rule; may be repeated.", show_default=False),
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            "--peer", help="As if it had come from this peer.", show_default=False, metavar="NAME"
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell for every rule, series and condition what was compared with what; nothing is changed."""
    from secondread.assembly.selection import plan
    from secondread.cli.output import print_json, print_line
    from secondread.cli.rule_study import read_subjects
    from secondread.config.load import load

    settings = load(config)
    rules = _chosen(settings, rule or [])
    manifests = read_manifests(settings)
    documents = []
    for number, subject in enumerate(read_subjects(settings, study, peer)):
        trials = _trials(rules, plan(subject.study, subject.series, rules, manifests))
        if as_json:
            documents.append(_document(subject, trials))
            continue
        if number:
            print_line("")
        for line in tell(subject, trials):
            print_line(line)
    if as_json:
        print_json({"studies": documents})


def read_manifests(settings: Settings) -> Mapping[str, Manifest]:
    """The manifests of the models that rules name; whether their files are sound is not asked."""
    from secondread.bundles.manifest import read_manifest

    named = {rule.model for rule in settings.rules}
    return {
        model.id: read_manifest(Path(model.path)) for model in settings.models if model.id in named
    }


def _chosen(settings: Settings, names: Sequence[str]) -> tuple[Rule, ...]:
    known = {rule.name: rule for rule in settings.rules}
    for name in names:
        if name not in known:
            raise NotFoundError(
                f"There is no rule '{name}'; the configuration has: {', '.join(known) or 'none'}."
            )
    return tuple(rule for rule in settings.rules if not names or rule.name in names)


def _trials(rules: Sequence[Rule], planned: Plan) -> tuple[Trial, ...]:
    jobs = {job.rule: job for job in planned.jobs}
    by_name = {rule.name: rule for rule in rules}
    return tuple(
        Trial(by_name[answer.rule], answer, jobs.get(answer.rule)) for answer in planned.answers
    )


def tell(subject: Subject, trials: Sequence[Trial]) -> Iterator[str]:
    """The trials of a study in lines, as a tree."""
    from secondread.cli.output import local_time

    study = subject.study
    came = f"peer '{study.peer}'" if study.peer else "no peer (say which with --peer)"
    first = local_time(study.first_at)
    yield f"{subject.name}: {len(subject.series)} series from {came}, first object {first}"
    names = {item.series_instance_uid: item for item in subject.series}
    if not trials:
        yield ""
        yield "There are no rules, so nothing would be analysed."
    for trial in trials:
        yield ""
        yield from _tell_trial(trial, names)


def _tell_trial(trial: Trial, series: Mapping[str, SeriesSummary]) -> Iterator[str]:
    rule = trial.rule
    shadow = ", in the shadow: nothing is sent" if rule.shadow else ""
    yield f"Rule '{rule.name}' for model '{rule.model}'{shadow}"
    for uid, finding in trial.answer.findings:
        yield f"  {_MARKS[finding.holds]} {_series_name(series[uid])}"
        yield from _tell_finding(finding, "      ")
    if not trial.answer.findings:
        yield f"  ✗ {trial.answer.reason}"
    if trial.job is None:
        yield "  → The rule does not want this study."
        return
    yield "  What the model says"
    for candidate in trial.job.candidates:
        if _is_asked_for(candidate, trial):
            name = _series_name(series[candidate.series_instance_uid], candidate.part)
            yield f"  {_MARKS[candidate.accepted]} {name}"
            yield f"      {candidate.reason}"
    yield f"  → {_verdict(trial, series)}"


def _is_asked_for(candidate: Candidate, trial: Trial) -> bool:
    """Of a series for which the rule's conditions do not hold, the model has nothing to say."""
    return any(
        uid == candidate.series_instance_uid and finding.holds
        for uid, finding in trial.answer.findings
    )


def _tell_finding(finding: Finding, indent: str) -> Iterator[str]:
    """The conditions below a finding, each with its mark; a finding without parts is one."""
    if not finding.parts:
        yield f"{indent}{_MARKS[finding.holds]} {finding.text}"
    for part in finding.parts:
        yield f"{indent}{_MARKS[part.holds]} {part.text}"
        if part.parts:
            yield from _tell_finding(part, f"{indent}    ")


def _verdict(trial: Trial, series: Mapping[str, SeriesSummary]) -> str:
    job = trial.job
    assert job is not None
    if not job.refusal:
        name = _series_name(series[job.series_instance_uid], job.part)
        return f"Would be analysed by '{job.model_id}' {job.model_version}: {name}"
    if trial.rule.report_not_analysed:
        return "Would not be analysed; a report would say why."
    return "Would not be analysed, and no report would say so."


def _series_name(item: SeriesSummary, part: str = "") -> str:
    number = "Series without a number" if item.number is None else f"Series {item.number}"
    described = item.attributes.get("SeriesDescription", ())
    said = f" '{described[0]}'" if described else ""
    return f"{number}{f' ({part})' if part else ''}{said}"


def _document(subject: Subject, trials: Sequence[Trial]) -> dict[str, Any]:
    study = subject.study
    return {
        "name": subject.name,
        "study_instance_uid": study.study_instance_uid,
        "peer": study.peer,
        "series": [
            {
                "series_instance_uid": item.series_instance_uid,
                "number": item.number,
                "objects": item.objects,
                "attributes": item.attributes,
                "parts": item.parts,
            }
            for item in subject.series
        ],
        "rules": [
            {
                "rule": trial.rule.name,
                "model": trial.rule.model,
                "shadow": trial.rule.shadow,
                "wanted": trial.answer.wanted,
                "reason": trial.answer.reason,
                "series": [
                    {"series_instance_uid": uid, "finding": finding}
                    for uid, finding in trial.answer.findings
                ],
                "job": trial.job,
            }
            for trial in trials
        ],
    }
