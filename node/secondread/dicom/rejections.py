"""Why an association was rejected, in words (PS3.8 table 9-21)."""

from __future__ import annotations

_REASONS = {
    (1, 2): "because it does not support the application context",
    (1, 3): "because it does not know the calling AE title",
    (1, 7): "because it does not know the called AE title",
    (2, 2): "because it does not support the protocol version",
    (3, 1): "because of temporary congestion",
    (3, 2): "because too many associations are open there",
}


def why_rejected(source: int, diagnostic: int) -> str:
    """The end of a sentence; 'without a reason' for those that have none."""
    return _REASONS.get((source, diagnostic), "without a reason")
