"""Segmentations as a viewer sends them back: written by other people's programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
from highdicom.content import AlgorithmIdentificationSequence
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from secondread.domain.instance import Instance
from secondread.intake.storing import Stored
from secondread.store.studies import Waits
from tests.house import House

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEG = "1.2.840.10008.5.1.4.1.1.66.7"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
FEEDBACK = frozenset({SEG, LABEL_MAP_SEG, KEY_OBJECTS})

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Drawn:
    """A segment that somebody drew."""

    label: str
    code: tuple[str, str, str]
    laterality: str = ""
    tracking_uid: str = ""
    algorithm: str = "MANUAL"


BRAIN = Drawn("Brain", ("12738006", "SCT", "Brain"))
THALAMUS = Drawn("Left thalamus", ("42695009", "SCT", "Thalamus"), "left")
SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right}


class Reading(House):
    """A house whose only peer may give feedback as well."""

    def _enter(self, to_record: Callable[[Stored], Instance], stored: Sequence[Stored]) -> None:
        records = [to_record(one) for one in stored]

        def quiet_s(_: str) -> float:
            return 5.0

        def is_feedback(record: Instance) -> bool:
            return record.sop_class_uid in FEEDBACK

        waits = Waits(quiet_s, quiet_s, lambda _: 3600.0, is_feedback)
        with self.place.ledger.begin() as change:
            change.instances.add(records)
            change.studies.add_instances(records, waits)
            change.corrections.expect([one for one in records if is_feedback(one)])


def source_images(paths: Sequence[Path]) -> list[Dataset]:
    """The images in the order of their places along the slices."""
    images = [pydicom.dcmread(path) for path in paths]
    orientation = np.array(images[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    return sorted(images, key=lambda one: float(normal @ np.array(one.ImagePositionPatient, float)))


def describe(drawn: Drawn, number: int) -> SegmentDescription:
    """What highdicom is told of a segment."""
    identification = None
    if drawn.algorithm != "MANUAL":
        identification = AlgorithmIdentificationSequence(
            "Something else", codes.DCM.ArtificialIntelligence, "1"
        )
    found = SegmentDescription(
        segment_number=number,
        segment_label=drawn.label,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=CodedConcept(*drawn.code),
        algorithm_type=drawn.algorithm,
        algorithm_identification=identification,
        **({"tracking_uid": drawn.tracking_uid, "tracking_id": "x"} if drawn.tracking_uid else {}),
    )
    if drawn.laterality:
        kind = found.SegmentedPropertyTypeCodeSequence[0]
        side = CodedConcept.from_code(SIDES[drawn.laterality])
        kind.SegmentedPropertyTypeModifierCodeSequence = [side]
    return found


def by_highdicom(
    path: Path,
    images: Sequence[Dataset],
    labels: Labels,
    drawn: Sequence[Drawn] = (BRAIN, THALAMUS),
    kind: str = "BINARY",
    **more: Any,
) -> Path:
    """Write a segmentation whose segment ``n`` is where ``labels`` is ``n``."""
    numbers = range(1, len(drawn) + 1)
    pixels: npt.NDArray[Any] = labels
    if kind == "FRACTIONAL":
        pixels = np.stack([labels == n for n in numbers], axis=-1).astype(np.float32) * 0.9
    written = Segmentation(
        source_images=list(images),
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[describe(one, n) for one, n in zip(drawn, numbers, strict=True)],
        series_instance_uid=highdicom.UID(),
        series_number=77,
        sop_instance_uid=more.pop("sop_instance_uid", None) or highdicom.UID(),
        instance_number=1,
        manufacturer="Viewers",
        manufacturer_model_name="Viewer",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **more,
    )
    written.save_as(path)
    return path


def by_dcmqi(
    program: str, folder: Path, paths: Sequence[Path], masks: Mapping[str, Labels], affine_lps: Any
) -> Path:
    """Write a segmentation with dcmqi, as 3D Slicer does, from one image for each structure."""
    import SimpleITK

    codes_of = {
        "Brain": ("T-A0100", "SRT", "Brain"),
        "Left thalamus": ("T-A4000", "SRT", "Thalamus"),
    }
    names = []
    attributes = []
    for number, (label, mask) in enumerate(masks.items(), start=1):
        image = SimpleITK.GetImageFromArray(mask)
        spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
        axes = (affine_lps[:3, :3] / spacing)[:, ::-1]
        image.SetSpacing(spacing[::-1].tolist())
        image.SetDirection(axes.ravel().tolist())
        image.SetOrigin(affine_lps[:3, 3].tolist())
        names.append(str(folder / f"{number}.nrrd"))
        SimpleITK.WriteImage(image, names[-1])
        value, scheme, meaning = codes_of[label]
        one: dict[str, Any] = {
            "labelID": 1,
            "SegmentDescription": label,
            "SegmentLabel": label,
            "SegmentAlgorithmType": "SEMIAUTOMATIC",
            "SegmentAlgorithmName": "Editor",
            "SegmentedPropertyCategoryCodeSequence": _code("T-D000A", "SRT", "Structure"),
            "SegmentedPropertyTypeCodeSequence": _code(value, scheme, meaning),
        }
        if label.startswith("Left"):
            one["SegmentedPropertyTypeModifierCodeSequence"] = _code("G-A101", "SRT", "Left")
        attributes.append([one])
    metadata = folder / "metadata.json"
    document = {
        "ContentCreatorName": "Reader",
        "ClinicalTrialSeriesID": "1",
        "ClinicalTrialTimePointID": "1",
        "SeriesDescription": "Corrected",
        "SeriesNumber": "78",
        "InstanceNumber": "1",
        "segmentAttributes": attributes,
    }
    metadata.write_text(json.dumps(document))
    made = folder / "dcmqi.dcm"
    command = [program, "--inputImageList", ",".join(names), "--outputDICOM", str(made)]
    command += ["--inputDICOMList", ",".join(map(str, paths)), "--inputMetadata", str(metadata)]
    subprocess.run([*command, "--skip"], check=True, capture_output=True)
    return made


def _code(value: str, scheme: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def rejection(path: Path, images: Sequence[Dataset], named: Sequence[Path], title: str) -> Path:
    """A Key Object Selection of IHE IOCM, which rejects what it names."""
    evidence = [pydicom.dcmread(one, stop_before_pixels=True) for one in named]
    made = highdicom.ko.KeyObjectSelectionDocument(
        evidence=evidence,
        content=highdicom.ko.KeyObjectSelection(
            document_title=CodedConcept(title, "DCM", "Rejected"),
            referenced_objects=evidence,
        ),
        series_instance_uid=highdicom.UID(),
        series_number=79,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Archives",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    made.save_as(path)
    return path


def dice(ours: npt.NDArray[np.bool_], theirs: npt.NDArray[np.bool_]) -> float:
    """As the test works it out, by itself."""
    return 2.0 * float((ours & theirs).sum()) / float(ours.sum() + theirs.sum())
