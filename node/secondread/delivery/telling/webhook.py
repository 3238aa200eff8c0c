"""Webhooks: an event as a signed JSON document, by POST.

The same event has the same ``Idempotency-Key`` and the same document at every try, so that a
receiver whose answer was lost does not count it twice. Any 2xx is a receipt; what it says besides
is not read.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from secondread.delivery.telling.event import Announcement, document_of
from secondread.delivery.telling.signature import SIGNATURE, TIMESTAMP, read_secret, sign
from secondread.delivery.telling.web_body import HeldBody
from secondread.delivery.telling.web_refusals import describe_answer
from secondread.delivery.web import Request, exchange, origin_of
from secondread.domain.web_target import WebTarget

IDEMPOTENCY_KEY = "Idempotency-Key"

_ANSWER_BYTES_MAX = 1024**2
_SIGNED = "compare the signing secret and the clocks of both sides"
_ADDRESS = "nobody takes events there: correct 'url'"
_REFUSALS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "it does not understand the document, or does not take its signature: "
    f"see its log, and {_SIGNED}",
    HTTPStatus.UNAUTHORIZED: f"it does not take the signature: {_SIGNED}",
    HTTPStatus.FORBIDDEN: f"it does not take the signature, or not from this node: {_SIGNED}",
    HTTPStatus.NOT_FOUND: _ADDRESS,
    HTTPStatus.METHOD_NOT_ALLOWED: _ADDRESS,
    HTTPStatus.NOT_ACCEPTABLE: "it does not understand the document; see its log",
    HTTPStatus.CONFLICT: "it has something else under the same idempotency key; see its log",
    HTTPStatus.GONE: "it wants to be told no more: take the webhook out of the configuration",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the document is too large for it: raise its limit, or "
    "tell it no UIDs",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "it does not take JSON",
    HTTPStatus.UNPROCESSABLE_ENTITY: "it does not understand the document; see its log",
    HTTPStatus.NOT_IMPLEMENTED: _ADDRESS,
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of events.

    Attributes:
        target: its address, with all of its path, and how it is called; its path may be a secret,
            so that sentences name scheme, host and port alone.
        secret_file: holds the signing secret.
        with_uids: whether it is told the UIDs of study and results.
    """

    target: WebTarget
    secret_file: Path
    with_uids: bool = False


def post(webhook: Webhook, announcement: Announcement, now: float) -> None:
    """Tell an event.

    Args:
        webhook: whom.
        announcement: what.
        now: seconds since the epoch, UTC; of this try.

    Raises:
        PeerBusyError: it wants to be left alone for so long (``retry_after_s``).
        PeerUnreachableError: try again later: nobody answers, something is wrong there for now, or
            a file with a secret or a certificate cannot be used.
        PeerRefusedError: it does not take events from this node; a person has to look.
    """
    target = _quiet(webhook.target)
    body = document_of(announcement, with_uids=webhook.with_uids)
    timestamp = int(now)
    secret = read_secret(webhook.secret_file, target.shown)
    headers = {
        "Content-Type": "application/json",
        "Accept": "*/*",
        IDEMPOTENCY_KEY: announcement.id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: sign(secret, timestamp, body),
    }
    request = Request("POST", _end_of_path(target), headers, HeldBody(body))
    answer = exchange(target, request, answer_bytes_max=_ANSWER_BYTES_MAX)
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise describe_answer(target, answer, _REFUSALS)


class _QuietTarget(WebTarget):
    """A target whose path is told to nobody."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        """It, for sentences."""
        return f"'{self.name}' at {origin_of(self.url)}"


def _quiet(target: WebTarget) -> WebTarget:
    return _QuietTarget(**{one.name: getattr(target, one.name) for one in fields(target)})


def _end_of_path(target: WebTarget) -> str:
    """What ``WebTarget.root`` leaves out of the path: its last slash, which a receiver may need."""
    path = urlsplit(target.url).path
    return "/" if not path or path.endswith("/") else ""
