"""C-STORE: one association for as many objects as there are, across batches and jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from secondread.delivery.association import CONTEXTS_MAX
from secondread.delivery.calling import address_of, identity_of, security_of
from secondread.delivery.carriers.carrier import Blame, Carried, Parcel
from secondread.delivery.object_file import Kind, ObjectFile, kinds_of, open_object
from secondread.delivery.sender import Sender, Sent
from secondread.domain.destination import Destination
from secondread.domain.network import Urgency
from secondread.errors import (
    DeliveryError,
    KindRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
)

_KINDS_MAX = CONTEXTS_MAX - 1
"""One context is left for Verification."""
_RESTED_S = 1.0


class DicomCarrier:
    """Keeps an association open and uses it as long as it is good for what comes."""

    at_once = 1

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._sender: Sender | None = None
        # What is expected; looked into when an association is opened, and not before.
        self._wanted: list[Path] = []
        # What the peer takes none of, until the next batch; asking for each object is of no use.
        self._refused: dict[Kind, KindRefusedError] = {}
        self._used_at = 0.0

    def expect(self, parcels: Sequence[Parcel]) -> None:
        """These are to be carried next: an association that is opened is for all of them."""
        self._wanted = [parcel.path for parcel in parcels]
        self._refused = {}

    def carry(self, parcels: Sequence[Parcel]) -> Iterator[Carried]:
        """Send objects, one after the other."""
        for parcel in parcels:
            told = self._carry(parcel)
            yield told
            if told.fault is not None and told.blame is not Blame.OBJECT:
                return

    def probe(self) -> None:
        """C-ECHO, over an association that can be used afterwards.

        A peer that refuses the Verification service, or answers it with another status than
        Success, has answered.

        Raises:
            DeliveryError: there is no association, or no answer.
        """
        self.close()
        sender = self._new_sender(kinds_of(self._wanted), echoes=True)
        try:
            sender.open()
            with suppress(PeerRefusedError):
                sender.echo()
        except KindRefusedError:
            return
        except DeliveryError:
            sender.abort()
            raise
        self._sender, self._used_at = sender, time.monotonic()

    def close(self) -> None:
        """Release the association."""
        if self._sender is not None:
            self._sender.release()
            self._sender = None

    def _carry(self, parcel: Parcel) -> Carried:
        try:
            with open_object(parcel.path) as source:
                return self._carry_open(parcel, source)
        except DeliveryError as error:
            return Carried(parcel, fault=error)

    def _carry_open(self, parcel: Parcel, source: ObjectFile) -> Carried:
        """Send an object whose file is open.

        Raises:
            DeliveryError: it is the object's fault that it was not stored.
        """
        kind = source.kind
        if kind in self._refused:
            raise self._refused[kind]
        address_of(self._destination)
        try:
            sender = self._open_for(kind)
        except KindRefusedError:
            raise
        except DeliveryError as error:
            return Carried(parcel, fault=error, blame=Blame.LINE)
        try:
            sent = self._send(sender, source, parcel.urgency)
        except PeerUnreachableError as error:
            # A status leaves the association open; anything else does not.
            blame = Blame.OBJECT if sender.is_open else Blame.BOTH
            return Carried(parcel, fault=error, blame=blame)
        self._used_at = time.monotonic()
        return Carried(parcel, sent.status, sent.remark)

    def _send(self, sender: Sender, source: ObjectFile, urgency: Urgency) -> Sent:
        rested = time.monotonic() - self._used_at > _RESTED_S
        try:
            return sender.send_open(source, urgency)
        except PeerUnreachableError:
            if not rested or sender.is_open:
                raise
        # The peer was about to end an association that nobody had used for a while.
        sender.open()
        return sender.send_open(source, urgency)

    def _open_for(self, kind: Kind) -> Sender:
        """An association for such an object, and for the others that are expected."""
        before: tuple[Kind, ...] = ()
        if self._sender is not None:
            if self._sender.is_open:
                if self._sender.asks_for(kind):
                    return self._sender
                before = _sorted(self._sender.kinds)
            self.close()
        kinds = tuple(dict.fromkeys((kind, *kinds_of(self._wanted), *before)))[:_KINDS_MAX]
        sender = self._new_sender(kinds)
        try:
            sender.open()
        except KindRefusedError as error:
            self._refused.update(dict.fromkeys(kinds, error))
            raise
        self._sender, self._used_at = sender, time.monotonic()
        return sender

    def _new_sender(self, kinds: Sequence[Kind], *, echoes: bool = False) -> Sender:
        return Sender(
            address_of(self._destination),
            kinds[:_KINDS_MAX],
            security=security_of(self._destination),
            identity=identity_of(self._destination),
            echoes=echoes,
        )


def _sorted(kinds: frozenset[Kind]) -> tuple[Kind, ...]:
    return tuple(sorted(kinds, key=lambda kind: (kind.sop_class_uid, kind.transfer_syntax_uid)))
