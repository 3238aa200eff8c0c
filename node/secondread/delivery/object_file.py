"""A DICOM file as a sender sees it: what it is, and where its data set starts (PS3.10 7.1)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from secondread.dicom.file_meta import read_file_meta
from secondread.errors import DeliveryError


@dataclass(frozen=True, slots=True)
class Kind:
    """What an association must have a context for: a SOP class in a transfer syntax."""

    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """An open DICOM file.

    Attributes:
        descriptor: the system's number of the open file.
        kind: what its file meta information says it is.
        sop_instance_uid: which one it is.
        offset: where the data set starts, in bytes.
        size_bytes: of the data set alone.
    """

    descriptor: int
    kind: Kind
    sop_instance_uid: str
    offset: int
    size_bytes: int


@contextmanager
def open_object(path: Path) -> Iterator[ObjectFile]:
    """Open a file and read its file meta information.

    Raises:
        DeliveryError: it cannot be read, or is no DICOM file that could be sent.
    """
    try:
        # A pipe that nobody writes to would be waited for without O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DeliveryError(f"The file cannot be read ({error.strerror}).") from None
    try:
        try:
            found = _read(descriptor)
        except OSError as error:
            raise DeliveryError(f"The file cannot be read ({error.strerror}).") from None
        if found is None:
            raise DeliveryError(
                "The file is not a DICOM file with file meta information and a data set, so that "
                "it cannot be sent."
            )
        yield found
    finally:
        os.close(descriptor)


def kinds_of(paths: Iterable[Path]) -> tuple[Kind, ...]:
    """What an association for these files must have contexts for; others than DICOM's are left out.

    In the order in which each comes first.
    """
    kinds: dict[Kind, None] = {}
    for path in paths:
        try:
            with open_object(path) as found:
                kinds[found.kind] = None
        except DeliveryError:
            continue
    return tuple(kinds)


def _read(descriptor: int) -> ObjectFile | None:
    found = read_file_meta(descriptor)
    if found is None:
        return None
    kind = Kind(found.sop_class_uid, found.transfer_syntax_uid)
    size_bytes = os.fstat(descriptor).st_size - found.offset
    return ObjectFile(descriptor, kind, found.sop_instance_uid, found.offset, size_bytes)
