"""Pictures as Secondary Captures: what summary and captures have in common (PS3.3 A.8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset

from secondread.domain.volume import SourceSlice
from secondread.results import coding
from secondread.results.companions.companion import Companion, begin, say_body_part
from secondread.results.context import RESEARCH_NOTICE, ResultContext
from secondread.results.references import find_multi_frame, list_derivation_sources
from secondread.results.wording import plain

SECONDARY_CAPTURE_STORAGE = "1.2.840.10008.5.1.4.1.1.7"
TRUE_COLOUR_CAPTURE_STORAGE = "1.2.840.10008.5.1.4.1.1.7.4"
_SHORT_TEXT = 1024
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def make_capture(
    context: ResultContext,
    companion: Companion,
    pixels: npt.NDArray[np.uint8],
    shown: Sequence[SourceSlice],
    how: str,
) -> Dataset:
    """A colour picture, derived from slices.

    It says Burned In Annotation YES, though no name is in it: whoever de-identifies or rescales
    pictures must know that there is text of ours in the pixels.

    Args:
        context: the job.
        companion: its SOP class is one of the two of this module.
        pixels: ``(row, column, 3)`` or ``(frame, row, column, 3)``, RGB.
        shown: the slices that it shows or was made from.
        how: a sentence on its making.
    """
    made = begin(context, companion)
    say_body_part(made, context.reference)
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.PatientOrientation = None
    made.BurnedInAnnotation = "YES"
    sentences = [f"Made by {context.model_title}.", how]
    if context.is_research:
        sentences.append(RESEARCH_NOTICE)
    made.DerivationDescription = plain(" ".join(sentences), _SHORT_TEXT)
    made.DerivationCodeSequence = [CodedConcept(*coding.SEGMENTATION_DERIVATION, "Segmentation")]
    made.SourceImageSequence = list_derivation_sources(shown, find_multi_frame(context.sources))
    # What was derived from a lossy image is lossy too (PS3.3 C.7.6.1.1.5).
    made.LossyImageCompression = "00"
    if context.reference.get("LossyImageCompression") == "01":
        for keyword in _LOSSY:
            if keyword in context.reference:
                made[keyword] = context.reference[keyword]
    _put_pixels(made, pixels)
    return made


def _put_pixels(made: Dataset, pixels: npt.NDArray[np.uint8]) -> None:
    made.SamplesPerPixel = 3
    made.PhotometricInterpretation = "RGB"
    made.PlanarConfiguration = 0
    made.Rows, made.Columns = pixels.shape[-3:-1]
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PixelRepresentation = 0
    content = pixels.tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    made["PixelData"].VR = "OB"
