"""What the fetcher makes of what archives say and do not say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, dcmwrite

from secondread.delivery import archive as archive_module
from secondread.delivery import fetcher as fetcher_module
from secondread.delivery.archive import DicomArchive, Dock
from secondread.delivery.fetcher import ATTEMPTS_MAX
from secondread.delivery.prior_search import read_keys
from secondread.delivery.query_status import Progress, Retrieved
from secondread.delivery.study_keys import SeriesFound, StudyFound, StudyKeys
from secondread.delivery.wanted import Wanted
from secondread.domain.destination import Destination, Way
from secondread.domain.fetch import FetchKind, FetchState
from secondread.domain.line import Line, LineState
from secondread.errors import PeerRefusedError, PeerUnreachableError
from secondread.pipeline.fetching import ask_for_priors
from secondread.store.handed import Handed
from tests.fetching_scene import Node, make_node
from tests.house import StillClock

Make = Callable[..., Any]
PRIOR = "2.25.77"


@dataclass
class HandArchive:
    """An archive whose answers the test writes."""

    answers: list[Any] = field(default_factory=list)
    found: Sequence[StudyFound] = ()
    asked: list[StudyKeys] = field(default_factory=list)

    def find_studies(self, keys: StudyKeys) -> Sequence[StudyFound]:
        """Who was asked for."""
        self.asked.append(keys)
        return self.found

    def lacking(self, study_instance_uid: str, here: object, known: object) -> Iterator[Wanted]:
        """The whole study."""
        yield Wanted(study_instance_uid)

    def bring(self, wanted: Wanted, tell: object) -> Retrieved:
        """The next answer."""
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Retrieved)
        return answer


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> HandArchive:
    """The archive that every destination is."""
    one = HandArchive()
    monkeypatch.setattr(fetcher_module, "open_archive", lambda destination, dock: one)
    return one


@pytest.fixture
def node(tmp_path: Path, head_series: Make) -> Iterator[Node]:
    """A node with one study, whose clock stands still."""
    found = make_node(tmp_path / "data", 104, Destination(name="pacs"), "CT1")
    clock = StillClock()
    found.house.clock = clock
    found.house.place = replace(found.house.place, clock=clock)
    found.fetcher._clock = clock
    found.house.receive(head_series(size=(20, 32, 32)).paths)
    yield found
    found.house.place.ledger.close()


def step(node: Node) -> Any:
    """Let time pass until the only fetch is due, and do it; the row afterwards."""
    (row,) = node.rows()
    node.house.clock.time = max(node.house.clock.time, row.next_at)
    assert node.fetcher.step()
    return node.rows()[0]


def brought(count: int, failed: int = 0) -> Retrieved:
    return Retrieved(f"{count} sent, {failed} not.", Progress(0, count, failed, 0))


def test_an_archive_that_does_not_answer_is_asked_again_later_and_not_for_ever(
    node: Node, archive: HandArchive
) -> None:
    archive.answers = [PeerUnreachableError("Nobody there.")] * ATTEMPTS_MAX
    node.ask(FetchKind.PRIOR, PRIOR)
    waits = []
    for number in range(ATTEMPTS_MAX - 1):
        row = step(node)
        assert (row.state, row.attempts) == (FetchState.READY, number + 1)
        waits.append(row.next_at - node.house.clock.time)
    assert all(wait > 1 for wait in waits)
    assert waits[-1] > 100 * waits[0]
    assert step(node).state is FetchState.FAILED
    assert node.said() == ["Given up, to fetch an earlier study from 'pacs': Nobody there."]


@pytest.mark.parametrize(
    ("kind", "state"),
    [(FetchKind.PRIOR, FetchState.FAILED), (FetchKind.MISSING, FetchState.READY)],
)
def test_a_refusal_ends_what_a_report_waits_for_and_nothing_else(
    node: Node, archive: HandArchive, kind: FetchKind, state: FetchState
) -> None:
    archive.answers = [PeerRefusedError("Enter the node there.")]
    node.ask(kind, PRIOR)
    row = step(node)
    assert row.state is state
    if state is FetchState.READY:
        assert row.next_at - node.house.clock.time > 200


@pytest.mark.parametrize("paused", [False, True])
def test_a_line_that_is_open_or_paused_is_left_alone_and_no_try_is_used_up(
    node: Node, archive: HandArchive, paused: bool
) -> None:
    now = node.house.clock.time
    state = LineState.CLOSED if paused else LineState.OPEN
    line = Line("pacs", state, paused, failures=4, since=now, next_at=now + 90, reason="Down.")
    with node.house.place.ledger.begin() as change:
        change.lines.keep(line)
    node.ask(FetchKind.PRIOR, PRIOR)
    row = step(node)
    assert (row.state, row.attempts) == (FetchState.READY, 0)
    assert row.next_at >= now + 60
    archive.answers = [brought(5)]
    with node.house.place.ledger.begin() as change:
        change.lines.keep(replace(line, paused=False))
    assert step(node).state is FetchState.DONE, "nobody has probed the line meanwhile"


def test_what_an_archive_cannot_send_is_tried_a_few_times_and_told(
    node: Node, archive: HandArchive
) -> None:
    archive.answers = [brought(4, 1), brought(0, 1), brought(0, 1)]
    node.ask(FetchKind.PRIOR, PRIOR)
    assert [step(node).state for _ in range(3)] == ["ready", "ready", "done"]
    assert "Not all: 0 sent, 1 not." in node.said()[0]


def test_a_destination_that_is_gone_is_said(node: Node) -> None:
    node.fetcher._destinations = dict
    node.ask(FetchKind.PRIOR, PRIOR)
    assert step(node).state is FetchState.FAILED
    assert "no destination 'pacs' in the configuration" in node.said()[0]


def test_nothing_is_fetched_from_a_folder(node: Node) -> None:
    node.fetcher._destinations = lambda: {"pacs": Destination(name="pacs", way=Way.FOLDER)}
    node.ask(FetchKind.PRIOR, PRIOR)
    assert step(node).state is FetchState.FAILED
    assert "is of kind 'folder'" in node.said()[0]


def test_the_newest_are_fetched_and_no_more_than_the_rule_wants(
    node: Node, archive: HandArchive
) -> None:
    archive.found = [StudyFound(f"2.25.{n}", dt.date(2023, 1, n), instances=9) for n in (3, 2, 1)]
    node.want(priors=2, prior_days=365)
    node.house.assemble()
    (search,) = node.rows()
    assert search.kind is FetchKind.SEARCH
    step(node)
    assert [row.study_instance_uid for row in node.rows()[1:]] == ["2.25.3", "2.25.2"]
    (keys,) = archive.asked
    assert (keys.patient_id, keys.modality) == ("EXAMPLE-1", "MR")
    assert keys.range == "20230102-20240101"


def test_no_priors_are_asked_for_in_shadow_nor_for_what_was_fetched_itself(node: Node) -> None:
    node.want(priors=2)
    node.house.set_rule(shadow=True)
    node.house.assemble()
    assert not node.rows()
    with node.house.place.ledger.begin() as change:
        change.fetches.ask(1, "pacs", FetchKind.PRIOR, node.house.study.study_instance_uid, 0.0)
        (rule,) = node.house.place.rules
        now = node.house.clock.time
        ask_for_priors(change, replace(rule, shadow=False), node.house.study, now)
    assert [row.kind for row in node.rows()] == [FetchKind.PRIOR]


@pytest.mark.parametrize(
    ("changes", "is_asked"),
    [
        ({}, True),
        ({"PatientID": ""}, False),
        ({"PatientID": "A*"}, False),
        ({"StudyDate": ""}, False),
        ({"StudyDate": "00010101"}, False),
    ],
)
def test_a_study_that_does_not_say_whose_it_is_has_no_earlier_ones(
    head_series: Make, tmp_path: Path, changes: dict[str, str], is_asked: bool
) -> None:
    dataset = dcmread(head_series(size=(1, 8, 8)).paths[0])
    for keyword, value in changes.items():
        dataset[keyword].value = value
    dcmwrite(tmp_path / "changed.dcm", dataset)
    assert (read_keys(tmp_path / "changed.dcm", 100) is not None) is is_asked


def test_the_issuer_of_the_patient_id_is_asked_for(head_series: Make, tmp_path: Path) -> None:
    dataset = dcmread(head_series(size=(1, 8, 8)).paths[0])
    dataset.IssuerOfPatientID = "HOSPITAL"
    dcmwrite(tmp_path / "changed.dcm", dataset)
    keys = read_keys(tmp_path / "changed.dcm", 100)
    assert keys is not None
    assert keys.issuer_of_patient_id == "HOSPITAL"
    assert not keys.admit(StudyFound("2.25.1", dt.date(2024, 1, 1), ("MR",)))


def test_only_what_lacks_is_ordered_and_none_of_the_own_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held = {
        "2.1": {f"2.1.{n}" for n in range(1200)},
        "2.2": {"2.2.1", "2.2.2"},
        "2.3": {"2.3.1"},
        "2.4": {"2.4.1", "2.4.2"},
    }

    def find_series(address: Any, study: str, *_: Any) -> Sequence[SeriesFound]:
        return [SeriesFound(uid) for uid in held]

    def find_instances(address: Any, study: str, series: str, *_: Any) -> set[str]:
        return held[series]

    monkeypatch.setattr(archive_module.find_scu, "find_series", find_series)
    monkeypatch.setattr(archive_module.find_scu, "find_instances", find_instances)
    pacs = Destination(name="pacs", ae_title="PACS", host="pacs", port=104)
    archive = DicomArchive(pacs, Dock("SECONDREAD", Handed(tmp_path), 1, 1))
    orders = list(archive.lacking("2", {"2.1.0", "2.2.1"}, {"2.3.1"}))
    some, more, rest, one, whole = orders
    assert [len(order.sop_instance_uids) for order in (some, more, rest)] == [500, 500, 199]
    assert one == Wanted("2", "2.2", ("2.2.2",))
    assert whole == Wanted("2", "2.4")
    assert list(archive.lacking("2", (), ())) == [Wanted("2")]
