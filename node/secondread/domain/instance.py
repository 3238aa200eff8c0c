"""One stored DICOM object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instance:
    """One row of the ledger's instance table.

    ``path`` is relative to the spool. ``sha256`` is of the data set as it was received, without
    the file meta information. ``received_at`` is in seconds since the epoch, UTC.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    path: str
    size_bytes: int
    sha256: str
    peer: str
    received_at: float
