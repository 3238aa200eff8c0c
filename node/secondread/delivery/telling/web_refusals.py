"""What web servers that are no archives answer, as errors with a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from secondread.delivery.web import Answer
from secondread.delivery.web_wording import describe_status, describe_unauthorised
from secondread.domain.web_target import Scheme, WebTarget
from secondread.errors import DeliveryError, PeerRefusedError

_NAMES = {int(status): status.phrase for status in HTTPStatus}


def describe_answer(target: WebTarget, answer: Answer, final: Mapping[int, str]) -> DeliveryError:
    """An answer that is no success as an error.

    Args:
        target: who answered.
        answer: what it said; nothing of its body is told.
        final: the statuses that mean something of their own for this service, and what to do about
            each; none of them is worth another try.
    """
    anonymous = target.credentials.scheme is Scheme.NONE
    if answer.status == HTTPStatus.UNAUTHORIZED and not (anonymous and answer.status in final):
        return describe_unauthorised(target.shown, target.credentials.scheme)
    if answer.status in final:
        said = f"{answer.status} {_NAMES.get(answer.status, '')}".rstrip()
        return PeerRefusedError(f"{target.shown} answered {said}: {final[answer.status]}.")
    return describe_status(
        target.shown,
        answer.status,
        retry_after_s=answer.retry_after_s,
        location=answer.location,
    )
