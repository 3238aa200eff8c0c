"""Cases from folders of DICOM: series of CT or MR images, and Segmentations that are about them.

The Segmentations lead: each one's series is looked for, and a series that has none is passed over.
Geometry, pixels and segments are read by the code with which the node reads them. Who the patient
is stays in the files: a subject is a keyed hash of the Patient ID, or a part of the folder's name.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from secondread.assembly.volume import read_volume
from secondread.dicom.headers import read_header
from secondread.domain.instance import Instance
from secondread.domain.volume import Volume
from secondread.errors import CannotUnderstandError, DataError, NotAnalysedError, ResultError
from secondread.learning.case import Case, Loaded
from secondread.learning.preprocessing.grid import Orient
from secondread.learning.readers.dicom_labels import LabelTable, draw_labels
from secondread.results.reading.segmentation import read_segmentation

__all__ = ["DicomLayout", "find_cases", "load_case", "read_key", "read_series"]

_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_MODALITIES = ("CT", "MR")
_KEY_BYTES_MIN = 16
_HASH_DIGITS = 16
_OLDEST_TOLD = 90.0
"""Ages from here on are told as this: so few people are older that an age may name one."""
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class DicomLayout:
    """Where the objects lie, and what is taken from them.

    Attributes:
        images: the folder, below that of the data; it is looked through to any depth.
        subject: a regular expression with one group: over the Patient ID where there is a key, else
            over the folder of the series, relative to ``images``.
        key: of the hash that stands for the Patient ID; empty for none.
        leave_out: ids of cases that are passed over.
    """

    images: str
    subject: str = r"^(.+)$"
    key: bytes = b""
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """What matters of an object's header."""

    path: Path
    series_uid: str
    frame_of_reference_uid: str
    patient_id: str
    about: tuple[str, ...]
    values: Mapping[str, float | str]


def read_key(path: Path) -> bytes:
    """Read the key of the hash of Patient IDs; it never lies with what is handed on.

    Raises:
        DataError: there is none, or it is too short to be one.
    """
    try:
        key = path.read_bytes().strip()
    except OSError:
        raise DataError(
            f"There is no key '{path.name}' beside the data. Make one and keep it: "
            f"head -c 32 /dev/urandom | base64 > {path.name}"
        ) from None
    if len(key) < _KEY_BYTES_MIN:
        raise DataError(f"The key '{path.name}' has fewer than {_KEY_BYTES_MIN} bytes.")
    return key


def find_cases(data: Path, layout: DicomLayout) -> tuple[Case, ...]:
    """List the segmented series of a folder, by subject and place; other files are passed over.

    Raises:
        DataError: there are none, a segmentation's series is not there or is another patient's, a
            series has two of them or lies in two folders, or it is not told whose it is.
    """
    root = data / layout.images
    if not root.is_dir():
        raise DataError(f"The data have no folder '{layout.images}'.")
    series, segmentations = _look_through(root)
    if not segmentations:
        raise DataError(f"The folder '{layout.images}' of the data has no DICOM Segmentations.")
    taken: dict[str, _Found] = {}
    pairs: list[tuple[str, _Found, _Found]] = []
    for one in segmentations:
        images = _series_of(one, series, root)
        first = images[0]
        if (other := taken.setdefault(first.series_uid, one)) is not one:
            raise DataError(
                f"'{_name(one.path, root)}' and '{_name(other.path, root)}' are segmentations of "
                "one series; leave one of them in the folder."
            )
        pairs.append((_subject_of(first, layout, root), first, one))
    counts: defaultdict[str, int] = defaultdict(int)
    cases = []
    for subject, first, one in sorted(pairs, key=lambda each: (each[0], each[1].path)):
        counts[subject] += 1
        name = f"{subject}_{counts[subject]}"
        cases.append(Case(name, subject, first.path, one.path, None, first.values))
    return tuple(case for case in cases if case.id not in layout.leave_out)


def load_case(case: Case, table: LabelTable) -> Loaded:
    """Read a series and its segmentation, turned to RAS along the nearest axes, not resampled.

    Raises:
        DataError: the series is not one sound volume (slices are missing, say), or the segmentation
            cannot be read, is in another space or on another grid, or has none of the segments.
    """
    if case.image is None or case.labels is None:
        raise DataError(f"The case {case.id} lacks its images or its segmentation.")
    volume = _read(case.image, f"The series of case {case.id}")
    affine = np.asarray(volume.affine_lps, np.float64)
    try:
        contents = read_segmentation(case.labels)
        labels = draw_labels(contents, table, volume.voxels.shape, affine)
    except ResultError as error:
        raise DataError(f"The segmentation of case {case.id} cannot be read: {error}") from None
    except DataError as error:
        raise DataError(f"The segmentation of case {case.id} cannot be used: {error}.") from None
    return Orient("RAS")(Loaded(case, _finite(volume, case.id), labels, _TO_RAS @ affine))


def read_series(first: Path) -> np.ndarray:
    """The values of the series that a file belongs to, turned to RAS: (x, y, z) float32.

    Raises:
        DataError: it is not one sound volume.
    """
    volume = _read(first, f"The series of {first.name}")
    case = Case("", "", first, None, None, {})
    image = _finite(volume, first.name)
    return Orient("RAS")(Loaded(case, image, None, _TO_RAS @ volume.affine_lps)).image


def _look_through(root: Path) -> tuple[dict[str, list[_Found]], list[_Found]]:
    """The images by series, and the segmentations, each by path."""
    series: dict[str, list[_Found]] = {}
    segmentations = []
    for path in sorted(root.rglob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        try:
            header = read_header(path)
        except CannotUnderstandError:
            continue
        if str(header.get("SOPClassUID", "")) in _SEGMENTATIONS:
            segmentations.append(_tell(path, header))
        elif str(header.get("Modality", "")) in _MODALITIES and "Rows" in header:
            found = _tell(path, header)
            series.setdefault(found.series_uid, []).append(found)
    return series, segmentations


def _tell(path: Path, header: Dataset) -> _Found:
    return _Found(
        path=path,
        series_uid=str(header.get("SeriesInstanceUID", "")),
        frame_of_reference_uid=str(header.get("FrameOfReferenceUID", "")),
        patient_id=str(header.get("PatientID", "")).strip(),
        about=tuple(
            str(item.get("SeriesInstanceUID", ""))
            for item in header.get("ReferencedSeriesSequence") or ()
        ),
        values=dict(_values(header)),
    )


def _values(header: Dataset) -> Iterator[tuple[str, float | str]]:
    """What subgroups are made of, none of which says who the patient is."""
    if modality := str(header.get("Modality", "")):
        yield "modality", modality
    if maker := str(header.get("Manufacturer", "")).strip():
        yield "manufacturer", maker
    if (sex := str(header.get("PatientSex", ""))) in {"F", "M", "O"}:
        yield "sex", sex
    if age := re.fullmatch(r"(\d{3})Y", str(header.get("PatientAge", ""))):
        yield "age", min(float(age[1]), _OLDEST_TOLD)


def _series_of(one: _Found, series: Mapping[str, Sequence[_Found]], root: Path) -> Sequence[_Found]:
    """The images that a segmentation is about."""
    name = _name(one.path, root)
    if not one.about:
        raise DataError(f"The segmentation '{name}' does not say which series it is about.")
    there = [uid for uid in dict.fromkeys(one.about) if uid in series]
    if not there:
        raise DataError(
            f"The CT or MR series of the segmentation '{name}' is not in the folder; put its "
            "images there, or take the segmentation away."
        )
    if len(there) > 1:
        raise DataError(f"The segmentation '{name}' is about {len(there)} series, and one is read.")
    images = series[there[0]]
    if len({image.path.parent for image in images}) > 1:
        raise DataError(f"The series of the segmentation '{name}' lies in two folders.")
    if images[0].patient_id != one.patient_id:
        raise DataError(f"The segmentation '{name}' and its series are of two patients.")
    if images[0].frame_of_reference_uid != one.frame_of_reference_uid:
        raise DataError(
            f"The segmentation '{name}' and its series are not in one space: their Frames of "
            "Reference differ."
        )
    return images


def _subject_of(one: _Found, layout: DicomLayout, root: Path) -> str:
    place = one.path.parent.relative_to(root).as_posix()
    if layout.key and not one.patient_id:
        raise DataError(f"The images in '{place}' have no Patient ID to tell subjects apart by.")
    found = re.search(layout.subject, one.patient_id if layout.key else place)
    if found is None or not found[1]:
        where = "a Patient ID" if layout.key else f"'{place}'"
        raise DataError(f"The pattern '{layout.subject}' finds no subject in {where}.")
    if not layout.key:
        return found[1].zfill(3) if found[1].isdigit() else found[1]
    return hmac.digest(layout.key, found[1].encode(), hashlib.sha256).hex()[:_HASH_DIGITS]


def _read(first: Path, what: str) -> Volume:
    instances = []
    try:
        uid = str(read_header(first).get("SeriesInstanceUID", ""))
    except CannotUnderstandError:
        raise DataError(f"{what} cannot be read: {first.name} is no DICOM image.") from None
    for path in sorted(first.parent.iterdir()):
        if path.is_dir() or path.name.startswith("."):
            continue
        try:
            header = read_header(path)
        except CannotUnderstandError:
            continue
        if str(header.get("SeriesInstanceUID", "")) == uid and "Rows" in header:
            instances.append(_instance(path, header))
    try:
        return read_volume(instances, first.parent)
    except NotAnalysedError as error:
        raise DataError(f"{what} is not one sound volume: {error}") from None


def _instance(path: Path, header: Dataset) -> Instance:
    """As if it had been received: read from its file, since nothing of it was recorded."""
    return Instance(
        sop_instance_uid=str(header.get("SOPInstanceUID", "")),
        sop_class_uid=str(header.get("SOPClassUID", "")),
        study_instance_uid=str(header.get("StudyInstanceUID", "")),
        series_instance_uid=str(header.get("SeriesInstanceUID", "")),
        transfer_syntax_uid="",
        path=path.name,
        size_bytes=0,
        sha256="",
        peer="",
        received_at=0.0,
    )


def _finite(volume: Volume, name: str) -> np.ndarray:
    values = np.asarray(volume.voxels, np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"The image of {name} has voxels that are not finite numbers.")
    return values


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
