"""Defects of reports."""

from __future__ import annotations

from copy import deepcopy

from pydicom.dataset import Dataset

from tests.defects.seeding import ELSEWHERE, Seeds, drop, item_of

seeds = Seeds()
REPORT, REFUSAL = "report", "refusal"
VOLUME, SIGNAL = "Volume", "MR signal intensity"


def group_of(report: Dataset, tracking: str) -> Dataset:
    """The measurement group whose tracking identifier ends like this."""
    for group in item_of(report, "Imaging Measurements").ContentSequence:
        if item_of(group, "Tracking Identifier").TextValue.endswith(tracking):
            found: Dataset = group
            return found
    raise AssertionError(tracking)


def left(report: Dataset) -> Dataset:
    return group_of(report, "left_hippocampus")


def measured(group: Dataset, name: str) -> Dataset:
    value: Dataset = item_of(group, name).MeasuredValueSequence[0]
    return value


@seeds(REPORT, "which procedure it reports")
def _drop_procedure(report):
    """no Procedure Reported"""
    drop(report, "Procedure reported")


@seeds(REPORT, "is the algorithm, not the imaging")
def _report_the_algorithm(report):
    """the algorithm as Procedure Reported"""
    procedure = item_of(report, "Procedure reported").ConceptCodeSequence[0]
    procedure.CodeMeaning = "Toy structures of the head"


@seeds(REPORT, "language of its destination")
def _drop_language(report):
    """no language"""
    drop(report, "Language of Content Item and Descendants")


@seeds(REPORT, "language of its destination")
def _other_language(report):
    """another language than the words are in"""
    language = item_of(report, "Language of Content Item and Descendants")
    language.ConceptCodeSequence[0].CodeValue = "fr"


@seeds(REPORT, "device observer lacks its serial")
def _drop_serial(report):
    """a device observer without serial number"""
    drop(report, "Device Observer Serial Number")


@seeds(REPORT, "observed by another device")
def _other_device(report):
    """another device observer"""
    item_of(report, "Device Observer UID").UID = ELSEWHERE


@seeds(REPORT, "tracking identifier")
def _drop_tracking_uid(report):
    """a measurement group without Tracking Unique Identifier"""
    drop(left(report), "Tracking Unique Identifier")


@seeds(REPORT, "no tracking identifier")
def _drop_tracking_id(report):
    """a measurement group without Tracking Identifier"""
    drop(left(report), "Tracking Identifier")


@seeds(REPORT, "share a Tracking Unique Identifier")
def _share_tracking(report):
    """two measurement groups with one Tracking Unique Identifier"""
    uid = item_of(left(report), "Tracking Unique Identifier").UID
    item_of(group_of(report, "brain_stem"), "Tracking Unique Identifier").UID = uid


@seeds(REPORT, "does not refer to the segmentation")
def _drop_segment(report):
    """a measurement group without its segment"""
    drop(left(report), "Referenced Segment")


@seeds(REPORT, "refers to segment 9: there is none")
def _refer_to_no_segment(report):
    """a measurement group of a segment that does not exist"""
    item = item_of(left(report), "Referenced Segment")
    item.ReferencedSOPSequence[0].ReferencedSegmentNumber = 9


@seeds(REPORT, "refers to an object that is not there")
def _refer_to_another_object(report):
    """a measurement group of a segment of another object"""
    item = item_of(left(report), "Referenced Segment")
    item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = ELSEWHERE


@seeds(REPORT, "has not the tracking identifier of its segment")
def _swap_segments(report):
    """the segments of left and right swapped"""
    for tracking, number in (("left_hippocampus", 2), ("right_hippocampus", 1)):
        item = item_of(group_of(report, tracking), "Referenced Segment")
        item.ReferencedSOPSequence[0].ReferencedSegmentNumber = number


@seeds(REPORT, "image library does not list exactly")
def _forget_an_image(report):
    """an image library without one of the images"""
    del item_of(report, "Image Library").ContentSequence[0].ContentSequence[-1]


@seeds(REPORT, "evidence does not list every object")
def _forget_evidence(report):
    """evidence without the segmentation"""
    study = report.CurrentRequestedProcedureEvidenceSequence[0]
    for series in study.ReferencedSeriesSequence:
        first = series.ReferencedSOPSequence[0]
        if first.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4":
            study.ReferencedSeriesSequence.remove(series)
            return


@seeds(REPORT, "evidence lists an object with another class, series or study")
def _move_evidence(report):
    """evidence in another series than it is in"""
    study = report.CurrentRequestedProcedureEvidenceSequence[0]
    study.ReferencedSeriesSequence[0].SeriesInstanceUID = ELSEWHERE


@seeds(REPORT, "refers to an object that is not there")
def _invent_evidence(report):
    """evidence of an object that does not exist"""
    study = report.CurrentRequestedProcedureEvidenceSequence[0]
    instance = Dataset()
    instance.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    instance.ReferencedSOPInstanceUID = ELSEWHERE
    study.ReferencedSeriesSequence[0].ReferencedSOPSequence.append(instance)


@seeds(REPORT, "has not the finding")
def _drop_finding(report):
    """a measurement group without finding"""
    drop(left(report), "Finding")


@seeds(REPORT, "has not the finding")
def _other_finding(report):
    """a measurement group with another finding than its segment"""
    item_of(left(report), "Finding").ConceptCodeSequence[0].CodeValue = "119238007"


@seeds(REPORT, "where in the body")
def _drop_site(report):
    """a measurement group without finding site"""
    drop(left(report), "Finding Site")


@seeds(REPORT, "another site in the body")
def _other_site(report):
    """a measurement group with another finding site"""
    item_of(left(report), "Finding Site").ConceptCodeSequence[0].CodeValue = "10200004"


@seeds(REPORT, "does not say on which")
def _drop_laterality(report):
    """a measurement group without laterality"""
    del item_of(left(report), "Finding Site").ContentSequence


@seeds(REPORT, "wrong side")
def _swap_sides(report):
    """a measurement group on the wrong side"""
    side = item_of(item_of(left(report), "Finding Site"), "Laterality")
    side.ConceptCodeSequence[0].CodeValue = "24028007"


@seeds(REPORT, "another part of its site")
def _other_part(report):
    """a measurement group about another part of its site"""
    site = item_of(left(report), "Finding Site")
    part = deepcopy(item_of(site, "Laterality"))
    part.ConceptNameCodeSequence[0].CodeValue = "106233006"
    part.ConceptNameCodeSequence[0].CodeMeaning = "Topographical modifier"
    part.ConceptCodeSequence[0].CodeValue = "255549009"
    part.ConceptCodeSequence[0].CodeMeaning = "Anterior"
    site.ContentSequence.append(part)


@seeds(REPORT, "no volume in mL")
def _drop_volume(report):
    """a measurement group without volume"""
    drop(left(report), VOLUME)


@seeds(REPORT, "no volume in mL")
def _cubic_millimetres(report):
    """a volume in cubic millimetres that keeps its number"""
    measured(left(report), VOLUME).MeasurementUnitsCodeSequence[0].CodeValue = "mm3"


@seeds(REPORT, "a volume that is not the segment's")
def _change_volume(report):
    """a volume that is one per cent too large"""
    value = measured(left(report), VOLUME)
    value.NumericValue = float(value.NumericValue) * 1.01


@seeds(REPORT, "unit is not UCUM")
def _private_unit(report):
    """a unit that is not UCUM"""
    value = measured(left(report), SIGNAL)
    value.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator = "99ME"


@seeds(REPORT, "a number without a method")
def _drop_method(report):
    """a volume that does not say how it was measured"""
    del item_of(left(report), VOLUME).ContentSequence


@seeds(REPORT, "does not give the mean that was measured")
def _change_mean(report):
    """another mean"""
    measured(left(report), SIGNAL).NumericValue = 1.0


@seeds(REPORT, "does not give the longest diameter that was measured")
def _change_diameter(report):
    """another longest diameter"""
    measured(group_of(report, "left_hippocampus slice"), "Long axis").NumericValue = 1.0


@seeds(REPORT, "'Pixel Data Rows' has no number, and does not say why")
def _empty_number(report):
    """an item that should be a number and has none"""
    library = item_of(report, "Image Library").ContentSequence[0]
    item_of(library, "Pixel Data Rows").MeasuredValueSequence = []


@seeds(REPORT, "does not name its algorithm")
def _drop_version(report):
    """a measurement group without the version of its algorithm"""
    drop(left(report), "Algorithm Version")


@seeds(REPORT, "one measurement group, with the tracking identifier of its segment, for each")
def _drop_group(report):
    """no measurement group for a segment"""
    item_of(report, "Imaging Measurements").ContentSequence.remove(left(report))


@seeds(REPORT, "number 'asymmetry' as it was answered")
def _change_number(report):
    """another value of the model's own measurement"""
    measured(group_of(report, "image"), "Ratio").NumericValue = 0.9


@seeds(REPORT, "without its reference range")
def _drop_range(report):
    """no reference range beside the number"""
    drop(item_of(group_of(report, "image"), "Ratio"), "Normal Range Lower Limit")


@seeds(REPORT, "finding 'atrophy' as it was answered")
def _other_value(report):
    """another answer to a qualitative finding"""
    finding = item_of(item_of(report, "Qualitative Evaluations"), "Atrophy")
    finding.ConceptCodeSequence[0].CodeValue = "2667000"


@seeds(REPORT, "how probable the finding 'atrophy' is")
def _drop_certainty(report):
    """a finding without its probability"""
    del item_of(item_of(report, "Qualitative Evaluations"), "Atrophy").ContentSequence


@seeds(REPORT, "another Frame of Reference than the source's")
def _move_coordinates(report):
    """SCOORD3D in another Frame of Reference"""
    region = item_of(group_of(report, "centre 1"), "Image Region")
    region.ReferencedFrameOfReferenceUID = ELSEWHERE


@seeds(REPORT, "place 'centre' where it was answered")
def _shift_place(report):
    """SCOORD3D a centimetre beside its place"""
    region = item_of(group_of(report, "centre 1"), "Image Region")
    region.GraphicData = [float(value) + 10.0 for value in region.GraphicData]


@seeds(REPORT, "points at a place outside of its structure")
def _move_centre(report):
    """the point of a structure three centimetres beside it"""
    centre = item_of(left(report), "Center")
    centre.GraphicData = [float(value) + 30.0 for value in centre.GraphicData]


@seeds(REPORT, "Coordinates are not whole points")
def _half_a_point(report):
    """coordinates of a point and a half"""
    path = item_of(item_of(group_of(report, "left_hippocampus slice"), "Short axis"), "Path")
    path.GraphicData = list(path.GraphicData)[:3]


@seeds(REPORT, "Coordinates in an image do not say in which image")
def _drop_image_of_path(report):
    """SCOORD without its image"""
    path = item_of(item_of(group_of(report, "left_hippocampus slice"), "Short axis"), "Path")
    del path.ContentSequence


@seeds(REPORT, "a person has verified it")
def _verify(report):
    """a report that calls itself verified"""
    report.VerificationFlag = "VERIFIED"


@seeds(REPORT, "not COMPLETE")
def _partial(report):
    """a finished report that calls itself partial"""
    report.CompletionFlag = "PARTIAL"


@seeds(REPORT, "not in DICOM's CID 7021")
def _untitled(report):
    """another title than measurement reports have"""
    report.ConceptNameCodeSequence[0].CodeValue = "125000"


@seeds(REPORT, "TID 1500 at its root")
def _other_template(report):
    """another root template"""
    report.ContentTemplateSequence[0].TemplateIdentifier = "2000"


@seeds(REPORT, "does not say that the analysis succeeded")
def _drop_summary(report):
    """no word on how the analysis went"""
    drop(item_of(report, "Qualitative Evaluations"), "Summary of Analyses")


@seeds(REPORT, "does not say that it is for research only")
def _drop_notice(report):
    """no notice of research"""
    evaluations = item_of(report, "Qualitative Evaluations")
    for item in evaluations.ContentSequence:
        if "Research use only" in str(item.get("TextValue", "")):
            evaluations.ContentSequence.remove(item)
            return


@seeds(REPORT, "does not name exactly the report that it replaces")
def _drop_predecessor(report):
    """no predecessor, though there is one"""
    del report.PredecessorDocumentsSequence


@seeds(REPORT, "does not name exactly the report that it replaces")
def _other_predecessor(report):
    """another predecessor"""
    series = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = ELSEWHERE


@seeds(REPORT, "predecessor with another class, series or study")
def _move_predecessor(report):
    """a predecessor in another series than it is in"""
    report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].SeriesInstanceUID = ELSEWHERE


@seeds(REPORT, "no relationship that the standard knows")
def _drop_relationship(report):
    """an item without relationship to its parent"""
    del item_of(left(report), VOLUME).RelationshipType


@seeds(REPORT, "which none of DICOM's context groups lists")
def _invent_a_name(report):
    """an item with an invented name"""
    summary = item_of(report, "Qualitative Evaluations").ContentSequence[-1]
    summary.ConceptNameCodeSequence[0].CodeValue = "999999"


@seeds(REPORT, "lacks ReferencedPerformedProcedureStepSequence")
def _drop_type_2(report):
    """a type 2 sequence that is not there"""
    del report.ReferencedPerformedProcedureStepSequence


@seeds(REFUSAL, "must be PARTIAL")
def _complete(report):
    """a report on what was not analysed that calls itself complete"""
    report.CompletionFlag = "COMPLETE"


@seeds(REFUSAL, "claims an analysis")
def _succeed(report):
    """a report on what was not analysed that claims success"""
    summary = item_of(item_of(report, "Qualitative Evaluations"), "Summary of Analyses")
    summary.ConceptCodeSequence[0].CodeValue = "111222"


@seeds(REFUSAL, "does not say why")
def _say_nothing(report):
    """a report on what was not analysed that does not say why"""
    item_of(item_of(report, "Qualitative Evaluations"), "Comment").TextValue = "Not analysed."


DEFECTS = tuple(seeds.defects)
