"""The destinations: whether each answers a C-ECHO."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from secondread.cli.probes.finding import Finding, failure, well
from secondread.config.settings import Settings

if TYPE_CHECKING:
    from secondread.delivery.store_scu import EchoResult
    from secondread.domain.network import Destination

_PATIENCE_S = 5.0
_AT_ONCE = 8


def probe_neighbours(settings: Settings) -> Iterator[Finding]:
    """Echo every destination, several at a time; peers that only send cannot be asked."""
    if settings.peers:
        count = len(settings.peers)
        yield well("peers", f"{count} may send; they call the node, so echo from there.")
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        answers = pool.map(_echo, settings.destinations)
        for destination, answer in zip(settings.destinations, answers, strict=True):
            subject = f"destination {destination.name}"
            if answer.ok:
                yield well(subject, answer.sentence)
            else:
                yield failure(
                    subject,
                    answer.sentence,
                    f"Check host, port and AE title in [[destinations]], and that "
                    f"'{destination.calling_ae_title}' is known there.",
                )


def _echo(destination: Destination) -> EchoResult:
    from secondread.delivery.address import Address
    from secondread.delivery.store_scu import echo

    return echo(
        Address(
            destination.host,
            destination.port,
            destination.ae_title,
            destination.calling_ae_title,
            min(destination.timeout_s, _PATIENCE_S),
        )
    )
