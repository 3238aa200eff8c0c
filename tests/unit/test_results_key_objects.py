from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secondread.domain.answer import ModelAnswer
from secondread.domain.form import Overlay
from secondread.results.analysis import Analysis
from secondread.results.companions.key_objects import KEY_SLICES_MAX, choose_slices
from secondread.results.identity import find_differences
from secondread.results.measurement.measurements import measure
from tests.companion_cases import as_multi_frame, ask, with_place, write, write_analysis
from tests.result_cases import HIPPOCAMPUS, make_case, make_label, make_manifest


@pytest.fixture
def case(tmp_path):
    return make_case(tmp_path / "series", patient_name="Müller^Änne")


def references(selection):
    """(value type, SOP Instance UID) of everything that is selected, in its order."""
    return [
        (item.ValueType, item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in selection.ContentSequence
        if "ReferencedSOPSequence" in item
    ]


def description(selection):
    (text,) = (
        item.TextValue
        for item in selection.ContentSequence
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeValue == "113012"
    )
    return text


def evidence(selection):
    return {
        (study.StudyInstanceUID, series.SeriesInstanceUID, one.ReferencedSOPInstanceUID)
        for study in selection.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def chosen_by(context, labels, **answer):
    measured = measure(context.analysed, labels, context.manifest.labels)
    slices = choose_slices(labels, measured, ModelAnswer(**answer), context)
    return {one.index: one.names for one in slices}


def test_there_is_none_where_nobody_asked(case, tmp_path):
    assert "ko" not in write(case, tmp_path)


def test_the_report_comes_first_then_the_slices_then_all_the_rest(case, tmp_path):
    written = write(case, tmp_path, key_objects=True, summary=True, pdf=True)
    found = references(written["ko"])
    assert found[0] == ("COMPOSITE", written["sr"].SOPInstanceUID)
    sources = {str(header.SOPInstanceUID) for header in case.context.sources}
    slices = [uid for kind, uid in found[1:-3] if kind == "IMAGE"]
    assert slices
    assert set(slices) <= sources
    assert found[-3:] == [
        ("IMAGE", written["seg"].SOPInstanceUID),
        ("IMAGE", written["summary"].SOPInstanceUID),
        ("COMPOSITE", written["pdf"].SOPInstanceUID),
    ]


def test_each_structure_has_the_slice_of_its_greatest_area(case):
    labels = np.zeros_like(case.labels)
    labels[2:6, 2:5, 2:5] = 1
    labels[4, 2:9, 2:9] = 1
    labels[7, 3, 3] = 3
    assert chosen_by(case.context, labels) == {
        4: ("Left hippocampus",),
        7: ("Brain stem",),
    }


def test_the_description_names_images_as_people_do(case, tmp_path):
    selection = write(case, tmp_path, key_objects=True)["ko"]
    text = description(selection)
    assert "Toy structures of the head 1.2.0" in text
    assert "Image 4: Brain stem" in text
    assert "Research use only. Not for diagnosis." in text
    assert "2.25." not in text


def test_the_evidence_is_what_is_referred_to_with_its_series(case, tmp_path):
    written = write(case, tmp_path, key_objects=True, overlay=Overlay.PRESENTATION_STATE)
    listed = evidence(written["ko"])
    assert {uid for _, _, uid in listed} == {uid for _, uid in references(written["ko"])}
    of = {str(header.SOPInstanceUID): header for header in case.context.sources}
    of |= {str(one.SOPInstanceUID): one for one in written.values()}
    for study, series, uid in listed:
        assert (study, series) == (of[uid].StudyInstanceUID, of[uid].SeriesInstanceUID)


def test_a_slice_comes_with_the_presentation_state_that_outlines_it(case, tmp_path):
    written = write(case, tmp_path, key_objects=True, overlay=Overlay.PRESENTATION_STATE)
    states = [
        item.ReferencedSOPSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in written["ko"].ContentSequence
        if item.ValueType == "IMAGE" and "ReferencedSOPSequence" in item.ReferencedSOPSequence[0]
    ]
    assert states
    assert set(states) == {written["pr"].SOPInstanceUID}


def test_where_nothing_was_found_the_report_alone_is_named(case, tmp_path):
    context = ask(case.context, key_objects=True)
    empty = Analysis(np.zeros_like(case.labels))
    written = write_analysis(context, empty, tmp_path)
    assert references(written["ko"]) == [("COMPOSITE", written["sr"].SOPInstanceUID)]
    assert "Nothing was found" in description(written["ko"])


def test_places_of_the_model_are_worth_opening_too(case, tmp_path):
    context, analysis = with_place(case, (0.2, 3, 4), (99.0, 3, 4))
    found = chosen_by(context, np.zeros_like(case.labels), places=analysis.answer.places)
    assert found == {0: ("Nodule (80 %)",), 8: ("Nodule (80 %)",)}


def test_a_hundred_structures_are_shown_by_a_few_slices(tmp_path):
    case = make_case(tmp_path / "series", size=(40, 12, 14))
    labels = np.zeros_like(case.labels)
    structures = tuple(make_label(n, f"part_{n}", HIPPOCAMPUS) for n in range(1, 101))
    rng = np.random.default_rng(1)
    for number in range(1, 101):
        labels[number % 39 :, rng.integers(12), rng.integers(14)] = number
    context = replace(case.context, manifest=make_manifest(labels=structures))
    found = chosen_by(context, labels)
    assert len(found) == KEY_SLICES_MAX
    assert list(found) == sorted(found)
    shown = set(np.unique(labels[list(found)]).tolist()) - {0}
    assert len(shown) > 0.9 * len(set(np.unique(labels).tolist()) - {0})


def test_frames_of_a_multi_frame_object_are_named_in_one_reference(case, tmp_path):
    enhanced = as_multi_frame(case)
    written = write(enhanced, tmp_path, key_objects=True)
    (reference,) = (
        item.ReferencedSOPSequence[0]
        for item in written["ko"].ContentSequence
        if item.ValueType == "IMAGE"
        and item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.4711"
    )
    frames = [int(number) for number in reference.ReferencedFrameNumber]
    assert frames == sorted(frames)
    for frame in frames:
        assert case.labels[frame - 1].any()
        assert f"Frame {frame}: " in description(written["ko"])


def test_single_frame_images_are_named_without_a_frame_number(case, tmp_path):
    selection = write(case, tmp_path, key_objects=True)["ko"]
    assert not any(
        "ReferencedFrameNumber" in item.ReferencedSOPSequence[0]
        for item in selection.ContentSequence
        if item.ValueType == "IMAGE"
    )


def test_identity_and_bytes_are_the_same_whenever_it_is_written(case, tmp_path):
    first = write(case, tmp_path / "a", key_objects=True)["ko"]
    second = write(case, tmp_path / "b", key_objects=True)["ko"]
    assert find_differences(case.context.reference, first) == ()
    assert first == second
    assert first.SeriesNumber == case.context.series_number("ko")
    assert first.ConceptNameCodeSequence[0].CodeValue == "113000"
