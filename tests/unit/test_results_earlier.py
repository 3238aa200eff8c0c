from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest

from secondread.domain.code import Code
from secondread.results.analysis import Analysis
from secondread.results.earlier import Change, EarlierReport, find_changes, read_earlier
from secondread.results.measurement.measurements import StructureMeasurements, measure
from secondread.results.write import write_refusal, write_results
from tests.result_cases import LABELS, make_case, make_label, make_manifest

MANIFEST = make_manifest()
HIPPOCAMPUS = ("5366008", "SCT")


def report_of(case, folder, labels=None):
    """The report on disk."""
    analysis = Analysis(case.labels if labels is None else labels)
    made = write_results(case.context, analysis, folder)
    return folder / next(one.path for one in made if one.kind == "sr")


def changed(path, change):
    """The report after something of it was changed."""
    report = pydicom.dcmread(path)
    change(report)
    report.save_as(path)
    return path


def earlier(volumes_ml, model_id="toy_head", model_version="1.2.0"):
    return EarlierReport(
        "1.1", "1.2", "1.3", "1.4", "20240102", model_id, model_version, volumes_ml
    )


def measured(*volumes_ml, labels=LABELS):
    return [
        StructureMeasurements(label, int(1000 * volume), volume, 0.0, 0.0)
        for label, volume in zip(labels, volumes_ml, strict=False)
    ]


def groups_of(report):
    (found,) = (
        item
        for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    return found.ContentSequence


def test_a_report_of_ours_is_read_back(tmp_path):
    case = make_case(tmp_path / "series")
    path = report_of(case, tmp_path)
    found, written = read_earlier(path), pydicom.dcmread(path)
    assert (found.model_id, found.model_version) == ("toy_head", "1.2.0")
    assert found.study_date == case.context.reference.StudyDate
    assert found.study_instance_uid == case.context.reference.StudyInstanceUID
    assert found.series_instance_uid == written.SeriesInstanceUID
    assert found.sop_class_uid == written.SOPClassUID
    assert found.sop_instance_uid == written.SOPInstanceUID
    for one in measure(case.context.volume, case.labels, LABELS):
        key = (one.label.type.value, one.label.type.scheme, one.label.laterality)
        if one.voxels:
            assert found.volumes_ml[key] == pytest.approx(one.volume_ml, rel=1e-5)
        else:
            assert key not in found.volumes_ml


def test_what_was_found_nowhere_was_looked_for(tmp_path):
    case = make_case(tmp_path / "series")
    found = read_earlier(report_of(case, tmp_path, np.zeros_like(case.labels)))
    assert (found.model_id, found.volumes_ml) == ("toy_head", {})


def test_what_was_not_analysed_is_not_compared_with(tmp_path):
    context = replace(make_case(tmp_path / "series").context, volume=None)
    (made,) = write_refusal(context, "Slices are missing.", tmp_path)
    assert read_earlier(tmp_path / made.path) is None


def test_half_a_report_is_not_compared_with(tmp_path):
    path = report_of(make_case(tmp_path / "series"), tmp_path)
    assert read_earlier(path) is not None

    def halve(report):
        report.CompletionFlag = "PARTIAL"

    assert read_earlier(changed(path, halve)) is None


def test_what_is_no_report_is_not_compared_with(tmp_path):
    case = make_case(tmp_path / "series")
    (tmp_path / "text").write_text("no report")
    (tmp_path / "empty").write_bytes(b"")
    for path in (case.paths[0], tmp_path / "text", tmp_path / "empty", tmp_path / "absent"):
        assert read_earlier(path) is None


def test_a_report_cut_short_is_not_compared_with_or_still_whole(tmp_path):
    path = report_of(make_case(tmp_path / "series"), tmp_path)
    content, whole = path.read_bytes(), read_earlier(path)
    for length in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        found = read_earlier(path)
        assert found is None or found.volumes_ml.items() <= whole.volumes_ml.items()


@pytest.mark.parametrize(
    "break_number",
    [
        lambda number: delattr(number, "MeasuredValueSequence"),
        lambda number: setattr(number, "MeasuredValueSequence", []),
        lambda number: delattr(number.MeasuredValueSequence[0], "NumericValue"),
    ],
)
def test_a_number_without_a_value_stops_nothing(tmp_path, break_number):
    path = report_of(make_case(tmp_path / "series"), tmp_path)

    def spoil(report):
        group = groups_of(report)[0]
        break_number(next(one for one in group.ContentSequence if one.ValueType == "NUM"))

    found = read_earlier(changed(path, spoil))
    assert found is None or ("5366008", "SCT", "left") not in found.volumes_ml


@pytest.mark.parametrize(("unit", "factor"), [("ml", 1.0), ("cm3", 1.0), ("mm3", 1e-3)])
def test_volumes_in_other_units_are_taken(tmp_path, unit, factor):
    path = report_of(make_case(tmp_path / "series"), tmp_path)
    key = (*HIPPOCAMPUS, "left")
    before = read_earlier(path).volumes_ml[key]

    def rename(report):
        volume = next(o for o in groups_of(report)[0].ContentSequence if o.ValueType == "NUM")
        volume.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = unit

    assert read_earlier(changed(path, rename)).volumes_ml[key] == pytest.approx(before * factor)


def test_two_structures_under_one_code_are_left_out(tmp_path):
    path = report_of(make_case(tmp_path / "series"), tmp_path)
    found = read_earlier(
        changed(path, lambda report: groups_of(report).append(groups_of(report)[0]))
    )
    assert (*HIPPOCAMPUS, "left") not in found.volumes_ml
    assert (*HIPPOCAMPUS, "right") in found.volumes_ml


def test_the_model_is_read_from_the_measurements_where_equipment_names_none(tmp_path):
    path = report_of(make_case(tmp_path / "series"), tmp_path)

    def forget(report):
        del report.ContributingEquipmentSequence

    found = read_earlier(changed(path, forget))
    assert (found.model_id, found.model_version) == ("toy_head", "1.2.0")


def test_reports_of_others_are_read_or_left(shared_data):
    paths = sorted(shared_data("seg_sr_objects").rglob("*.dcm"))
    assert paths
    for path in paths:
        found = read_earlier(path)
        assert found is None or found.sop_instance_uid


def test_changes_in_ml_and_percent_by_label():
    before = earlier({(*HIPPOCAMPUS, "left"): 4.0, (*HIPPOCAMPUS, "right"): 2.0})
    assert find_changes(measured(3.0, 2.5), before, MANIFEST) == {
        1: Change(4.0, 3.0, pytest.approx(-25.0)),
        2: Change(2.0, 2.5, pytest.approx(25.0)),
    }


def test_side_and_scheme_must_be_the_same():
    for key in ((*HIPPOCAMPUS, ""), (*HIPPOCAMPUS, "right"), ("5366008", "SRT", "left")):
        assert (
            find_changes(measured(3.0), earlier({key: 4.0}, model_version="1.0.0"), MANIFEST) == {}
        )


def test_what_is_gone_has_lost_everything_and_what_is_new_has_no_percent():
    before = earlier({(*HIPPOCAMPUS, "left"): 4.0})
    assert find_changes(measured(0.0, 2.5, 0.0), before, MANIFEST) == {
        1: Change(4.0, 0.0, -100.0),
        2: Change(0.0, 2.5, None),
    }


def test_a_volume_of_zero_has_no_percent():
    before = earlier({(*HIPPOCAMPUS, "left"): 0.0})
    assert find_changes(measured(2.0), before, MANIFEST) == {1: Change(0.0, 2.0, None)}


def test_what_another_version_did_not_list_it_may_not_have_known():
    before = earlier({(*HIPPOCAMPUS, "left"): 4.0}, model_version="1.0.0")
    assert list(find_changes(measured(3.0, 2.5), before, MANIFEST)) == [1]


def test_another_model_is_not_compared_with():
    before = earlier({(*HIPPOCAMPUS, "left"): 4.0}, model_id="other_head")
    assert find_changes(measured(3.0), before, MANIFEST) == {}


def test_two_structures_of_a_model_under_one_code_are_not_told_apart():
    tumour = Code("108369006", "SCT", "Neoplasm")
    labels = (make_label(1, "core", tumour), make_label(2, "rim", tumour))
    before = earlier({("108369006", "SCT", ""): 4.0})
    assert find_changes(measured(3.0, 1.0, labels=labels), before, MANIFEST) == {}
