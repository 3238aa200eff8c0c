"""What the node offers to its callers: abstract syntaxes, and in which transfer syntaxes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from secondread.dicom.contexts import (
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION,
)
from secondread.dicom.messages import MESSAGE_SYNTAXES
from secondread.domain.network import Service
from secondread.intake.negotiation import Offer

Offers = Mapping[str, Offer]


def storage_classes(chosen: Collection[str], extra: Collection[str]) -> frozenset[str]:
    """The SOP classes that are stored: those chosen, or all of the standard, and the extra ones."""
    standard = frozenset(item.uid for item in STORAGE_SOP_CLASSES)
    return (frozenset(chosen) or standard) | frozenset(extra)


def make_offers(
    storage: Collection[str],
    services: Mapping[Service, Collection[str]],
    reports: Collection[str] = (),
) -> Offers:
    """The offers of a node that stores these SOP classes and serves these others.

    Of those in ``reports`` it takes N-EVENT-REPORTs of its callers, too.
    """
    every_syntax = frozenset(item.uid for item in TRANSFER_SYNTAXES)
    messages = frozenset(MESSAGE_SYNTAXES)
    offers = {uid: Offer(Service.STORE, every_syntax) for uid in storage}
    for service, classes in services.items():
        offers.update({uid: Offer(service, messages, uid in reports) for uid in classes})
    offers[VERIFICATION.uid] = Offer(Service.ECHO, messages)
    return offers
