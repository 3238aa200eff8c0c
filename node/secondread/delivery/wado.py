"""Fetching over the web: WADO-RS, study, series or objects as they are stored (PS3.18 10.4).

The body of the answer goes to disk part by part as it comes, so that memory does not grow with a
study. Every part is looked at like an object that came over DIMSE before anybody gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from secondread.delivery.arrival import Arrivals, Landing, Receive
from secondread.delivery.multipart import PartReader, read_boundary
from secondread.delivery.qido import ask_whether_served
from secondread.delivery.query_status import Progress, Retrieved, objects
from secondread.delivery.wanted import Wanted
from secondread.delivery.web import Answer, Request, exchange
from secondread.delivery.web_wording import (
    describe_status,
    describe_unauthorised,
    describe_wrong_answer,
)
from secondread.domain.web_target import WebTarget
from secondread.errors import DeliveryError, PeerRefusedError, PeerUnreachableError

_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


@dataclass(frozen=True, slots=True)
class WadoOrder:
    """What is fetched, where to, and how much at the most."""

    wanted: Wanted
    landing: Landing


def retrieve(target: WebTarget, order: WadoOrder, receive: Receive) -> Retrieved:
    """Fetch objects in the transfer syntaxes in which they are stored there.

    A study or a series is one request, objects one each; ``target.limits`` hold for each. Each
    object is given to ``receive`` when it is whole.

    Returns:
        How it ended: what came, or nothing because the server has nothing that matches. A server
        that cannot give all of it says so without numbers (206).

    Raises:
        PeerUnreachableError: it does not answer, or breaks off; ``PeerBusyError`` says when to ask
            again. What was taken before that stays taken, and the sentence says how many objects
            it was.
        PeerRefusedError: it will not be asked like this; ``TooMuchError`` where more came than the
            landing takes.
        OutOfResourcesError: the disk is full, or ``receive`` says so.
    """
    arrivals = Arrivals(order.wanted, order.landing, receive)
    failed: set[str] = set()
    partial = False
    try:
        for path, uid in _paths(order.wanted):
            status = _fetch(target, path, arrivals)
            if status in _GONE:
                ask_whether_served(target, order.wanted.study_instance_uid)
                failed.add(uid)
            partial = partial or status == HTTPStatus.PARTIAL_CONTENT
    except PeerUnreachableError as error:
        if arrivals.received:
            # In place, for a PeerBusyError says more than its sentence.
            error.args = (f"{error} Before that {objects(arrivals.received)} came and stayed.",)
        raise
    failed.discard("")
    return _conclude(target, arrivals, failed, partial)


def _conclude(target: WebTarget, arrivals: Arrivals, failed: set[str], partial: bool) -> Retrieved:
    count = arrivals.received
    if not count and not arrivals.refused:
        said = f"{target.shown} has nothing that matches."
    else:
        said = f"{target.shown} has sent {objects(count)}"
        missing = f"{len(failed)} were not there" if failed else ""
        rest = "it could not send all" if partial else ""
        refused = f"{arrivals.refused} were not taken" if arrivals.refused else ""
        said = f"{'; '.join(filter(None, (said, missing, rest, refused)))}."
    # How many a server could not send it does not say; one is the least.
    progress = Progress(None, count, len(failed) or int(partial), None)
    return Retrieved(said, progress, count, arrivals.refused, frozenset(failed))


def _paths(wanted: Wanted) -> Sequence[tuple[str, str]]:
    """The address of each request, and the SOP Instance UID where it is about one object."""
    path = f"/studies/{wanted.study_instance_uid}"
    if wanted.series_instance_uid:
        path += f"/series/{wanted.series_instance_uid}"
    if not wanted.sop_instance_uids:
        return [(path, "")]
    return [(f"{path}/instances/{uid}", uid) for uid in wanted.sop_instance_uids]


def _fetch(target: WebTarget, path: str, arrivals: Arrivals) -> int:
    """One request; its status is 200, 204, 206, 404 or 410."""
    sink = _Parts(target, arrivals)
    try:
        answer = exchange(target, Request("GET", path, {"Accept": _ACCEPT}, sink=sink))
    finally:
        sink.discard()
    if answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        sink.check_end()
    elif answer.status != HTTPStatus.NO_CONTENT and answer.status not in _GONE:
        raise _refusal(target, answer)
    return answer.status


def _refusal(target: WebTarget, answer: Answer) -> DeliveryError:
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return describe_unauthorised(target.shown, target.credentials.scheme)
    if answer.status == HTTPStatus.NOT_ACCEPTABLE:
        return PeerRefusedError(
            f"{target.shown} answered 406 Not Acceptable: it does not give objects as they are "
            "stored; fetch them by C-MOVE or C-GET."
        )
    return describe_status(
        target.shown, answer.status, retry_after_s=answer.retry_after_s, location=answer.location
    )


@dataclass(slots=True)
class _Parts:
    """Takes the parts of an answer as objects."""

    target: WebTarget
    arrivals: Arrivals
    _reader: PartReader | None = field(default=None, init=False)

    def begin(self, content_type: str) -> None:
        """Learn where parts end.

        Raises:
            PeerRefusedError: it is no multipart body.
        """
        boundary = read_boundary(content_type)
        if boundary is None:
            media_type = content_type.partition(";")[0].strip().lower()
            raise describe_wrong_answer(self.target.shown, media_type, True)
        self._reader = PartReader(boundary, self.arrivals)

    def write(self, part: bytes) -> None:
        """Take what came."""
        assert self._reader is not None
        self._reader.feed(part)

    def check_end(self) -> None:
        """Make sure that the last part was whole.

        Raises:
            PeerUnreachableError: the body broke off.
        """
        if self._reader is None or not self._reader.has_ended:
            raise PeerUnreachableError(
                f"{self.target.shown} broke off in the middle of what it sent. It may be asked "
                "again."
            )

    def discard(self) -> None:
        """Remove what did not come whole."""
        if self._reader is not None:
            self._reader.discard()
