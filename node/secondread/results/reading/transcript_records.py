"""What a report says, as plain records; ``transcript`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secondread.domain.code import Code

_VOLUME = "118565006"


@dataclass(frozen=True, slots=True)
class Shape:
    """A point or line in an image or in space.

    Attributes:
        kind: Graphic Type, such as ``POLYLINE``.
        points: column and row in the image, or x, y and z in LPS mm.
        image_uid: SOP Instance UID of the image; '' in space.
        frame: of the image, from 1; 0 where it has no frames.
        frame_of_reference_uid: of space; '' in an image.
    """

    kind: str
    points: tuple[tuple[float, ...], ...]
    image_uid: str = ""
    frame: int = 0
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a measurement group, with its unit (UCUM) and how it came about.

    Attributes:
        low: lower end of the reference range, or None; ``high`` likewise.
        normality: what the report says of the number against that range.
        lines: along which it was measured.
    """

    name: Code
    value: float
    unit: Code
    derivation: Code | None
    method: Code | None
    low: float | None = None
    high: float | None = None
    normality: Code | None = None
    lines: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True)
class QualitativeFinding:
    """A coded answer to a coded question; ``certainty_percent`` is None where none is given."""

    name: Code
    value: Code
    certainty_percent: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentReference:
    """The segment that a measurement group is about."""

    sop_class_uid: str
    sop_instance_uid: str
    number: int


@dataclass(frozen=True, slots=True)
class FrameReference:
    """A frame of a segmentation, from 1."""

    sop_instance_uid: str
    frame: int


@dataclass(frozen=True, slots=True)
class MeasurementGroup:
    """One structure, slice or place of a report; ``laterality`` is ``left``, ``right`` or empty.

    Attributes:
        template: that it says it follows: ``1410``, ``1411``, ``1501``.
        findings: what is said of it in codes.
        shapes: where it is.
        frame: the frame of a segmentation that it is about, of a planar group.
    """

    tracking_id: str
    tracking_uid: str
    finding: Code | None
    site: Code | None
    laterality: str
    segment: SegmentReference | None
    algorithm: str
    algorithm_version: str
    quantities: tuple[Quantity, ...]
    template: str = ""
    findings: tuple[QualitativeFinding, ...] = ()
    shapes: tuple[Shape, ...] = ()
    frame: FrameReference | None = None

    @property
    def volume_ml(self) -> float | None:
        """The volume in mL; ``None`` where the group has none in that unit."""
        for quantity in self.quantities:
            if quantity.name.value == _VOLUME and quantity.unit.value == "mL":
                return quantity.value
        return None


@dataclass(frozen=True, slots=True)
class AlgorithmRecord:
    """The algorithm as Contributing Equipment names it."""

    device_uid: str
    manufacturer: str
    model: str
    version: str
    description: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """A report in plain records.

    Attributes:
        template: identifier of the root template, ``1500``.
        completion: ``COMPLETE`` or ``PARTIAL``, with ``completion_reason``.
        observer: ``uid name manufacturer model serial`` of the device, as far as they are there.
        images: SOP Instance UIDs that the image library lists.
        evidence: SOP Instance UIDs that the evidence sequences list.
        predecessors: SOP Instance UIDs of the reports that it names as its predecessors.
        summary: Summary of Analyses.
        comments: the sentences of the qualitative evaluations.
        created: Content Date and Time, ``YYYYMMDDHHMMSS``.
        language: of its meanings and sentences, as RFC 5646 names it.
        findings: about the image as a whole.
        prior_reports: SOP Instance UIDs of the reports that it compares with.
    """

    sop_class_uid: str
    template: str
    title: Code | None
    completion: str
    completion_reason: str
    verification: str
    observer: Mapping[str, str]
    procedures: tuple[Code, ...]
    images: frozenset[str]
    evidence: frozenset[str]
    groups: tuple[MeasurementGroup, ...]
    summary: Code | None
    comments: tuple[str, ...]
    algorithm: AlgorithmRecord | None
    series_description: str
    created: str
    predecessors: frozenset[str] = frozenset()
    language: str = ""
    findings: tuple[QualitativeFinding, ...] = ()
    prior_reports: frozenset[str] = frozenset()
