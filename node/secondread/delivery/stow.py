"""Storing over the web: STOW-RS (PS3.18 10.5), as many objects per request as one wishes.

The files are streamed as they are, so that memory does not grow with them. Whatever one object
does to a request, the others get their answers: those that the server does not speak of are sent
once more, each in a request of its own. Storing the same object twice changes nothing there.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

from secondread.delivery.object_names import ObjectNames, read_names
from secondread.delivery.stow_answer import StoredAnswer, StoreStatus, failed, read_store_response
from secondread.delivery.web import Answer, Request, exchange
from secondread.delivery.web_wording import (
    describe_status,
    describe_unauthorised,
    describe_wrong_answer,
)
from secondread.domain.web_target import StowForm, WebTarget
from secondread.errors import (
    DeliveryError,
    KindRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
)

_CHUNK_BYTES = 256 * 1024
_ACCEPT = "application/dicom+json, application/dicom+xml;q=0.5"
# With these a server may mean one object and not the request as a whole.
_ABOUT_OBJECTS = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)


def store(
    paths: Sequence[Path], target: WebTarget, form: StowForm | None = None
) -> tuple[StoredAnswer, ...]:
    """Store DICOM files; tells of each, in their order, what became of it.

    What befalls the server rather than an object is raised if it befalls the first request, and
    is the answer for whatever had no other yet if it comes later.

    Raises:
        PeerUnreachableError: try again later; ``PeerBusyError`` says when.
        PeerRefusedError: the server will not be talked to like this; nothing was stored.
    """
    unread: dict[Path, StoredAnswer] = {}
    objects: dict[str, ObjectNames] = {}
    uids: dict[Path, str] = {}
    for path in paths:
        try:
            names = read_names(path)
            if objects.setdefault(names.sop_instance_uid, names).path != path:
                raise PeerRefusedError("Another result file names the same object; look at both.")
            uids[path] = names.sop_instance_uid
        except PeerRefusedError as error:
            unread[path] = failed("", error)
    told = _store_all(list(objects.values()), target, form or StowForm())
    return tuple(unread[path] if path in unread else told[uids[path]] for path in paths)


def store_one(path: Path, target: WebTarget, form: StowForm | None = None) -> str:
    """Store one file; returns the server's remark where it stored the object with a warning.

    Raises:
        PeerUnreachableError: try again later; ``PeerBusyError`` says when.
        KindRefusedError: the server takes no objects of this kind, or cannot read them.
        PeerRefusedError: the server will not take this object.
    """
    (answer,) = store([path], target, form)
    if answer.refusal is not None:
        raise answer.refusal
    return answer.remark


def _store_all(
    objects: Sequence[ObjectNames], target: WebTarget, form: StowForm
) -> dict[str, StoredAnswer]:
    told: dict[str, StoredAnswer] = {}
    try:
        for batch in _batches(objects, form):
            told |= _store_batch(batch, target, form)
            for names in batch if len(batch) > 1 else ():
                if names.sop_instance_uid not in told:
                    told |= _store_batch([names], target, form)
    except DeliveryError as error:
        if not told:
            raise
        for names in objects:
            told.setdefault(names.sop_instance_uid, failed(names.sop_instance_uid, error))
    return told


def _batches(objects: Sequence[ObjectNames], form: StowForm) -> Iterator[list[ObjectNames]]:
    batch: list[ObjectNames] = []
    size_bytes = 0
    for names in objects:
        full = len(batch) >= form.objects_max or size_bytes + names.size_bytes > form.bytes_max
        other = form.names_study and batch and _study(batch) != names.study_instance_uid
        if batch and (full or other):
            yield batch
            batch, size_bytes = [], 0
        batch.append(names)
        size_bytes += names.size_bytes
    if batch:
        yield batch


def _study(batch: Sequence[ObjectNames]) -> str:
    return batch[0].study_instance_uid


def _store_batch(
    batch: Sequence[ObjectNames], target: WebTarget, form: StowForm
) -> dict[str, StoredAnswer]:
    """One request; not every object of several needs to be in what is returned, one alone is.

    Raises:
        DeliveryError: it says nothing of any object, but of server, connection or caller.
    """
    body = _Parts(batch)
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={body.boundary}',
        "Accept": _ACCEPT,
    }
    path = f"/studies/{_study(batch)}" if form.names_study else "/studies"
    answer = exchange(target, Request("POST", path, headers, body))
    told = read_store_response(answer, target.shown)
    uids = [names.sop_instance_uid for names in batch]
    if told is not None:
        found = {uid: told[uid] for uid in uids if uid in told}
        if len(batch) > 1 or found:
            return found
        return {uids[0]: failed(uids[0], _unnamed(answer, target))}
    if answer.status == HTTPStatus.OK and not answer.body.strip():
        remark = "the server says so of all objects, and names none"
        return {uid: StoredAnswer(uid, StoreStatus.STORED, remark) for uid in uids}
    if answer.status in _ABOUT_OBJECTS:
        if len(batch) > 1:
            return {}
        return {uids[0]: failed(uids[0], _refusal(answer, target))}
    raise _refusal(answer, target)


def _unnamed(answer: Answer, target: WebTarget) -> DeliveryError:
    """Of an object that was sent alone, and of which the response says nothing."""
    if answer.status == HTTPStatus.BAD_REQUEST:  # so Orthanc says of what it cannot parse
        return KindRefusedError(f"{target.shown} cannot understand the object.")
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return PeerUnreachableError(
            f"{target.shown} answered {answer.status}, but does not say that it has the object."
        )
    return _refusal(answer, target)


def _refusal(answer: Answer, target: WebTarget) -> DeliveryError:
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return describe_unauthorised(target.shown, target.credentials.scheme)
    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return describe_wrong_answer(target.shown, answer.media_type, bool(answer.body.strip()))
    return describe_status(
        target.shown, answer.status, retry_after_s=answer.retry_after_s, location=answer.location
    )


class _Parts:
    """A multipart/related body of DICOM files (PS3.18 8.6.1.2), read as it is sent."""

    def __init__(self, objects: Sequence[ObjectNames]) -> None:
        self.boundary = secrets.token_hex(16)
        self._objects = objects
        line = f"--{self.boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
        self._heads = [line, *[b"\r\n" + line] * (len(objects) - 1)]
        self._end = f"\r\n--{self.boundary}--\r\n".encode("ascii")

    @property
    def size_bytes(self) -> int:
        """Of the whole body."""
        contents = sum(names.size_bytes for names in self._objects)
        return contents + sum(map(len, self._heads)) + len(self._end)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """The body in parts.

        Raises:
            PeerUnreachableError: a file is gone, or is shorter than it was; the next try finds
                out which, and sends the others.
        """
        buffer = memoryview(bytearray(_CHUNK_BYTES))
        for head, names in zip(self._heads, self._objects, strict=True):
            yield head
            try:
                yield from _read(names, buffer)
            except OSError:
                raise PeerUnreachableError(
                    "A result file could not be read to its end; is somebody removing results?"
                ) from None
        yield self._end


def _read(names: ObjectNames, buffer: memoryview) -> Iterator[memoryview]:
    left = names.size_bytes
    with names.path.open("rb", buffering=0) as file:
        while left:
            count = file.readinto(buffer[: min(left, len(buffer))])
            if not count:
                raise OSError("shorter than it was")
            left -= count
            yield buffer[:count]
