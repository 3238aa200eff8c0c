"""``secondread model monitor --html``: one page with pictures, all in one file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from secondread.cli.monitor_pictures import Mark, draw_days, draw_marks
from secondread.cli.monitor_reading import DAYS
from secondread.cli.monitor_story import limits, share, spread, tell_challenge, who
from secondread.cli.output import iso_time, local_time
from secondread.domain.monitoring import Drift, Verdict

if TYPE_CHECKING:
    from secondread.cli.monitor_reading import Watched
    from secondread.monitoring.challenge import Difference, Summary
    from secondread.monitoring.paired import Median
    from secondread.monitoring.standing import GroupStanding

_MEASURES_MAX = 5
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 64rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem;
  border-bottom: 1px solid #ddd; } h3 { font-size: 1.05rem; margin: 1.2rem 0 .3rem; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top; }
th { border-bottom: 1px solid #999; } td { font-variant-numeric: tabular-nums; }
.alarm { background: #fbe3dc; padding: .5rem 1rem; } .note { color: #555; } .drift { color: #9c2a10;
  font-weight: bold; } .watch { color: #7a5c00; font-weight: bold; }
"""
_MARKED = {Drift.DRIFT: "drift", Drift.WATCH: "watch"}


def page(models: Sequence[Watched], now: float) -> str:
    """The page; it loads nothing, and holds no remark and nothing else about a patient.

    Args:
        models: in the order in which they are shown.
        now: seconds since the epoch.
    """
    body = "".join("".join(_model(one, now)) for one in models)
    return (
        '<!doctype html>\n<html lang="en-GB"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Models at work</title><style>{_STYLE}</style></head><body>"
        f'<h1>Models at work</h1><p class="note">As of {escape(iso_time(now))}.</p>'
        f"{body}</body></html>\n"
    )


def _model(one: Watched, now: float) -> Iterator[str]:
    yield f"<h2>{escape(one.model.id)} {escape(one.model.version)}</h2>"
    pause = one.standing.pause
    if pause is not None:
        yield (
            f'<p class="alarm">Paused since {escape(local_time(pause.since))} by '
            f"{escape(who(pause))}: {escape(pause.reason)}</p>"
        )
    done = one.done
    rows = [("analysed", str(done.analysed)), ("not analysed", str(done.refused))]
    if done.ended:
        rows[1] = ("not analysed", f"{done.refused} ({share(done.refused, done.ended)})")
    rows += [("failed", str(done.failed)), ("on their way", str(done.on_its_way))]
    rows += [
        (f"refused by '{name}'" if name else "refused before an image was seen", str(count))
        for name, count in one.refusals.items()
    ]
    yield _heading("Work")
    yield _table(("", "Studies"), rows)
    yield draw_days(one.days, now, DAYS)
    yield _note(f"Studies a day in the last {DAYS} days; orange: not analysed.")
    yield from _drift(one.standing.groups)
    yield from _feedback(one)
    for summary in one.challenges:
        yield from _challenge(summary, one)


def _drift(groups: Sequence[GroupStanding]) -> Iterator[str]:
    yield _heading("Drift, by scanner and protocol")
    if not groups:
        yield _note("Nothing was observed yet.")
    for group in groups:
        state = group.found.state
        yield (
            f'<p><span class="{_MARKED.get(state, "note")}">{escape(state)}</span> '
            f"{escape(group.found.text)}</p>"
        )
        told = [one for one in group.found.shifts if one.state in _MARKED]
        if told:
            yield _table(
                ("Measure", "State", "Reference", "Now", "PSI", "Distance", "p, corrected"),
                [
                    (
                        *(one.measure, str(one.state), f"{one.before:.4g}", f"{one.now:.4g}"),
                        *(f"{one.psi:.2f}", f"{one.distance:.2f}", f"{one.chance:.4f}"),
                    )
                    for one in told[:_MEASURES_MAX]
                ],
            )


def _feedback(one: Watched) -> Iterator[str]:
    yield _heading("Feedback")
    verdicts = one.standing.verdicts
    total = sum(verdicts.values())
    if not total:
        yield _note("None yet.")
        return
    words = {"accept": "accepted", "modify": "corrected", "reject": "rejected"}
    yield _table(
        ("", "Results", "Share, 95 % interval"),
        [
            (words[verdict.value], str(verdicts[verdict]), share(verdicts[verdict], total))
            for verdict in Verdict
        ],
    )
    yield _note(one.standing.rejects.text)


def _challenge(summary: Summary, one: Watched) -> Iterator[str]:
    (ours, version), (theirs, other) = summary.champion, summary.challenger
    yield _heading(f"Champion {ours} {version}, challenger {theirs} {other}")
    _, *lines = tell_challenge(summary, one.model.id, one.model.version)
    yield "".join(f"<p>{escape(line.strip())}</p>" for line in lines)
    marks = [_mark(found.name, found.dice) for found in summary.structures if found.dice]
    if marks:
        yield draw_marks(marks, 0.0, 1.0, "Dice of the two models, by structure")
        yield _note("Dice between the two models: median and its interval.")
    for found, unit in ((summary.structures, "mL"), (summary.numbers, "in its own unit")):
        if found:
            yield _differences(found, unit)


def _differences(found: Sequence[Difference], unit: str) -> str:
    marks = [_mark(one.name, one.difference, one) for one in found]
    reach = max((abs(value) for mark in marks for value in _reach(mark)), default=0.0) or 1.0
    picture = draw_marks(marks, -reach, reach, "Challenger minus champion")
    note = _note(
        f"Challenger minus champion, {unit}: median, its interval (thick) and Bland and Altman's "
        "limits of agreement (thin)."
    )
    table = _table(
        ("", "Dice", "Champion", "Challenger", "Difference", "Bias and limits", "p, corrected"),
        [
            (
                *(one.name, spread(one.dice, 3), spread(one.champion, 2)),
                *(spread(one.challenger, 2), spread(one.difference, 2), limits(one)),
                f"{one.p_value:.4f}",
            )
            for one in found
        ],
    )
    return f"{picture}{note}{table}"


def _mark(name: str, found: Median, difference: Difference | None = None) -> Mark:
    interval = None if found.low is None or found.high is None else (found.low, found.high)
    agreed = None if difference is None else difference.limits
    return Mark(name, found.value, interval, None if agreed is None else (agreed.low, agreed.high))


def _reach(mark: Mark) -> Sequence[float]:
    return (mark.value, *(mark.interval or ()), *(mark.limits or ()))


def _heading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
