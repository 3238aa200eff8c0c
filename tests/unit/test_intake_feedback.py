"""What a peer may store that may only give feedback."""

from __future__ import annotations

import pytest

from secondread.domain.network import USUAL_SERVICES, Peer, Service
from secondread.intake.association_request import AssociationRequest, Proposal
from secondread.intake.negotiation import negotiate
from secondread.intake.offers import make_offers, storage_classes

EXPLICIT = "1.2.840.10008.1.2.1"
MR = "1.2.840.10008.5.1.4.1.1.4"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEG = "1.2.840.10008.5.1.4.1.1.66.7"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
ASKED = (MR, SEG, LABEL_MAP_SEG, KEY_OBJECTS)


def accepted(may: frozenset[Service]) -> set[str]:
    peer = Peer("reader", "READER", ("10.0.0.1",), 5.0, may=may)
    proposals = tuple(Proposal(2 * n + 1, uid, (EXPLICIT,)) for n, uid in enumerate(ASKED))
    request = AssociationRequest(
        **{
            **dict.fromkeys(AssociationRequest.__dataclass_fields__),
            "contexts": proposals,
            "roles": {},
        }
    )
    agreement = negotiate(request, peer, make_offers(storage_classes((), ()), {}))
    return {context.abstract_syntax for context in agreement.contexts.values()}


@pytest.mark.parametrize(
    ("may", "expected"),
    [
        (frozenset({Service.FEEDBACK}), {SEG, LABEL_MAP_SEG, KEY_OBJECTS}),
        (frozenset({Service.STORE}), set(ASKED)),
        (frozenset({Service.STORE, Service.FEEDBACK}), set(ASKED)),
        (frozenset({Service.ECHO}), set()),
    ],
)
def test_feedback_alone_stores_corrections_and_rejections_only(
    may: frozenset[Service], expected: set[str]
) -> None:
    assert accepted(may) == expected


def test_nobody_may_give_feedback_unless_the_configuration_says_so() -> None:
    assert Service.FEEDBACK not in Peer("mr", "MR", ("10.0.0.1",), 5.0).may
    assert frozenset(Service) - USUAL_SERVICES == {Service.FEEDBACK}
