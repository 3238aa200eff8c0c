"""Whom to call, and as whom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """Whom to call, and as whom; the time-out is in seconds."""

    host: str
    port: int
    called: str
    calling: str
    timeout_s: float = 30.0


def shown(address: Address) -> str:
    """A peer, for sentences."""
    return f"'{address.called}' at {address.host}:{address.port}"
