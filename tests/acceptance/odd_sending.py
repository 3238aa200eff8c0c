"""Files of a folder, sent to the node's intake as a C-STORE peer would send them.

A peer says what an object is and then sends the data set as it lies in the file, in the transfer
syntax that the file names, so an object that lies about itself arrives as the lie that it is. Some
peers say what the file meta information says (PS3.10 7.1), others what the data set says.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from secondread.dicom.contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES
from secondread.domain.clock import SystemClock
from secondread.domain.instance import Instance
from secondread.domain.network import Urgency
from secondread.errors import IntakeError
from secondread.intake.examine import Announcement
from secondread.intake.reception import Limits, Reception, Sender
from secondread.intake.storing import ObjectStore, Stored
from secondread.store import Spool
from secondread.store.durability import Durability
from tests.acceptance.cases import NO_CONTEXT, NOT_DICOM, STORED, quietly
from tests.storing import store_arrivals

LIMITS = Limits(1 << 30, 1 << 30, 0)
_CLASS, _INSTANCE, _SYNTAX = 0x0002, 0x0003, 0x0010
_LONG = (b"OB", b"OW", b"UN", b"SQ", b"UT")
# As network fragments come.
_FRAGMENT_BYTES = 16_372


@dataclass(frozen=True)
class Offer:
    """What a peer says of a file, and where its data set starts."""

    announced: Announcement
    data_offset: int

    @property
    def has_context(self) -> bool:
        """Whether the node accepts a presentation context for it."""
        classes = {item.uid for item in STORAGE_SOP_CLASSES}
        syntaxes = {item.uid for item in TRANSFER_SYNTAXES}
        return (
            self.announced.sop_class_uid in classes
            and self.announced.transfer_syntax_uid in syntaxes
        )


def read_offer(content: bytes) -> Offer | None:
    """What the file meta information says; None where there is none."""
    if content[128:132] != b"DICM":
        return None
    values: dict[int, str] = {}
    at = 132
    while at + 8 <= len(content):
        group, element, vr, size = struct.unpack_from("<HH2sH", content, at)
        if group != 2:
            break
        at += 8
        if vr in _LONG:
            (size,) = struct.unpack_from("<I", content, at)
            at += 4
        values[element] = content[at : at + size].decode("latin-1").rstrip("\0 ")
        at += size
    if not values.get(_SYNTAX):
        return None
    return Offer(
        Announcement(values.get(_CLASS, ""), values.get(_INSTANCE, ""), values[_SYNTAX]), at
    )


def corrected(offer: Offer, content: bytes) -> Offer:
    """The offer of a peer that reads the UIDs in the data set."""
    try:
        with quietly():
            found = dcmread(io.BytesIO(content), stop_before_pixels=True)
            sop_class, sop_instance = found.get("SOPClassUID"), found.get("SOPInstanceUID")
    except (InvalidDicomError, EOFError, ValueError):
        return offer
    announced = replace(
        offer.announced,
        sop_class_uid=str(sop_class or ""),
        sop_instance_uid=str(sop_instance or ""),
    )
    return replace(offer, announced=announced)


class Door:
    """A spool, and what was stored in it in the order in which it came.

    ``instances`` are the rows that the ledger would get, ``sources`` the files by SOP Instance UID.
    A verdict is ``STORED``, ``NOT_DICOM``, ``NO_CONTEXT`` or the DIMSE status as ``0xA900``.

    Args:
        folder: an empty folder.
        frame_of_reference: given to objects before they are sent; '' changes nothing.
    """

    def __init__(self, folder: Path, *, frame_of_reference: str = "") -> None:
        self.spool = Spool(folder)
        # Spool.prepare() makes 256 folders more, and there is a door for nearly every file.
        for made in (self.spool.incoming, self.spool.quarantine):
            made.mkdir(parents=True)
        self.instances: list[Instance] = []
        self.sources: dict[str, Path] = {}
        self._frame_of_reference = frame_of_reference
        self._durability = Durability(folder, enabled=False)
        self._store = ObjectStore(self.spool, self._durability, LIMITS, SystemClock(), self._enter)

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._durability.close()

    def send(self, paths: Sequence[Path], *, by_meta: bool = False) -> list[str]:
        """Send files one after the other; the verdict on each.

        They are announced by what their data set says, or by their file meta information.
        """
        return [self._send(path, by_meta) for path in paths]

    def _send(self, path: Path, by_meta: bool) -> str:
        content = path.read_bytes()
        offer = read_offer(content)
        if offer is None:
            return NOT_DICOM
        if not by_meta:
            offer = corrected(offer, content)
        if not offer.has_context:
            return NO_CONTEXT
        if self._frame_of_reference:
            content = _framed(content, self._frame_of_reference)
            again = read_offer(content)
            assert again is not None
            offer = replace(offer, data_offset=again.data_offset)
        before = len(self.instances)
        verdict = self._receive(offer.announced, memoryview(content)[offer.data_offset :])
        for instance in self.instances[before:]:
            self.sources[instance.sop_instance_uid] = path
        return verdict

    def _receive(self, announced: Announcement, data: memoryview) -> str:
        name = self.spool.object_path(announced.sop_instance_uid)
        name.parent.mkdir(parents=True, exist_ok=True)
        reception = Reception(
            announced,
            Sender("scanner", "SCANNER", 5.0),
            Urgency.MEDIUM,
            self.spool.new_incoming(),
            LIMITS,
            self._durability.begin,
        )
        for start in range(0, len(data), _FRAGMENT_BYTES):
            reception.feed(data[start : start + _FRAGMENT_BYTES])
        try:
            (outcome,) = store_arrivals(self._store, [reception.complete()])
        except IntakeError as error:
            outcome = error
        # False: the same is here already, which a peer hears as Success too.
        if isinstance(outcome, bool):
            return STORED
        return f"0x{outcome.dimse_status:04X}"

    def _enter(self, to_record: Callable[[Stored], Instance], stored: Sequence[Stored]) -> None:
        self.instances += [to_record(one) for one in stored]


def _framed(content: bytes, frame_of_reference: str) -> bytes:
    target = io.BytesIO()
    with quietly():
        dataset = dcmread(io.BytesIO(content))
        dataset.FrameOfReferenceUID = frame_of_reference
        dataset.save_as(target)
    return target.getvalue()
