"""What is agreed with a caller: contexts, roles, window; and the A-ASSOCIATE-AC that says so."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from secondread.dicom.contexts import FEEDBACK_SOP_CLASS_UIDS
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.domain.network import Peer, Service
from secondread.intake.association_request import AssociationRequest, Proposal
from secondread.intake.dimse import Context

MAXIMUM_PDU_BYTES = 131072
WINDOW_MAX = 8
"""Objects of one association that may wait for the disk at a time."""

_ACCEPTANCE, _USER_REJECTION = 0, 1
_ABSTRACT_SYNTAX_NOT_SUPPORTED, _TRANSFER_SYNTAXES_NOT_SUPPORTED = 3, 4
_ANY_TRANSFER_SYNTAX = b"1.2.840.10008.1.2"
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"


@dataclass(frozen=True, slots=True)
class Offer:
    """A service that the node offers for one abstract syntax, and in which transfer syntaxes.

    ``reports`` says that a caller may be its SCP as well, and report to the node.
    """

    service: Service
    transfer_syntaxes: frozenset[str]
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was agreed.

    Attributes:
        contexts: the accepted contexts by id.
        results: (id, result, transfer syntax) of each proposed context (PS3.8 table 9-18).
        roles: accepted (SCU, SCP) roles of the caller, by SOP class.
        window: requests the caller may have outstanding.
    """

    contexts: Mapping[int, Context]
    results: tuple[tuple[int, int, bytes], ...]
    roles: Mapping[str, tuple[bool, bool]]
    window: int


def negotiate(request: AssociationRequest, peer: Peer, offers: Mapping[str, Offer]) -> Agreement:
    """Decide on each proposed context by what the node offers and what the peer may do.

    Of the transfer syntaxes the caller's first acceptable one is taken, so that an object is sent
    in the form in which the caller has it.
    """
    contexts: dict[int, Context] = {}
    results: list[tuple[int, int, bytes]] = []
    for proposal in request.contexts:
        result, syntax = _decide(proposal, peer, offers)
        results.append((proposal.id, result, syntax.encode() or _ANY_TRANSFER_SYNTAX))
        if result == _ACCEPTANCE:
            contexts[proposal.id] = Context(proposal.id, proposal.abstract_syntax, syntax)
    accepted = {context.abstract_syntax for context in contexts.values()}
    # A caller becomes SCP only where it has something to report (PS3.7 D.3.3.4).
    roles = {
        uid: (scu, scp and offers[uid].reports)
        for uid, (scu, scp) in request.roles.items()
        if uid in accepted
    }
    window = 1
    if request.window is not None:
        invoked = request.window[0] or WINDOW_MAX
        window = min(invoked, WINDOW_MAX)
    return Agreement(contexts, tuple(results), roles, window)


def _decide(proposal: Proposal, peer: Peer, offers: Mapping[str, Offer]) -> tuple[int, str]:
    offer = offers.get(proposal.abstract_syntax)
    if offer is None:
        return _ABSTRACT_SYNTAX_NOT_SUPPORTED, ""
    if offer.service not in peer.may and not _is_feedback(proposal.abstract_syntax, offer, peer):
        return _USER_REJECTION, ""
    if offer.service is Service.STORE:
        if peer.sop_classes and proposal.abstract_syntax not in peer.sop_classes:
            return _USER_REJECTION, ""
        wanted = peer.transfer_syntaxes
    else:
        wanted = frozenset()
    for syntax in proposal.transfer_syntaxes:
        if syntax in offer.transfer_syntaxes and (not wanted or syntax in wanted):
            return _ACCEPTANCE, syntax
    return _TRANSFER_SYNTAXES_NOT_SUPPORTED, ""


def _is_feedback(abstract_syntax: str, offer: Offer, peer: Peer) -> bool:
    """Whether a peer that may not store in general may store this, to correct or reject results."""
    may_correct = Service.FEEDBACK in peer.may and offer.service is Service.STORE
    return may_correct and abstract_syntax in FEEDBACK_SOP_CLASS_UIDS


def encode_accept(request: AssociationRequest, agreement: Agreement) -> bytes:
    """An A-ASSOCIATE-AC (PS3.8 9.3.3)."""
    user = [
        _item(0x51, struct.pack(">I", MAXIMUM_PDU_BYTES)),
        _item(0x52, IMPLEMENTATION_CLASS_UID.encode()),
    ]
    if request.window is not None:
        # PS3.7 D.3.3.3: what the caller may invoke, and what the node may.
        user.append(_item(0x53, struct.pack(">HH", agreement.window, 1)))
    for uid, (scu, scp) in agreement.roles.items():
        name = uid.encode()
        user.append(_item(0x54, struct.pack(">H", len(name)) + name + bytes((scu, scp))))
    user.append(_item(0x55, IMPLEMENTATION_VERSION_NAME.encode()))
    if request.identity is not None and request.wants_identity_answer:
        user.append(_item(0x59, struct.pack(">H", 0)))
    body = b"".join(
        (
            struct.pack(">HH", 1, 0),
            request.titles,
            bytes(32),
            _item(0x10, _APPLICATION_CONTEXT),
            *(
                _item(0x21, struct.pack(">BxBx", number, result) + _item(0x40, syntax))
                for number, result, syntax in agreement.results
            ),
            _item(0x50, b"".join(user)),
        )
    )
    return struct.pack(">BxI", 0x02, len(body)) + body


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value
