"""Defects that no validator sees, seeded one by one; each must be stopped with its own sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import pytest

from secondread.errors import GateError
from secondread.results import write as writing
from secondread.results.analysis import Analysis
from secondread.results.gate import check_segmentation
from secondread.results.gate_report import Expectation, check_report
from secondread.results.measurements import measure
from secondread.results.segmentation import make_segmentations
from secondread.results.write import write_refusal, write_results
from tests.result_cases import Case, make_case

ELSEWHERE = "2.25.123456789"


class Made(NamedTuple):
    case: Case
    segmentation: Path
    report: Path
    expected: Expectation


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A case with its results on disk, and what they should be."""
    folder = tmp_path_factory.mktemp("gate")
    case = make_case(folder / "series", "oblique")
    seg, sr = write_results(case.context, Analysis(case.labels), folder)
    expected = Expectation(
        measured=measure(case.context.volume, case.labels, case.context.manifest.labels),
        segments=make_segmentations(case.context, Analysis(case.labels))[0].segments,
        segmentation_uid=seg.sop_instance_uid,
        refusal="",
    )
    return Made(case, folder / seg.path, folder / sr.path, expected)


def frame_of(found, index=0):
    return found.PerFrameFunctionalGroupsSequence[index]


def move_patient(found):
    found.PatientID = "SOMEBODY-ELSE"


def move_study(found):
    found.StudyInstanceUID = ELSEWHERE


def drop_birth_date(found):
    del found.PatientBirthDate


def move_frame_of_reference(found):
    found.FrameOfReferenceUID = ELSEWHERE


def claim_product(found):
    found.ContentQualification = "PRODUCT"


def drop_derivation(found):
    del frame_of(found).DerivationImageSequence


def derive_from_nothing(found):
    image = frame_of(found).DerivationImageSequence[0].SourceImageSequence[0]
    image.ReferencedSOPInstanceUID = ELSEWHERE


def wrong_purpose(found):
    image = frame_of(found).DerivationImageSequence[0].SourceImageSequence[0]
    image.PurposeOfReferenceCodeSequence[0].CodeValue = "121329"


def shift_frame(found):
    position = frame_of(found).PlanePositionSequence[0]
    position.ImagePositionPatient[2] = float(position.ImagePositionPatient[2]) + 3.0


def name_the_neighbour(found):
    first, second = (
        frame_of(found, index).DerivationImageSequence[0].SourceImageSequence[0] for index in (0, 1)
    )
    first.ReferencedSOPInstanceUID = second.ReferencedSOPInstanceUID


def mirror(found):
    orientation = found.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    orientation.ImageOrientationPatient = [
        -value for value in orientation.ImageOrientationPatient[:3]
    ] + list(orientation.ImageOrientationPatient[3:])


def stretch(found):
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [1.3, 1.5]


def forget_a_source(found):
    del found.ReferencedSeriesSequence[0].ReferencedInstanceSequence[3]


def renumber(found):
    found.SegmentSequence[1].SegmentNumber = 7


def invent_a_code(found):
    found.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "999999999"


def swap_sides(found):
    kind = found.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue = "24028007"


def drop_side(found):
    kind = found.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    del kind.SegmentedPropertyTypeModifierCodeSequence


def manual(found):
    found.SegmentSequence[0].SegmentAlgorithmType = "MANUAL"


def old_version(found):
    algorithm = found.SegmentSequence[2].SegmentationAlgorithmIdentificationSequence[0]
    algorithm.AlgorithmVersion = "0.9"


def drop_tracking(found):
    del found.SegmentSequence[0].TrackingUID


def share_tracking(found):
    found.SegmentSequence[1].TrackingUID = found.SegmentSequence[0].TrackingUID


def drop_colour(found):
    del found.SegmentSequence[3].RecommendedDisplayCIELabValue


def flip_a_bit(found):
    pixels = bytearray(found.PixelData)
    pixels[len(pixels) // 3] ^= 0x10
    found.PixelData = bytes(pixels)


def relabel_a_frame(found):
    frame_of(found).SegmentIdentificationSequence[0].ReferencedSegmentNumber = 3


def drop_creator(found):
    del found.ContentCreatorName


def drop_equipment(found):
    del found.ContributingEquipmentSequence[1]


def other_training(found):
    found.ContributingEquipmentSequence[1].DeviceUID = ELSEWHERE


def join_the_scanner(found):
    item = found.ReferencedSeriesSequence[0]
    found.SeriesInstanceUID = item.SeriesInstanceUID


def lose_a_frame(found):
    del found.PerFrameFunctionalGroupsSequence[-1]


SEGMENTATION_DEFECTS = {
    move_patient: "patient or study is not the source's: PatientID",
    move_study: "patient or study is not the source's: StudyInstanceUID",
    drop_birth_date: "patient or study is not the source's: PatientBirthDate",
    move_frame_of_reference: "Frame of Reference is not the source's",
    claim_product: "qualified PRODUCT, the configuration says RESEARCH",
    drop_derivation: "does not say from which source image it derives",
    derive_from_nothing: "derives from an image that is not a source",
    wrong_purpose: "wrong code or purpose",
    shift_frame: "does not lie on its source slice",
    name_the_neighbour: "does not lie on its source slice",
    mirror: "does not lie on its source slice",
    stretch: "does not lie on its source slice",
    forget_a_source: "does not list exactly the source images",
    renumber: "not numbered 1 to 4",
    invent_a_code: "other codes than the model's manifest",
    swap_sides: "wrong side",
    drop_side: "does not say on which",
    manual: "does not say that an algorithm made it",
    old_version: "names another version",
    drop_tracking: "wrong or no tracking identifier",
    share_tracking: "share a Tracking UID",
    drop_colour: "has no colour",
    flip_a_bit: "is not the model's answer|overlap",
    relabel_a_frame: "is not the model's answer|overlap",
    drop_creator: "lacks ContentCreatorName",
    drop_equipment: "does not name its algorithm",
    other_training: "names another training",
    join_the_scanner: "would join a series of the scanner",
    lose_a_frame: "number of frames",
}


@pytest.mark.parametrize("defect", SEGMENTATION_DEFECTS, ids=lambda defect: defect.__name__)
def test_a_defect_of_a_segmentation_is_stopped(made, tmp_path, defect):
    found = pydicom.dcmread(made.segmentation)
    defect(found)
    broken = tmp_path / "seg.dcm"
    found.save_as(broken)
    case, segments = made.case, made.expected.segments
    with pytest.raises(GateError, match=SEGMENTATION_DEFECTS[defect]) as refusal:
        check_segmentation(broken, case.context, case.labels, segments)
    assert "SOMEBODY" not in str(refusal.value)


def item_of(container, meaning):
    """The first child with this concept name, case aside."""
    for item in container.ContentSequence:
        if item.ConceptNameCodeSequence[0].CodeMeaning.lower() == meaning.lower():
            return item
    raise AssertionError(meaning)


def drop(container, meaning):
    container.ContentSequence.remove(item_of(container, meaning))


def group_of(report, index=0):
    return item_of(report, "Imaging Measurements").ContentSequence[index]


def drop_procedure(report):
    drop(report, "Procedure reported")


def report_the_algorithm(report):
    procedure = item_of(report, "Procedure reported").ConceptCodeSequence[0]
    procedure.CodeMeaning = "Toy structures of the head"


def drop_group_tracking(report):
    drop(group_of(report), "Tracking Unique Identifier")


def drop_segment(report):
    drop(group_of(report), "Referenced Segment")


def refer_to_no_segment(report):
    item = item_of(group_of(report), "Referenced Segment")
    item.ReferencedSOPSequence[0].ReferencedSegmentNumber = 9


def refer_to_another_object(report):
    item = item_of(group_of(report), "Referenced Segment")
    item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = ELSEWHERE


def swap_segments(report):
    for index, number in ((0, 2), (1, 1)):
        item = item_of(group_of(report, index), "Referenced Segment")
        item.ReferencedSOPSequence[0].ReferencedSegmentNumber = number


def drop_serial(report):
    drop(report, "Device Observer Serial Number")


def forget_an_image(report):
    library = item_of(report, "Image Library").ContentSequence[0]
    del library.ContentSequence[-1]


def forget_evidence(report):
    study = report.CurrentRequestedProcedureEvidenceSequence[0]
    del study.ReferencedSeriesSequence[1]


def drop_finding(report):
    drop(group_of(report), "Finding")


def drop_site(report):
    drop(group_of(report), "Finding Site")


def drop_laterality(report):
    del item_of(group_of(report), "Finding Site").ContentSequence


def drop_volume(report):
    drop(group_of(report), "Volume")


def change_volume(report):
    value = item_of(group_of(report), "Volume").MeasuredValueSequence[0]
    value.NumericValue = float(value.NumericValue) * 1.01


def private_unit(report):
    value = item_of(group_of(report, 1), "MR signal intensity").MeasuredValueSequence[0]
    value.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator = "99ME"


def drop_algorithm(report):
    drop(group_of(report), "Algorithm Version")


def drop_group(report):
    del item_of(report, "Imaging Measurements").ContentSequence[-1]


def verify(report):
    report.VerificationFlag = "VERIFIED"


def partial(report):
    report.CompletionFlag = "PARTIAL"


def untitled(report):
    report.ConceptNameCodeSequence[0].CodeValue = "125000"


def other_template(report):
    report.ContentTemplateSequence[0].TemplateIdentifier = "2000"


REPORT_DEFECTS = {
    move_patient: "patient or study is not the source's: PatientID",
    drop_procedure: "which procedure it reports",
    report_the_algorithm: "is the algorithm, not the imaging",
    drop_group_tracking: "tracking identifier",
    drop_segment: "does not refer to the segmentation",
    refer_to_no_segment: "refers to segment 9: there is none",
    refer_to_another_object: "does not refer to the segmentation",
    swap_segments: "tracking identifier of its segment",
    drop_serial: "device observer lacks its serial",
    forget_an_image: "image library does not list exactly",
    forget_evidence: "evidence does not list",
    drop_finding: "has not the finding",
    drop_site: "where in the body",
    drop_laterality: "does not say on which",
    drop_volume: "no volume in mL",
    change_volume: "a volume that is not the segment's",
    private_unit: "unit is not UCUM",
    drop_algorithm: "does not name its algorithm",
    drop_group: "one measurement group for each segment",
    verify: "a person has verified it",
    partial: "not COMPLETE",
    untitled: "not in DICOM's CID 7021",
    other_template: "TID 1500 at its root",
    drop_equipment: "does not name its algorithm",
}


@pytest.mark.parametrize("defect", REPORT_DEFECTS, ids=lambda defect: defect.__name__)
def test_a_defect_of_a_report_is_stopped(made, tmp_path, defect):
    found = pydicom.dcmread(made.report)
    defect(found)
    broken = tmp_path / "sr.dcm"
    found.save_as(broken)
    with pytest.raises(GateError, match=REPORT_DEFECTS[defect]):
        check_report(broken, made.case.context, made.expected)


def complete(report):
    report.CompletionFlag = "COMPLETE"


def succeed(report):
    summary = item_of(item_of(report, "Qualitative Evaluations"), "Summary of Analyses")
    summary.ConceptCodeSequence[0].CodeValue = "111222"


def say_nothing(report):
    evaluations = item_of(report, "Qualitative Evaluations")
    item_of(evaluations, "Comment").TextValue = "Not analysed."


REFUSAL_DEFECTS = {
    complete: "must be PARTIAL",
    succeed: "claims an analysis",
    say_nothing: "does not say why",
}


@pytest.mark.parametrize("defect", REFUSAL_DEFECTS, ids=lambda defect: defect.__name__)
def test_a_defect_of_a_refusal_is_stopped(tmp_path, defect):
    case = make_case(tmp_path / "series")
    context = replace(case.context, volume=None)
    (refused,) = write_refusal(context, "It is a pear.", tmp_path)
    found = pydicom.dcmread(tmp_path / refused.path)
    defect(found)
    broken = tmp_path / "broken.dcm"
    found.save_as(broken)
    with pytest.raises(GateError, match=REFUSAL_DEFECTS[defect]):
        check_report(broken, context, Expectation((), {}, "", "It is a pear."))


@pytest.mark.parametrize("code", ["type", "category"])
def test_a_model_with_an_invented_code_does_not_get_through(tmp_path, code):
    case = make_case(tmp_path / "series")
    first, *others = case.context.manifest.labels
    wrong = replace(getattr(first, code), value="123456789", meaning="Nothing")
    manifest = replace(case.context.manifest, labels=(replace(first, **{code: wrong}), *others))
    with pytest.raises(GateError, match="context groups lists|CID 7150"):
        write_results(replace(case.context, manifest=manifest), Analysis(case.labels), tmp_path)


def test_what_is_stopped_leaves_no_file(tmp_path, monkeypatch):
    case = make_case(tmp_path / "series")

    def stop(*_):
        raise GateError("No.")

    monkeypatch.setattr(writing, "check_segmentation", stop)
    with pytest.raises(GateError):
        write_results(case.context, Analysis(case.labels), tmp_path)
    assert [path for path in (tmp_path / "results").rglob("*") if path.is_file()] == []


def test_the_gate_compares_with_the_answer_and_not_with_itself(made):
    other = np.roll(made.case.labels, 1, axis=2)
    with pytest.raises(GateError, match="is not the model's answer"):
        check_segmentation(made.segmentation, made.case.context, other, made.expected.segments)


def test_what_is_sound_gets_through(made):
    case, segmentation, report, expected = made
    check_segmentation(segmentation, case.context, case.labels, expected.segments)
    check_report(report, case.context, expected)
