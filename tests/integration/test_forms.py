"""Results in several forms: who gets which, what is held in reserve, and the same bytes again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from secondread.domain.destination import Destination
from secondread.domain.engine import Finished, Ticket
from secondread.domain.form import Compression, Form, Language, Overlay, SegmentationKind
from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState, JobState
from secondread.pipeline.editions import plan_editions, plan_refusals
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.write import Write
from tests.house import House, StillClock

USUAL = Form()
ALONE = Form(segmentation=SegmentationKind.NONE, fallback=())
LABEL_MAP = Form(
    segmentation=SegmentationKind.LABELMAP,
    fallback=(SegmentationKind.BINARY, SegmentationKind.NONE),
)
EVERYTHING = Form(
    key_objects=True,
    overlay=Overlay.PRESENTATION_STATE,
    summary=True,
    pdf=True,
    structure_set=True,
)
FORMS = {
    "usual": USUAL,
    "label map": LABEL_MAP,
    "label map, JPEG-LS": replace(LABEL_MAP, compression=Compression.JPEG_LS),
    "fractional": Form(segmentation=SegmentationKind.FRACTIONAL),
    "empty frames": Form(empty_frames=True, fallback=()),
    "one segment each": Form(one_segment_each=True, fallback=()),
    "Chinese": Form(language=Language.CHINESE, fallback=()),
    "everything besides": EVERYTHING,
    "captures": Form(overlay=Overlay.SECONDARY_CAPTURE, fallback=()),
}


def destination(name: str, form: Form) -> Destination:
    return Destination(
        name=name,
        ae_title=name.upper(),
        host="localhost",
        port=104,
        calling_ae_title="SECONDREAD",
        timeout_s=5.0,
        attempts_max=3,
        form=form,
    )


def send_to(house: House, **forms: Form) -> None:
    """Let the rule send to these destinations."""
    places = {name: destination(name, form) for name, form in forms.items()}
    house.place = replace(house.place, destinations=places)
    house.set_rule(destinations=tuple(forms))


@pytest.fixture
def house(tmp_path: Path, head_series: Callable[..., Any]) -> House:
    """A house with one study that has been planned."""
    house = House(tmp_path / "data", StillClock())
    house.receive(head_series("axial").paths)
    house.assemble()
    return house


def rows(house: House) -> list[OutboxItem]:
    with house.place.ledger.read() as view:
        return list(view.outbox.of_job(1))


def files(house: House) -> Mapping[Path, bytes]:
    folder = house.place.spool.results / house.job.key
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_those_who_want_the_same_form_share_its_objects(house: House) -> None:
    send_to(house, pacs=USUAL, viewer=LABEL_MAP, archive=USUAL, desk=ALONE)
    house.analyse()
    Write(house.place).step()
    found: dict[str, dict[int, list[str]]] = {}
    for row in rows(house):
        found.setdefault(row.destination, {}).setdefault(row.level, []).append(row.path)
        assert row.state is (DeliveryState.RESERVED if row.level else DeliveryState.READY)
    assert {name: len(levels) for name, levels in found.items()} == {
        "pacs": 2,
        "archive": 2,
        "viewer": 3,
        "desk": 1,
    }
    assert found["pacs"] == found["archive"]
    assert found["viewer"][1] == found["pacs"][0]
    assert found["viewer"][2] == found["pacs"][1] == found["desk"][0]
    # Three forms, two of them with a segmentation.
    assert len(files(house)) == 5
    with house.place.ledger.read() as view:
        (text,) = [row.text for row in view.trail.of_study(1) if row.after == "written"]
    assert text == "SEG and SR written and checked, in 3 forms."


def test_forms_differ_in_their_uids_and_agree_on_what_they_are_about(house: House) -> None:
    send_to(house, pacs=USUAL, viewer=replace(USUAL, empty_frames=True))
    house.analyse()
    Write(house.place).step()
    found = [dcmread(path) for path in files(house)]
    assert len(found) == 5
    assert len({one.SOPInstanceUID for one in found}) == len(found)
    assert len({one.SeriesInstanceUID for one in found}) == len(found)
    first, second = (one for one in found if one.Modality == "SEG")
    assert [one.TrackingUID for one in first.SegmentSequence] == [
        one.TrackingUID for one in second.SegmentSequence
    ]


def test_where_nothing_is_found_nothing_is_held_in_reserve(house: House) -> None:
    send_to(house, pacs=LABEL_MAP)
    assert Prepare(house.place).step()
    assert house.infer.step()
    task = house.engine.tasks[-1]
    np.save(task.labels_path, np.zeros(np.load(task.volume_path).shape, np.uint8))
    ticket = Ticket(task.job_key, task.attempt)
    house.engine.outcomes.append(Finished(ticket, "", (), 0.1))
    assert house.infer.collect(0)
    Write(house.place).step()
    assert [(row.level, row.kind) for row in rows(house)] == [(0, "sr")]


def test_a_refusal_is_one_report_for_each_language(house: House) -> None:
    send_to(
        house,
        pacs=USUAL,
        viewer=LABEL_MAP,
        beijing=replace(LABEL_MAP, language=Language.CHINESE),
    )
    assert Prepare(house.place).step()
    assert house.infer.step()
    task = house.engine.tasks[-1]
    ticket = Ticket(task.job_key, task.attempt)
    house.engine.outcomes.append(Finished(ticket, "It is no head.", (), 0.1))
    house.infer.collect(0)
    Write(house.place).step()
    found = {row.destination: row.path for row in rows(house)}
    assert {row.level for row in rows(house)} == {0}
    assert found["pacs"] == found["viewer"] != found["beijing"]
    assert len(files(house)) == 2


def test_rule_in_shadow_writes_every_form_and_no_reserve(house: House) -> None:
    send_to(house, pacs=USUAL, viewer=replace(USUAL, empty_frames=True))
    house.set_rule(shadow=True)
    house.analyse()
    Write(house.place).step()
    assert house.job.state is JobState.DELIVERED
    assert rows(house) == []
    assert len(files(house)) == 4


def test_language_that_the_character_set_cannot_hold_is_said(
    tmp_path: Path, head_series: Callable[..., Any]
) -> None:
    house = House(tmp_path / "data", StillClock())
    paths = head_series("axial").paths
    for path in paths:
        image = dcmread(path)
        image.SpecificCharacterSet, image.PatientName = "ISO_IR 100", "M\xfcller^Eva"
        image.save_as(path)
    house.receive(paths)
    house.assemble()
    send_to(house, pacs=USUAL, beijing=Form(language=Language.CHINESE, fallback=()))
    house.analyse()
    Write(house.place).step()
    with house.place.ledger.read() as view:
        (text,) = [row.text for row in view.trail.of_study(1) if row.after == "written"]
    assert text.endswith(
        "The report should be in language 'zh' and is in 'en', because the character set of the "
        "study has no signs for it."
    )
    assert text.count("should be in") == 1


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_job_that_died_before_its_commit_is_written_again_byte_for_byte(
    house: House, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    send_to(house, pacs=form)
    house.analyse()
    with monkeypatch.context() as dying:
        dying.setattr(Write, "_commit", die)
        with pytest.raises(Killed):
            Write(house.place).step()
    assert house.job.state is JobState.INFERRED
    first = files(house)
    assert first
    assert rows(house) == []
    house.clock.time += 5000
    with house.place.ledger.begin() as change:
        change.jobs.release_claims_of("pipeline:")
    assert Write(house.place).step()
    assert house.job.state is JobState.WRITTEN, house.job.reason
    assert files(house) == first
    assert sorted(house.place.spool.absolute(row.path) for row in rows(house)) == sorted(first)
    # And after the commit: what is written once more doubles no row.
    with house.place.ledger.begin() as change:
        change.jobs._connection.exec_driver_sql("UPDATE job SET state = 'inferred'")
    before = rows(house)
    assert Write(house.place).step()
    assert files(house) == first
    assert rows(house) == before


def test_claim_that_was_lost_while_writing_leaves_the_job_to_its_new_owner(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_to(house, pacs=USUAL)
    house.analyse()

    def lose(*_: object, **__: object) -> bool:
        with house.place.ledger.begin() as change:
            change.jobs._connection.exec_driver_sql("UPDATE job SET claimed_by = 'pipeline:other'")
        return False

    monkeypatch.setattr("secondread.pipeline.write.mark_patient", lose)
    Write(house.place).step()
    assert house.job.state is JobState.INFERRED
    assert rows(house) == []


def test_each_form_is_planned_once_and_what_goes_at_once_comes_first() -> None:
    places = {
        "pacs": destination("pacs", USUAL),
        "viewer": destination("viewer", LABEL_MAP),
        "beijing": destination("beijing", Form(language=Language.CHINESE, fallback=())),
    }
    planned = plan_editions(["pacs", "viewer", "beijing", "gone"], places)
    said = [(one.form.segmentation.value, dict(one.levels), one.is_reserve) for one in planned]
    assert said == [
        ("binary", {"pacs": 0, "gone": 0, "viewer": 1}, False),
        ("labelmap", {"viewer": 0}, False),
        ("binary", {"beijing": 0}, False),
        ("none", {"pacs": 1, "gone": 1, "viewer": 2}, True),
    ]
    assert len({one.form.mark for one in planned}) == len(planned)
    assert planned[0].form.mark == ""
    told = plan_refusals(["pacs", "viewer", "beijing"], places)
    assert [dict(one.levels) for one in told] == [{"pacs": 0, "viewer": 0}, {"beijing": 0}]
