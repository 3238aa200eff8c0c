"""What every service asks before it does anything, and how it says that it cannot."""

from __future__ import annotations

from collections.abc import Callable

from secondread.domain.network import Peer, Service
from secondread.errors import CannotUnderstandError, LedgerError
from secondread.intake.dimse import (
    CLASS_NOT_SUPPORTED,
    NOT_AUTHORISED,
    RESOURCE_LIMITATION,
    Answer,
    Caller,
    Handler,
    Reply,
    Request,
)

PeerLookup = Callable[[str], Peer | None]
"""The peer of that name as the list has it now; None where it was taken off."""


def refused(status: int, comment: str) -> Reply:
    """A single answer that says no; Error Comment holds 64 characters (PS3.7 C)."""
    return Reply((Answer(status, comment),))


def guarded(service: Service, peer_of: PeerLookup, handler: Handler, unreadable: int) -> Handler:
    """A handler that only a peer with this right reaches, and whose failures are fit for DIMSE-N.

    The right was looked at when the association was opened. It is looked at again, because the
    list of peers changes live and an association may stay open for long.

    Args:
        service: the right.
        peer_of: finds the caller by its name.
        handler: what is called for those who have it.
        unreadable: the status where the data set cannot be read.
    """

    def handle(caller: Caller, request: Request) -> Reply:
        peer = peer_of(caller.peer)
        if peer is None or service not in peer.may:
            return refused(NOT_AUTHORISED, f"This peer may not use the service '{service}'.")
        if request.sop_class_uid not in {"", request.context.abstract_syntax}:
            return refused(CLASS_NOT_SUPPORTED, "Not the SOP class of the presentation context.")
        try:
            return handler(caller, request)
        except CannotUnderstandError:
            return refused(unreadable, "The data set cannot be read.")
        except LedgerError:
            return refused(RESOURCE_LIMITATION, "The request cannot be written down now.")

    return handle
