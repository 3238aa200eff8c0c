"""The allow-list: which application entities may open an association, and from where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from secondread.domain.network import Peer

_PERMANENT, _TRANSIENT = 1, 2
_SERVICE_USER, _PRESENTATION_PROVIDER = 1, 3
_CALLING_NOT_RECOGNISED, _CALLED_NOT_RECOGNISED, _LOCAL_LIMIT = 3, 7, 2


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an association is rejected.

    Attributes:
        result: 1 permanent, 2 transient (PS3.8 table 9-21).
        source: 1 service user, 3 service provider, presentation related.
        diagnostic: the reason, to be read together with the source.
        code: a stable name for the audit trail.
        reason: one sentence for the administrator; never sent to the caller.
    """

    result: int
    source: int
    diagnostic: int
    code: str
    reason: str


class AccessList:
    """Decides on associations by calling AE title, called AE title and address.

    Everything that is not listed is refused. The calling title is looked at first, so that a
    stranger does not learn whether the called title was right.
    """

    def __init__(self, peers: Iterable[Peer], ae_title: str) -> None:
        self._peers = {peer.ae_title: peer for peer in peers}
        self._ae_title = ae_title

    def admit(self, calling: str, called: str, address: str) -> Peer | Refusal:
        """The peer that calls, or why it may not.

        Titles are compared exactly, after the spaces that pad them on the wire (PS3.8 9.3.2) are
        taken off; ``address`` is the IP address of the caller.
        """
        calling, called = calling.strip(" "), called.strip(" ")
        shown, place = _shown(calling), _shown(address)
        peer = self._peers.get(calling)
        if peer is None:
            return Refusal(
                _PERMANENT,
                _SERVICE_USER,
                _CALLING_NOT_RECOGNISED,
                "unknown-calling-ae",
                f"'{shown}' at {place} is not among the [[peers]]. If it may send, add it.",
            )
        if not _is_at(peer, address):
            return Refusal(
                _PERMANENT,
                _SERVICE_USER,
                _CALLING_NOT_RECOGNISED,
                "wrong-address",
                f"'{shown}' is peer '{peer.name}', but calls from {place}, which is not in its "
                f"addresses ({', '.join(peer.addresses)}). If it has moved, correct them.",
            )
        if called != self._ae_title:
            return Refusal(
                _PERMANENT,
                _SERVICE_USER,
                _CALLED_NOT_RECOGNISED,
                "unknown-called-ae",
                f"Peer '{peer.name}' at {place} calls '{_shown(called)}', but this node is "
                f"'{self._ae_title}'. Correct the called AE title on the peer.",
            )
        return peer


def over_limit(maximum: int) -> Refusal:
    """The refusal of one association too many; transient, so that the modality tries again."""
    return Refusal(
        _TRANSIENT,
        _PRESENTATION_PROVIDER,
        _LOCAL_LIMIT,
        "too-many-associations",
        f"{maximum} associations are open, which is the limit; raise max_associations in [dicom] "
        "if the machine can bear it.",
    )


def _is_at(peer: Peer, address: str) -> bool:
    try:
        return peer.is_at(address)
    except ValueError:  # not an IP address, so certainly none of the list
        return False


def _shown(text: str) -> str:
    """A stranger's text, made safe for a log line or a terminal."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)[:64]
