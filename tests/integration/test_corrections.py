"""Segmentations that come back: what they are matched to, what differs, and what they never do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from secondread.domain.correction import CorrectionState
from secondread.domain.monitoring import FeedbackSource, Verdict
from secondread.domain.network import LateImages
from secondread.domain.states import StudyState
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.corrections import Corrections, ask
from secondread.pipeline.retry import retry_study
from secondread.results.reading.segmentation import read_segmentation
from tests.conftest import make_head
from tests.corrected import (
    BRAIN,
    KEY_OBJECTS,
    LABEL_MAP_SEG,
    SEG,
    THALAMUS,
    Drawn,
    Labels,
    by_dcmqi,
    by_highdicom,
    dice,
    rejection,
    source_images,
)
from tests.correction_desk import Analysed, Desk, analyse, at_once

VOXEL_ML = 5.0 * 5.5 * 6.0 / 1000.0


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    folder = tmp_path_factory.mktemp("analysed")
    return analyse(folder, make_head(folder / "series"))


@pytest.fixture
def desk(tmp_path: Path, analysed: Analysed) -> Iterator[Desk]:
    found = Desk(tmp_path, analysed)
    yield found
    found.house.place.ledger.close()


@pytest.fixture
def smaller(desk: Desk) -> Labels:
    """The brain without its lower half, the thalamus grown by one slice."""
    labels = desk.labels.copy()
    labels[:12][labels[:12] == 1] = 0
    labels[:, :-1][(desk.labels[:, 1:] == 2)] = 2
    return labels


def test_correction_is_feedback_with_what_differs_and_starts_nothing(
    desk: Desk, smaller: Labels
) -> None:
    back = by_highdicom(desk.folder / "back.dcm", desk.images, smaller)
    desk.send_back(back, asks=ask)
    (row,) = desk.feedback
    assert (row.verdict, row.source, row.given_by) == (
        Verdict.MODIFY,
        FeedbackSource.SEGMENTATION,
        "ct",
    )
    for number, name in ((1, "brain"), (2, "left_thalamus")):
        ours, theirs = desk.labels == number, smaller == number
        assert row.measures[f"dice.{name}"] == pytest.approx(dice(ours, theirs))
        volume = (int(theirs.sum()) - int(ours.sum())) * VOXEL_ML
        assert row.measures[f"difference_ml.{name}"] == pytest.approx(volume)
    assert row.measures["dice.brain"] < 0.9
    assert row.measures["labels_removed"] == row.measures["labels_added"] == 0
    assert desk.house.study.state is StudyState.DONE
    assert len(desk.house.jobs) == 1
    with desk.house.place.ledger.read() as view:
        assert view.feedbacks.counts("bright_head", "1.0.0") == {
            Verdict.ACCEPT: 0,
            Verdict.MODIFY: 1,
            Verdict.REJECT: 0,
        }
        (said,) = view.trail.of_event("feedback")
    assert (
        said.text
        == "The result of model 'bright_head' 1.0.0 was corrected by 'ct', by a correction."
    )


def test_no_new_version_comes_of_it_even_where_any_image_gives_one(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    desk = Desk(tmp_path / "copy", analyse(tmp_path, head_series("axial"), LateImages.ANY))
    desk.house.set_rule(late_images=LateImages.ANY)
    labels = np.where(desk.labels == 1, 0, desk.labels).astype(np.uint8)
    desk.send_back(by_highdicom(desk.folder / "back.dcm", desk.images, labels))
    with desk.house.place.ledger.begin() as change:
        retry_study(change, change.studies.get(1), desk.house.clock.time)
    Assemble(desk.house.place).step()
    assert len(desk.house.jobs) == 1
    assert len(desk.feedback) == 1


@pytest.mark.parametrize(("kind", "sop_class"), [("LABELMAP", LABEL_MAP_SEG), ("FRACTIONAL", SEG)])
def test_correction_of_another_kind_is_read_as_well(
    desk: Desk, smaller: Labels, kind: str, sop_class: str
) -> None:
    back = by_highdicom(desk.folder / "back.dcm", desk.images, smaller, kind=kind)
    desk.send_back(back, sop_class)
    (row,) = desk.feedback
    assert row.measures["dice.brain"] == pytest.approx(dice(desk.labels == 1, smaller == 1))


def test_correction_by_dcmqi_with_older_codes_is_read_as_well(
    desk: Desk, smaller: Labels, installed_program: Callable[[str, str], str]
) -> None:
    pytest.importorskip("SimpleITK")
    program = installed_program("itkimage2segimage", "dcmqi")
    affine = read_segmentation(desk.written).affine_lps.copy()
    affine[:3, 3] = np.array(desk.images[0].ImagePositionPatient, float)
    # An editor may keep its image the other way round.
    affine[:3, 3] += affine[:3, 0] * (len(smaller) - 1)
    affine[:3, 0] *= -1
    masks = {
        label: np.ascontiguousarray((smaller == number).astype(np.uint8)[::-1])
        for number, label in ((2, "Left thalamus"), (1, "Brain"))
    }
    desk.send_back(by_dcmqi(program, desk.folder, desk.paths, masks, affine))
    (row,) = desk.feedback
    for number, name in ((1, "brain"), (2, "left_thalamus")):
        expected = dice(desk.labels == number, smaller == number)
        assert row.measures[f"dice.{name}"] == pytest.approx(expected)


def test_same_voxels_in_another_object_accept_the_result(desk: Desk) -> None:
    desk.send_back(by_highdicom(desk.folder / "back.dcm", desk.images, desk.labels))
    (row,) = desk.feedback
    assert row.verdict is Verdict.ACCEPT
    assert row.measures["dice_mean"] == 1
    assert row.measures["changed_ml"] == 0


@pytest.mark.parametrize("drawn", [(BRAIN, THALAMUS), (Drawn("Lesion", ("52988006", "SCT", "x")),)])
def test_where_nothing_of_ours_is_left_the_result_is_rejected(
    desk: Desk, drawn: Sequence[Drawn]
) -> None:
    labels = np.zeros_like(desk.labels)
    if drawn[0] is not BRAIN:
        labels[5, 5, 5] = 1
    back = by_highdicom(
        desk.folder / "back.dcm", desk.images, labels, drawn, omit_empty_frames=False
    )
    found = pydicom.dcmread(back)
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = SEG
    item.ReferencedSOPInstanceUID = pydicom.dcmread(desk.written).SOPInstanceUID
    found.SourceImageSequence = [item]
    found.save_as(back)
    desk.send_back(back)
    (row,) = desk.feedback
    assert row.verdict is Verdict.REJECT
    assert row.measures["labels_removed"] == 2


def test_our_own_segmentation_that_comes_back_is_no_feedback(desk: Desk) -> None:
    desk.send_back(desk.written)
    assert desk.made_of(desk.written).state is CorrectionState.OWN
    assert not desk.feedback
    with desk.house.place.ledger.read() as view:
        assert not view.trail.of_event("feedback")
    assert desk.house.study.state is StudyState.DONE


def test_our_uid_on_other_voxels_is_no_feedback_and_says_whose_fault_that_is(
    desk: Desk, smaller: Labels
) -> None:
    uid = str(pydicom.dcmread(desk.written).SOPInstanceUID)
    path = desk.folder / "back.dcm"
    back = by_highdicom(path, desk.images, smaller, sop_instance_uid=uid)
    desk.send_back(back)
    desk.check_kept(back, "a correction needs a UID of its own")


def test_same_object_twice_is_one_row_and_a_newer_one_counts_instead(
    desk: Desk, smaller: Labels
) -> None:
    back = by_highdicom(desk.folder / "back.dcm", desk.images, smaller)
    desk.send_back(back)
    with desk.house.place.ledger.begin() as change:
        (row,) = change.feedbacks.of_job(1)
        assert change.feedbacks.add(row) is None
        uid = str(pydicom.dcmread(back).SOPInstanceUID)
        change.corrections.end(uid, CorrectionState.WAITING)
    Corrections(desk.house.place, None, at_once).step()
    assert len(desk.feedback) == 1
    desk.send_back(by_highdicom(desk.folder / "again.dcm", desk.images, desk.labels))
    assert [one.verdict for one in desk.feedback] == [Verdict.MODIFY, Verdict.ACCEPT]
    with desk.house.place.ledger.read() as view:
        counts = view.feedbacks.counts("bright_head", "1.0.0")
        assert counts[Verdict.MODIFY] == 0
        assert counts[Verdict.ACCEPT] == 1


def test_segments_in_another_order_with_other_numbers_are_matched_by_their_codes(
    desk: Desk,
) -> None:
    turned = np.choose(desk.labels, (0, 2, 1)).astype(np.uint8)
    desk.send_back(by_highdicom(desk.folder / "back.dcm", desk.images, turned, (THALAMUS, BRAIN)))
    (row,) = desk.feedback
    assert row.verdict is Verdict.ACCEPT


def test_viewer_that_calls_everything_tissue_is_matched_by_its_labels(desk: Desk) -> None:
    tissue = ("T-D0050", "SRT", "Tissue")
    drawn = [replace(one, code=tissue, laterality="") for one in (BRAIN, THALAMUS)]
    desk.send_back(by_highdicom(desk.folder / "back.dcm", desk.images, desk.labels, drawn))
    (row,) = desk.feedback
    assert row.verdict is Verdict.ACCEPT


def test_other_side_is_another_structure(desk: Desk) -> None:
    drawn = (BRAIN, replace(THALAMUS, laterality="right"))
    desk.send_back(by_highdicom(desk.folder / "back.dcm", desk.images, desk.labels, drawn))
    (row,) = desk.feedback
    assert row.verdict is Verdict.MODIFY
    assert row.measures["dice.left_thalamus"] == 0
    assert (row.measures["labels_removed"], row.measures["labels_added"]) == (1, 1)


def test_segmentation_of_another_study_is_kept_and_says_why(
    desk: Desk, head_series: Callable[..., Any]
) -> None:
    images = source_images(head_series("axial", seed="other", study="other").paths)
    back = by_highdicom(desk.folder / "back.dcm", images, desk.labels)
    desk.send_back(back)
    desk.check_kept(back, "Its study has no segmentation of this node")


def test_segmentation_of_another_series_of_the_study_is_kept_and_says_why(
    desk: Desk, head_series: Callable[..., Any]
) -> None:
    images = source_images(head_series("axial", seed="other").paths)
    for image in images:
        image.StudyInstanceUID = desk.images[0].StudyInstanceUID
    back = by_highdicom(desk.folder / "back.dcm", images, desk.labels)
    desk.send_back(back)
    desk.check_kept(back, "refers to no images that were analysed")


def test_answer_of_another_program_on_the_same_images_is_no_correction(desk: Desk) -> None:
    drawn = [replace(one, algorithm="AUTOMATIC") for one in (BRAIN, THALAMUS)]
    back = by_highdicom(desk.folder / "back.dcm", desk.images, desk.labels, drawn)
    desk.send_back(back)
    desk.check_kept(back, "another program's answer")


def test_structure_that_lost_its_side_is_not_guessed(desk: Desk) -> None:
    drawn = (BRAIN, replace(THALAMUS, label="Thalamus", laterality=""))
    back = by_highdicom(desk.folder / "back.dcm", desk.images, desk.labels, drawn)
    desk.send_back(back)
    desk.check_kept(back, "cannot be told from their codes: left_thalamus")


def test_correction_on_another_grid_is_kept_and_says_why(desk: Desk) -> None:
    back = by_highdicom(desk.folder / "back.dcm", desk.images, desk.labels)
    found = pydicom.dcmread(back)
    for frame in found.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = [
            place.ImagePositionPatient[0] + 3.0,
            *place.ImagePositionPatient[1:],
        ]
    found.save_as(back)
    desk.send_back(back)
    desk.check_kept(back, "do not lie on those of the result")


def test_what_is_damaged_is_kept_and_says_why(desk: Desk) -> None:
    back = by_highdicom(desk.folder / "back.dcm", desk.images, desk.labels)
    found = pydicom.dcmread(back)
    del found.SegmentSequence
    found.save_as(back)
    desk.send_back(back, asks=ask)
    desk.check_kept(back, "describes no segments")


@pytest.mark.parametrize("name", ["seg.dcm", "sr.dcm"])
@pytest.mark.parametrize("title", ["113001", "113037"])
def test_rejection_for_quality_rejects_the_result(desk: Desk, name: str, title: str) -> None:
    named = [desk.written.with_name(name)]
    desk.send_back(rejection(desk.folder / "ko.dcm", desk.images, named, title), KEY_OBJECTS)
    (row,) = desk.feedback
    assert row.verdict is Verdict.REJECT
    assert desk.house.study.state is StudyState.DONE


def test_rejection_of_the_images_or_for_their_age_is_no_feedback(desk: Desk) -> None:
    old = rejection(desk.folder / "a.dcm", desk.images, [desk.written], "113039")
    desk.send_back(old, KEY_OBJECTS)
    desk.check_kept(old, "no rejection for quality")
    images = rejection(desk.folder / "b.dcm", desk.images, desk.paths[:1], "113001")
    desk.send_back(images, KEY_OBJECTS)
    assert desk.made_of(images).state is CorrectionState.KEPT
    assert not desk.feedback


def test_rejection_out_of_another_study_is_no_feedback(desk: Desk) -> None:
    named = [desk.written]
    other = rejection(desk.folder / "ko.dcm", desk.images, named, "113001")
    found = pydicom.dcmread(other)
    found.StudyInstanceUID = highdicom.UID()
    found.save_as(other)
    desk.send_back(other, KEY_OBJECTS)
    assert desk.made_of(other).state is CorrectionState.KEPT
    assert not desk.feedback


def test_stop_of_the_node_is_no_failure_of_an_object(desk: Desk) -> None:
    back = by_highdicom(
        desk.folder / "back.dcm", desk.images, desk.labels, sop_instance_uid=highdicom.UID()
    )
    desk.send_back(back, asks=lambda *_: None)
    found = desk.made_of(back)
    assert (found.state, found.attempts) == (CorrectionState.WAITING, 0)
