from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from highdicom.color import CIELabColor

from secondread.domain.form import Overlay
from secondread.results.analysis import Analysis
from secondread.results.companions import presentation
from secondread.results.identity import find_differences
from tests.companion_cases import (
    as_multi_frame,
    ask,
    change_sources,
    with_place,
    write,
    write_analysis,
)
from tests.result_cases import LABELS, make_case

WANTED = {"overlay": Overlay.PRESENTATION_STATE}


@pytest.fixture
def case(tmp_path):
    return make_case(tmp_path / "series")


def lines_of(state):
    """(SOP Instance UID, layer, graphic type, points) of every graphic."""
    return [
        (
            annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID,
            annotation.GraphicLayer,
            graphic.GraphicType,
            np.reshape(np.array(graphic.GraphicData, float), (-1, 2)),
        )
        for annotation in state.GraphicAnnotationSequence
        for graphic in annotation.GraphicObjectSequence
    ]


def one_square(case):
    labels = np.zeros_like(case.labels)
    labels[3, 4:7, 11:17] = 2
    return labels


def test_there_is_none_where_nobody_asked_or_nothing_was_found(case, tmp_path):
    assert "pr" not in write(case, tmp_path)
    empty = Analysis(np.zeros_like(case.labels))
    assert "pr" not in write_analysis(ask(case.context, **WANTED), empty, tmp_path)


def test_an_outline_runs_along_the_edge_of_the_pixels_and_closes(case, tmp_path):
    context = ask(case.context, **WANTED)
    state = write_analysis(context, Analysis(one_square(case)), tmp_path)["pr"]
    ((image, layer, kind, points),) = lines_of(state)
    assert image == case.context.analysed.sources[3].sop_instance_uid
    assert (layer, kind) == ("STRUCTURE_2", "POLYLINE")
    assert points.tolist() == [[11, 4], [17, 4], [17, 7], [11, 7], [11, 4]]


def test_every_slice_with_structures_has_lines_and_no_other(case, tmp_path):
    state = write(case, tmp_path, **WANTED)["pr"]
    sources = case.context.analysed.sources
    filled = {
        (sources[index].sop_instance_uid, f"STRUCTURE_{value}")
        for index in range(len(case.labels))
        for value in set(np.unique(case.labels[index]).tolist()) - {0}
    }
    assert {(image, layer) for image, layer, _, _ in lines_of(state)} == filled
    (series,) = state.ReferencedSeriesSequence
    listed = {one.ReferencedSOPInstanceUID for one in series.ReferencedImageSequence}
    assert listed == {image for image, _ in filled}


def test_each_structure_has_a_layer_with_its_colour_and_its_name(case, tmp_path):
    state = write(case, tmp_path, **WANTED)["pr"]
    layers = {layer.GraphicLayer: layer for layer in state.GraphicLayerSequence}
    for label in LABELS:
        if label.name == "third_ventricle":
            assert f"STRUCTURE_{label.value}" not in layers
            continue
        layer = layers[f"STRUCTURE_{label.value}"]
        assert layer.GraphicLayerDescription == label.meaning
        colour = list(CIELabColor.from_rgb(*label.color_rgb).value)
        assert list(layer.GraphicLayerRecommendedDisplayCIELabValue) == colour
    orders = [layer.GraphicLayerOrder for layer in layers.values()]
    assert orders == list(range(1, len(orders) + 1))


def test_a_name_stands_beside_each_structure(case, tmp_path):
    context = ask(case.context, **WANTED)
    state = write_analysis(context, Analysis(one_square(case)), tmp_path)["pr"]
    (annotation,) = state.GraphicAnnotationSequence
    (text,) = annotation.TextObjectSequence
    assert text.UnformattedTextValue == "Right hippocampus"
    assert list(text.AnchorPoint) == [17, 4]


def test_the_whole_image_is_shown_with_its_own_aspect(case, tmp_path):
    (area,) = write(case, tmp_path, **WANTED)["pr"].DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaTopLeftHandCorner) == [1, 1]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [20, 16]
    assert [float(one) for one in area.PresentationPixelSpacing] == [1.25, 1.5]


def test_the_grey_scale_of_the_source_goes_over(case, tmp_path):
    windows = [["40", "600"] if index < 4 else ["50", "700"] for index in range(9)]
    changed = change_sources(
        case,
        RescaleIntercept="-1024",
        RescaleSlope="2",
        WindowCenter=[one[0] for one in windows],
        WindowWidth=[one[1] for one in windows],
    )
    state = write(changed, tmp_path, **WANTED)["pr"]
    assert (state.RescaleIntercept, state.RescaleSlope, state.RescaleType) == (-1024, 2, "US")
    assert state.PresentationLUTShape == "IDENTITY"
    sources = [one.sop_instance_uid for one in case.context.analysed.sources]
    for item in state.SoftcopyVOILUTSequence:
        for image in item.ReferencedImageSequence:
            index = sources.index(image.ReferencedSOPInstanceUID)
            assert str(item.WindowCenter) == windows[index][0]
    assert len(state.SoftcopyVOILUTSequence) == 2


def test_a_source_without_a_window_gets_one_that_suits_the_volume(case, tmp_path):
    bare = change_sources(case)
    for header in bare.context.sources:
        header.pop("WindowCenter", None)
        header.pop("WindowWidth", None)
    (item,) = write(bare, tmp_path, **WANTED)["pr"].SoftcopyVOILUTSequence
    assert float(item.WindowCenter) == pytest.approx(450, abs=30)
    assert float(item.WindowWidth) == pytest.approx(885, abs=30)


def test_a_source_whose_lowest_value_is_white_is_shown_so(case, tmp_path):
    changed = change_sources(case, PhotometricInterpretation="MONOCHROME1")
    assert write(changed, tmp_path, **WANTED)["pr"].PresentationLUTShape == "INVERSE"


def test_slices_that_are_scaled_differently_have_states_of_their_own(case, tmp_path):
    slopes = ["1", "1", "1", "1", "1", "1", "1", "2", "2"]
    changed = change_sources(case, RescaleIntercept="0", RescaleSlope=slopes)
    written = write(changed, tmp_path, **WANTED, key_objects=True)
    first, second = written["pr"], written["pr_2"]
    assert [float(one.RescaleSlope) for one in (first, second)] == [1, 2]
    assert [int(one.InstanceNumber) for one in (first, second)] == [1, 2]
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    shown = [{image for image, *_ in lines_of(one)} for one in (first, second)]
    assert shown[0].isdisjoint(shown[1])


def test_frames_of_a_multi_frame_object_are_named_by_number(case, tmp_path):
    state = write(as_multi_frame(case), tmp_path, **WANTED)["pr"]
    (image,) = state.ReferencedSeriesSequence[0].ReferencedImageSequence
    filled = [index + 1 for index in range(9) if case.labels[index].any()]
    assert [int(number) for number in image.ReferencedFrameNumber] == filled
    assert state.RescaleType == "US"
    assert float(state.SoftcopyVOILUTSequence[0].WindowWidth) == 700


def test_a_place_of_the_model_is_a_point_in_the_middle_of_its_voxel(case, tmp_path):
    context, analysis = with_place(case, (3.0, 5.0, 7.0))
    state = write_analysis(
        ask(context, **WANTED), replace(analysis, labels=np.zeros_like(case.labels)), tmp_path
    )["pr"]
    ((image, layer, kind, points),) = lines_of(state)
    assert image == case.context.analysed.sources[3].sop_instance_uid
    assert (layer, kind, points.tolist()) == ("PLACES", "POINT", [[7.5, 5.5]])
    (text,) = state.GraphicAnnotationSequence[0].TextObjectSequence
    assert text.UnformattedTextValue == "Nodule (80 %)"


def test_too_many_outlines_are_thinned_by_whole_slices_and_it_says_so(case, tmp_path, monkeypatch):
    monkeypatch.setattr(presentation, "OUTLINES_MAX", 60)
    state = write(case, tmp_path, **WANTED)["pr"]
    assert len(lines_of(state)) < 90
    assert state.ContentDescription.startswith("One slice in ")
    assert "Research use only" in state.ContentDescription


def test_identity_and_bytes_are_the_same_whenever_it_is_written(case, tmp_path):
    first = write(case, tmp_path / "a", **WANTED)["pr"]
    second = write(case, tmp_path / "b", **WANTED)["pr"]
    assert find_differences(case.context.reference, first) == ()
    assert first == second
    assert first.Modality == "PR"
    assert first.PresentationCreationDate == "20231114"
    assert "ContentDate" not in first
