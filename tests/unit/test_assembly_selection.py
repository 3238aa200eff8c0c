from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage

from secondread.assembly.selection import digest, plan
from secondread.assembly.series import read_study
from secondread.assembly.volume import read_volume
from secondread.bundles.manifest import InputEnvelope, Manifest
from secondread.domain.network import Rule
from secondread.domain.states import StudyState
from secondread.domain.study import Study
from secondread.errors import ConfigurationError, PixelDataError
from tests.slices import STUDY_UID, make_series, store_all

STUDY = Study(1, STUDY_UID, StudyState.ASSEMBLING, "mr1", 0.0, 0.0, 0.0, 0.0, 0, 0, "")
RULE = Rule(
    name="brains",
    model="brain",
    destinations=("pacs",),
    peers=(),
    modalities=("MR",),
    study_description="",
    priority=3,
    report_not_analysed=True,
)
ENVELOPE = InputEnvelope(
    modality=("MR",),
    body_part=("HEAD", "BRAIN"),
    min_slices=10,
    max_slices=100,
    min_spacing_mm=0.5,
    max_spacing_mm=4.0,
    min_extent_mm=10.0,
    forbidden_image_types=("DERIVED",),
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


def _plan(tmp_path, datasets, rules=(RULE,), study=STUDY, **envelope):
    series = read_study(store_all(list(datasets), tmp_path), tmp_path)
    return plan(study, series, rules, {"brain": _manifest(**envelope)})


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
    assert job.input_digest == digest(instances)
    assert read_volume(instances, tmp_path).voxels.shape == (12, 16, 16)


def test_most_slices_win_then_the_finest_voxels_then_the_lowest_number(tmp_path):
    few, many = _series(1, 12), _series(2, 14)
    fine = _series(3, 14, PixelSpacing=["0.9", "0.9"])
    same = _series(4, 14, PixelSpacing=["0.9", "0.9"])
    job = _job(tmp_path, [*few, *many, *fine, *same])
    assert job.series_instance_uid == "2.25.300"
    assert [candidate.accepted for candidate in job.candidates] == [True] * 4
    assert job.candidates[0].reason.startswith("Suitable, another is better: 12 slices")


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
        ({"Modality": "CT"}, "Its modality is CT; the model takes MR."),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "It is a localizer."),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "It is a mosaic."),
        ({"ImageType": ["DERIVED", "PRIMARY"]}, "Its Image Type holds DERIVED."),
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
    assert "Series 2: Its modality is CT" in job.refusal
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


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modalities": ("CT", "PT")}, "needs modality CT or PT, the study has MR"),
        ({"peers": ("ct1",)}, "takes studies from ct1, not from mr1"),
        ({"study_description": "(?i)knee"}, "needs a Study Description that matches '(?i)knee'"),
    ],
)
def test_a_rule_that_does_not_want_the_study_says_why(tmp_path, changes, reason):
    rule = replace(RULE, name="other", **changes)
    made = _plan(tmp_path, _series(1, StudyDescription="MR head"), [rule])
    assert made.jobs == ()
    assert made.reason == f"No rule wants this study: rule 'other' {reason}."


@pytest.mark.parametrize(
    "changes", [{"modalities": ()}, {"peers": ("mr1",)}, {"study_description": "head$"}]
)
def test_a_rule_that_wants_the_study(tmp_path, changes):
    rule = replace(RULE, **changes)
    assert _plan(tmp_path, _series(1, StudyDescription="MR head"), [rule]).jobs


def test_every_rule_that_matches_gives_a_job(tmp_path):
    rules = [RULE, replace(RULE, name="never", peers=("x",)), replace(RULE, name="again")]
    assert [job.rule for job in _plan(tmp_path, _series(1), rules).jobs] == ["brains", "again"]


def test_a_study_of_documents_is_wanted_by_nobody(tmp_path):
    made = _plan(tmp_path, [_report()], [replace(RULE, modalities=())])
    assert made.jobs == ()
    assert "needs images, the study has none" in made.reason


def test_an_empty_study_and_no_rules(tmp_path):
    assert _plan(tmp_path, []).jobs == ()
    assert "no rules" in _plan(tmp_path, _series(1), []).reason


def test_a_model_that_is_not_loaded_is_a_mistake_of_the_configuration(tmp_path):
    with pytest.raises(ConfigurationError, match="'liver', which is not loaded"):
        _plan(tmp_path, _series(1), [replace(RULE, model="liver")])


def test_an_object_that_cannot_be_read_refuses_its_series_only(tmp_path):
    instances = store_all([*_series(1, 20), *_series(2)], tmp_path)
    (tmp_path / instances[3].path).write_bytes(b"damaged")
    series = read_study(instances, tmp_path)
    (job,) = plan(STUDY, series, [RULE], {"brain": _manifest()}).jobs
    assert job.series_instance_uid == "2.25.200"
    assert job.candidates[0].reason == "1 of its 20 objects cannot be read."
    with pytest.raises(PixelDataError, match="cannot be read"):
        read_volume(instances[:20], tmp_path)


def test_a_series_of_which_nothing_can_be_read(tmp_path):
    instances = store_all(_series(1), tmp_path)
    for instance in instances:
        (tmp_path / instance.path).unlink()
    series = read_study(instances, tmp_path)
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
