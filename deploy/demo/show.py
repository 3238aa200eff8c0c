"""Pictures and pages of what came back, made from the objects in the PACS and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pydicom

if TYPE_CHECKING:
    from secondread.bundles.manifest import Manifest
    from secondread.domain.volume import Volume

OFF_GRID = 0.01
"""How far, in voxels, a slice of the segmentation may lie from a slice of its source."""


@dataclass(frozen=True, slots=True)
class Found:
    """One exported file and what its header says."""

    path: Path
    modality: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    manufacturer: str


def show(files: Sequence[Path], out: Path) -> list[Path]:
    """Write ``overlay.png`` and ``report.html`` for every report of ours among the files.

    A second report becomes ``report-2.html``, and so on. Returns what was written.
    """
    from secondread.results.companions.page import write_page
    from secondread.results.context import NODE_MANUFACTURER
    from secondread.results.reading.transcript import read_report

    found = [_read(path) for path in files]
    ours = [item for item in found if item.manufacturer == NODE_MANUFACTURER]
    segmentations = {item.sop_instance_uid: item for item in ours if item.modality == "SEG"}
    written = []
    for number, report in enumerate((item for item in ours if item.modality == "SR"), start=1):
        suffix = "" if number == 1 else f"-{number}"
        groups = read_report(report.path).groups
        named = {group.segment.sop_instance_uid for group in groups if group.segment}
        overlay = None
        for segmentation in filter(None, map(segmentations.get, named)):
            overlay = _draw(segmentation, found, out / f"overlay{suffix}.png")
            written.append(overlay)
        page = out / f"report{suffix}.html"
        write_page(report.path, page, overlay)
        written.append(page)
    return written


def _read(path: Path) -> Found:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    return Found(
        path,
        str(header.get("Modality", "")),
        str(header.SOPClassUID),
        str(header.SOPInstanceUID),
        str(header.SeriesInstanceUID),
        str(header.get("Manufacturer", "")),
    )


def _draw(segmentation: Found, found: Sequence[Found], path: Path) -> Path:
    from secondread.bundles.manifest import read_manifest
    from secondread.config.first_party import first_party_folder
    from secondread.results.companions.picture import draw_overlay
    from secondread.results.reading.segmentation import read_segmentation

    header = pydicom.dcmread(segmentation.path, stop_before_pixels=True)
    manifest = read_manifest(
        first_party_folder(
            str(
                header.SegmentSequence[0]
                .SegmentationAlgorithmIdentificationSequence[0]
                .AlgorithmName
            )
        )
    )
    source = str(header.ReferencedSeriesSequence[0].SeriesInstanceUID)
    volume = _source_volume([item for item in found if item.series_instance_uid == source])
    segments, affine = read_segmentation(segmentation.path).label_map()
    labels = _place(_as_labels(segments, header, manifest), affine, volume)
    draw_overlay(volume, labels, manifest.labels, path)
    return path


def _source_volume(images: Sequence[Found]) -> Volume:
    from secondread.assembly.volume import read_volume
    from secondread.domain.instance import Instance

    instances = [
        Instance(
            sop_instance_uid=image.sop_instance_uid,
            sop_class_uid=image.sop_class_uid,
            study_instance_uid="",
            series_instance_uid=image.series_instance_uid,
            transfer_syntax_uid="",
            path=str(image.path),
            size_bytes=0,
            sha256="",
            peer="",
            received_at=0.0,
        )
        for image in images
    ]
    # The paths are absolute, so the folder they are relative to does not matter.
    return read_volume(instances, Path())


def _as_labels(
    segments: npt.NDArray[np.uint8], header: pydicom.Dataset, manifest: Manifest
) -> npt.NDArray[np.uint8]:
    """Segment numbers as the model's own label values: the tracking ID ends in the label's name."""
    values = {label.name: label.value for label in manifest.labels}
    table = np.zeros(256, np.uint8)
    for segment in header.SegmentSequence:
        name = str(segment.TrackingID).removeprefix(f"{manifest.id} ")
        table[int(segment.SegmentNumber)] = values[name]
    return table[segments]


def _place(
    labels: npt.NDArray[np.uint8], affine_lps: npt.NDArray[np.float64], volume: Volume
) -> npt.NDArray[np.uint8]:
    """The labels, which cover some slices only, on the whole source volume.

    Raises:
        RuntimeError: the segmentation does not lie on its source's slices.
    """
    to_source = np.linalg.inv(volume.affine_lps) @ affine_lps
    start, step = to_source[:3, 3], to_source[:3, :3]
    whole = np.rint(start).astype(int)
    placed = np.zeros(volume.voxels.shape, np.uint8)
    first, count = int(whole[0]), labels.shape[0]
    drift = np.abs(step - np.eye(3)).max() * max(labels.shape)
    if np.abs(start - whole).max() > OFF_GRID or drift > OFF_GRID or whole[1:].any():
        raise RuntimeError("The segmentation in the PACS does not lie on its source's slices.")
    placed[first : first + count] = labels
    return placed
