"""What ``secondread model monitor`` prints: a page that a person reads in a minute, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from secondread.cli.output import iso_time, local_time
from secondread.domain.monitoring import BY_RULE, Drift, Verdict
from secondread.monitoring.paired import share_interval

if TYPE_CHECKING:
    from secondread.cli.monitor_reading import Watched
    from secondread.domain.monitoring import ModelPause
    from secondread.monitoring.challenge import Difference, Summary
    from secondread.monitoring.paired import Median

_GROUPS_MAX = 8
_REASONS_MAX = 5
_BEFORE = "it saw an image"
_TOLD = (Drift.DRIFT, Drift.WATCH)


def tell(one: Watched) -> Iterator[str]:
    """A model in lines; what needs a person comes first."""
    model = one.model
    state = "on" if model.switched_on else "not switched on"
    yield f"{model.id} {model.version}, {state}{_rules(model.rules)}"
    pause = one.standing.pause
    if pause is not None:
        yield f"  PAUSED since {local_time(pause.since)} by {who(pause)}: {pause.reason}"
        resume = f"secondread model resume {model.id} --reason …"
        yield f"  Every study ends as 'not analysed'. Go on: {resume}"
    yield from _work(one)
    yield from _drift(one)
    yield from _feedback(one)
    for summary in one.challenges:
        yield from tell_challenge(summary, model.id, model.version)


def tell_challenge(summary: Summary, model_id: str, version: str) -> Iterator[str]:
    """One comparison, from the side of one of the two."""
    is_champion = (model_id, version) == summary.champion
    other = summary.challenger if is_champion else summary.champion
    role = "challenged by" if is_champion else "challenges"
    yield f"  Comparison  {role} {other[0]} {other[1]}"
    for sentence in summary.sentences:
        yield f"    {sentence}"
    if summary.not_comparable:
        yield (
            f"    {summary.not_comparable} more could not be laid over each other: other images, "
            "or answers that were gone."
        )
    if summary.seconds is not None:
        ours, theirs = summary.seconds.champion.value, summary.seconds.challenger.value
        yield f"    Median time: champion {ours:.1f} s, challenger {theirs:.1f} s."
    if any(summary.unmatched):
        champion, challenger = summary.unmatched
        yield (
            f"    Structures that only one of them has: champion {champion}, "
            f"challenger {challenger}."
        )


def document(one: Watched) -> dict[str, Any]:
    """A model for programs; times are ISO 8601, shares are between 0 and 1."""
    standing = one.standing
    return {
        "id": one.model.id,
        "version": one.model.version,
        "switched_on": one.model.switched_on,
        "rules": [{"name": name, "shadow": shadow} for name, shadow in one.model.rules],
        "paused": None if standing.pause is None else _pause(standing.pause),
        "jobs": asdict(one.done),
        "refusals": dict(one.refusals),
        "days": [
            {"day": iso_time(day.at)[:10], "analysed": day.analysed, "refused": day.refused}
            for day in one.days
        ],
        "drift": {
            "state": standing.state,
            "baseline_since": None
            if standing.baseline is None
            else iso_time(standing.baseline.since),
            "groups": [
                {
                    "scanner": group.scanner,
                    "protocol": group.protocol,
                    "since": None if group.since is None else iso_time(group.since),
                    **asdict(group.found),
                }
                for group in standing.groups
            ],
        },
        "feedback": {
            **{verdict.value: standing.verdicts[verdict] for verdict in Verdict},
            "rejects": asdict(standing.rejects),
        },
        "comparisons": [_comparison(summary) for summary in one.challenges],
    }


def _comparison(summary: Summary) -> dict[str, Any]:
    found = asdict(summary)
    for side in ("champion", "challenger", "unmatched"):
        del found[side]
    return {
        "champion": {"id": summary.champion[0], "version": summary.champion[1]},
        "challenger": {"id": summary.challenger[0], "version": summary.challenger[1]},
        **found,
        "refusals": {**found["refusals"], "p_value": summary.refusals.p_value},
        "accepted": {**found["accepted"], "p_value": summary.accepted.p_value},
        "champion_only_structures": summary.unmatched[0],
        "challenger_only_structures": summary.unmatched[1],
    }


def _pause(pause: ModelPause) -> dict[str, Any]:
    return {"since": iso_time(pause.since), "reason": pause.reason, "set_by": pause.set_by}


def _rules(rules: tuple[tuple[str, bool], ...]) -> str:
    if not rules:
        return "; no rule uses it"
    named = ", ".join(f"'{name}'{' (in shadow)' if shadow else ''}" for name, shadow in rules)
    return f"; rule{'s' * (len(rules) > 1)} {named}"


def who(pause: ModelPause) -> str:
    """Who paused it."""
    return "the node's own rule" if pause.set_by == BY_RULE else pause.set_by


def _work(one: Watched) -> Iterator[str]:
    done = one.done
    if not done.ended + done.failed + done.on_its_way:
        yield "  Work        no study yet"
        return
    parts = [f"{done.analysed} analysed", f"{done.refused} not analysed"]
    if done.ended:
        parts[1] += f" ({share(done.refused, done.ended)})"
    if done.failed:
        parts.append(f"{done.failed} failed")
    if done.on_its_way:
        parts.append(f"{done.on_its_way} on their way")
    yield f"  Work        {', '.join(parts)}"
    if one.refusals:
        named = [
            f"{count} by '{name}'" if name else f"{count} before {_BEFORE}"
            for name, count in list(one.refusals.items())[:_REASONS_MAX]
        ]
        yield f"  Refusals    {', '.join(named)}"


def _drift(one: Watched) -> Iterator[str]:
    groups = one.standing.groups
    if not groups:
        yield "  Drift       nothing was observed yet"
        return
    counts = {state: sum(group.found.state is state for group in groups) for state in Drift}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    yield f"  Drift       scanners and protocols: {said}"
    told = [group for group in groups if group.found.state in _TOLD]
    for group in told[:_GROUPS_MAX]:
        since = "" if group.since is None else f" (since {local_time(group.since)})"
        yield f"    {group.found.state}: {group.found.text}{since}"
    if len(told) > _GROUPS_MAX:
        yield f"    … and {len(told) - _GROUPS_MAX} more; see --json or --html."


def _feedback(one: Watched) -> Iterator[str]:
    verdicts = one.standing.verdicts
    total = sum(verdicts.values())
    if not total:
        yield "  Feedback    none yet"
        return
    said = ", ".join(
        f"{verdicts[verdict]} {word} ({share(verdicts[verdict], total)})"
        for verdict, word in (
            (Verdict.ACCEPT, "accepted"),
            (Verdict.MODIFY, "corrected"),
            (Verdict.REJECT, "rejected"),
        )
    )
    yield f"  Feedback    {said}"


def share(count: int, total: int) -> str:
    """A share with its interval: ``12 %, 7 to 20``."""
    low, high = share_interval(count, total)
    return f"{100 * count / total:.0f} %, {100 * low:.0f} to {100 * high:.0f}"


def spread(found: Median | None, digits: int) -> str:
    """A median with its interval, where it has one."""
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def limits(one: Difference) -> str:
    """Bias and limits of agreement."""
    found = one.limits
    if found is None:
        return "too few"
    return f"{found.bias:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
