"""The destinations: whether each can be reached, takes results, and can prove that it has them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from secondread.cli.probes.finding import Finding, failure, warning, well
from secondread.config.settings import Settings
from secondread.domain.network import Service
from secondread.errors import ConfigurationError

if TYPE_CHECKING:
    from secondread.domain.destination import Destination

_PATIENCE_S = 5.0
_AT_ONCE = 8


def probe_neighbours(settings: Settings) -> Iterator[Finding]:
    """Try every destination, several at a time; peers that only send cannot be asked."""
    from secondread.domain.destination import reachable

    if settings.peers:
        count = len(settings.peers)
        yield well("peers", f"{count} may send; they call the node, so echo from there.")
    destinations = [
        there
        for name, there in reachable(settings.destinations, settings.peers).items()
        if "/" not in name or there.port  # of the other peers a remark tells
    ]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        yield from pool.map(partial(_try, settings), destinations)


def _try(settings: Settings, destination: Destination) -> Finding:
    from secondread.delivery.diagnosis import COMMITS
    from secondread.delivery.steps import Outcome, is_sound
    from secondread.delivery.trial import try_out

    subject = f"destination {destination.name}"
    try:
        trial = try_out(destination, min(destination.timeout_s, _PATIENCE_S))
        steps = list(trial.steps)
    except ConfigurationError as error:
        return failure(subject, str(error), "Correct the file, or its place in the configuration.")
    sentence = trial.conclude(steps)
    if not is_sound(steps):
        return failure(subject, sentence, _remedy(destination))
    if any(step.outcome is Outcome.WARNING for step in steps):
        again = f"secondread peer echo '{destination.name}'"
        return warning(subject, sentence, f"Step by step: {again}")
    if any(step.sentence == COMMITS for step in steps) and not _may_report(settings, destination):
        return warning(
            subject,
            f"{sentence} It offers Storage Commitment, but may not bring its reports on an "
            "association of its own, as most archives do: they would be refused.",
            f"Enter '{destination.ae_title}' in [[peers]], with 'commitment' in what it may do; or "
            'set kind = "read-back" in [destinations.proof].',
        )
    return well(subject, sentence)


def _may_report(settings: Settings, destination: Destination) -> bool:
    """Whether commitment reports of a destination are let in."""
    return any(
        peer.ae_title == destination.ae_title and Service.COMMITMENT in peer.may
        for peer in settings.peers
    )


def _remedy(destination: Destination) -> str:
    if destination.web is not None:
        return "Check url and credentials in [destinations.web]."
    if destination.folder is not None:
        return "Check the mount and the permissions, or path in [destinations.folder]."
    where = "[[peers]]" if "/" in destination.name else "[[destinations]]"
    return (
        f"Check host, port and AE title in {where}, and that '{destination.calling_ae_title}' is "
        "known there."
    )
