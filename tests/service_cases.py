"""Requests to the services as a peer encodes them, and what is needed to answer them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage
from pynetdicom.dsutils import decode, encode

from secondread.domain.instance import Instance
from secondread.domain.network import Peer
from secondread.intake.dimse import Caller, Context, Handler, Reply, Request
from secondread.intake.examine import Announcement
from secondread.intake.file_header import file_header
from secondread.store import Ledger, Spool

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
STUDY = "1.2.3"
CALLER = Caller("ct", "CT1", "127.0.0.1", "SECONDREAD")


@dataclass
class Clock:
    """A clock that a test sets."""

    at: float = 1_700_000_000.0

    def now(self) -> float:
        return self.at


@dataclass
class Place:
    """A ledger, a spool and a list of peers that a test may change."""

    ledger: Ledger
    spool: Spool
    clock: Clock = field(default_factory=Clock)
    peers: dict[str, Peer] = field(default_factory=dict)

    def peer_of(self, name: str) -> Peer | None:
        return self.peers.get(name)

    def change_peer(self, name: str = "ct", **values: Any) -> None:
        self.peers[name] = replace(self.peers[name], **values)

    def store(self, uids: Iterable[str], study: str = STUDY, series: str = "1.2.3.4") -> None:
        """Objects as intake leaves them: files and rows."""
        for uid in uids:
            announced = Announcement(CTImageStorage, uid, EXPLICIT_LITTLE)
            header, data = file_header(announced, "CT1"), b"\0" * 100
            path = self.spool.object_path(uid)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(header + data)
            record = Instance(
                sop_instance_uid=uid,
                sop_class_uid=CTImageStorage,
                study_instance_uid=study,
                series_instance_uid=series,
                transfer_syntax_uid=EXPLICIT_LITTLE,
                path=self.spool.relative(path),
                size_bytes=len(data),
                sha256="0" * 64,
                peer="ct",
                received_at=self.clock.now(),
                data_offset=len(header),
            )
            with self.ledger.begin() as change:
                change.instances.add([record])
                change.studies.add_instances([record], lambda _: 60.0)


def open_place(folder: Path) -> Place:
    """A new node's ledger and spool, which know the scanner 'ct'."""
    ledger, spool = Ledger.open(folder), Spool(folder)
    spool.prepare()
    peers = {name: Peer(name, name.upper() + "1", ("127.0.0.0/8",), 60.0) for name in ("ct", "mr")}
    return Place(ledger, spool, peers=peers)


def encoded(dataset: Dataset, syntax: str = EXPLICIT_LITTLE) -> bytes:
    """A data set as a peer with pydicom encodes it."""
    uid = UID(syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = encode(dataset, uid.is_implicit_VR, uid.is_little_endian)
    assert content is not None
    return content


def decoded(content: bytes | None, syntax: str = EXPLICIT_LITTLE) -> Dataset:
    """A data set as a peer with pydicom reads it, to the last value."""
    assert content is not None
    uid = UID(syntax)
    dataset = decode(BytesIO(content), uid.is_implicit_VR, uid.is_little_endian)
    dataset.walk(lambda *_: None)
    return dataset


def dataset_of(**values: Any) -> Dataset:
    """A data set of these elements, sound or not."""
    dataset = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in values.items():
            setattr(dataset, name, value)
    return dataset


@dataclass(frozen=True)
class Asker:
    """Puts requests to handlers."""

    handlers: dict[tuple[str, int], Handler]
    caller: Caller = CALLER

    def ask(
        self,
        key: tuple[str, int],
        dataset: Dataset | bytes | None,
        instance: str = "",
        *,
        type_id: int = 0,
        syntax: str = EXPLICIT_LITTLE,
    ) -> Reply:
        """What the handler says to a request with this data set."""
        data = encoded(dataset, syntax) if isinstance(dataset, Dataset) else dataset
        context = Context(1, key[0], syntax)
        return self.handlers[key](
            self.caller, Request(key[1], 7, key[0], instance, type_id, context, data)
        )

    def status(self, *arguments: Any, **options: Any) -> int:
        """The status of the only answer."""
        (answer,) = self.ask(*arguments, **options).answers
        assert len(answer.comment) <= 64
        return answer.status
