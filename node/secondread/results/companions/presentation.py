"""Outlines as Grayscale Softcopy Presentation States (PS3.3 A.33.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from secondread.bundles.manifest import Label
from secondread.domain.form import Overlay
from secondread.domain.volume import SourceSlice
from secondread.results.analysis import Analysis
from secondread.results.companions.canvas import AMBER
from secondread.results.companions.companion import Companion, begin, say_body_part
from secondread.results.companions.display import Display, read_displays
from secondread.results.companions.markers import Marker, list_markers
from secondread.results.companions.outlines import Outline, simplify, trace_volume
from secondread.results.companions.picture import find_window
from secondread.results.context import NODE_MANUFACTURER, PR, RESEARCH_NOTICE, ResultContext
from secondread.results.document import Document, WholeDocument
from secondread.results.made import Made
from secondread.results.references import find_multi_frame, list_frames
from secondread.results.slices import read_slices
from secondread.results.wording import plain

GRAYSCALE_PRESENTATION_STATE_STORAGE = "1.2.840.10008.5.1.4.1.1.11.1"
OUTLINES_MAX = 10_000
"""More than these, and only every second, third … slice is outlined."""
TOLERANCE_PX = 0.75
"""How far a line may be from the edge of the pixels; stairs become a slope with it."""
_CONTENT_LABEL = "SECONDREAD"
_WHITE = 0xFFFF
_LONG_STRING = 64
_GRAPHIC_POINTS_MAX = 8000
"""More do not fit the 16 bits that explicit VR has for the length of FL (PS3.5 7.1.2)."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A graphic layer; ``name`` is a code string."""

    name: str
    description: str
    color_rgb: tuple[int, int, int]


_PLACES = _Layer("PLACES", "Places that the model points at", AMBER)


@dataclass(frozen=True, slots=True)
class _Scene:
    """Outlines by slice, then by value; ``step`` is 1 where no slice was left out."""

    outlines: Mapping[int, Mapping[int, Sequence[Outline]]]
    markers: Mapping[int, Sequence[Marker]]
    displays: Sequence[Display]
    labels: Sequence[Label]
    step: int


def make_presentation_states(
    context: ResultContext, analysis: Analysis, made: Made
) -> tuple[Document, ...]:
    """Outlines and marks on every slice that has some, where the form asks for it.

    A presentation state has one modality LUT for all of its images (PS3.3 C.11.1), so there is one
    for each that the source has: one in all for CT and MR as a rule, one a slice for most PET.
    """
    if context.form.overlay is not Overlay.PRESENTATION_STATE:
        return ()
    scene = _set_scene(context, analysis)
    groups: dict[tuple[str, bool], list[int]] = {}
    for index in sorted({*scene.outlines, *scene.markers}):
        display = scene.displays[index]
        groups.setdefault((display.modality_key, display.is_inverse), []).append(index)
    return tuple(
        _make(context, scene, indices, number)
        for number, indices in enumerate(groups.values(), start=1)
    )


def _set_scene(context: ResultContext, analysis: Analysis) -> _Scene:
    traced = trace_volume(analysis.labels, range(len(analysis.labels)))
    step = max(1, -(-len(traced) // OUTLINES_MAX))
    chosen = [outline for outline in traced if outline.slice_index % step == 0]
    lines = simplify([outline.corners for outline in chosen], TOLERANCE_PX)
    found: dict[int, dict[int, list[Outline]]] = {}
    for outline, corners in zip(chosen, lines, strict=True):
        on_slice = found.setdefault(outline.slice_index, {})
        on_slice.setdefault(outline.value, []).append(replace(outline, corners=corners))
    output = context.manifest.output
    return _Scene(
        found,
        list_markers(analysis.answer.places, output.places, len(analysis.labels)),
        read_displays(context.analysed, context.sources),
        context.manifest.labels,
        step,
    )


def _make(context: ResultContext, scene: _Scene, indices: Sequence[int], number: int) -> Document:
    state = begin(
        context, Companion(PR, GRAYSCALE_PRESENTATION_STATE_STORAGE, "PR", "outlines", number)
    )
    say_body_part(state, context.reference)
    _identify(state, context, scene.step)
    multi_frame = find_multi_frame(context.sources)
    sources = context.analysed.sources
    state.ReferencedSeriesSequence = _list_series(context, [sources[one] for one in indices])
    values = sorted({value for index in indices for value in scene.outlines.get(index, ())})
    labels = {label.value: label for label in scene.labels}
    layers = [_layer_of(labels[value]) for value in values]
    if any(index in scene.markers for index in indices):
        layers.append(_PLACES)
    state.GraphicLayerSequence = [
        _make_layer(layer, order) for order, layer in enumerate(layers, start=1)
    ]
    annotations = []
    for index in indices:
        image = list_frames([sources[index]], multi_frame)
        for value, outlines in scene.outlines.get(index, {}).items():
            annotations.append(_annotate(image, labels[value], outlines))
        annotations += [_mark(image, marker) for marker in scene.markers.get(index, ())]
    state.GraphicAnnotationSequence = annotations
    _show_area(state, context)
    first = scene.displays[indices[0]]
    state.update(first.modality_lut)
    if voi := _list_voi(context, scene, indices):
        state.SoftcopyVOILUTSequence = voi
    state.PresentationLUTShape = "INVERSE" if first.is_inverse else "IDENTITY"
    return WholeDocument(PR, PR if number == 1 else f"{PR}_{number}", state)


def _identify(state: Dataset, context: ResultContext, step: int) -> None:
    """Presentation State Identification (PS3.3 C.11.10)."""
    state.ContentLabel = _CONTENT_LABEL
    parts = [f"One slice in {step}."] if step > 1 else []
    parts.append(RESEARCH_NOTICE if context.is_research else context.manifest.title)
    state.ContentDescription = plain(" ".join(parts), _LONG_STRING)
    state.ContentCreatorName = f"{NODE_MANUFACTURER}^{plain(context.manifest.id, 48)}"
    state.PresentationCreationDate = state.pop("ContentDate").value
    state.PresentationCreationTime = state.pop("ContentTime").value


def _list_series(context: ResultContext, slices: Sequence[SourceSlice]) -> list[Dataset]:
    """Presentation State Relationship (PS3.3 C.11.11)."""
    series_of = {
        str(header.SOPInstanceUID): str(header.SeriesInstanceUID) for header in context.sources
    }
    by_series: dict[str, list[SourceSlice]] = {}
    for one in slices:
        by_series.setdefault(series_of[one.sop_instance_uid], []).append(one)
    multi_frame = find_multi_frame(context.sources)
    items = []
    for uid, members in by_series.items():
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedImageSequence = list_frames(members, multi_frame)
        items.append(item)
    return items


def _layer_of(label: Label) -> _Layer:
    """One layer for each structure (PS3.3 C.10.7), so that a viewer can hide one of them."""
    return _Layer(f"STRUCTURE_{label.value}", label.meaning, label.color_rgb)


def _make_layer(layer: _Layer, order: int) -> Dataset:
    made = Dataset()
    made.GraphicLayer = layer.name
    made.GraphicLayerOrder = order
    made.GraphicLayerRecommendedDisplayGrayscaleValue = _WHITE
    colour = CIELabColor.from_rgb(*layer.color_rgb)
    made.GraphicLayerRecommendedDisplayCIELabValue = list(colour.value)
    made.GraphicLayerDescription = plain(layer.description, _LONG_STRING)
    return made


def _annotate(image: Sequence[Dataset], label: Label, outlines: Sequence[Outline]) -> Dataset:
    """The outlines of a structure on one image (PS3.3 C.10.5), and its name beside the longest."""
    annotation = Dataset()
    annotation.ReferencedImageSequence = list(image)
    annotation.GraphicLayer = _layer_of(label).name
    lines = [one.corners[:_GRAPHIC_POINTS_MAX].tolist() for one in outlines]
    annotation.TextObjectSequence = [_write_name(label.meaning, max(lines, key=len))]
    annotation.GraphicObjectSequence = [_draw([*line, line[0]]) for line in lines]
    return annotation


def _mark(image: Sequence[Dataset], marker: Marker) -> Dataset:
    """A place on one image."""
    annotation = Dataset()
    annotation.ReferencedImageSequence = list(image)
    annotation.GraphicLayer = _PLACES.name
    annotation.TextObjectSequence = [_write_name(marker.name, marker.points)]
    end = marker.points[:1] if marker.is_closed else ()
    annotation.GraphicObjectSequence = [_draw([*marker.points, *end][:_GRAPHIC_POINTS_MAX])]
    return annotation


def _draw(points: Sequence[Sequence[float]]) -> Dataset:
    """A line through points of column and row, or a single point (PS3.3 C.10.5.1.2)."""
    line = Dataset()
    line.GraphicAnnotationUnits = "PIXEL"
    line.GraphicDimensions = 2
    line.NumberOfGraphicPoints = len(points)
    line.GraphicData = [float(length) for point in points for length in point]
    line.GraphicType = "POLYLINE" if len(points) > 1 else "POINT"
    if points[0] == points[-1] and len(points) > 1:
        line.GraphicFilled = "N"
    return line


def _write_name(name: str, points: Sequence[Sequence[float]]) -> Dataset:
    """A name, anchored at the point that is farthest to the right."""
    text = Dataset()
    text.UnformattedTextValue = plain(name)
    text.AnchorPointAnnotationUnits = "PIXEL"
    text.AnchorPoint = [float(length) for length in max(points, key=lambda point: point[0])]
    text.AnchorPointVisibility = "N"
    return text


def _show_area(state: Dataset, context: ResultContext) -> None:
    """The whole of every image, with pixels as wide and high as they are (PS3.3 C.10.4)."""
    rows, columns = context.analysed.voxels.shape[1:]
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [columns, rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    slices = read_slices(context.analysed, context.sources)
    area.PresentationPixelSpacing = list(slices[0].pixel_spacing)
    state.DisplayedAreaSelectionSequence = [area]


def _list_voi(context: ResultContext, scene: _Scene, indices: Sequence[int]) -> list[Dataset]:
    """Softcopy VOI LUT (PS3.3 C.11.8): each window with the images that have it.

    Without one, an image would be shown from the lowest to the highest value that it could hold,
    that is, in black. So where the source has none, there is one that suits the whole volume;
    only not where the model saw the volume in another unit than the images have.
    """
    is_own_unit = context.manifest.input.units == "modality"
    by_voi: dict[str, list[int]] = {}
    for index in indices:
        if len(scene.displays[index].voi_lut) or is_own_unit:
            by_voi.setdefault(scene.displays[index].voi_key, []).append(index)
    multi_frame = find_multi_frame(context.sources)
    items = []
    for members in by_voi.values():
        item = Dataset()
        voi_lut = scene.displays[members[0]].voi_lut
        item.update(voi_lut if len(voi_lut) else _suit(context))
        item.ReferencedImageSequence = list_frames(
            [context.analysed.sources[index] for index in members], multi_frame
        )
        items.append(item)
    return items


def _suit(context: ResultContext) -> Dataset:
    low, high = find_window(context.analysed)
    window = Dataset()
    window.WindowCenter = format_number_as_ds((low + high) / 2)
    window.WindowWidth = format_number_as_ds(max(high - low, 1.0))
    return window
