"""``secondread rule replay``: what the rules of a file would have made of the past days."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from secondread.assembly.replay import Change, Outcome, Replay
    from secondread.config.settings import Settings

_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_STEP = 200


def replay_rules(
    since: Annotated[
        str,
        typer.Option(
            "--since",
            help="How far back: 7d, 12h, 30m, 2w, or a date such as 2026-03-01.",
        ),
    ] = "7d",
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", min=0, help="Studies to show of each kind of difference; 0 is all."
        ),
    ] = 20,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="End with exit code 1 if anything differs.", show_default=False
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the rules of a configuration over the past days, and show what would differ.

    Give the changed file with --config; nothing is changed, sent or analysed.
    """
    from secondread.cli.output import print_json, print_line
    from secondread.config.load import load

    now = time.time()
    begin = parse_since(since, now)
    settings = load(config)
    replay, waiting = run_replay(settings, begin, quiet=as_json)
    if as_json:
        print_json(_document(replay, waiting, begin, limit))
    else:
        for line in tell(replay, waiting, begin, limit):
            print_line(line)
    if check and replay.changes:
        raise typer.Exit(EXIT_FAILED)


def parse_since(text: str, now: float) -> float:
    """The moment that ``--since`` means, in seconds since the epoch.

    Raises:
        UsageError: it means none, or one in the future.
    """
    match = re.fullmatch(r"(\d{1,6})\s*([mhdw])", text.strip().lower())
    if match:
        return now - int(match[1]) * _UNITS_S[match[2]]
    try:
        at = datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"--since is '{text}'; write how far back, such as 7d or 12h, or a date such as "
            "2026-03-01."
        ) from None
    if at > now:
        raise UsageError(f"--since is '{text}', which is in the future.")
    return at


def run_replay(settings: Settings, since: float, *, quiet: bool) -> tuple[Replay, int]:
    """Replay the studies since then; and how many were left out, for they are not complete yet."""
    from secondread.assembly.replay import Replay
    from secondread.cli.rule_test import read_manifests
    from secondread.cli.study import open_ledger
    from secondread.domain.states import StudyState

    replay = Replay(settings.rules, read_manifests(settings))
    waiting = 0
    with open_ledger(settings) as ledger, ledger.read() as view:
        past = view.history.planned_since(since)
        with _progress(view.history.count_since(since), quiet=quiet) as step:
            for study, series in view.series.since(since):
                step()
                planned = past.get(study.id, {})
                arriving = study.state in (StudyState.RECEIVING, StudyState.ASSEMBLING)
                if arriving and not planned:
                    waiting += 1
                    continue
                replay.add(study, series, planned)
    return replay, waiting


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, where that is a terminal; yields what moves it on."""
    if quiet or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("Replaying"), BarColumn(), MofNCompleteColumn())
    done = 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying", total=total)

        def step() -> None:
            nonlocal done
            done += 1
            if done % _STEP == 0:
                bar.update(task, completed=done)

        yield step


def tell(replay: Replay, waiting: int, since: float, limit: int) -> Iterator[str]:
    """The differences in lines: first how many, then which."""
    from secondread.assembly.replay import Difference
    from secondread.cli.output import local_time

    began = f"since {local_time(since)[:16]}"
    yield f"{replay.studies:,} studies with {replay.series:,} series {began}."
    if waiting:
        yield f"{waiting:,} more are still arriving, and were left out."
    yield ""
    yield from _tell_tallies(replay)
    counts = Counter(change.difference for change in replay.changes)
    yield ""
    if not counts:
        yield "No difference: these rules would have done what was done."
        return
    studies = len({change.study.id for change in replay.changes})
    yield f"{len(replay.changes):,} differences, in {studies:,} studies."
    for kind in Difference:
        if not counts[kind]:
            continue
        yield ""
        yield f"{kind.capitalize()} ({counts[kind]:,})"
        shown = _shown(replay.changes, kind, limit)
        for change in shown:
            yield from _tell_change(change)
        if len(shown) < counts[kind]:
            yield f"  … and {counts[kind] - len(shown):,} more; --limit 0 shows all"


def _shown(changes: Sequence[Change], kind: str, limit: int) -> Sequence[Change]:
    """The newest of a kind."""
    found = [change for change in changes if change.difference == kind]
    return found[::-1][: limit or None]


def _tell_tallies(replay: Replay) -> Iterator[str]:
    rows = [("RULE", "WANTED", "ANALYSED")]
    current = {rule.name for rule in replay.rules}
    for name, tally in replay.tallies.items():
        said = name if name in current else f"{name} (no longer there)"
        wanted = _step(tally.wanted_before, tally.wanted_after)
        rows.append((said, wanted, _step(tally.analysed_before, tally.analysed_after)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _step(before: int, after: int) -> str:
    if before == after:
        return f"{before:,}"
    return f"{before:,} → {after:,} ({after - before:+,})"


def _tell_change(change: Change) -> Iterator[str]:
    from secondread.cli.output import local_time

    came = local_time(change.study.last_at)[:16]
    line = f"  study {change.study.id}  {came}  rule '{change.rule}'"
    before, after = change.before, change.after
    steps = [_name(outcome, change) for outcome in (before, after)]
    if before.accepted or after.accepted:
        line += f"  {steps[0]} → {steps[1]}"
    yield line
    if not after.accepted and after.reason:
        yield f"      {after.reason}"


def _name(outcome: Outcome, change: Change) -> str:
    if not outcome.accepted:
        return "not analysed" if outcome.wanted else "not wanted"
    number = change.numbers.get(outcome.series_instance_uid)
    name = "a series without a number" if number is None else f"series {number}"
    is_other = change.difference == "another model"
    model = f" by '{outcome.model_id}'" if is_other else ""
    return f"{name}{f' ({outcome.part})' if outcome.part else ''}{model}"


def _document(replay: Replay, waiting: int, since: float, limit: int) -> dict[str, Any]:
    from secondread.assembly.replay import Difference
    from secondread.cli.output import iso_time

    counts = Counter(change.difference for change in replay.changes)
    return {
        "since": iso_time(since),
        "studies": replay.studies,
        "series": replay.series,
        "still_arriving": waiting,
        "rules": [{"rule": name, "tally": tally} for name, tally in replay.tallies.items()],
        "differences": {kind: counts[kind] for kind in Difference if counts[kind]},
        "changes": [
            {
                "study": change.study.id,
                "study_instance_uid": change.study.study_instance_uid,
                "rule": change.rule,
                "difference": change.difference,
                "before": change.before,
                "after": change.after,
            }
            for kind in Difference
            for change in _shown(replay.changes, kind, limit)
        ],
    }
