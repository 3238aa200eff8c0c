"""One association for an echo, PDU by PDU on a socket of ours, so that every wait has an end.

pynetdicom's own requestor would wait for ever for a peer that sends half a header, and could not
tell garbage from silence.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from secondread.delivery.association import (
    MAXIMUM_LENGTH_BYTES,
    Identity,
    Offer,
    Titles,
    negotiate,
    release,
)
from secondread.delivery.commands import C_ECHO_RQ, Request, receive_answer, send_request
from secondread.delivery.link import Link

ECHO_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
"""Explicit and Implicit VR Little Endian, the least that a service offers."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An association: SOP Class UID to context id, for those that were accepted."""

    contexts: Mapping[str, int]
    maximum_length: int


class Conversation:
    """Talks over a connected socket; each call may take ``timeout_s`` from beginning to end."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._link = Link(connection, timeout_s)

    def associate(
        self, titles: Titles, sop_classes: Sequence[str], identity: Identity | None = None
    ) -> Accepted:
        """Ask for an association with a context for each SOP class, as a user where there is one.

        Raises:
            ConversationError: there is none.
        """
        agreement = negotiate(
            self._link, titles, [Offer(uid, ECHO_SYNTAXES) for uid in sop_classes], identity
        )
        contexts = {offer.sop_class_uid: number for offer, number in agreement.contexts.items()}
        return Accepted(contexts, agreement.maximum_length or MAXIMUM_LENGTH_BYTES)

    def echo(self, accepted: Accepted, verification: str) -> int:
        """Send a C-ECHO; returns its status (PS3.7 9.1.5).

        Raises:
            ConversationError: it was not answered.
        """
        request = Request(C_ECHO_RQ, 1, verification, accepted.contexts[verification])
        self._link.begin()
        send_request(self._link, request)
        return receive_answer(self._link, request).status

    def release(self) -> None:
        """End the association in order; whether the peer answers is not looked at for long."""
        release(self._link)
