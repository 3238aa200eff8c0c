"""STOW-RS: objects of several jobs in one request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus

from secondread.delivery.carriers.carrier import Blame, Carried, Parcel
from secondread.delivery.stow import store
from secondread.delivery.stow_answer import StoredAnswer
from secondread.delivery.web import Request, exchange
from secondread.delivery.web_wording import describe_status, describe_unauthorised
from secondread.domain.web_target import StowForm, WebTarget
from secondread.errors import DeliveryError

# An object that nobody has: what counts is that somebody answers.
_QUESTION = "/studies?StudyInstanceUID=2.25.0&limit=1"
# A server that takes objects need not let itself be asked.
_ANSWERS = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_IMPLEMENTED})
_MENDABLE = frozenset(
    {
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)


class StowCarrier:
    """Sends one request at a time; between two of them nothing is open."""

    def __init__(self, target: WebTarget, form: StowForm) -> None:
        self._target = target
        self._form = form

    @property
    def at_once(self) -> int:
        """Objects in one request at the most."""
        return self._form.objects_max

    def expect(self, parcels: Sequence[Parcel]) -> None:
        """Nothing has to be known before."""

    def carry(self, parcels: Sequence[Parcel]) -> Iterator[Carried]:
        """Store objects in as many requests as their sizes need."""
        for group in self._groups(parcels):
            try:
                answers = store([parcel.path for parcel in group], self._target, self._form)
            except DeliveryError as error:
                yield Carried(group[0], fault=error, blame=Blame.LINE)
                return
            for parcel, answer in zip(group, answers, strict=True):
                yield _carried(parcel, answer)

    def probe(self) -> None:
        """Ask for a study that nobody has (QIDO-RS, PS3.18 10.6).

        Raises:
            DeliveryError: nobody answers, it is not ready, or it will not talk to this node.
        """
        question = Request("GET", _QUESTION, {"Accept": "application/dicom+json"})
        answer = exchange(self._target, question)
        status = answer.status
        if status == HTTPStatus.UNAUTHORIZED:
            raise describe_unauthorised(self._target.shown, self._target.credentials.scheme)
        broken = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _MENDABLE
        if broken and status not in _ANSWERS:
            raise describe_status(self._target.shown, status, retry_after_s=answer.retry_after_s)

    def close(self) -> None:
        """Nothing is open."""

    def _groups(self, parcels: Sequence[Parcel]) -> Iterator[Sequence[Parcel]]:
        """What goes into one request, so that a server that fails is known at once."""
        group: list[Parcel] = []
        bytes_left = self._form.bytes_max
        for parcel in parcels:
            size_bytes = parcel.path.stat().st_size if parcel.path.is_file() else 0
            if group and size_bytes > bytes_left:
                yield group
                group, bytes_left = [], self._form.bytes_max
            group.append(parcel)
            bytes_left -= size_bytes
        if group:
            yield group


def _carried(parcel: Parcel, answer: StoredAnswer) -> Carried:
    if answer.refusal is not None:
        return Carried(parcel, fault=answer.refusal)
    return Carried(parcel, remark=answer.remark)
