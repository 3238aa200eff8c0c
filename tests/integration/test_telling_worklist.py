"""Scheduled work, by DIMSE and over the web, from a manager that keeps to PS3.4 CC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from secondread.delivery.telling.worklist.channel import GoneError, TakenError, Worklist
from secondread.delivery.telling.worklist.dimse import DimseWorklist
from secondread.delivery.telling.worklist.performer import (
    cancel,
    claim,
    complete,
    find_work,
    report_progress,
)
from secondread.delivery.telling.worklist.web import WebWorklist
from secondread.delivery.telling.worklist.workitem import (
    Claim,
    Criteria,
    Performed,
    Progress,
    State,
    claim_of,
)
from secondread.domain.code import Code
from secondread.domain.commitment import Reference
from secondread.errors import PeerRefusedError, PeerUnreachableError
from tests.telling_peers import (
    CANCELED,
    COMPLETED,
    DONE,
    GIVEN_UP,
    IN_PROGRESS,
    ITEM,
    OTHER_WORK,
    OURS,
    SEGMENT,
    STATION,
    THEIRS,
    Manager,
    address,
    coded,
    dimse_manager,
    scheduled,
    uids,
    web_manager,
)
from tests.web_peers import target


@contextmanager
def by_dimse(manager: Manager) -> Iterator[Worklist]:
    with dimse_manager(manager) as port:
        yield DimseWorklist(address(port))


@contextmanager
def by_web(manager: Manager) -> Iterator[Worklist]:
    with web_manager(manager) as peer:
        yield WebWorklist(target(peer))


WAYS = {"dimse": by_dimse, "web": by_web}


@pytest.fixture
def manager() -> Manager:
    found = Manager()
    found.add(scheduled(ITEM))
    return found


@pytest.fixture(params=list(WAYS))
def worklist(request: pytest.FixtureRequest, manager: Manager) -> Iterator[Worklist]:
    with WAYS[request.param](manager) as found:
        yield found


# --- finding ---


def test_work_is_found_by_code_station_and_readiness(manager: Manager, worklist: Worklist) -> None:
    manager.add(
        scheduled("1.2.1", "measure"),
        scheduled("1.2.2", ""),
        scheduled("1.2.4", ScheduledStationNameCodeSequence=[coded("SECONDREAD")]),
        scheduled("1.2.5", ScheduledStationNameCodeSequence=[coded("SOMEBODY")]),
        scheduled("1.2.6", InputReadinessState="INCOMPLETE"),
        scheduled("1.2.7", ProcedureStepState=COMPLETED),
        scheduled("1.2.8", ScheduledWorkitemCodeSequence=[coded("segment", "99OTHER")]),
    )
    assert uids(worklist, Criteria((SEGMENT,))) == ["1.2.4", "1.2.5", ITEM]
    assert uids(worklist, Criteria((SEGMENT, OTHER_WORK))) == ["1.2.1", "1.2.4", "1.2.5", ITEM]
    assert uids(worklist, Criteria((SEGMENT,), (STATION,))) == ["1.2.4"]
    assert set(uids(worklist, Criteria())) == {"1.2.1", "1.2.2", "1.2.4", "1.2.5", "1.2.8", ITEM}
    assert uids(worklist, Criteria((Code("none", "99TEST", ""),))) == []
    for keys in manager.keys:
        assert (keys.ProcedureStepState, keys.InputReadinessState) == ("SCHEDULED", "READY")


def test_a_manager_that_heeds_no_keys_is_seen_through(manager: Manager, worklist: Worklist) -> None:
    manager.heeds_keys = False
    manager.add(
        scheduled("1.2.1", "measure"),
        scheduled("1.2.2", ProcedureStepState=IN_PROGRESS),
        scheduled("1.2.3", InputReadinessState="UNAVAILABLE"),
    )
    assert uids(worklist, Criteria((SEGMENT,))) == [ITEM]


def test_the_urgent_comes_first_then_what_starts_first(
    manager: Manager, worklist: Worklist
) -> None:
    manager.add(
        scheduled("1.2.1", ScheduledProcedureStepPriority="LOW"),
        scheduled("1.2.2", ScheduledProcedureStepStartDateTime="20250101120000"),
        scheduled("1.2.3", ScheduledProcedureStepPriority="HIGH"),
    )
    assert uids(worklist, Criteria((SEGMENT,))) == ["1.2.3", "1.2.2", ITEM, "1.2.1"]


def test_input_says_what_is_worked_on_and_where_it_is(manager: Manager, worklist: Worklist) -> None:
    manager.add(scheduled(ITEM, InputInformationSequence=[_input(), Dataset()]))
    (found,) = find_work(worklist, Criteria((SEGMENT,)))
    assert (found.state, found.priority, found.starts) == ("SCHEDULED", "MEDIUM", "20260101120000")
    assert found.workitem_codes == (Code("segment", "99TEST", "a thing"),)
    assert (found.station_codes, found.study_instance_uid) == ((), "1.2.3")
    first = found.inputs[0]
    assert (first.study_instance_uid, first.series_instance_uid) == ("1.2.3", "1.2.3.4")
    assert first.objects == (Reference(MRImageStorage, "1.2.3.4.1"),)
    assert (first.ae_titles, first.urls) == (("ARCHIVE",), ("https://pacs/wado",))
    assert "Doe" not in repr(found) and "4711" not in repr(found)


def _input() -> Dataset:
    item = Dataset()
    item.TypeOfInstances = "DICOM"
    item.StudyInstanceUID, item.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    good, bad = Dataset(), Dataset()
    good.ReferencedSOPClassUID, good.ReferencedSOPInstanceUID = MRImageStorage, "1.2.3.4.1"
    bad.ReferencedSOPClassUID = MRImageStorage
    item.ReferencedSOPSequence = [good, bad]
    title, url = Dataset(), Dataset()
    title.RetrieveAETitle, url.RetrieveURL = "ARCHIVE", "https://pacs/wado"
    item.DICOMRetrievalSequence, item.WADORSRetrievalSequence = [title], [url]
    return item


def test_no_more_is_taken_than_is_wanted(manager: Manager, worklist: Worklist) -> None:
    manager.add(*(scheduled(f"1.2.900.{number}") for number in range(40)))
    assert len(find_work(worklist, Criteria((SEGMENT,), limit=3))) == 3
    # Whoever was cut off still answers the next question.
    assert len(find_work(worklist, Criteria((SEGMENT,)))) == 41


# --- performing ---


def test_work_is_claimed_reported_and_completed(manager: Manager, worklist: Worklist) -> None:
    claim(worklist, OURS)
    assert manager.state(ITEM) == IN_PROGRESS
    assert manager.items[ITEM].TransactionUID == OURS.transaction_uid
    report_progress(worklist, OURS, Progress(33.3333, "reading slices"))
    (said,) = manager.items[ITEM].ProcedureStepProgressInformationSequence
    assert float(said.ProcedureStepProgress) == 33.33
    assert said.ProcedureStepProgressDescription == "reading slices"
    complete(worklist, OURS, DONE)
    assert manager.state(ITEM) == COMPLETED
    (done,) = manager.items[ITEM].UnifiedProcedureStepPerformedProcedureSequence
    assert done.PerformedStationNameCodeSequence[0].CodeValue == "SECONDREAD"
    assert done.PerformedWorkitemCodeSequence[0].CodeMeaning == "Segmentação"
    assert done.PerformedProcedureStepStartDateTime == "20231114221320.000000+0000"
    assert done.PerformedProcedureStepEndDateTime == "20231114221420.500000+0000"
    assert done.PerformedProcedureStepDescription == "two lesions of the brain"
    (output,) = done.OutputInformationSequence
    assert (output.StudyInstanceUID, output.SeriesInstanceUID) == ("1.2.3", "1.2.3.9")
    assert output.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.9.1"
    assert output.DICOMRetrievalSequence[0].RetrieveAETitle == "ARCHIVE"


def test_work_without_results_is_completed_all_the_same(
    manager: Manager, worklist: Worklist
) -> None:
    claim(worklist, OURS)
    complete(worklist, OURS, Performed(Code("segment", "99TEST", "x"), STATION, 1.0, 2.0, ()))
    assert manager.state(ITEM) == COMPLETED


def test_work_is_given_up_with_a_reason(manager: Manager, worklist: Worklist) -> None:
    claim(worklist, OURS)
    cancel(worklist, OURS, GIVEN_UP)
    assert manager.state(ITEM) == CANCELED
    (said,) = manager.items[ITEM].ProcedureStepProgressInformationSequence
    assert said.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110523"
    assert said.ReasonForCancellation == "slices are missing"
    assert said.ProcedureStepCancellationDateTime == "20231114221320.000000+0000"


def test_only_one_of_two_gets_the_work(manager: Manager, worklist: Worklist) -> None:
    claim(worklist, THEIRS)
    for again in (False, True):
        with pytest.raises(TakenError):
            claim(worklist, OURS, again=again)
    for refused in _everything(worklist, OURS):
        with pytest.raises(TakenError):
            refused()
    assert manager.items[ITEM].TransactionUID == THEIRS.transaction_uid
    assert manager.changed == [(IN_PROGRESS, ITEM)]


def _everything(worklist: Worklist, held: Claim) -> list[Callable[[], None]]:
    return [
        lambda: report_progress(worklist, held, Progress(50)),
        lambda: complete(worklist, held, DONE),
        lambda: cancel(worklist, held, GIVEN_UP),
    ]


def test_a_claim_whose_answer_was_lost_is_ours_all_the_same(
    manager: Manager, worklist: Worklist
) -> None:
    manager.lose = 1
    with pytest.raises(PeerUnreachableError):
        claim(worklist, OURS)
    assert manager.state(ITEM) == IN_PROGRESS
    with pytest.raises(TakenError):
        claim(worklist, OURS)
    claim(worklist, OURS, again=True)
    complete(worklist, OURS, DONE)
    assert manager.state(ITEM) == COMPLETED


@pytest.mark.parametrize("lose_at", [1, 2])
@pytest.mark.parametrize("state", [COMPLETED, CANCELED])
def test_an_end_whose_answer_was_lost_is_said_again(
    manager: Manager, worklist: Worklist, state: str, lose_at: int
) -> None:
    claim(worklist, OURS)

    def end() -> None:
        if state == COMPLETED:
            complete(worklist, OURS, DONE)
        else:
            cancel(worklist, OURS, GIVEN_UP)

    if lose_at == 1:
        manager.lose = 1
        with pytest.raises(PeerUnreachableError):
            end()
        assert manager.state(ITEM) == IN_PROGRESS
    end()
    end()
    assert manager.state(ITEM) == state
    assert manager.changed.count((state, ITEM)) == 1


@pytest.mark.parametrize("state", [COMPLETED, CANCELED])
def test_work_that_is_over_cannot_be_ended_otherwise(
    manager: Manager, worklist: Worklist, state: str
) -> None:
    claim(worklist, OURS)
    manager.items[ITEM].ProcedureStepState = state
    with pytest.raises(GoneError):
        report_progress(worklist, OURS, Progress(50))
    with pytest.raises(GoneError):
        (cancel if state == COMPLETED else complete)(
            worklist,
            OURS,
            GIVEN_UP if state == COMPLETED else DONE,
        )
    with pytest.raises(GoneError):
        claim(worklist, OURS)
    assert manager.state(ITEM) == state


def test_work_that_nobody_has_claimed_cannot_be_ended(manager: Manager, worklist: Worklist) -> None:
    for refused in _everything(worklist, OURS):
        with pytest.raises(PeerRefusedError, match="nobody has claimed"):
            refused()
    assert manager.state(ITEM) == "SCHEDULED"


def test_work_that_is_not_there(worklist: Worklist) -> None:
    strange = claim_of("1.2.78", b"secret" * 6)
    for refused in (*_everything(worklist, strange), lambda: claim(worklist, strange)):
        with pytest.raises(GoneError) as raised:
            refused()
        assert "1.2.78" not in str(raised.value)


def test_final_state_that_lacks_something_is_not_reached(
    manager: Manager, worklist: Worklist
) -> None:
    claim(worklist, OURS)
    with worklist.open() as channel, pytest.raises(PeerRefusedError, match="final state"):
        channel.change_state(OURS, State.COMPLETED)
    assert manager.state(ITEM) == IN_PROGRESS
