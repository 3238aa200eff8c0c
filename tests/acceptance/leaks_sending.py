"""What scanners and strangers send in the leak test: tokens wherever the protocol lets them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt

from tests.acceptance.hostile import Client, EndedError
from tests.acceptance.leaks_studies import PlantedStudy, data_set
from tests.acceptance.wire import (
    COMMITMENT,
    DICOM_APPLICATION,
    EXPLICIT,
    IMPLICIT,
    MPPS,
    N_ACTION_RQ,
    N_CREATE_RQ,
    NODE,
    AssociationRequest,
    Proposal,
    command_set,
    element,
    message,
    request_rq,
    store_rq,
    title,
    uid_value,
    us,
    user_identity,
)
from tests.planted.objects import KINDS
from tests.planted.scanner import MARK, UID_MARK

CALLING = f"{MARK}SCANNER"
"""The AE title of a scanner that is on the list."""
_STORAGE = {kind.sop_class: 2 * number + 1 for number, kind in enumerate(KINDS)}
_COMMIT, _STEP, _FIND, _PRIVATE = 21, 23, 25, 27
_FIND_CLASS = "1.2.840.10008.5.1.4.1.2.2.1"
_CONTEXTS = (
    *(Proposal(number, sop_class, (EXPLICIT,)) for sop_class, number in _STORAGE.items()),
    Proposal(_COMMIT, COMMITMENT, (IMPLICIT,)),
    Proposal(_STEP, MPPS, (EXPLICIT,)),
    Proposal(_FIND, _FIND_CLASS, (IMPLICIT,)),
    Proposal(_PRIVATE, f"{UID_MARK}.8", (EXPLICIT, f"{UID_MARK}.9")),
)


@dataclass(frozen=True)
class Sender:
    """A scanner on the list; ``statuses`` are those that it got."""

    port: int
    statuses: list[int] = field(default_factory=list)

    def send(self, study: PlantedStudy, paths: Sequence[Path]) -> None:
        """Send the objects of a study as they are, to the byte."""
        with self._open() as client:
            for path in paths:
                at = int(path.parent.name.partition("-")[2])
                uid = study.instance_uid(at)
                self._store(client, study.kind.sop_class, uid, data_set(path))

    def send_odd(self, study: PlantedStudy, path: Path) -> None:
        """Send what no scanner should: each of these is refused or breaks the association."""
        content, sop_class = data_set(path), study.kind.sop_class
        uid = study.instance_uid(0)
        for announced, data in (
            (f"{UID_MARK}.71", content),
            (f"{UID_MARK}.72", content[: len(content) // 2]),
            (uid, content[: len(content) // 3] + content[len(content) // 2 :]),
            (f"{MARK}-is-no-uid", content),
            (uid, MARK.encode() * 1000),
            (uid, path.read_bytes()),
        ):
            with self._open() as client:
                self._store(client, sop_class, announced, data)
        for request in (
            message(_COMMIT, request_rq(N_ACTION_RQ, COMMITMENT, f"{UID_MARK}.73"), content),
            message(_STEP, request_rq(N_CREATE_RQ, MPPS, f"{UID_MARK}.74"), content),
            message(_STEP, request_rq(N_CREATE_RQ, MPPS, f"{UID_MARK}.75"), content[:5000]),
            message(_COMMIT, request_rq(N_ACTION_RQ, COMMITMENT, ""), commitment(uid)),
            message(_FIND, request_rq(0x0020, _FIND_CLASS, UID_MARK), content),
            message(1, request_rq(0x0999, UID_MARK, UID_MARK), content),
            message(_PRIVATE, store_rq(uid, 1, f"{UID_MARK}.8"), content),
        ):
            with self._open() as client, contextlib.suppress(EndedError, TimeoutError):
                client.send(request)
                self.statuses.append(client.answer(5.0).status)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Client]:
        with Client(self.port) as client:
            client.associate(AssociationRequest(CALLING, contexts=_CONTEXTS))
            yield client

    def _store(self, client: Client, sop_class: str, uid: str, data: bytes) -> None:
        command = command_set(
            {
                0x0002: uid_value(sop_class),
                0x0100: us(1),
                0x0110: us(7),
                0x0700: us(0),
                0x0800: us(1),
                0x1000: uid_value(uid),
                # Who asked for the move, another AE title (PS3.7 9.3.1.1).
                0x1030: title(f"{MARK}MOVER"),
                0x1031: us(3),
            }
        )
        with contextlib.suppress(EndedError, TimeoutError):
            client.send(message(_STORAGE[sop_class], command, data))
            self.statuses.append(client.answer(20.0).status)


def commitment(uid: str) -> bytes:
    """A request to commit to one object, and to one that nobody has (PS3.4 J.3.2.1)."""

    def item(instance: str) -> bytes:
        content = element(0x00081150, "UI", KINDS[1].sop_class, implicit=True)
        content += element(0x00081155, "UI", instance, implicit=True)
        return element(0xFFFEE000, "", content, implicit=True)

    return element(0x00081195, "UI", f"{UID_MARK}.76", implicit=True) + element(
        0x00081199, "SQ", item(uid) + item(f"{UID_MARK}.77"), implicit=True
    )


def call_as_strangers(port: int) -> int:
    """Call under titles and with names that nobody has entered; how many calls were refused."""
    token = MARK.encode()
    requests = (
        AssociationRequest(f"{MARK}STRANGER", contexts=_CONTEXTS),
        AssociationRequest(CALLING, f"{MARK}CALLED", contexts=_CONTEXTS),
        AssociationRequest(CALLING, NODE, _CONTEXTS, application=f"{UID_MARK}.5"),
        AssociationRequest(CALLING, NODE, _CONTEXTS, application=f"{DICOM_APPLICATION}{MARK}"),
        AssociationRequest(
            f"{MARK}USER", contexts=_CONTEXTS, user_items=user_identity(token, token)
        ),
        AssociationRequest(f"{MARK}VERSION", NODE, (Proposal(1, f"{MARK}"),), version=2),
        AssociationRequest(f"{MARK}\x01\xff\x7f", contexts=_CONTEXTS),
    )
    refused = 0
    for request in requests:
        with Client(port) as client, contextlib.suppress(EndedError):
            refused += client.associate(request).kind != 2
    half = requests[0].encode()[:40]
    for raw in (token * 20, half + token * 30, b"GET /" + token + b" HTTP/1.1\r\n"):
        with Client(port) as client, contextlib.suppress(EndedError, TimeoutError):
            client.send(raw)
            client.receive(2.0)
    return refused


class GrudgingPacs:
    """A storage SCP that refuses everything, and says about whom in its Error Comment."""

    host, ae_title = "127.0.0.1", "GRUDGING"

    def __init__(self) -> None:
        self.asked = 0
        entity = AE(ae_title=self.ae_title)
        entity.maximum_associations = 100
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax))
        handlers: Any = [(evt.EVT_C_STORE, self._refuse)]
        server: Any = entity.start_server((self.host, 0), block=False, evt_handlers=handlers)
        self.port = int(server.server_address[1])
        self.close: Callable[[], None] = server.shutdown

    def _refuse(self, event: Any) -> Any:
        from pydicom.dataset import Dataset

        self.asked += 1
        answer = Dataset()
        answer.Status = 0xC000
        answer.ErrorComment = f"{MARK}888888 is not here"
        return answer
