"""What the parts of a report are written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from secondread.bundles.manifest import Label
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.earlier import Change, EarlierReport
from secondread.results.made import Made
from secondread.results.references import find_multi_frame
from secondread.results.report.content import ContentWriter, Reference


@dataclass(frozen=True, slots=True)
class Comparison:
    """An earlier report by the same model, or None, and the changes since, by label value."""

    earlier: EarlierReport | None = None
    changes: Mapping[int, Change] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """A report that is being written.

    Attributes:
        writer: encodes its content items.
        comparison: with an earlier report.
        frames: frame numbers in the segmentations, by SOP Instance UID, segment and slice.
        multi_frame: SOP Instance UIDs of the sources that have frames.
    """

    context: ResultContext
    analysis: Analysis
    made: Made
    writer: ContentWriter
    comparison: Comparison
    frames: Mapping[tuple[str, int, int], int]
    multi_frame: frozenset[str]

    @staticmethod
    def begin(
        context: ResultContext,
        analysis: Analysis,
        made: Made,
        writer: ContentWriter,
        comparison: Comparison,
    ) -> Draft:
        """Look up what all groups need, once."""
        frames = {}
        if any(one.diameter is not None for one in made.measured):
            frames = {
                (uid, place.segment, place.slice_index): number
                for uid, places in (
                    (document.sop_instance_uid, document.stack.places)
                    for document in made.segmentations
                )
                for number, place in enumerate(places, start=1)
            }
        multi_frame = find_multi_frame(context.sources)
        return Draft(context, analysis, made, writer, comparison, frames, multi_frame)

    def refer_to_segment(self, label: Label) -> Reference | None:
        """The segment that shows a structure; None where none does."""
        found = self.made.find_segment(label)
        if found is None:
            return None
        document, number = found
        sop_class_uid = str(document.header.SOPClassUID)
        return Reference(sop_class_uid, document.sop_instance_uid, segment=number)

    def refer_to_frame(self, segment: Reference, slice_index: int) -> Reference | None:
        """The frame that shows a segment in a slice; None where no frame shows it alone.

        A frame of a label map shows all segments, and a reference names either a frame or a segment
        (PS3.3 table 10-3).
        """
        uid = segment.sop_instance_uid
        frame = self.frames.get((uid, segment.segment, slice_index))
        return Reference(segment.sop_class_uid, uid, frame) if frame is not None else None

    def refer_to_source(self, slice_index: int) -> Reference:
        """The source image of a slice."""
        source = self.context.analysed.sources[slice_index]
        frame = source.frame if source.sop_instance_uid in self.multi_frame else 0
        return Reference(source.sop_class_uid, source.sop_instance_uid, frame)
