"""Which earlier report is named: by a new version of the model, and by a study a year later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from secondread.domain.destination import Destination
from secondread.domain.form import Form, SegmentationKind
from secondread.domain.job import Job
from secondread.domain.states import DeliveryState, JobState
from secondread.observe.keys import patient_mark, study_key
from secondread.pipeline import write as write_stage
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.infer import Infer
from secondread.pipeline.retry import retry_study
from secondread.pipeline.write import Write
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from tests.house import House, StillClock

Written = list[tuple[ResultContext, Analysis]]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house without a study, whose rule sends to one destination."""
    house = House(tmp_path / "data", StillClock())
    send_to(house, pacs=Form())
    return house


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """What is handed to the writing of each form, which goes on as ever."""
    seen: Written = []
    real = write_stage.write_results

    def write(context: ResultContext, analysis: Analysis, folder: Path) -> Any:
        seen.append((context, analysis))
        return real(context, analysis, folder)

    monkeypatch.setattr(write_stage, "write_results", write)
    return seen


def send_to(house: House, **forms: Form) -> None:
    places = {
        name: Destination(
            name=name,
            ae_title=name.upper(),
            host="localhost",
            port=104,
            calling_ae_title="SECONDREAD",
            timeout_s=5.0,
            attempts_max=3,
            form=form,
        )
        for name, form in forms.items()
    }
    house.place = replace(house.place, destinations=places)
    house.set_rule(destinations=tuple(forms))


def deliver(house: House, job: Job, level: int = 0) -> None:
    """As if everybody had taken the results of a job, in the form of this level."""
    now = house.clock.time
    with house.place.ledger.begin() as change:
        for item in change.outbox.of_job(job.id):
            if item.state is DeliveryState.READY and item.level < level and item.kind == "seg":
                change.outbox.fall_back(item, now, "Refused.")
        for item in change.outbox.of_job(job.id):
            if item.state is DeliveryState.READY:
                change.outbox.move(item, DeliveryState.SENT, now, "Sent.")
        change.jobs.move(change.jobs.get(job.id), JobState.DELIVERED, now, "Sent.")
        change.studies.close_if_finished(job.study_id, now)


def run(house: House, study_id: int = 1) -> Job:
    """Analyse and write what is planned; the newest job of the study."""
    house.analyse()
    assert Write(house.place).step()
    with house.place.ledger.read() as view:
        job = view.jobs.of_study(study_id)[-1]
    assert job.state in {JobState.WRITTEN, JobState.DELIVERED}, job.reason
    return job


def report_of(house: House, job: Job, form: Form | None = None) -> Dataset:
    mark = (form or Form()).mark
    return dcmread(house.place.spool.results / job.key / mark / "sr.dcm")


def upgrade(house: House, version: str) -> None:
    """Another version of the model, as after a restart."""
    (manifest,) = house.place.manifests.values()
    newer = replace(manifest, version=version, digest="a" * 64)
    house.place = replace(house.place, manifests=MappingProxyType({manifest.id: newer}))
    house.set_rule()


def retry(house: House) -> None:
    with house.place.ledger.begin() as change:
        retry_study(change, change.studies.get(1), house.clock.time)
    assert Assemble(house.place).step()


def test_new_version_of_the_model_is_a_new_series_that_names_the_old_report(
    house: House, head_series: Callable[..., Any], written: Written
) -> None:
    house.receive(head_series("axial").paths)
    house.assemble()
    first = run(house)
    deliver(house, first)
    retry(house)
    assert len(house.jobs) == 1, "the same model gives nothing new"
    upgrade(house, "2.0.0")
    retry(house)
    written.clear()
    second = run(house)
    assert (second.version, second.model_version, second.predecessor_id) == (2, "2.0.0", first.id)
    before, after = report_of(house, first), report_of(house, second)
    assert before.SeriesInstanceUID != after.SeriesInstanceUID
    (study,) = after.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == before.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    predecessor = written[0][0].predecessor
    assert predecessor is not None
    assert predecessor.model_version == first.model_version != "2.0.0"


def test_answer_of_the_old_version_is_not_told_in_the_name_of_the_new_one(
    house: House, head_series: Callable[..., Any]
) -> None:
    house.receive(head_series("axial").paths)
    house.assemble()
    house.analyse()
    upgrade(house, "2.0.0")
    assert Write(house.place).step()
    assert house.job.state is JobState.FAILED
    assert "is version 2.0.0 now, and this was for version 1.0.0; retry" in house.job.reason
    retry(house)
    first, second = house.jobs
    assert (first.state, second.model_version) == (JobState.SUPERSEDED, "2.0.0")
    house.infer = Infer(house.place, house.engine)
    assert run(house).outcome == "analysed"


@pytest.mark.parametrize("level", [0, 1])
def test_the_report_that_the_destination_has_is_the_predecessor_in_every_form(
    house: House, head_series: Callable[..., Any], written: Written, level: int
) -> None:
    house.receive(head_series("axial").paths)
    house.assemble()
    first = run(house)
    deliver(house, first, level)
    alone = Form().without_segmentation()
    had = report_of(house, first, alone if level else None).SOPInstanceUID
    upgrade(house, "2.0.0")
    retry(house)
    written.clear()
    run(house)
    assert len(written) == 2
    for context, _ in written:
        assert context.predecessor is not None
        assert context.predecessor.sop_instance_uid == had


def test_what_is_still_on_its_way_is_named_form_by_form(
    house: House, head_series: Callable[..., Any], written: Written
) -> None:
    house.receive(head_series("axial").paths)
    house.assemble()
    first = run(house)
    with house.place.ledger.begin() as change:
        # All that matters here: the study can be looked at again before anything was sent.
        change.jobs._connection.exec_driver_sql("UPDATE study SET state = 'done'")
    upgrade(house, "2.0.0")
    retry(house)
    written.clear()
    run(house)
    named = [context.predecessor.sop_instance_uid for context, _ in written if context.predecessor]
    alone = Form().without_segmentation()
    assert named == [
        report_of(house, first).SOPInstanceUID,
        report_of(house, first, alone).SOPInstanceUID,
    ]


def test_destination_that_wants_another_form_now_is_told_of_the_report_it_has(
    house: House, head_series: Callable[..., Any], written: Written
) -> None:
    house.receive(head_series("axial").paths)
    house.assemble()
    first = run(house)
    deliver(house, first)
    send_to(house, pacs=Form(segmentation=SegmentationKind.NONE, fallback=()))
    upgrade(house, "2.0.0")
    retry(house)
    written.clear()
    run(house)
    ((context, _),) = written
    assert context.predecessor is not None
    assert context.predecessor.sop_instance_uid == report_of(house, first).SOPInstanceUID


class Visits:
    """Studies of people, one after the other, each as its own acquisition."""

    def __init__(self, house: House, head_series: Callable[..., Any]) -> None:
        self.house = house
        self._head_series = head_series
        self._count = 0

    def come(self, date: str, patient: str = "P1", issuer: str = "", **fields: str) -> Job:
        """A study of this day arrives, is analysed and written."""
        self._count += 1
        paths: Sequence[Path] = self._head_series(
            seed=f"visit {self._count}", study_date=date, patient_id=patient, **fields
        ).paths
        if issuer:
            for path in paths:
                image = dcmread(path)
                image.IssuerOfPatientID = issuer
                image.save_as(path)
        self.house.receive(paths)
        self.house.assemble()
        return run(self.house, self._count)


@pytest.fixture
def visits(house: House, head_series: Callable[..., Any]) -> Visits:
    return Visits(house, head_series)


def test_study_a_year_later_is_compared_with_the_one_before(
    house: House, visits: Visits, written: Written
) -> None:
    first = visits.come("20230105")
    deliver(house, first)
    assert written[0][1].earlier is None
    assert written[0][1].labels.any()
    written.clear()
    second = visits.come("20240110")
    report = report_of(house, first)
    earlier = written[0][1].earlier
    assert earlier is not None
    assert (earlier.study_date, earlier.sop_instance_uid) == ("20230105", report.SOPInstanceUID)
    assert earlier.study_instance_uid == report.StudyInstanceUID
    assert earlier.volumes_ml
    assert all(volume > 0 for volume in earlier.volumes_ml.values())
    assert first.patient_mark == second.patient_mark != ""
    # It is no predecessor: what was found then was not wrong.
    assert "PredecessorDocumentsSequence" not in report_of(house, second)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"patient": "P1"}, {"patient": "P2"}),
        ({"patient": "P1", "issuer": "North"}, {"patient": "P1", "issuer": "South"}),
        ({"patient": "P1", "issuer": "North"}, {"patient": "P1"}),
        ({"patient": ""}, {"patient": ""}),
        ({"patient_birth_date": "19700101"}, {"patient_birth_date": "19810203"}),
    ],
    ids=["other patient", "other issuer", "issuer left out", "no Patient ID", "other birth date"],
)
def test_what_may_be_another_person_is_never_compared(
    house: House, visits: Visits, written: Written, before: dict[str, Any], after: dict[str, Any]
) -> None:
    deliver(house, visits.come("20230105", **before))
    visits.come("20240110", **after)
    assert all(analysis.earlier is None for _, analysis in written)


def test_only_a_delivered_report_of_an_earlier_day_counts_and_the_newest_of_them(
    house: House, visits: Visits, written: Written
) -> None:
    deliver(house, visits.come("20250101"))
    deliver(house, visits.come("20200101"))
    newest = visits.come("20230303")
    deliver(house, newest)
    deliver(house, visits.come("20220101"))
    visits.come("20230909")  # written, and never arrived
    deliver(house, visits.come("20240110"))
    written.clear()
    visits.come("20240110")
    for _, analysis in written:
        assert analysis.earlier is not None
        assert analysis.earlier.study_date == "20230303"
    report = report_of(house, newest)
    first = written[0][1].earlier
    assert first is not None
    assert first.sop_instance_uid == report.SOPInstanceUID


def test_what_was_in_shadow_is_not_compared_with_in_what_is_sent(
    house: House, visits: Visits, written: Written
) -> None:
    house.set_rule(shadow=True)
    visits.come("20230105")
    visits.come("20230606")
    assert written[-1][1].earlier is not None
    house.set_rule(shadow=False)
    written.clear()
    visits.come("20240110")
    assert all(analysis.earlier is None for _, analysis in written)


def test_marks_of_patients_lead_nowhere_and_tell_issuers_apart() -> None:
    secret = b"s" * 32
    marks = [
        patient_mark("P1", "", secret),
        patient_mark("P1", "North", secret),
        patient_mark("P1", "South", secret),
        patient_mark("NorthP1", "", secret),
        patient_mark("P1", "", b"t" * 32),
    ]
    assert len(set(marks)) == len(marks)
    assert all(len(mark) == 64 for mark in marks)
    assert patient_mark(" P1 ", "North ", secret) == patient_mark("P1", "North", secret)
    assert patient_mark("", "North", secret) == patient_mark("  ", "", secret) == ""
    assert not patient_mark("2.25.7", "", secret).startswith(study_key("2.25.7", secret))
