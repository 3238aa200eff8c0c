from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secondread.domain.form import Overlay
from secondread.domain.volume import Volume
from secondread.results.analysis import Analysis
from secondread.results.companions.canvas import AMBER
from secondread.results.companions.capture import FRAMES_MAX, SIDE_MAX_PX, fit_picture
from secondread.results.identity import find_differences
from tests.companion_cases import (
    ask,
    change_sources,
    colour_at,
    with_place,
    write,
    write_analysis,
)
from tests.result_cases import LABELS, PLANES, Case, make_case

WANTED = {"overlay": Overlay.SECONDARY_CAPTURE}
RED = (255, 0, 0)


@pytest.fixture(params=list(PLANES))
def square_case(request, tmp_path):
    """Square pixels, so that each is shown as a block of 8 × 8."""
    return with_square_pixels(make_case(tmp_path / "series", request.param, (9, 64, 48)))


@pytest.fixture
def case(tmp_path):
    return make_case(tmp_path / "series")


def with_square_pixels(case):
    volume = case.context.analysed
    affine = volume.affine_lps.copy()
    affine[:3, 2] *= np.linalg.norm(affine[:3, 1]) / np.linalg.norm(affine[:3, 2])
    still = np.full_like(volume.voxels, 100)
    context = replace(case.context, volume=Volume(still, affine, volume.sources))
    red = replace(LABELS[0], color_rgb=RED)
    manifest = replace(context.manifest, labels=(red, *LABELS[1:]))
    square = Case(replace(context, manifest=manifest), np.zeros_like(case.labels), case.paths)
    return change_sources(square, PixelSpacing=["1.25", "1.25"])


def test_an_asymmetric_mask_is_outlined_where_it_is(square_case, tmp_path):
    labels = square_case.labels
    labels[4, 10:20, 5:9] = 1
    labels[4, 10, 5:30] = 1
    context = ask(square_case.context, **WANTED)
    capture = write_analysis(context, Analysis(labels), tmp_path)["sc"]
    # The way out is short: one frame, whose picture begins in the first row.
    picture = capture.pixel_array[:512, :384]
    is_red = (picture == RED).all(axis=-1)
    rows, columns = np.where(is_red)
    assert (rows.min(), rows.max()) == (10 * 8, 20 * 8 - 1)
    assert (columns.min(), columns.max()) == (5 * 8, 30 * 8 - 1)
    inside = np.kron(labels[4] == 1, np.ones((8, 8), bool))
    assert not is_red[~inside].any()
    for row, column in ((80, 40), (159, 71), (80, 239), (87, 239), (100, 40)):
        assert colour_at(picture, row, column) == RED
    assert colour_at(picture, 120, 56) != RED
    assert colour_at(picture, 87, 100) == RED
    assert colour_at(picture, 100, 100) != RED


def test_frames_are_the_slices_with_structures_in_their_order(case, tmp_path):
    capture = write(case, tmp_path, **WANTED)["sc"]
    filled = [index for index in range(9) if case.labels[index].any()]
    assert capture.NumberOfFrames == len(filled)
    assert list(capture.FrameLabelVector) == [f"Image {index + 1}" for index in filled]
    assert capture.FrameIncrementPointer == 0x00182002
    sources = [one.sop_instance_uid for one in case.context.analysed.sources]
    assert [one.ReferencedSOPInstanceUID for one in capture.SourceImageSequence] == [
        sources[index] for index in filled
    ]


def test_many_slices_are_thinned_evenly_and_it_says_so(tmp_path):
    case = make_case(tmp_path / "series", size=(90, 16, 16))
    capture = write(case, tmp_path, **WANTED)["sc"]
    assert capture.NumberOfFrames == FRAMES_MAX
    assert f" {FRAMES_MAX} of the " in capture.DerivationDescription
    numbers = [int(name.split()[1]) for name in capture.FrameLabelVector]
    assert max(np.diff(numbers)) <= 4
    assert numbers[0] == 2


def test_each_structure_on_the_slice_is_in_the_legend(case, tmp_path):
    capture = write(case, tmp_path, **WANTED)["sc"]
    index = 2
    frame = capture.pixel_array[index - 1]
    foot = frame[fit_picture((16, 20), (1.25, 1.5)).height_px :]
    for label in LABELS:
        is_there = bool((case.labels[index] == label.value).any())
        squares = (foot == label.color_rgb).all(axis=-1).sum()
        assert (squares >= 100) == is_there


def test_what_is_found_nowhere_gives_no_picture(case, tmp_path):
    empty = Analysis(np.zeros_like(case.labels))
    assert "sc" not in write_analysis(ask(case.context, **WANTED), empty, tmp_path)
    assert "sc" not in write(case, tmp_path)


def test_a_place_of_the_model_is_circled(square_case, tmp_path):
    context, analysis = with_place(square_case, (4.0, 20.0, 10.0))
    capture = write_analysis(ask(context, **WANTED), analysis, tmp_path)["sc"]
    picture = capture.pixel_array[100:250, 20:160]
    rows, columns = np.where((picture == AMBER).all(axis=-1))
    circle = columns < 100 - 20 + 8
    assert np.median(rows[circle]) + 100 == pytest.approx(20.5 * 8, abs=3)
    assert columns[circle].min() + 20 == pytest.approx(10.5 * 8 - 7, abs=1)


def test_it_is_marked_as_a_picture_with_text_in_it(case, tmp_path):
    capture = write(case, tmp_path, **WANTED)["sc"]
    assert capture.BurnedInAnnotation == "YES"
    assert list(capture.ImageType) == ["DERIVED", "SECONDARY"]
    assert "Research use only" in capture.DerivationDescription
    assert capture.DerivationCodeSequence[0].CodeValue == "113076"
    assert (capture.Modality, capture.ConversionType) == ("OT", "WSD")


def test_the_same_picture_whoever_the_patient_is(tmp_path):
    pixels = [
        write(make_case(tmp_path / name / "series", patient_name=name), tmp_path / name, **WANTED)[
            "sc"
        ].PixelData
        for name in ("Wang^Anna", "Smith^Bert")
    ]
    assert pixels[0] == pixels[1]


def test_the_window_of_the_source_is_used_and_white_stays_white(square_case, tmp_path):
    square_case.labels[4, 2, 2] = 1
    changed = change_sources(square_case, WindowCenter="100", WindowWidth="400")
    context = ask(changed.context, **WANTED)
    grey = write_analysis(context, Analysis(square_case.labels), tmp_path)["sc"].pixel_array
    assert colour_at(grey, 300, 300) == (127, 127, 127)
    changed = change_sources(
        square_case, WindowCenter="300", WindowWidth="400", PhotometricInterpretation="MONOCHROME1"
    )
    context = ask(changed.context, **WANTED)
    white = write_analysis(context, Analysis(square_case.labels), tmp_path / "2")["sc"].pixel_array
    assert colour_at(white, 300, 300) == (255, 255, 255)


@pytest.mark.parametrize(
    ("size", "spacing_mm", "expected"),
    [
        ((512, 512), (0.7, 0.7), (512, 512)),
        ((64, 64), (4.0, 4.0), (512, 512)),
        ((256, 128), (1.0, 1.0), (256, 512)),
        ((30, 512), (5.0, 0.5), (512, 300)),
        ((2000, 1000), (0.2, 0.2), (512, SIDE_MAX_PX)),
    ],
)
def test_pictures_are_large_enough_to_read_and_not_distorted(size, spacing_mm, expected):
    scale = fit_picture(size, spacing_mm)
    assert (scale.width_px, scale.height_px) == expected


def test_identity_and_bytes_are_the_same_whenever_it_is_written(case, tmp_path):
    first = write(case, tmp_path / "a", **WANTED)["sc"]
    second = write(case, tmp_path / "b", **WANTED)["sc"]
    assert find_differences(case.context.reference, first) == ()
    assert first == second
