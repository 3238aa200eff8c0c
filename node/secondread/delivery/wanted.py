"""What an archive is asked for: a study, a series or objects, by their unique keys (PS3.4 C.3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from secondread.dicom.messages import Element, is_uid

CHARACTER_SET, LEVEL = 0x00080005, 0x00080052
SOP_INSTANCE, STUDY, SERIES = 0x00080018, 0x0020000D, 0x0020000E

# More UIDs do not fit into a value of Explicit VR (PS3.5 7.1.2).
_INSTANCES_MAX = 1_000


class Level(StrEnum):
    """Query/Retrieve Level (PS3.4 C.3)."""

    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be retrieved: a study, a series of it, or objects of that series.

    Raises:
        ValueError: what should be a UID is none, objects are named without their series, or there
            are more than 1,000 of them.
    """

    study_instance_uid: str
    series_instance_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check it."""
        series = (self.series_instance_uid,) if self.series_instance_uid else ()
        if not all(map(is_uid, (self.study_instance_uid, *series, *self.sop_instance_uids))):
            raise ValueError("Studies, series and objects are named by UIDs.")
        if self.sop_instance_uids and not series:
            raise ValueError("Objects are asked for with their series (PS3.4 C.4.2.2.1).")
        if len(self.sop_instance_uids) > _INSTANCES_MAX:
            raise ValueError(f"At most {_INSTANCES_MAX} objects are asked for at a time.")

    @property
    def level(self) -> Level:
        """The level that the order is about."""
        if self.sop_instance_uids:
            return Level.IMAGE
        return Level.SERIES if self.series_instance_uid else Level.STUDY

    @property
    def keys(self) -> tuple[Element, ...]:
        """The unique keys down to that level (PS3.4 C.4.2.2.1)."""
        found: list[Element] = [(LEVEL, "CS", self.level), (STUDY, "UI", self.study_instance_uid)]
        if self.series_instance_uid:
            found.append((SERIES, "UI", self.series_instance_uid))
        if self.sop_instance_uids:
            found.append((SOP_INSTANCE, "UI", "\\".join(self.sop_instance_uids)))
        return tuple(found)

    def includes(self, study_uid: str, series_uid: str, sop_instance_uid: str) -> bool:
        """Whether an object is one of these."""
        return (
            study_uid == self.study_instance_uid
            and self.series_instance_uid in ("", series_uid)
            and (not self.sop_instance_uids or sop_instance_uid in self.sop_instance_uids)
        )
