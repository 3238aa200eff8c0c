"""One stored DICOM object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from secondread.domain.network import Urgency


@dataclass(frozen=True, slots=True)
class Instance:
    """One row of the ledger's instance table.

    Attributes:
        path: relative to the data folder.
        size_bytes: of the data set, without preamble and file meta information.
        sha256: of the data set as it was received.
        received_at: seconds since the epoch, UTC.
        urgency: the priority that the sender asked for and may ask for.
        data_offset: where the data set starts in the file.
        pixel_offset: where the Pixel Data value starts in the data set; -1 where there is none, or
            where the data set is deflated.
        pixel_length: its bytes; -1 where it is encapsulated.
        facts: what later stages need of the header, by DICOM keyword; no value in it says who the
            patient is.
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
    urgency: Urgency = Urgency.MEDIUM
    data_offset: int = 0
    pixel_offset: int = -1
    pixel_length: int = -1
    facts: Mapping[str, Any] = field(default_factory=dict)
