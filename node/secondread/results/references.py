"""References to objects, as the results that go besides the report make them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset

from secondread.domain.volume import SourceSlice, Volume
from secondread.results import coding


def refer(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """One SOP Instance Reference (PS3.3 table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def list_evidence(objects: Iterable[Dataset]) -> list[Dataset]:
    """Every object by study and series (PS3.3 C.17.2.1), each one once, in the order given."""
    studies: dict[str, dict[str, dict[str, Dataset]]] = {}
    for one in objects:
        series = studies.setdefault(str(one.StudyInstanceUID), {})
        instances = series.setdefault(str(one.SeriesInstanceUID), {})
        uid = str(one.SOPInstanceUID)
        instances.setdefault(uid, refer(str(one.SOPClassUID), uid))
    items = []
    for study_uid, by_series in studies.items():
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = [
            _of_series(uid, instances.values()) for uid, instances in by_series.items()
        ]
        items.append(study)
    return items


def _of_series(uid: str, instances: Iterable[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = uid
    series.ReferencedSOPSequence = list(instances)
    return series


def list_frames(slices: Iterable[SourceSlice], multi_frame: frozenset[str]) -> list[Dataset]:
    """Image references to slices, those of one multi-frame object in one item.

    Args:
        slices: where they came from.
        multi_frame: SOP Instance UIDs of the sources that have frames; a reference to another one
            must have no frame number (PS3.3 table 10-3).
    """
    frames: dict[tuple[str, str], list[int]] = {}
    for one in slices:
        key = (one.sop_class_uid, one.sop_instance_uid)
        frames.setdefault(key, []).append(one.frame)
    items = []
    for (sop_class_uid, sop_instance_uid), numbers in frames.items():
        item = refer(sop_class_uid, sop_instance_uid)
        if sop_instance_uid in multi_frame:
            item.ReferencedFrameNumber = sorted(numbers)
        items.append(item)
    return items


def find_multi_frame(sources: Sequence[Dataset]) -> frozenset[str]:
    """SOP Instance UIDs of the sources whose planes are in functional groups."""
    return frozenset(
        str(header.SOPInstanceUID)
        for header in sources
        if "PerFrameFunctionalGroupsSequence" in header
    )


def list_derivation_sources(
    slices: Iterable[SourceSlice], multi_frame: frozenset[str]
) -> list[Dataset]:
    """Source Image Sequence of a derived image (PS3.3 C.7.6.1.1.4)."""
    items = list_frames(slices, multi_frame)
    for item in items:
        item.PurposeOfReferenceCodeSequence = [
            CodedConcept(*coding.SOURCE_PURPOSE, "Source image for image processing operation")
        ]
    return items


def name_slices(volume: Volume, sources: Sequence[Dataset]) -> tuple[str, ...]:
    """What a person calls each slice: by instance number, or by frame number."""
    headers = {str(header.SOPInstanceUID): header for header in sources}
    multi_frame = find_multi_frame(sources)
    names = []
    for index, source in enumerate(volume.sources):
        number = headers.get(source.sop_instance_uid, Dataset()).get("InstanceNumber")
        if source.sop_instance_uid in multi_frame:
            names.append(f"Frame {source.frame}")
        elif number is not None:
            names.append(f"Image {number}")
        else:
            names.append(f"Slice {index + 1}")
    return tuple(names)
