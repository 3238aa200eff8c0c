from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest

from secondread.domain.answer import AnsweredFinding, AnsweredNumber, AnsweredPlace, ModelAnswer
from secondread.domain.form import Form, SegmentationKind
from secondread.errors import ResultError
from secondread.results.analysis import Analysis
from tests.matrix_cases import make_matrix_case
from tests.report_cases import (
    give,
    make_alone,
    make_earlier,
    make_parts,
    make_rich_analysis,
    make_rich_case,
    read_alone,
    write_alone,
)


def tell(tmp_path, form=None, **fields):
    case = make_rich_case(tmp_path / "series", form, **fields)
    document = make_alone(case.context, make_rich_analysis(case))
    return case, read_alone(document, tmp_path)


def find(report, name):
    (group,) = [one for one in report.groups if one.tracking_id == f"toy_head {name}"]
    return group


def numbers(group):
    return {
        (one.name.meaning, one.derivation.meaning if one.derivation else ""): one
        for one in group.quantities
    }


def test_every_statistic_is_told_with_its_derivation_and_unit(tmp_path):
    case, report = tell(tmp_path)
    told = numbers(find(report, "left_hippocampus"))
    inside = case.context.volume.voxels[case.labels == 1]
    signal = "MR signal intensity"
    wanted = {
        "Mean": inside.mean(),
        "Standard deviation": inside.std(),
        "Minimum": inside.min(),
        "Maximum": inside.max(),
        "Median": np.median(inside),
        "5th percentile": np.percentile(inside, 5),
        "10th percentile": np.percentile(inside, 10),
        "25th percentile": np.percentile(inside, 25),
        "75th percentile": np.percentile(inside, 75),
        "90th percentile": np.percentile(inside, 90),
        "95th percentile": np.percentile(inside, 95),
    }
    for derivation, value in wanted.items():
        assert told[signal, derivation].value == pytest.approx(value, rel=1e-3)
        assert told[signal, derivation].unit.value == "[arb'U]"
    assert told["Number of voxels", ""].value == inside.size
    assert told["Surface area", ""].unit.value == "cm2"


def test_a_volume_stands_against_its_reference_range(tmp_path):
    _, report = tell(tmp_path)
    volume = numbers(find(report, "left_hippocampus"))["Volume", ""]
    assert (volume.low, volume.high) == (1.5, 3.0)
    assert volume.value < 1.5
    assert volume.normality.meaning == "Abnormally Low"
    age = numbers(find(report, "image"))["Age", ""]
    assert (age.value, age.low, age.high) == (71.5, 20.0, 60.0)
    assert age.normality.meaning == "Abnormally High"
    other = numbers(find(report, "brain_stem"))["Volume", ""]
    assert (other.low, other.high, other.normality) == (None, None, None)


def test_the_slice_of_the_diameters_is_a_planar_group(tmp_path):
    case, report = tell(tmp_path)
    group = find(report, "right_hippocampus slice")
    assert group.template == "1410"
    assert group.frame is not None
    assert group.laterality == "right"
    assert ("Long axis", "") not in numbers(find(report, "right_hippocampus"))
    made = make_parts(case.context, make_rich_analysis(case))
    (segmentation,) = made.segmentations
    diameter = made.measured[1].diameter
    place = segmentation.stack.places[group.frame.frame - 1]
    assert (place.segment, place.slice_index) == (2, diameter.source)
    for name, length_mm, ends in (
        ("Long axis", diameter.longest_mm, diameter.longest),
        ("Short axis", diameter.perpendicular_mm, diameter.perpendicular),
    ):
        told = numbers(group)[name, ""]
        assert told.value == pytest.approx(length_mm, rel=1e-5)
        (line,) = told.lines
        assert line.image_uid == case.context.volume.sources[diameter.source].sop_instance_uid
        for (column, row), end in zip(line.points, ends, strict=True):
            voxel = [diameter.source, row - 0.5, column - 0.5, 1.0]
            at = case.context.volume.affine_lps @ voxel
            assert np.allclose(at[:3], end, atol=1e-4)


@pytest.mark.parametrize("kind", [SegmentationKind.LABELMAP, SegmentationKind.NONE])
def test_where_no_frame_shows_a_structure_alone_its_diameters_are_in_its_group(tmp_path, kind):
    _, report = tell(tmp_path, Form(segmentation=kind))
    group = find(report, "right_hippocampus")
    assert ("Long axis", "") in numbers(group)
    assert not [one for one in report.groups if one.tracking_id.endswith("slice")]
    is_shown = kind is SegmentationKind.LABELMAP
    assert group.template == ("1411" if is_shown else "1501")
    assert (group.segment is not None) == is_shown


def test_findings_are_told_with_how_sure_the_model_is(tmp_path):
    _, report = tell(tmp_path)
    (bleeding,) = report.findings
    assert (bleeding.name.meaning, bleeding.value.meaning) == ("Hemorrhage", "Absent")
    assert bleeding.certainty_percent == pytest.approx(1.73)
    (atrophy,) = find(report, "brain_stem").findings
    assert (atrophy.value.meaning, atrophy.certainty_percent) == ("Present", None)


def test_numbers_are_told_with_what_they_are_about(tmp_path):
    _, report = tell(tmp_path)
    assert numbers(find(report, "left_hippocampus"))["Least Axis in 3D Length", ""].value == 3.25
    absent = find(report, "third_ventricle absent")
    assert (absent.template, absent.segment) == ("1501", None)
    assert absent.finding.meaning == "Third ventricle"
    assert [one.value for one in absent.quantities] == [0.5]


def test_places_lie_in_the_patient_where_the_model_saw_them(tmp_path):
    case, report = tell(tmp_path)
    affine = case.context.volume.affine_lps
    header = case.context.reference
    for name, index, kind in (("spot 1", 0, "POINT"), ("line 1", 2, "POLYLINE")):
        group = find(report, name)
        (shape,) = group.shapes
        assert (group.template, shape.kind) == ("1501", kind)
        assert shape.frame_of_reference_uid == header.FrameOfReferenceUID
        voxels = make_rich_analysis(case).answer.places[index].points
        points = [(affine @ [*voxel, 1.0])[:3] for voxel in voxels]
        assert np.allclose(shape.points, points, atol=1e-4)
    assert find(report, "line 1").site.meaning == "Hippocampus"
    assert [one.value for one in find(report, "spot 1").quantities] == [93.0]
    assert find(report, "spot 2").quantities == ()


def test_a_polygon_in_a_slice_is_drawn_in_its_image_too(tmp_path):
    case, report = tell(tmp_path)
    group = find(report, "area 1")
    in_image, in_space = group.shapes
    assert (group.template, in_image.kind, in_space.kind) == ("1410", "POLYLINE", "POLYGON")
    assert in_image.image_uid == case.context.volume.sources[4].sop_instance_uid
    assert in_image.points == ((2.5, 2.5), (8.5, 2.5), (8.5, 7.5), (2.5, 2.5))
    assert in_space.points[0] == in_space.points[-1]


def test_a_polygon_that_is_not_flat_is_a_line(tmp_path):
    case = make_rich_case(tmp_path / "series")
    corners = ((1.0, 2.0, 2.0), (1.0, 2.0, 8.0), (4.0, 7.0, 8.0), (1.0, 7.0, 2.0))
    answer = ModelAnswer(places=(AnsweredPlace("area", corners),))
    report = read_alone(make_alone(case.context, Analysis(case.labels, answer=answer)), tmp_path)
    (shape,) = find(report, "area 1").shapes
    assert (shape.kind, len(shape.points)) == ("POLYLINE", 5)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (ModelAnswer(numbers=(AnsweredNumber("height", 1.0),)), "number 'height'"),
        (ModelAnswer(numbers=(AnsweredNumber("age", float("nan")),)), "'Age' has no value"),
        (ModelAnswer(findings=(AnsweredFinding("bleeding", "maybe"),)), "with 'maybe'"),
        (ModelAnswer(places=(AnsweredPlace("nose", ((0.0, 0.0, 0.0),)),)), "place 'nose'"),
        (ModelAnswer(places=(AnsweredPlace("area", ((0.0, 0.0, 0.0),)),)), "too few"),
    ],
    ids=["number", "nan", "finding", "place", "points"],
)
def test_what_cannot_be_told_is_an_error_and_no_report(tmp_path, answer, sentence):
    case = make_rich_case(tmp_path / "series")
    with pytest.raises(ResultError, match=sentence):
        make_alone(case.context, Analysis(case.labels, answer=answer))


def test_an_earlier_report_is_named_and_compared_with(tmp_path):
    _, report = tell(tmp_path)
    assert report.prior_reports == {"2.25.73"}
    assert "2.25.73" in report.evidence
    assert report.predecessors == frozenset()
    told = numbers(find(report, "left_hippocampus"))
    change = told["Change of volume since prior report", ""]
    relative = told["Relative change of volume since prior report", ""]
    assert change.value == pytest.approx(1.02375 - 2.0475)
    assert relative.value == pytest.approx(-50.0)
    assert (change.unit.value, relative.unit.value) == ("mL", "%")
    assert find(report, "left_hippocampus").volume_ml == pytest.approx(1.02375)
    said = " ".join(report.comments)
    assert "the study of 2023-07-04, made by version 1.1.0 of the model" in said
    assert "a change may come from the other version" in said
    assert "Third ventricle: 0.7 mL then, 0 mL now (-100.0 %)." in report.comments


def test_an_earlier_report_is_evidence_of_its_own_study(tmp_path):
    case = make_rich_case(tmp_path / "series")
    document = make_alone(case.context, make_rich_analysis(case))
    found = pydicom.dcmread(write_alone(document, tmp_path))
    (own,) = found.CurrentRequestedProcedureEvidenceSequence
    (other,) = found.PertinentOtherEvidenceSequence
    assert (own.StudyInstanceUID, other.StudyInstanceUID) == (found.StudyInstanceUID, "2.25.71")


def test_another_models_report_is_not_compared_with(tmp_path):
    case = make_rich_case(tmp_path / "series")
    earlier = make_earlier(model_id="other_head")
    document = make_alone(case.context, Analysis(case.labels, earlier=earlier))
    report = read_alone(document, tmp_path)
    assert report.prior_reports == frozenset()
    assert "2.25.73" not in report.evidence
    assert not [text for text in report.comments if text.startswith("Compared")]


def test_one_segmentation_for_each_segment_is_pointed_at_each(tmp_path):
    case = make_rich_case(tmp_path / "series", Form(one_segment_each=True))
    analysis = make_rich_analysis(case)
    report = read_alone(make_alone(case.context, analysis), tmp_path)
    made = make_parts(case.context, analysis)
    wanted = {one.sop_instance_uid for one in made.segmentations}
    groups = [group for group in report.groups if group.segment]
    assert len(wanted) == 4
    assert {group.segment.sop_instance_uid for group in groups} == wanted
    assert {group.segment.number for group in groups} == {1}
    assert wanted <= report.evidence


def test_a_lesions_site_is_its_region_and_its_side(tmp_path):
    case = make_rich_case(tmp_path / "series")
    manifest = case.context.manifest
    first, *others = manifest.labels
    category = replace(
        first.category, value="49755003", meaning="Morphologically Abnormal Structure"
    )
    brain = replace(first.type, value="12738006", meaning="Brain")
    lesion = replace(first, category=category, region=brain)
    context = replace(case.context, manifest=replace(manifest, labels=(lesion, *others)))
    report = read_alone(make_alone(context, Analysis(case.labels)), tmp_path)
    group = find(report, "left_hippocampus")
    assert (group.site.meaning, group.laterality) == ("Brain", "left")


def site_of(path, tracking_id):
    """The site of a group: its code, and the codes that narrow it down, by their concept."""

    def walk(item):
        for child in item.get("ContentSequence") or ():
            yield child
            yield from walk(child)

    def name(item):
        return (
            item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else ""
        )

    for group in walk(pydicom.dcmread(path)):
        around = {name(child): child for child in group.get("ContentSequence") or ()}
        if getattr(around.get("Tracking Identifier"), "TextValue", "") == tracking_id:
            site = around["Finding Site"]
            narrowed = {
                name(one): one.ConceptCodeSequence[0].CodeMeaning for one in site.ContentSequence
            }
            return site.ConceptCodeSequence[0].CodeMeaning, narrowed
    raise AssertionError(tracking_id)


def test_two_parts_of_one_structure_are_told_apart_by_codes(tmp_path):
    case = make_rich_case(tmp_path / "series")
    manifest = case.context.manifest
    first, second, *others = manifest.labels
    anterior = replace(first.type, value="255549009", meaning="Anterior")
    state = replace(first.type, value="17621005", meaning="Normal")
    lung = replace(first.type, value="39607008", meaning="Lung")
    part = replace(first, type_modifiers=(state, anterior))
    inside = replace(second, region=lung)
    context = replace(case.context, manifest=replace(manifest, labels=(part, inside, *others)))
    path = write_alone(make_alone(context, Analysis(case.labels)), tmp_path)
    assert site_of(path, f"toy_head {first.name}") == (
        first.type.meaning,
        {"Laterality": "Left", "Topographical modifier": "Anterior"},
    )
    assert site_of(path, f"toy_head {second.name}")[0] == "Lung"


def test_our_own_codes_are_identified_where_there_are_any(tmp_path):
    case = make_rich_case(tmp_path / "series")
    document = make_alone(case.context, make_rich_analysis(case))
    (scheme,) = document.header.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99SECONDREAD"
    usual = replace(case.context.manifest.output, statistics=("volume",))
    context = replace(case.context, manifest=replace(case.context.manifest, output=usual))
    plain = make_alone(context, Analysis(case.labels))
    assert "CodingSchemeIdentificationSequence" not in plain.header


@pytest.mark.parametrize("kind", list(SegmentationKind))
def test_the_same_answer_gives_the_same_bytes(tmp_path, kind):
    case = make_rich_case(tmp_path / "series", Form(segmentation=kind))
    analysis = make_rich_analysis(case)
    first = write_alone(make_alone(case.context, analysis), tmp_path).read_bytes()
    second = write_alone(make_alone(case.context, analysis), tmp_path).read_bytes()
    assert first == second


def test_a_multi_frame_source_is_referred_to_by_frame(tmp_path):
    cell = make_matrix_case(tmp_path, "enhanced mr", "tilted", SegmentationKind.BINARY, 1)
    output = replace(cell.context.manifest.output, statistics=("volume", "longest_diameter"))
    context = replace(cell.context, manifest=replace(cell.context.manifest, output=output))
    report = read_alone(make_alone(context, cell.analysis), tmp_path)
    whole, planar = report.groups
    (volume,) = whole.quantities
    assert volume.name.meaning == "Volume"
    index = make_parts(context, cell.analysis).measured[0].diameter.source
    lines = [line for one in planar.quantities for line in one.lines]
    assert [(line.image_uid, line.frame) for line in lines] == [
        (str(context.reference.SOPInstanceUID), index + 1)
    ]


@pytest.mark.parametrize(
    ("modality", "units", "wanted"),
    [
        ("CT", "", ("112031", "[hnsf'U]")),
        ("PT", "BQML", ("VALUE", "Bq/ml")),
        ("OT", "", ("VALUE", "[arb'U]")),
    ],
)
def test_what_the_voxels_are_follows_from_the_images(tmp_path, modality, units, wanted):
    case = make_rich_case(tmp_path / "series")
    give(case.context.sources, Modality=modality, **({"Units": units} if units else {}))
    report = read_alone(make_alone(case.context, Analysis(case.labels)), tmp_path)
    means = [
        one
        for one in find(report, "brain_stem").quantities
        if one.derivation is not None and one.derivation.meaning == "Mean"
    ]
    assert [(one.name.value, one.unit.value) for one in means] == [wanted]


def test_uptake_values_are_called_so(tmp_path):
    case = make_rich_case(tmp_path / "series")
    manifest = case.context.manifest
    manifest = replace(manifest, input=replace(manifest.input, units="SUVbw"))
    context = replace(case.context, manifest=manifest)
    give(case.context.sources, Modality="PT", Units="BQML")
    report = read_alone(make_alone(context, Analysis(case.labels)), tmp_path)
    names = {one.name.meaning for one in find(report, "brain_stem").quantities if one.derivation}
    assert names == {"SUVbw"}
