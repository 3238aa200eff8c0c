"""The ledger's row of a file as intake would have recorded it, for files that no sender sent."""

from __future__ import annotations

from pathlib import Path

from pydicom.filereader import read_file_meta_info

from secondread.dicom.walk import outline
from secondread.domain.instance import Instance
from secondread.intake.examine import Announcement, examine

INFLATED_MAX = 1 << 30


def record(path: Path, spool: Path) -> Instance:
    """Examine a file; its path is relative to ``spool``."""
    meta = read_file_meta_info(path)
    syntax = str(meta.TransferSyntaxUID)
    content = path.read_bytes()
    # Preamble, prefix and the group length element, which counts the rest (PS3.10 7.1).
    data_offset = 128 + 4 + 12 + int(meta.FileMetaInformationGroupLength)
    announced = Announcement(
        str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), syntax
    )
    examined = examine(outline(memoryview(content)[data_offset:], syntax, INFLATED_MAX), announced)
    return Instance(
        sop_instance_uid=examined.identity.sop_instance_uid,
        sop_class_uid=examined.identity.sop_class_uid,
        study_instance_uid=examined.identity.study_instance_uid,
        series_instance_uid=examined.identity.series_instance_uid,
        transfer_syntax_uid=syntax,
        path=str(path.relative_to(spool)),
        size_bytes=len(content) - data_offset,
        sha256="",
        peer="mr1",
        received_at=0.0,
        data_offset=data_offset,
        pixel_offset=examined.pixel_offset,
        pixel_length=examined.pixel_length,
        facts=examined.facts,
    )
