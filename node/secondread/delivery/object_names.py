"""Which object a file holds: what its name, its address and its answer are told by."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from secondread.dicom.elements import text
from secondread.errors import PeerRefusedError

_SOP_CLASS, _SOP_INSTANCE = Tag(0x00080016), Tag(0x00080018)
_STUDY, _SERIES = Tag(0x0020000D), Tag(0x0020000E)
# PS3.5 9.1; whatever else stood in a UID would end in a path or an address.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_LENGTH_MAX = 64


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """The UIDs of one DICOM file, each of digits and dots alone, and its size."""

    path: Path
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    size_bytes: int


def read_names(path: Path) -> ObjectNames:
    """Read the beginning of a DICOM file, up to its Series Instance UID.

    Raises:
        PeerRefusedError: it is not there any more, is not DICOM, or lacks one of these UIDs.
    """
    try:
        with warnings.catch_warnings():
            # pydicom quotes the value that it warns about, and the value may be a person's.
            warnings.simplefilter("ignore")
            with path.open("rb") as file:
                found = read_partial(
                    file, _is_behind, specific_tags=[_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES]
                )
        names = ObjectNames(
            path,
            study_instance_uid=text(found, _STUDY),
            series_instance_uid=text(found, _SERIES),
            sop_class_uid=text(found, _SOP_CLASS),
            sop_instance_uid=text(found, _SOP_INSTANCE),
            size_bytes=path.stat().st_size,
        )
    except OSError:
        raise PeerRefusedError(
            "The result file is not on disk any more, or cannot be read; retry the study."
        ) from None
    except Exception:  # what pydicom raises over bad bytes has no common base
        raise PeerRefusedError("The result file is not DICOM; retry the study.") from None
    uids = (names.study_instance_uid, names.series_instance_uid, names.sop_instance_uid)
    if not all(map(is_uid, uids)):
        raise PeerRefusedError(
            "The result file does not name study, series and object by UIDs; retry the study."
        )
    return names


def is_uid(value: str) -> bool:
    """Whether it can be a UID: digits and dots, 64 characters at the most (PS3.5 9.1)."""
    return len(value) <= _UID_LENGTH_MAX and _UID.fullmatch(value) is not None


def _is_behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) > int(_SERIES)
