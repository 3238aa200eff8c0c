"""The slices worth opening and the other results, as a Key Object Selection (PS3.3 A.35.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from highdicom.sr import (
    DeviceObserverIdentifyingAttributes,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from secondread.bundles.manifest import Label
from secondread.domain.answer import ModelAnswer
from secondread.results import coding
from secondread.results.analysis import Analysis
from secondread.results.companions.companion import Companion, begin
from secondread.results.companions.headings import say
from secondread.results.companions.markers import list_markers
from secondread.results.context import (
    KO,
    NODE_MANUFACTURER,
    NODE_MODEL,
    PDF,
    PR,
    RTSTRUCT,
    SR,
    ResultContext,
)
from secondread.results.document import Document, WholeDocument
from secondread.results.identity import UNICODE, declare_unicode, list_character_sets
from secondread.results.made import Made
from secondread.results.measurement.measurements import StructureMeasurements
from secondread.results.references import (
    find_multi_frame,
    list_evidence,
    list_frames,
    name_slices,
    refer,
)
from secondread.results.report.language import Tongue, choose_tongue
from secondread.results.wording import plain

KEY_OBJECT_SELECTION_STORAGE = "1.2.840.10008.5.1.4.1.1.88.59"
KEY_SLICES_MAX = 10
OF_INTEREST = Code("113000", "DCM", "Of Interest")
"""The title (PS3.16 CID 7010)."""
_DESCRIPTION = Code("113012", "DCM", "Key Object Description")
_CONTAINS = RelationshipTypeValues.CONTAINS
_NOT_IMAGES = frozenset({SR, PR, PDF, RTSTRUCT})
_LONG_STRING = 64


@dataclass(frozen=True, slots=True)
class KeySlice:
    """A slice worth opening; ``names`` are those of what it is worth it for."""

    index: int
    names: tuple[str, ...]


def make_key_objects(
    context: ResultContext, analysis: Analysis, made: Made
) -> tuple[Document, ...]:
    """One, where the form asks for it: the root of everything that came of one analysis.

    It names the report first, then the slices (with the presentation state that outlines them,
    where one was made before), then whatever else was made. Where nothing was found it names the
    report and what else there is, and no slice.
    """
    if not context.form.key_objects:
        return ()
    tongue = choose_tongue(context)
    chosen = choose_slices(analysis.labels, made.measured, analysis.answer, context)
    document = begin(
        context, Companion(KO, KEY_OBJECT_SELECTION_STORAGE, "KO", "slices worth opening")
    )
    if tongue.character_sets == (UNICODE,) != list_character_sets(context.reference):
        declare_unicode(document)
    document.ReferencedPerformedProcedureStepSequence = None
    images = _refer_to_slices(context, chosen, made)
    report = [one for one in made.documents if one.kind == SR]
    others = [one for one in made.documents if one.kind != SR]
    document.ValueType = "CONTAINER"
    document.ConceptNameCodeSequence = [CodedConcept.from_code(OF_INTEREST)]
    document.ContinuityOfContent = "SEPARATE"
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    document.ContentTemplateSequence = [template]
    document.ContentSequence = [
        *LanguageOfContentItemAndDescendants(coding.concept(tongue.code)),
        *_observe(context),
        TextContentItem(_DESCRIPTION, _describe(context, chosen, tongue), _CONTAINS),
        *(_item(one) for one in report),
        *(_wrap("IMAGE", reference) for reference in images),
        *(_item(one) for one in others),
    ]
    named = {str(reference.ReferencedSOPInstanceUID) for reference in images}
    document.CurrentRequestedProcedureEvidenceSequence = list_evidence(
        [
            *(one.header for one in report),
            *(header for header in context.sources if str(header.SOPInstanceUID) in named),
            *(one.header for one in others),
        ]
    )
    return (WholeDocument(KO, KO, document),)


def choose_slices(
    labels: npt.NDArray[np.uint8],
    measured: Sequence[StructureMeasurements],
    answer: ModelAnswer,
    context: ResultContext,
) -> tuple[KeySlice, ...]:
    """The slices worth opening, at most ``KEY_SLICES_MAX``, in the order of the volume.

    Of each place that the model names, the slices that it is on; of each structure, the slice
    of its longest diameter where that was measured, else that of its greatest area. Where these
    are too many, places go first, then whatever slice shows most structures that no slice chosen
    before shows.
    """
    tongue = choose_tongue(context)
    areas = np.array([np.bincount(plane.ravel(), minlength=256) for plane in labels])
    names: dict[int, dict[str, None]] = {}
    declared = context.manifest.output.places
    for index, markers in list_markers(answer.places, declared, len(labels)).items():
        names[index] = dict.fromkeys(marker.name for marker in markers)
    places = list(names)[:KEY_SLICES_MAX]
    best: dict[int, list[Label]] = {}
    for one in measured:
        if one.voxels:
            own = int(np.argmax(areas[:, one.label.value]))
            best.setdefault(one.diameter.source if one.diameter else own, []).append(one.label)
    for index, structures in best.items():
        for label in structures:
            names.setdefault(index, {})[tongue.name(label)] = None
    chosen = places + _spread(areas > 0, best, KEY_SLICES_MAX - len(places), places)
    return tuple(KeySlice(index, tuple(names[index])) for index in sorted(chosen))


def _spread(
    presence: npt.NDArray[np.bool_],
    best: Mapping[int, Sequence[Label]],
    room: int,
    taken: Sequence[int],
) -> list[int]:
    """Of the best slices, as many as there is room for; ties go to the lowest."""
    candidates = sorted(set(best) - set(taken))
    if len(candidates) <= room:
        return candidates
    is_shown = presence[list(taken)].any(axis=0)
    chosen: list[int] = []
    while len(chosen) < room:
        gains = [int((presence[index] & ~is_shown).sum()) for index in candidates]
        index = candidates.pop(int(np.argmax(gains)))
        is_shown |= presence[index]
        chosen.append(index)
    return chosen


def _refer_to_slices(
    context: ResultContext, chosen: Sequence[KeySlice], made: Made
) -> list[Dataset]:
    """Image references, each with the presentation state that outlines it (PS3.3 table 10-3)."""
    sources = [context.analysed.sources[one.index] for one in chosen]
    references = list_frames(sources, find_multi_frame(context.sources))
    shown_by: dict[str, Dataset] = {}
    for document in made.documents:
        if document.kind != PR:
            continue
        for series in document.header.ReferencedSeriesSequence:
            for image in series.ReferencedImageSequence:
                shown_by.setdefault(str(image.ReferencedSOPInstanceUID), document.header)
    for reference in references:
        state = shown_by.get(str(reference.ReferencedSOPInstanceUID))
        if state is not None:
            reference.ReferencedSOPSequence = [
                refer(str(state.SOPClassUID), str(state.SOPInstanceUID))
            ]
    return references


def _item(document: Document) -> Dataset:
    """A content item for another result; what has frames is an image (PS3.3 C.17.6.2.1)."""
    header = document.header
    reference = refer(str(header.SOPClassUID), str(header.SOPInstanceUID))
    return _wrap("COMPOSITE" if document.kind in _NOT_IMAGES else "IMAGE", reference)


def _wrap(value_type: str, reference: Dataset) -> Dataset:
    """TID 2010 gives its references no purpose, so these items have no name."""
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = value_type
    item.ReferencedSOPSequence = [reference]
    return item


def _describe(context: ResultContext, chosen: Sequence[KeySlice], tongue: Tongue) -> str:
    """Whose results they are, and what each slice is worth opening for."""
    language = tongue.language
    sentences = [say(language, "results_of", title=context.model_title)]
    if not chosen:
        sentences.append(say(language, "no_slice"))
    numbers = name_slices(context.analysed, context.sources)
    for one in chosen:
        names = say(language, "separator").join(one.names)
        sentences.append(say(language, "slice", number=numbers[one.index], names=names))
    if context.is_research:
        sentences.append(say(language, "research"))
    return tongue.fit(" ".join(sentences))


def _observe(context: ResultContext) -> ObservationContext:
    """The node as device observer (PS3.16 TID 1004)."""
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=context.device_uid,
                name=plain(context.ae_title, _LONG_STRING),
                manufacturer_name=NODE_MANUFACTURER,
                model_name=NODE_MODEL,
                serial_number=plain(context.device_serial, _LONG_STRING),
            ),
        )
    )
