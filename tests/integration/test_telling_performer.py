"""The performer at work: from what a worklist schedules to what it is told in the end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from secondread.delivery.performer import ATTEMPTS_MAX, Performer
from secondread.domain.destination import Destination
from secondread.domain.fetch import FetchKind, FetchState
from secondread.domain.instance import Instance
from secondread.domain.states import StudyState
from secondread.domain.web_target import WebTarget
from secondread.domain.worklist import WorklistKind, WorklistTerms, WorkRow, WorkState
from tests.integration.test_telling_teller import (
    LIVENESS_S,
    LONG_S,
    deliver,
    deliver_role,
    keep_safe,
    wait_until,
)
from tests.proof_cases import NODE, Node, open_node
from tests.telling_peers import (
    CANCELED,
    COMPLETED,
    IN_PROGRESS,
    SEGMENT,
    STATION,
    THEIRS,
    Manager,
    dimse_manager,
    scheduled,
    web_manager,
)
from tests.web_peers import PATIENT

STUDY = "2.25.11"
"""The study of the first job of ``proof_cases``."""
OWN_SECRET = b"s" * 32
Reach = Callable[[Manager], Any]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_node(tmp_path / "data") as found:
        found.add_pacs(1)
        yield found


@pytest.fixture
def manager() -> Manager:
    found = Manager()
    found.add(work("1.2.77"))
    return found


def work(uid: str, study: str = STUDY, **values: Any) -> Dataset:
    """An item about the images of a study."""
    source = Dataset()
    source.TypeOfInstances = "DICOM"
    source.StudyInstanceUID, source.SeriesInstanceUID = study, f"{study}.1"
    source.ReferencedSOPSequence = []
    return scheduled(uid, InputInformationSequence=[source], **values)


@contextmanager
def by_dimse(manager: Manager) -> Iterator[WorklistTerms]:
    with dimse_manager(manager) as port:
        call = Destination(
            name="ris", ae_title="MANAGER", host="127.0.0.1", port=port, calling_ae_title=NODE
        )
        yield terms(WorklistKind.DICOM, call=call)


@contextmanager
def by_web(manager: Manager) -> Iterator[WorklistTerms]:
    with web_manager(manager) as peer:
        yield terms(WorklistKind.WEB, web=WebTarget("ris", peer.url, limits=PATIENT))


def terms(kind: WorklistKind, **values: Any) -> WorklistTerms:
    return WorklistTerms(
        name="ris", kind=kind, workitem_codes=(SEGMENT,), station=STATION, **values
    )


both = pytest.mark.parametrize("reach", [by_dimse, by_web])


def new_performer(node: Node, *worklists: WorklistTerms) -> Performer:
    """One that remembers nothing, as after a restart."""
    places = lambda: node.places  # noqa: E731
    return Performer(node.ledger, node.spool, worklists, places, node.clock, OWN_SECRET)


def step(node: Node, made: Performer, asked: WorklistTerms, after_s: float = LONG_S / 1000) -> None:
    made.step(asked)
    node.clock.at += after_s


def rows(node: Node) -> list[WorkRow]:
    with node.ledger.read() as view:
        return [*reversed(view.workitems.of_worklist("ris"))]


def states(node: Node) -> list[WorkState]:
    return [row.state for row in rows(node)]


def percent(manager: Manager, uid: str = "1.2.77") -> int:
    (said,) = manager.items[uid].ProcedureStepProgressInformationSequence
    return int(said.ProcedureStepProgress)


def receive(node: Node, study: str = STUDY) -> None:
    """The first image of a study comes."""
    seen = Instance(f"{study}.1.1", "1.1", study, f"{study}.1", "1.2", "x", 1, "a", "ct", 1.0)
    with node.ledger.begin() as change:
        change.instances.add([seen])
        change.studies.add_instances([seen], lambda _: 5.0)


def move(node: Node, *after: StudyState) -> None:
    with node.ledger.begin() as change:
        for state in after:
            change.studies.move(change.studies.find(STUDY), state, node.clock.now(), "Moved.")


def reason_of(manager: Manager, uid: str = "1.2.77") -> str:
    (said,) = manager.items[uid].ProcedureStepProgressInformationSequence
    (code,) = said.ProcedureStepDiscontinuationReasonCodeSequence
    return str(code.CodeMeaning)


@both
def test_work_is_claimed_followed_and_completed_with_its_results(
    node: Node, manager: Manager, reach: Reach
) -> None:
    with reach(manager) as asked:
        made = new_performer(node, asked)
        step(node, made, asked)
        assert manager.state("1.2.77") == IN_PROGRESS
        step(node, made, asked)
        assert "ProcedureStepProgressInformationSequence" not in manager.items["1.2.77"]
        uids = deliver(node, is_safe=False)
        step(node, made, asked)
        assert (percent(manager), manager.state("1.2.77")) == (90, IN_PROGRESS)
        keep_safe(node)
        step(node, made, asked)
    item = manager.items["1.2.77"]
    assert (item.ProcedureStepState, states(node)) == (COMPLETED, [WorkState.COMPLETED])
    (done,) = item.UnifiedProcedureStepPerformedProcedureSequence
    (output,) = done.OutputInformationSequence
    found = [str(one.ReferencedSOPInstanceUID) for one in output.ReferencedSOPSequence]
    assert found == uids
    assert output.DICOMRetrievalSequence[0].RetrieveAETitle == "PACS"
    assert done.PerformedWorkitemCodeSequence[0].CodeValue == SEGMENT.value
    assert done.PerformedStationNameCodeSequence[0].CodeValue == STATION.value


def test_progress_is_told_when_the_study_goes_on_and_not_again(
    node: Node, manager: Manager
) -> None:
    told: list[int] = []
    with by_dimse(manager) as asked:
        made = new_performer(node, asked)
        step(node, made, asked)
        receive(node)
        for after in (None, StudyState.ASSEMBLING, StudyState.ANALYSING):
            if after is not None:
                move(node, after)
            for _ in range(3):
                step(node, made, asked)
            told.append(percent(manager))
    assert told == [10, 20, 50]
    assert [what for what, _ in manager.changed] == [IN_PROGRESS, "set", "set", "set"]


@both
@pytest.mark.parametrize(
    ("after", "reason"),
    [(StudyState.HELD, "Object Set incomplete"), (StudyState.DONE, "Object Types not supported")],
)
def test_work_that_cannot_be_done_is_given_up_with_the_reason(
    node: Node, manager: Manager, reach: Reach, after: StudyState, reason: str
) -> None:
    with reach(manager) as asked:
        made = new_performer(node, asked)
        step(node, made, asked)
        receive(node)
        move(node, StudyState.ASSEMBLING, after)
        step(node, made, asked)
    assert manager.state("1.2.77") == CANCELED
    assert reason_of(manager) == reason
    assert states(node) == [WorkState.CANCELED]


def test_images_that_never_come_are_waited_for_so_long_and_no_longer(
    node: Node, manager: Manager
) -> None:
    with by_dimse(manager) as asked:
        asked = replace(asked, wait_s=60.0)
        made = new_performer(node, asked)
        step(node, made, asked, 50.0)
        step(node, made, asked, 20.0)
        assert states(node) == [WorkState.CLAIMED]
        step(node, made, asked)
    assert reason_of(manager) == "Object Set incomplete"


def test_images_are_fetched_where_the_worklist_says_who_has_them(
    node: Node, manager: Manager
) -> None:
    with by_dimse(manager) as asked:
        asked = replace(asked, source="pacs")
        made = new_performer(node, asked)
        step(node, made, asked)
        with node.ledger.begin() as change:
            one = change.fetches.claim("deliver:fetch", node.clock.now(), 60.0)
            assert one is not None
            assert (one.kind, one.source, one.study_instance_uid) == (
                FetchKind.WORK,
                "pacs",
                STUDY,
            )
        deliver(node)
        step(node, made, asked)
        assert percent(manager) == 10, "it was ended though more images may come"
        with node.ledger.begin() as change:
            change.fetches.close(one, FetchState.DONE, node.clock.now(), "Fetched.", 3)
        step(node, made, asked)
    assert manager.state("1.2.77") == COMPLETED


def test_no_more_is_held_than_the_node_may_hold(node: Node) -> None:
    manager = Manager()
    manager.add(*(work(f"1.2.{n}", f"2.25.1{n}") for n in range(1, 5)))
    with by_dimse(manager) as asked:
        asked = replace(asked, open_max=2)
        made = new_performer(node, asked)
        for _ in range(3):
            step(node, made, asked)
        assert states(node) == [WorkState.CLAIMED] * 2
        deliver(node)
        for _ in range(3):
            step(node, made, asked)
    assert states(node) == [WorkState.COMPLETED, WorkState.CLAIMED, WorkState.CLAIMED]


def test_work_of_another_kind_or_of_no_one_study_is_left_alone(node: Node) -> None:
    manager = Manager(heeds_keys=False)
    two = work("1.2.2")
    two.InputInformationSequence.append(work("1.2.3", "2.25.99").InputInformationSequence[0])
    manager.add(work("1.2.1", code="measure"), two)
    with by_dimse(manager) as asked:
        step(node, new_performer(node, asked), asked)
    assert rows(node) == []
    assert manager.changed == []


def test_what_another_performer_has_taken_is_lost_and_not_asked_for_again(
    node: Node, manager: Manager
) -> None:
    with by_dimse(manager) as asked:
        made = new_performer(node, asked)
        manager.answer["action"] = 0xC302
        step(node, made, asked)
        del manager.answer["action"]
        for _ in range(2):
            step(node, made, asked)
    assert states(node) == [WorkState.LOST]
    assert manager.changed == []


def test_an_item_that_was_cancelled_meanwhile_is_noticed(node: Node, manager: Manager) -> None:
    with by_dimse(manager) as asked:
        made = new_performer(node, asked)
        step(node, made, asked)
        manager.items["1.2.77"].ProcedureStepState = CANCELED
        receive(node)
        step(node, made, asked)
    assert states(node) == [WorkState.LOST]


def test_a_manager_that_is_down_is_left_alone_and_asked_again(node: Node, manager: Manager) -> None:
    with by_dimse(manager) as asked:
        assert asked.call is not None
        nowhere = replace(asked, call=replace(asked.call, port=1))
        made = new_performer(node, nowhere)
        for _ in range(5):
            step(node, made, nowhere, 0.1)
        assert rows(node) == []
        node.clock.at += LONG_S
        step(node, made, asked)
        assert states(node) == [WorkState.CLAIMED]
        deliver(node)
        step(node, made, nowhere)
        assert states(node) == [WorkState.CLAIMED]
        node.clock.at += LONG_S
        step(node, made, asked)
    assert manager.state("1.2.77") == COMPLETED


def test_an_end_that_is_refused_is_left_to_a_person_in_the_end(
    node: Node, manager: Manager
) -> None:
    with by_dimse(manager) as asked:
        made = new_performer(node, asked)
        step(node, made, asked)
        deliver(node)
        manager.answer["set"] = 0x0106
        for _ in range(ATTEMPTS_MAX):
            assert states(node) == [WorkState.CLAIMED]
            step(node, made, asked, LONG_S)
    assert states(node) == [WorkState.DEAD]


@both
@pytest.mark.parametrize("lost_at", ["claim", "end"])
def test_an_answer_that_is_lost_makes_nothing_twice(
    node: Node, manager: Manager, reach: Reach, lost_at: str
) -> None:
    with reach(manager) as asked:
        made = new_performer(node, asked)
        manager.lose = 1 if lost_at == "claim" else 0
        step(node, made, asked, LONG_S)
        assert manager.state("1.2.77") == IN_PROGRESS
        deliver(node)
        # The first answer to what ends it is that to what was done, the second that to the state.
        manager.lose = 2 if lost_at == "end" else 0
        for _ in range(4):
            step(node, new_performer(node, asked), asked, LONG_S)
    assert manager.state("1.2.77") == COMPLETED
    assert states(node) == [WorkState.COMPLETED]
    ends = [what for what, _ in manager.changed if what != "set"]
    assert ends == [IN_PROGRESS, COMPLETED]


def test_a_claim_that_may_have_left_is_not_taken_for_ours_where_it_is_another_s(
    node: Node, manager: Manager
) -> None:
    with by_dimse(manager) as asked:
        made = new_performer(node, asked)
        assert asked.call is not None
        manager.lose = 1
        step(node, made, asked, LONG_S)
        assert states(node) == [WorkState.CLAIMING]
        manager.items["1.2.77"].TransactionUID = THEIRS.transaction_uid
        step(node, made, asked)
    assert states(node) == [WorkState.LOST]


# --- a node that is killed ---


@pytest.mark.parametrize("killed_at", [IN_PROGRESS, "set", COMPLETED])
def test_a_node_that_is_killed_goes_on_where_it_was(
    node: Node, manager: Manager, tmp_path: Path, killed_at: str
) -> None:
    """Killed when the manager has made a change, and before it has answered."""
    process: list[subprocess.Popen[bytes]] = []

    class Deadly(list[tuple[str, str]]):
        def append(self, change: tuple[str, str]) -> None:
            super().append(change)
            if change[0] == killed_at and process:
                victim = process.pop()
                os.kill(victim.pid, signal.SIGKILL)
                victim.wait(LIVENESS_S)

    manager.changed = Deadly()
    with dimse_manager(manager) as port:
        config = tmp_path / "secondread.toml"
        code = "^".join((SEGMENT.value, SEGMENT.scheme, "segment"))
        config.write_text(
            f'[node]\ndata_dir = "{node.folder}"\n'
            '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\n'
            f'[[worklists]]\nname = "ris"\nworkitem_codes = ["{code}"]\nae_title = "MANAGER"\n'
            f'host = "127.0.0.1"\nport = {port}\npoll_s = 1\n'
        )
        deliver(node)
        with deliver_role(config) as first:
            process.append(first)
            assert first.wait(LIVENESS_S) == -signal.SIGKILL
        with deliver_role(config):
            wait_until(lambda: states(node) == [WorkState.COMPLETED])
    ends = [what for what, _ in manager.changed if what != "set"]
    assert ends == [IN_PROGRESS, COMPLETED]
    log = (tmp_path / "deliver.log").read_text()
    assert "1.2.77" not in log
    assert STUDY not in log
