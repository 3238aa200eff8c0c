"""What has been made of a job so far, for what is made next to refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secondread.bundles.manifest import Label
from secondread.results.document import Document
from secondread.results.measurement.measurements import StructureMeasurements
from secondread.results.segmentation.documents import SegmentationDocument


@dataclass(frozen=True, slots=True)
class Made:
    """The documents of one form, in the order in which they were made and will be sent.

    Attributes:
        segmentations: one, or one for each segment, or none.
        measured: every structure of the manifest, in its order.
        documents: all documents, the segmentations first.
    """

    segmentations: tuple[SegmentationDocument, ...]
    measured: tuple[StructureMeasurements, ...]
    documents: tuple[Document, ...]

    def find_segment(self, label: Label) -> tuple[SegmentationDocument, int] | None:
        """The segmentation that shows a structure, and the number of its segment there."""
        for document in self.segmentations:
            for number, one in document.segments.items():
                if one.value == label.value:
                    return document, number
        return None

    def with_documents(self, more: Sequence[Document]) -> Made:
        """The same and some more."""
        return Made(self.segmentations, self.measured, (*self.documents, *more))
