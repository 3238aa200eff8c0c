"""``secondread study``: what came, what became of it, and why."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import NotFoundError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.store import Ledger

app = typer.Typer(help="What came, what became of it, and why.", no_args_is_help=True)

StudyArgument = Annotated[
    str, typer.Argument(help="The number of the study, or its Study Instance UID.")
]


@app.command("list")
def list_studies(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to list.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the studies that changed last."""
    from secondread.cli.output import local_time, print_json, print_line, print_table
    from secondread.cli.story_document import study_document
    from secondread.config.load import load

    settings = load(config)
    if not is_begun(settings):
        print_json({"studies": []}) if as_json else print_line("No study has come yet.")
        return
    with open_ledger(settings) as ledger, ledger.read() as view:
        studies = view.studies.list(limit)
    if as_json:
        print_json({"studies": [study_document(study) for study in studies]})
    elif not studies:
        print_line("No study has come yet.")
    else:
        print_table(
            ("STUDY", "STATE", "FROM", "OBJECTS", "LAST OBJECT", ""),
            [
                (
                    study.id,
                    study.state,
                    study.peer,
                    study.instances,
                    local_time(study.last_at),
                    study.reason,
                )
                for study in studies
            ],
        )


@app.command("show")
def show_study(
    study: StudyArgument, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Tell what came, what is waited for, what each rule and model made of it, and why."""
    from secondread.cli.output import print_json, print_line
    from secondread.cli.story import read_story, tell
    from secondread.cli.story_document import story_document
    from secondread.config.load import load
    from secondread.observe.keys import read_secret, study_key

    settings = load(config)
    with open_ledger(settings) as ledger, ledger.read() as view:
        found = view.studies.find(study)
        key = study_key(found.study_instance_uid, read_secret(settings.data_dir))
        story = read_story(view, found, key, [rule.name for rule in settings.rules])
    if as_json:
        print_json(story_document(story))
        return
    for line in tell(story, time.time()):
        print_line(line)


@app.command("retry")
def retry_study(
    study: StudyArgument, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Try again what failed in a study, and look at it anew; no result is sent twice."""
    from secondread.cli.output import print_json, print_line
    from secondread.config.load import load
    from secondread.pipeline import retry

    settings = load(config)
    with open_ledger(settings) as ledger, ledger.begin() as change:
        found = change.studies.find(study)
        jobs = retry.retry_study(change, found, time.time())
    if as_json:
        print_json({"study": found.id, "jobs_retried": jobs})
        return
    tried = "1 of its jobs is" if jobs == 1 else f"{jobs} of its jobs are"
    print_line(f"Study {found.id} is on its way again; {tried} retried.")


def is_begun(settings: Settings) -> bool:
    """Whether a node has ever run on this data folder."""
    from secondread.store.ledger import LEDGER_NAME

    return (settings.data_dir / LEDGER_NAME).exists()


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """The node's ledger; it is not made here, or it might belong to the wrong user.

    Raises:
        NotFoundError: no node has ever run on this data folder.
    """
    from secondread.store import Ledger

    if not is_begun(settings):
        raise NotFoundError(
            f"There is no ledger in '{settings.data_dir}': no study has come yet, or data_dir in "
            "[node] is not that of the node."
        )
    ledger = Ledger.open(settings.data_dir)
    try:
        yield ledger
    finally:
        ledger.close()
