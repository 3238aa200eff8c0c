"""What the node is doing, read from its ledger while the demo waits, and afterwards in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secondread.domain.job import Job
    from secondread.domain.study import Study
    from secondread.store import Ledger
    from secondread.store.trail import TrailRow

ENDED = frozenset({"done", "held"})
STUDY_WORDS = {
    "receiving": "receiving, {instances} images so far",
    "assembling": "choosing a series",
    "done": "done",
    "held": "waits for a person",
}
JOB_WORDS = {
    "queued": "reading the volume",
    "prepared": "the model is at work",
    "inferred": "writing the results",
    "refused": "writing the report",
    "written": "sending the results to the PACS",
    "delivered": "delivered",
    "failed": "failed",
    "superseded": "replaced by a newer version",
}
JOB_ENDS = frozenset({"delivered", "failed", "superseded"})
# A stage of a job ends with its step into this state; the words are those of the timeline.
JOB_STAGES = {
    "prepared": "read the volume",
    "inferred": "run the model",
    "written": "write and check the results",
    "delivered": "deliver to the PACS",
}
MODEL_STAGE = JOB_STAGES["inferred"]


@dataclass(frozen=True, slots=True)
class Progress:
    """All studies that the node has seen, with the jobs of each."""

    studies: tuple[tuple[Study, tuple[Job, ...]], ...]

    @property
    def ended(self) -> bool:
        """Whether every study has come to its end."""
        return bool(self.studies) and all(study.state in ENDED for study, _ in self.studies)

    @property
    def sentence(self) -> str:
        """What is going on, for a person who waits."""
        if not self.studies:
            return "waiting for the first image"
        working = [pair for pair in self.studies if pair[0].state not in ENDED]
        study, jobs = (working or list(self.studies))[0]
        words = STUDY_WORDS.get(study.state)
        if words is not None:
            return words.format(instances=study.instances)
        states = [str(job.state) for job in jobs if job.state not in JOB_ENDS]
        return JOB_WORDS[states[0]] if states else "finishing"


def look(ledger: Ledger) -> Progress:
    """The present state of everything in the ledger."""
    with ledger.read() as view:
        studies = reversed(view.studies.list(limit=100))
        return Progress(tuple((study, tuple(view.jobs.of_study(study.id))) for study in studies))


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a study and how long it took."""

    name: str
    seconds: float


def _is_refusal_by_model(row: TrailRow) -> bool:
    return (row.before, row.after) == ("prepared", "refused")


def stages(study: Study, trail: Sequence[TrailRow]) -> list[Stage]:
    """The stages of a study in order, from the times in the audit trail."""

    def at(wanted: Callable[[TrailRow], bool]) -> float | None:
        return next((row.at for row in reversed(trail) if wanted(row)), None)

    found = [Stage("receive the images", study.last_at - study.first_at)]
    before = study.last_at
    marks: list[tuple[str, float | None]] = [
        (
            "wait for the quiet time",
            at(lambda row: row.event == "study" and row.after == "assembling"),
        ),
        ("choose a series", at(lambda row: row.event == "study" and row.after == "analysing")),
    ]
    for state, name in JOB_STAGES.items():
        marks.append(
            (name, at(lambda row, state=state: row.event == "job" and row.after == state))  # type: ignore[misc]
        )
        if state == "prepared":
            # A model that refuses has run, too.
            marks.append((MODEL_STAGE, at(_is_refusal_by_model)))
    for name, moment in marks:
        if moment is not None and moment >= before:
            found.append(Stage(name, moment - before))
            before = moment
    return found


def timeline(found: Sequence[tuple[Study, Sequence[Stage]]]) -> str:
    """The stages of every study as a table in seconds."""
    lines = []
    for number, (study, study_stages) in enumerate(found, start=1):
        total = sum(stage.seconds for stage in study_stages)
        model = sum(stage.seconds for stage in study_stages if stage.name == MODEL_STAGE)
        lines.append(f"Study {number}: {study.instances} images. {study.reason}")
        lines += [f"  {stage.name:<30}{stage.seconds:8.2f} s" for stage in study_stages]
        lines.append(f"  {'in all':<30}{total:8.2f} s")
        lines.append(f"  {'of which not the model':<30}{total - model:8.2f} s")
        lines.append("")
    return "\n".join(lines)
