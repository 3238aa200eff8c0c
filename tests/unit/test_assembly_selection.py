from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage

from secondread.assembly.selection import plan
from secondread.assembly.series import read_study
from secondread.assembly.summary import summarize
from secondread.assembly.volume import read_volume
from secondread.bundles.input import InputEnvelope
from secondread.bundles.manifest import Manifest
from secondread.config.conditions import parse_conditions
from secondread.domain.network import LateImages, Rule
from secondread.domain.series import digest
from secondread.domain.states import StudyState
from secondread.domain.study import Study
from secondread.errors import ConfigurationError, PixelDataError
from tests.slices import STUDY_UID, make_series, store_all

STUDY = Study(1, STUDY_UID, StudyState.ASSEMBLING, "mr1", 0.0, 0.0, 0.0, 0.0, 0, 0, "")
MR = {"attribute": "Modality", "is": "MR"}
RULE = Rule(
    name="brains",
    model="brain",
    destinations=("pacs",),
    priority=3,
    report_not_analysed=True,
    when=parse_conditions([MR]),
)
ENVELOPE = InputEnvelope(
    modality=("MR",),
    body_part=("HEAD", "BRAIN"),
    min_slices=10,
    max_slices=100,
    min_spacing_mm=0.5,
    max_spacing_mm=4.0,
    min_extent_mm=10.0,
    forbidden_image_types=("ADC",),
)


def _manifest(**envelope) -> Manifest:
    return Manifest(
        id="brain",
        version="1.2",
        title="Brain MR",
        task="segmentation",
        manufacturer="",
        intended_use="",
        research_only=True,
        input=replace(ENVELOPE, **envelope),
        runtime="torch",
        deadline_s=60.0,
        memory_mib=100,
        labels=(),
        files={},
        folder=Path(),
        digest="",
        raw={},
    )


def _series(number, count=12, spacing_mm=3.0, **attributes):
    attributes = {"SeriesNumber": number, "SeriesInstanceUID": f"2.25.{number}00"} | attributes
    datasets = make_series(count, spacing_mm, **attributes)
    for at, dataset in enumerate(datasets):
        dataset.SOPInstanceUID = f"2.25.{number}00{at + 1:03}"
    return datasets


def _report(number=9):
    (report,) = _series(number, 1, Modality="SR", PixelData=None, Rows=None, Columns=None)
    report.SOPClassUID = ComprehensiveSRStorage
    return report


def _rule(*conditions, **said):
    return replace(RULE, when=parse_conditions(list(conditions)), **said)


def _summaries(instances, folder):
    return [summarize(series) for series in read_study(instances, folder)]


def _plan(tmp_path, datasets, rules=(RULE,), **envelope):
    series = _summaries(store_all(list(datasets), tmp_path), tmp_path)
    return plan(STUDY, series, rules, {"brain": _manifest(**envelope)})


def _job(*args, **kwargs):
    made = _plan(*args, **kwargs)
    assert made.reason == ""
    (job,) = made.jobs
    return job


def test_a_suitable_series_is_a_job(tmp_path):
    datasets = _series(4)
    job = _job(tmp_path, datasets)
    assert (job.rule, job.model_id, job.model_version) == ("brains", "brain", "1.2")
    assert (job.series_instance_uid, job.refusal, job.priority) == ("2.25.400", "", 3)
    (candidate,) = job.candidates
    assert candidate.accepted
    assert candidate.reason == "Chosen: 12 slices, 3.00 x 1.00 x 1.00 mm."
    instances = store_all(datasets, tmp_path)
    assert job.input_digest == digest((item.sop_instance_uid, item.sha256) for item in instances)
    assert read_volume(instances, tmp_path).voxels.shape == (12, 16, 16)


def test_most_slices_win_then_the_finest_voxels_then_the_lowest_number(tmp_path):
    few, many = _series(1, 12), _series(2, 14)
    fine = _series(3, 14, PixelSpacing=["0.9", "0.9"])
    same = _series(4, 14, PixelSpacing=["0.9", "0.9"])
    job = _job(tmp_path, [*few, *many, *fine, *same])
    assert job.series_instance_uid == "2.25.300"
    assert [candidate.accepted for candidate in job.candidates] == [True] * 4
    assert [candidate.reason.split(":")[0] for candidate in job.candidates] == [
        "Suitable, another is better (it has fewer slices)",
        "Suitable, another is better (its voxels are coarser)",
        "Chosen",
        "Suitable, another is better (it comes later)",
    ]


def test_the_order_of_arrival_changes_nothing(tmp_path):
    datasets = [*_series(1), *_series(2, 14), *_series(3, 14), _report()]
    plans = []
    for seed in range(4):
        random.Random(seed).shuffle(datasets)
        plans.append(_plan(tmp_path, datasets))
    assert all(made == plans[0] for made in plans)


def test_the_digest_follows_the_chosen_objects_only(tmp_path):
    first = _job(tmp_path, [*_series(1), *_series(2, 14)])
    without = _job(tmp_path, _series(2, 14))
    assert first.input_digest == without.input_digest
    changed = _series(2, 14)
    changed[3].PixelData = np.zeros((16, 16), np.int16).tobytes()
    assert _job(tmp_path, changed).input_digest != first.input_digest


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "CT"}, "Rule 'brains' does not ask for it: its Modality is CT, not MR."),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "It is a localizer."),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "It is a mosaic."),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "ADC"]}, "Its Image Type holds ADC."),
        ({"ImageType": ["DERIVED", "PRIMARY"]}, "It was made from other images (its Image"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "It is a secondary capture."),
        ({"BurnedInAnnotation": "YES"}, "Its images have text burned in"),
        ({"BodyPartExamined": "KNEE"}, "Its body part is KNEE; the model takes BRAIN or HEAD."),
        ({"count": 9}, "It has 9 slices; the model takes 10 to 100."),
        ({"count": 1}, "It has one slice; the model takes 10 to 100."),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "Its pixels are not grey values"),
        ({"spacing_mm": 4.5}, "Its voxels measure 1.00 to 4.50 mm; the model takes 0.5 to 4 mm."),
        ({"PixelSpacing": ["0.6", "0.6"]}, "It covers only 9.6 mm in one direction"),
        ({"FrameOfReferenceUID": None}, "Its images name no Frame of Reference UID."),
    ],
)
def test_each_reason_against_a_series(tmp_path, attributes, reason):
    job = _job(
        tmp_path,
        [*_series(7, **attributes), *_series(8, 2)],
        min_extent_mm=10.0,
    )
    assert not job.candidates[0].accepted
    assert job.candidates[0].reason.startswith(reason)
    assert f"Series 7: {reason}" in job.refusal
    assert "Series 8: It has 2 slices" in job.refusal


def test_an_absent_body_part_is_no_objection(tmp_path):
    assert _job(tmp_path, _series(1)).refusal == ""
    assert _job(tmp_path, _series(1, BodyPartExamined="BRAIN")).refusal == ""


def test_a_series_with_a_hole_gives_way_to_the_next(tmp_path):
    holed = _series(1, 20)
    del holed[10]
    job = _job(tmp_path, [*holed, *_series(2, 12)])
    assert job.series_instance_uid == "2.25.200"
    assert job.candidates[0].reason.startswith("One slice is missing: between image 10 at")


def test_a_refusal_names_the_nearest_miss_first(tmp_path):
    holed = _series(5, 20)
    del holed[10]
    job = _job(tmp_path, [*_series(1, 1), *_series(2, Modality="CT"), *holed, _report()])
    assert job.series_instance_uid == "2.25.500"
    assert job.refusal.startswith(
        "No series of this study can be analysed by Brain MR. Series 5: One slice is missing"
    )
    assert "Series 2: Rule 'brains' does not ask for it: its Modality is CT" in job.refusal
    assert "Series 9: It holds no images (SR)." in job.refusal


def test_a_long_refusal_is_cut(tmp_path):
    datasets = [dataset for number in range(1, 11) for dataset in _series(number, 2)]
    job = _job(tmp_path, datasets)
    assert job.refusal.endswith("4 more series do not fit either.")
    assert len(job.candidates) == 10


def test_no_free_text_of_the_study_is_in_a_refusal(tmp_path):
    datasets = _series(1, 3, SeriesDescription="Quill^Zebedee", StudyDescription="for Dr Quill")
    made = _plan(tmp_path, datasets)
    assert "Quill" not in made.jobs[0].refusal + made.jobs[0].candidates[0].reason
    assert made.jobs[0].candidates[0].description == "Quill^Zebedee"


def test_our_own_results_coming_back_change_no_digest(tmp_path):
    datasets = _series(1, 3)
    before = _job(tmp_path, datasets)
    after = _job(tmp_path, [*datasets, _report()])
    assert before.refusal
    assert before.input_digest == after.input_digest


HEAD = {"attribute": "StudyDescription", "matches": "(?i)head"}
KNEE = {"attribute": "StudyDescription", "matches": "(?i)knee"}
CT = {"attribute": "Modality", "in": ["CT", "PT"]}


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ([CT], "Its Modality is MR, not CT or PT"),
        ([{"peer": ["ct1"]}], "The study came from mr1, not from ct1"),
        ([KNEE], "Its StudyDescription does not match '(?i)knee'"),
        ([HEAD, KNEE], "Its StudyDescription does not match '(?i)knee'"),
        ([{"not": MR}], "Its Modality is MR, which is excluded"),
        ([{"any": [CT, KNEE]}], "Its Modality is MR, not CT or PT; and its StudyDescription does"),
        ([{"attribute": "Slices", "from": 20}], "Its Slices is 12, not 20 or more"),
        ([{"attribute": "EchoTime", "present": True}], "Its EchoTime is absent"),
        ([{"attribute": "Plane", "present": False}], "Its Plane is present"),
        ([{"attribute": "Plane", "in": ["coronal"]}], "Its Plane is axial, not coronal"),
    ],
)
def test_a_rule_that_does_not_want_the_study_says_why(tmp_path, conditions, reason):
    rule = _rule(*conditions, name="other")
    made = _plan(tmp_path, _series(1, StudyDescription="MR head of Zebedee Quill"), [rule])
    assert made.jobs == ()
    assert made.reason.startswith(f"No rule wants this study: rule 'other': {reason}")
    (answer,) = made.answers
    assert (answer.rule, answer.wanted) == ("other", False)
    assert answer.reason.startswith(reason)
    assert "Quill" not in made.reason + answer.reason


@pytest.mark.parametrize("conditions", [[], [{"peer": ["mr1"]}], [HEAD], [{"any": [CT, HEAD]}]])
def test_a_rule_that_wants_the_study(tmp_path, conditions):
    made = _plan(tmp_path, _series(1, StudyDescription="MR head"), [_rule(*conditions)])
    assert made.jobs
    assert [(answer.wanted, answer.reason) for answer in made.answers] == [
        (True, "It asks for series 1.")
    ]


def test_an_answer_tells_what_every_condition_was_compared_with(tmp_path):
    datasets = [*_series(1, StudyDescription="MR head"), *_series(2, Modality="CT"), _report()]
    made = _plan(tmp_path, datasets, [_rule(MR, HEAD)])
    findings = dict(made.answers[0].findings)
    assert list(findings) == ["2.25.100", "2.25.200"]
    assert [part.holds for part in findings["2.25.100"].parts] == [True, True]
    assert [part.holds for part in findings["2.25.200"].parts] == [False, False]
    assert "MR head" in findings["2.25.100"].parts[1].text
    instances = store_all(datasets, tmp_path)
    brief = plan(
        *(STUDY, _summaries(instances, tmp_path), [_rule(MR, HEAD)], {"brain": _manifest()}),
        explained=False,
    )
    assert (brief.jobs, brief.answers[0].findings) == (made.jobs, ())


def test_the_series_that_comes_nearest_is_named_where_the_reasons_differ(tmp_path):
    datasets = [*_series(1, Modality="CT"), *_series(2, StudyDescription="knee")]
    made = _plan(tmp_path, datasets, [_rule(MR, HEAD)])
    assert made.answers[0].reason == (
        "Series 2 comes nearest: its StudyDescription does not match '(?i)head'."
    )


def test_every_rule_that_matches_gives_a_job(tmp_path):
    rules = [RULE, _rule({"peer": ["x"]}, name="never"), replace(RULE, name="again")]
    made = _plan(tmp_path, _series(1), rules)
    assert [job.rule for job in made.jobs] == ["brains", "again"]
    assert [answer.wanted for answer in made.answers] == [True, False, True]


def test_a_job_that_depends_on_any_image_has_a_digest_of_all(tmp_path):
    rule = replace(RULE, late_images=LateImages.ANY)
    few = _plan(tmp_path, _series(1), [rule])
    more = _plan(tmp_path, [*_series(1), *_series(2, 3)], [rule])
    back = _plan(tmp_path, [*_series(1), *_series(2, 3), _report()], [rule])
    digests = [made.jobs[0].input_digest for made in (few, more, back)]
    assert digests[0] != digests[1] == digests[2]
    assert _plan(tmp_path, _series(1)).jobs[0].input_digest != digests[0]


def test_a_study_of_documents_is_wanted_by_nobody(tmp_path):
    made = _plan(tmp_path, [_report()], [_rule()])
    assert made.jobs == ()
    assert made.answers[0].reason == "It needs images, the study has none."


def test_an_empty_study_and_no_rules(tmp_path):
    assert _plan(tmp_path, []).jobs == ()
    assert "no rules" in _plan(tmp_path, _series(1), []).reason


def test_a_model_that_is_not_loaded_is_a_mistake_of_the_configuration(tmp_path):
    with pytest.raises(ConfigurationError, match="'liver', which is not loaded"):
        _plan(tmp_path, _series(1), [replace(RULE, model="liver")])


def test_an_object_that_cannot_be_read_refuses_its_series_only(tmp_path):
    instances = store_all([*_series(1, 20), *_series(2)], tmp_path)
    (tmp_path / instances[3].path).write_bytes(b"damaged")
    series = _summaries(instances, tmp_path)
    (job,) = plan(STUDY, series, [RULE], {"brain": _manifest()}).jobs
    assert job.series_instance_uid == "2.25.200"
    assert job.candidates[0].reason == "1 of its 20 objects cannot be read."
    with pytest.raises(PixelDataError, match="cannot be read"):
        read_volume(instances[:20], tmp_path)


def test_a_series_of_which_nothing_can_be_read(tmp_path):
    instances = store_all(_series(1), tmp_path)
    for instance in instances:
        (tmp_path / instance.path).unlink()
    series = _summaries(instances, tmp_path)
    made = plan(STUDY, series, [RULE], {"brain": _manifest()})
    assert made.jobs == ()
    assert "none of the study's can be read" in made.reason


def test_series_come_by_number_and_instances_by_theirs(tmp_path):
    instances = store_all([*_series(7)[::-1], *_series(3), _report()], tmp_path)
    series = read_study(instances, tmp_path)
    assert [item.number for item in series] == [3, 7, 9]
    numbers = [header.instance_number for header in series[1].headers]
    assert numbers == sorted(numbers)
    assert [item.holds_images for item in series] == [True, True, False]
