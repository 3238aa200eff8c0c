from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from secondread.errors import GateError, ResultError
from secondread.results.analysis import Analysis
from secondread.results.context import Predecessor
from secondread.results.gate import check_refusal
from secondread.results.reading.transcript import read_report
from secondread.results.report.document import COMPREHENSIVE_3D_SR_STORAGE
from secondread.results.write import write_refusal, write_results
from tests.result_cases import make_case

REASON = "Slices are missing between 12.0 mm and 18.0 mm."


def report_of(case, folder, labels=None):
    labels = case.labels if labels is None else labels
    objects = write_results(case.context, Analysis(labels), folder)
    return objects, read_report(folder / objects[-1].path)


def refusal_of(context, folder, reason=REASON):
    (made,) = write_refusal(context, reason, folder)
    return made, read_report(folder / made.path)


def test_segmentation_comes_first_and_the_report_points_at_it(tmp_path):
    case = make_case(tmp_path / "series")
    (seg, sr), report = report_of(case, tmp_path)
    assert (seg.kind, sr.kind) == ("seg", "sr")
    assert seg.path == "results/k0001/seg.dcm"
    assert {group.segment.sop_instance_uid for group in report.groups} == {seg.sop_instance_uid}
    assert [group.segment.number for group in report.groups] == [1, 2, 3, 4]


def test_every_structure_with_its_volume_side_and_signal(tmp_path):
    case = make_case(tmp_path / "series")
    _, report = report_of(case, tmp_path)
    left, right, stem, _ = report.groups
    assert (left.laterality, right.laterality, stem.laterality) == ("left", "right", "")
    assert left.finding == left.site
    assert left.finding.meaning == "Hippocampus"
    for group, value in zip(report.groups, (1, 2, 3, 5), strict=True):
        inside = case.context.volume.voxels[case.labels == value]
        assert group.volume_ml == pytest.approx(inside.size * 5.625 / 1000, rel=1e-5)
        _, mean, deviation = group.quantities
        assert mean.value == pytest.approx(inside.mean(), rel=1e-5)
        assert deviation.value == pytest.approx(inside.std(), rel=1e-5)
        assert (mean.derivation.meaning, deviation.derivation.meaning) == (
            "Mean",
            "Standard deviation",
        )
        assert (group.algorithm, group.algorithm_version) == ("toy_head", "1.2.0")


def test_tracking_identifiers_are_those_of_the_segments(tmp_path):
    case = make_case(tmp_path / "series")
    (seg, _), report = report_of(case, tmp_path)
    segments = pydicom.dcmread(tmp_path / seg.path).SegmentSequence
    assert [(group.tracking_id, group.tracking_uid) for group in report.groups] == [
        (item.TrackingID, item.TrackingUID) for item in segments
    ]


def test_document_observer_library_and_evidence(tmp_path):
    case = make_case(tmp_path / "series")
    (seg, _), report = report_of(case, tmp_path)
    sources = {str(header.SOPInstanceUID) for header in case.context.sources}
    assert (report.template, report.completion, report.verification) == (
        "1500",
        "COMPLETE",
        "UNVERIFIED",
    )
    assert report.observer == {
        "uid": case.context.device_uid,
        "name": "SECONDREAD",
        "manufacturer": "SecondRead",
        "model": "SecondRead AI node",
        "serial": "SR-0001",
    }
    assert report.images == sources
    assert report.evidence == sources | {seg.sop_instance_uid}
    assert report.procedures[0].meaning == "MRI unspecified body region"
    assert "Not found: Third ventricle." in report.comments
    assert "Research use only. Not for diagnosis." in report.comments


def test_the_studys_own_procedure_is_reported(tmp_path):
    case = make_case(tmp_path / "series")
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "MRHEAD1", "99HOSP"
    code.CodeMeaning = "MR Kopf"
    for header in case.context.sources:
        header.ProcedureCodeSequence = [code]
    _, report = report_of(case, tmp_path)
    assert [(one.value, one.scheme) for one in report.procedures] == [("MRHEAD1", "99HOSP")]


def test_a_product_is_not_marked_as_research(tmp_path):
    case = make_case(tmp_path / "series")
    context = replace(case.context, qualification="PRODUCT")
    _, report = report_of(replace(case, context=context), tmp_path)
    assert "RESEARCH" not in report.series_description
    assert not any("Research" in comment for comment in report.comments)


def test_a_long_title_is_cut_and_its_version_is_kept(tmp_path):
    case = make_case(tmp_path / "series")
    manifest = replace(case.context.manifest, title="Lungs, airways and pulmonary vessels on CT")
    context = replace(case.context, manifest=manifest)
    said = context.series_description("segmentation")
    assert said == "Lungs, airways and pulmonary v... 1.2.0: segmentation [RESEARCH]"
    assert len(said) == 64


def test_nothing_found_is_an_answer_and_not_a_refusal(tmp_path):
    case = make_case(tmp_path / "series")
    objects, report = report_of(case, tmp_path, np.zeros_like(case.labels))
    assert [item.kind for item in objects] == ["sr"]
    assert (report.completion, report.summary.meaning) == ("COMPLETE", "Succeeded")
    assert report.comments[0].startswith("Analysed: none of the structures")
    assert report.groups == ()
    assert "nothing found" in report.series_description


def test_a_refusal_says_why(tmp_path):
    case = make_case(tmp_path / "series")
    _, report = refusal_of(replace(case.context, volume=None), tmp_path)
    assert (report.completion, report.summary.meaning) == ("PARTIAL", "Not Attempted")
    assert report.comments[0] == f"Not analysed, because: {REASON}"
    assert report.completion_reason
    assert "NOT ANALYSED" in report.series_description
    assert report.images == {str(header.SOPInstanceUID) for header in case.context.sources}


def test_the_same_reason_is_the_same_object_and_another_reason_is_another(tmp_path):
    context = replace(make_case(tmp_path / "series").context, volume=None)
    first, _ = refusal_of(context, tmp_path / "a")
    second, _ = refusal_of(context, tmp_path / "b")
    other, _ = refusal_of(context, tmp_path / "c", "The series is too short.")
    assert first == second
    assert (tmp_path / "a" / first.path).read_bytes() == (tmp_path / "b" / first.path).read_bytes()
    assert other.sop_instance_uid != first.sop_instance_uid


def test_a_reason_of_any_length_and_alphabet_can_be_told(tmp_path):
    context = replace(make_case(tmp_path / "series").context, volume=None)
    reason = "Größe 5 × 5 mm²… nicht genug → “no”. " + "Long. " * 400
    _, report = refusal_of(context, tmp_path, reason)
    assert 'Grosse 5 x 5 mm2... nicht genug -> "no".' in report.comments[0]


def test_a_refusal_of_what_is_not_an_image(tmp_path):
    case = make_case(tmp_path / "series")
    header = case.context.sources[0]
    for keyword in ("Rows", "Columns", "FrameOfReferenceUID", "ImagePositionPatient"):
        del header[keyword]
    header.Modality, header.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.11"
    _, report = refusal_of(replace(case.context, volume=None, sources=(header,)), tmp_path)
    assert report.images == frozenset()
    assert report.evidence == {str(header.SOPInstanceUID)}


def test_without_any_source_there_is_no_patient_to_report_on(tmp_path):
    context = replace(make_case(tmp_path / "series").context, volume=None, sources=())
    with pytest.raises(ResultError):
        write_refusal(context, REASON, tmp_path)


def replacing(case, version=2):
    """The context of a new version, and the report that it replaces."""
    study = str(case.context.sources[0].StudyInstanceUID)
    before = Predecessor(study, "2.25.11", COMPREHENSIVE_3D_SR_STORAGE, "2.25.12")
    job = replace(case.context.job, version=version, predecessor_id=1)
    return replace(case.context, job=job, predecessor=before), before


def test_a_new_version_names_the_report_that_it_replaces(tmp_path):
    case = make_case(tmp_path / "series")
    context, before = replacing(case)
    objects, report = report_of(replace(case, context=context), tmp_path)
    assert report.predecessors == {before.sop_instance_uid}
    assert any(text.startswith("This is version 2 of the analysis") for text in report.comments)
    assert "measurements, version 2 [RESEARCH]" in report.series_description
    found = pydicom.dcmread(tmp_path / objects[-1].path)
    (study,) = found.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    assert (
        study.StudyInstanceUID,
        series.SeriesInstanceUID,
        instance.ReferencedSOPClassUID,
        instance.ReferencedSOPInstanceUID,
    ) == (found.StudyInstanceUID, "2.25.11", COMPREHENSIVE_3D_SR_STORAGE, "2.25.12")


def test_a_refusal_can_replace_a_report_too(tmp_path):
    context, before = replacing(make_case(tmp_path / "series"))
    _, report = refusal_of(replace(context, volume=None), tmp_path)
    assert report.predecessors == {before.sop_instance_uid}
    assert report.completion == "PARTIAL"


def test_versions_share_no_uid_and_no_series_number(tmp_path):
    case = make_case(tmp_path / "series")
    first = write_results(case.context, Analysis(case.labels), tmp_path / "1")
    second = write_results(replacing(case)[0], Analysis(case.labels), tmp_path / "2")
    third = write_results(replacing(case, 3)[0], Analysis(case.labels), tmp_path / "3")
    headers = [
        pydicom.dcmread(tmp_path / folder / item.path, stop_before_pixels=True)
        for folder, objects in (("1", first), ("2", second), ("3", third))
        for item in objects
    ]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"):
        assert len({str(header[keyword].value) for header in headers}) == 6
    assert [int(header.SeriesNumber) for header in headers] == [2801, 2802, 2811, 2812, 2821, 2822]
    assert "version" not in headers[0].SeriesDescription


def test_the_hundredth_version_still_has_a_series_number_of_its_source(tmp_path):
    case = make_case(tmp_path / "series")
    context, _ = replacing(case, 100)
    assert (context.series_number("seg"), context.series_number("sr")) == (2891, 2892)


def test_another_model_of_the_node_has_series_numbers_of_its_own(tmp_path):
    case = make_case(tmp_path / "series")
    context = replace(replacing(case)[0], series_from=701)
    objects = write_results(context, Analysis(case.labels), tmp_path)
    headers = [pydicom.dcmread(tmp_path / one.path, stop_before_pixels=True) for one in objects]
    assert [int(header.SeriesNumber) for header in headers] == [2711, 2712]


def test_the_gate_wants_exactly_the_predecessor(tmp_path):
    case = make_case(tmp_path / "series")
    context, before = replacing(case)
    context = replace(context, volume=None)
    made, _ = refusal_of(context, tmp_path)
    check_refusal(tmp_path / made.path, context, REASON)
    with pytest.raises(GateError, match="the report that it replaces"):
        check_refusal(tmp_path / made.path, replace(context, predecessor=None), REASON)
    foreign = replace(context, predecessor=replace(before, study_instance_uid="1.2.3"))
    with pytest.raises(GateError, match="another study"):
        check_refusal(tmp_path / made.path, foreign, REASON)
