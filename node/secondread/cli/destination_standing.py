"""How deliveries to a destination stand, as rows for people and as documents for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from secondread.cli.output import iso_time, local_time
from secondread.domain.line import Line, LineState
from secondread.domain.states import DeliveryState
from secondread.store.deliveries import DeadLetter, Figures, Reason

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.domain.destination import Destination
    from secondread.store import Transaction

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_PROOFS = {"commitment": "Storage Commitment", "read-back": "reading back", "": "nothing"}


@dataclass(frozen=True, slots=True)
class Standing:
    """How deliveries to one destination stand.

    Attributes:
        name: in the outbox.
        destination: as it is configured; None where it is not any more.
        reasons: what keeps objects back, where that was read.
        dead: what waits for a person, where that was read.
    """

    name: str
    destination: Destination | None
    line: Line
    figures: Figures
    reasons: Sequence[Reason] = field(default=())
    dead: Sequence[DeadLetter] = field(default=())


def read_standings(settings: Settings, is_begun: bool) -> Sequence[Standing]:
    """Every destination that is configured or for which something is kept."""
    from secondread.cli.study import open_ledger
    from secondread.domain.destination import reachable

    known = reachable(settings.destinations, settings.peers)
    if not is_begun:
        return tuple(
            Standing(name, there, Line(name), Figures(name)) for name, there in known.items()
        )
    with open_ledger(settings) as ledger, ledger.read() as view:
        figures = view.deliveries.figures()
        lines = {line.destination: line for line in view.lines.all()}
    return tuple(
        Standing(
            name, known.get(name), lines.get(name, Line(name)), figures.get(name, Figures(name))
        )
        for name in dict.fromkeys([*known, *figures])
    )


def read_detail(settings: Settings, name: str, is_begun: bool, dead_max: int) -> Standing:
    """One destination, with what keeps objects back."""
    from secondread.cli.study import open_ledger

    (found,) = (one for one in read_standings(settings, is_begun) if one.name == name)
    if not is_begun:
        return found
    with open_ledger(settings) as ledger, ledger.read() as view:
        return _with_reasons(view, found, dead_max)


def _with_reasons(view: Transaction, found: Standing, dead_max: int) -> Standing:
    return replace(
        found,
        reasons=view.deliveries.reasons(found.name),
        dead=view.deliveries.dead(found.name, dead_max),
    )


def row(one: Standing, now: float) -> tuple[object, ...]:
    """A row of ``destination list``."""
    counts = one.figures
    oldest = "" if counts.oldest_waiting_at is None else age(now - counts.oldest_waiting_at)
    return (
        one.name,
        kind(one),
        tell_line(one.line),
        counts.count(DeliveryState.READY),
        counts.count(DeliveryState.SENT),
        counts.count(DeliveryState.SAFE),
        counts.count(DeliveryState.DEAD),
        oldest,
        one.line.reason,
    )


def kind(one: Standing) -> str:
    """How it is reached, in a word or two."""
    if one.destination is None:
        return "not configured"
    if "/" in one.name:
        return "sender"
    return f"{one.destination.way}" + (" with TLS" if _is_secure(one.destination) else "")


def _is_secure(destination: Destination) -> bool:
    web = destination.web
    return destination.security is not None or (web is not None and web.secure)


def tell_line(line: Line) -> str:
    """A line in a few words."""
    if line.paused:
        return "paused"
    match line.state:
        case LineState.CLOSED:
            return "up"
        case LineState.OPEN:
            return f"down since {local_time(line.since)}"
        case LineState.HALF_OPEN:
            return f"being tried, down since {local_time(line.since)}"


def facts(one: Standing, now: float) -> Iterator[tuple[str, str]]:
    """What ``destination show`` tells."""
    figures, line = one.figures, one.line
    yield "Name", one.name
    yield "Kind", kind(one)
    if one.destination is not None:
        yield "Where", where(one.destination)
    yield "Line", tell_line(line)
    if line.paused and line.state is not LineState.CLOSED:
        yield "", f"and down since {local_time(line.since)}"
    if line.state is LineState.OPEN:
        yield "Tried next", f"{local_time(line.next_at)}, after {line.failures} failures in a row"
    if line.reason:
        yield "Because", line.reason
    waiting = figures.count(DeliveryState.READY)
    since = (
        "" if figures.oldest_waiting_at is None else f", {_oldest(figures.oldest_waiting_at, now)}"
    )
    yield "Waiting to be sent", f"{waiting}{since}"
    sent = figures.count(DeliveryState.SENT)
    since = "" if figures.oldest_sent_at is None else f", {_oldest(figures.oldest_sent_at, now)}"
    yield "Sent, not proven yet", f"{sent}{since}"
    yield "Safe", f"{figures.count(DeliveryState.SAFE)}{_proven(figures)}"
    yield "Dead letters", str(figures.count(DeliveryState.DEAD))
    if one.destination is not None:
        terms = one.destination.terms
        yield "Proof", f"{terms.proof}, {terms.delay_s:g} s after sending"
    for reason in one.reasons:
        objects = "1 object" if reason.objects == 1 else f"{reason.objects} objects"
        yield f"{objects} {reason.state}", reason.reason


def where(destination: Destination) -> str:
    """Where a destination is, for people."""
    if destination.web is not None:
        return destination.web.url
    if destination.folder is not None:
        return str(destination.folder.folder)
    if not destination.port:
        return f"{destination.ae_title}; host or port is not known"
    return f"{destination.ae_title} at {destination.host}:{destination.port}"


def _oldest(at: float, now: float) -> str:
    return f"the oldest for {age(now - at)}"


def _proven(figures: Figures) -> str:
    told = [f"{count} by {_PROOFS.get(proof, proof)}" for proof, count in figures.proofs.items()]
    return f", {', '.join(told)}" if told else ""


def age(seconds: float) -> str:
    """A length of time in words."""
    if seconds < _MINUTE_S:
        return f"{max(seconds, 0):.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.0f} h"
    return f"{seconds / _DAY_S:.0f} days"


def dead_rows(
    letters: Sequence[DeadLetter], *, with_destination: bool = False
) -> Iterator[tuple[object, ...]]:
    """Rows of dead letters: object, study, kind, tries, destination if wished, reason."""
    for letter in letters:
        item = letter.item
        between = (item.destination,) if with_destination else ()
        yield (item.id, letter.study_id, item.kind, item.attempts, *between, item.reason)


def standing_document(one: Standing, *, detailed: bool = False) -> dict[str, object]:
    """A destination for programs, ``detailed`` with what was read of its objects; times are UTC."""
    figures, line = one.figures, one.line
    document: dict[str, object] = {
        "name": one.name,
        "configured": one.destination is not None,
        "kind": None if one.destination is None else str(one.destination.way),
        "where": None if one.destination is None else where(one.destination),
        "line": {
            "state": line.state,
            "paused": line.paused,
            "failures": line.failures,
            "since": _time(line.since or None),
            "next_at": _time(line.next_at or None),
            "reason": line.reason,
        },
        "objects": {str(state): figures.count(state) for state in DeliveryState},
        "proofs": {proof or "none": count for proof, count in figures.proofs.items()},
        "oldest_waiting_at": _time(figures.oldest_waiting_at),
        "oldest_sent_at": _time(figures.oldest_sent_at),
    }
    if detailed:
        document["reasons"] = one.reasons
        document["dead"] = [dead_document(letter) for letter in one.dead]
    return document


def dead_document(letter: DeadLetter) -> dict[str, object]:
    """A dead letter for programs."""
    item = letter.item
    return {
        "object": item.id,
        "destination": item.destination,
        "study": letter.study_id,
        "job": item.job_id,
        "kind": item.kind,
        "sop_class_uid": item.sop_class_uid,
        "sop_instance_uid": item.sop_instance_uid,
        "tries": item.attempts,
        "sendings": item.sendings,
        "reason": item.reason,
    }


def _time(at: float | None) -> str | None:
    return None if at is None else iso_time(at)
