"""What ``secondread retention show`` tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from secondread.cli.output import iso_time, local_time, print_line, print_table
from secondread.domain.disk_pressure import Pressure, judge_pressure
from secondread.domain.retention import DAY_S, Kind, WhenLow

if TYPE_CHECKING:
    from secondread.domain.disk_pressure import Forecast
    from secondread.domain.hold import Hold
    from secondread.domain.retention import Retention
    from secondread.pipeline.keeping import Figure, Survey
    from secondread.pipeline.removal import Amount

_KINDS = {
    Kind.IMAGES: "images",
    Kind.UNWANTED: "images no rule wanted",
    Kind.RESULTS: "results",
    Kind.REPORTS: "reports",
    Kind.SHADOW: "results in shadow",
    Kind.QUARANTINE: "quarantine",
}
_MIB, _GIB = 1024**2, 1024**3


def tell(
    terms: Retention, survey: Survey, disk: Forecast, holds: Sequence[Hold], now: float
) -> None:
    """Print it for people."""
    print_table(
        ("", "KEPT FOR", "KEPT", "MAY GO NOW", "MUST STAY", "NEXT GOES"),
        [
            (
                _KINDS[kind],
                _days(terms, kind),
                _amount(figure.kept),
                _amount(figure.due),
                _amount(figure.blocked),
                _next(figure, now),
            )
            for kind, figure in survey.figures.items()
        ],
    )
    print_line("")
    for objection, studies in survey.objections.items():
        print_line(f"{studies} {'study stays' if studies == 1 else 'studies stay'}: {objection}")
    if holds:
        print_line("")
        print_table(
            ("ON HOLD", "SINCE", "BY", "WHY"),
            [(f"study {h.study_id}", local_time(h.at), h.placed_by, h.reason) for h in holds],
        )
    rows_days = terms.observations_days
    kept = f"for {rows_days:g} days" if rows_days else "for ever"
    print_line("")
    print_line(f"In the ledger: observations of models and comparisons are kept {kept}.")
    eased = judge_pressure(disk, terms) is Pressure.EASY
    print_line(f"Disk: {disk.sentence}", style="" if eased else "yellow")
    if not eased and terms.when_low is WhenLow.PURGE_SAFE:
        print_line(f"What is safe goes before its time, after {terms.early_days:g} days.")


def _days(terms: Retention, kind: Kind) -> str:
    length_s = terms.length_s(kind)
    return "ever" if math.isinf(length_s) else f"{length_s / DAY_S:g} days"


def _amount(amount: Amount) -> str:
    if not amount.files:
        return "-"
    if amount.size_bytes >= _GIB:
        return f"{amount.files}, {amount.size_bytes / _GIB:.1f} GiB"
    return f"{amount.files}, {amount.size_bytes / _MIB:.1f} MiB"


def _next(figure: Figure, now: float) -> str:
    if figure.due.files:
        return "within the hour"
    return "-" if math.isinf(figure.next_due_at) else local_time(max(figure.next_due_at, now))


def document(
    terms: Retention, survey: Survey, disk: Forecast, holds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The same for JSON."""

    def amount(found: Amount) -> dict[str, int]:
        return {"files": found.files, "bytes": found.size_bytes}

    def figure(kind: Kind, found: Figure) -> dict[str, Any]:
        length_s = terms.length_s(kind)
        return {
            "days": None if math.isinf(length_s) else length_s / DAY_S,
            "kept": amount(found.kept),
            "due": amount(found.due),
            "must_stay": amount(found.blocked),
            "next_due_at": (None if math.isinf(found.next_due_at) else iso_time(found.next_due_at)),
        }

    return {
        "kinds": {kind.value: figure(kind, found) for kind, found in survey.figures.items()},
        "observations_days": terms.observations_days or None,
        "objections": dict(survey.objections),
        "holds": list(holds),
        "disk": {
            "pressure": judge_pressure(disk, terms),
            "free_bytes": disk.free_bytes,
            "minimum_bytes": disk.minimum_bytes,
            "received_bytes_per_day": round(disk.received_per_day),
            "going_bytes_per_day": round(disk.going_per_day),
            "days_left": None if math.isinf(disk.days_left) else round(disk.days_left, 2),
            "sentence": disk.sentence,
        },
    }
