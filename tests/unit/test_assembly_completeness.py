"""When a study counts as complete: evidence, what lacks, the quiet time and the longest wait."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondread.assembly.completeness import (
    Case,
    Wanted,
    ask_from,
    clock_time,
    decide,
    first_look_s,
    policy,
)
from secondread.assembly.conditions import Circumstances
from secondread.assembly.expected import Announced, Expectation, find_expectations
from secondread.assembly.learned_quiet import find_quiet_time, longest_pause
from secondread.assembly.wanted_series import find_wanted, is_wanted
from secondread.config.load import load
from secondread.domain.completeness import AtLimit, Completeness, Verdict, WantedSeries
from secondread.domain.condition import AttributeTest
from secondread.domain.instance import Instance
from secondread.domain.network import Peer, Rule, Urgency
from secondread.domain.notice import Notice, NoticeKind
from secondread.store.archive_counts import ArchiveCount
from tests.summaries import series

START = 1_700_000_000.0
LAST = START + 20
TERMS = Completeness(quiet_s=10.0, wait_max_s=600.0)
LACKS = Announced((Expectation("images of series 3", "Images in Acquisition", 118, 120),))
ALL_HERE = Announced(
    (Expectation("objects of the study", "Number of Study Related Instances", 20, 20, whole=True),)
)
SOME_LACK = Announced(ALL_HERE.expectations + LACKS.expectations)
AT_WORK = Announced(steps_in_progress=1)


def case(after_s: float, **fields: Any) -> Case:
    """A study of 20 objects, of which the last came ``after_s`` seconds ago."""
    terms = replace(TERMS, **fields.pop("terms", {}))
    values = {"objects": 20, "first_at": START, "quiet_from": LAST, **fields}
    return Case(now=LAST + after_s, terms=terms, **values)


def count(objects: int | None, after_s: float, reason: str = "") -> ArchiveCount:
    """What the archive said so long after the last object."""
    return ArchiveCount(1, "pacs", objects, LAST + after_s, reason)


@pytest.mark.parametrize(
    ("known", "verdict", "until"),
    [
        # The quiet time alone.
        (case(9.9), Verdict.WAIT, LAST + 10),
        (case(10), Verdict.COMPLETE, None),
        # The release of the association.
        (case(0.3, released=True), Verdict.WAIT, LAST + 10),
        (case(0.3, released=True, terms={"on_release": True}), Verdict.COMPLETE, None),
        (case(9, released=False, terms={"on_release": True}), Verdict.WAIT, LAST + 10),
        (
            case(0.3, released=True, announced=LACKS, terms={"on_release": True}),
            Verdict.WAIT,
            LAST + 10,
        ),
        # Numbers of the whole study.
        (case(0.3, announced=ALL_HERE), Verdict.COMPLETE, None),
        (case(0.3, announced=ALL_HERE, terms={"counts": False}), Verdict.WAIT, LAST + 10),
        (case(0.3, announced=SOME_LACK), Verdict.WAIT, LAST + 10),
        # Something lacks: beyond the quiet time, up to the longest wait.
        (case(10, announced=LACKS), Verdict.WAIT, START + 600),
        (case(579, announced=LACKS), Verdict.WAIT, START + 600),
        (case(580, announced=LACKS), Verdict.COMPLETE, None),
        (case(580, announced=LACKS, terms={"at_limit": AtLimit.HOLD}), Verdict.HOLD, None),
        (case(580, announced=LACKS, terms={"at_limit": AtLimit.DROP}), Verdict.DROP, None),
        (case(10, announced=LACKS, terms={"counts": False}), Verdict.COMPLETE, None),
        (case(10, announced=AT_WORK), Verdict.WAIT, START + 600),
        (case(0.3, announced=replace(ALL_HERE, steps_in_progress=1)), Verdict.WAIT, LAST + 10),
        (case(9000, announced=LACKS, terms={"wait_max_s": 0.0}), Verdict.WAIT, LAST + 9600),
        # Objects that go on coming do not put the longest wait off.
        (case(1, first_at=LAST - 598, terms={"quiet_s": 60.0}), Verdict.WAIT, LAST + 2),
        (case(2, first_at=LAST - 598, terms={"quiet_s": 60.0}), Verdict.COMPLETE, None),
        (
            case(2, first_at=LAST - 598, terms={"quiet_s": 60.0, "at_limit": AtLimit.HOLD}),
            Verdict.HOLD,
            None,
        ),
        # Series that have to be there.
        (case(10, wanted=Wanted(("T1",))), Verdict.WAIT, START + 600),
        (case(0.3, wanted=Wanted(("T1",)), announced=ALL_HERE), Verdict.WAIT, LAST + 10),
        (case(10, wanted=Wanted(())), Verdict.COMPLETE, None),
        (
            case(0.3, wanted=Wanted((), whole=True), terms={"series": (WantedSeries("T1", ()),)}),
            Verdict.COMPLETE,
            None,
        ),
        # Urgent: numbers do not delay it beyond the quiet time, series that have to be there do.
        (case(9, urgency=Urgency.HIGH, announced=LACKS), Verdict.WAIT, LAST + 10),
        (case(10, urgency=Urgency.HIGH, announced=LACKS), Verdict.COMPLETE, None),
        (case(10, urgency=Urgency.HIGH, announced=AT_WORK), Verdict.COMPLETE, None),
        (case(10, urgency=Urgency.HIGH, wanted=Wanted(("T1",))), Verdict.WAIT, START + 600),
        # The archive's count.
        (case(1, terms={"ask": "pacs"}), Verdict.WAIT, LAST + 5),
        (case(6, terms={"ask": "pacs"}), Verdict.WAIT, LAST + 10),
        (case(6, terms={"ask": "pacs"}, archive=count(20, 5)), Verdict.COMPLETE, None),
        (case(6, terms={"ask": "pacs"}, archive=count(20, 4)), Verdict.WAIT, LAST + 10),
        (case(6, terms={"ask": "pacs"}, archive=count(19, 5)), Verdict.WAIT, LAST + 10),
        (case(10, terms={"ask": "pacs"}, archive=count(19, 5)), Verdict.COMPLETE, None),
        (case(10, terms={"ask": "pacs"}, archive=count(21, 5)), Verdict.WAIT, START + 600),
        (case(10, terms={"ask": "pacs"}, archive=count(None, 5)), Verdict.COMPLETE, None),
        (case(10, terms={"ask": "pacs"}), Verdict.COMPLETE, None),
        (
            case(10, terms={"ask": "pacs"}, archive=count(None, 5), announced=LACKS),
            Verdict.WAIT,
            START + 600,
        ),
        # The door was shut: silence counts from its opening.
        (case(12, quiet_from=LAST + 8), Verdict.WAIT, LAST + 18),
    ],
)
def test_decisions(known: Case, verdict: Verdict, until: float | None) -> None:
    decision = decide(known)
    assert decision.verdict is verdict, decision.reason
    assert decision.until == (known.now if until is None else until)
    assert decision.reason.endswith(".")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (case(10), "Complete: 20 objects, none new for 10 s."),
        (case(1, objects=1), "Waits until {quiet}: objects came less than 10 s ago."),
        (
            case(10, announced=LACKS),
            "Waits until {limit}: 118 of 120 images of series 3 are here (Images in Acquisition).",
        ),
        (
            case(580, announced=LACKS),
            "Goes on with what is here: not complete 600 s after its first object: 118 of 120 "
            "images of series 3 are here (Images in Acquisition).",
        ),
        (
            case(10, wanted=Wanted(("T1 axial",))),
            "Waits until {limit}: the series 'T1 axial' is not here.",
        ),
        (
            case(10, terms={"ask": "pacs"}, archive=count(None, 5, "Nobody listens there.")),
            "Complete: 20 objects, none new for 10 s; 'pacs' could not be asked: Nobody listens "
            "there.",
        ),
        (
            case(10, urgency=Urgency.HIGH, announced=AT_WORK),
            "Urgent, and goes on after its quiet time although the scanner is still at work "
            "(Modality Performed Procedure Step).",
        ),
        (
            case(600, terms={"at_limit": AtLimit.DROP}, announced=LACKS),
            "Not analysed: not complete 600 s after its first object: 118 of 120 images of "
            "series 3 are here (Images in Acquisition).",
        ),
    ],
)
def test_reasons_are_sentences(known: Case, words: str) -> None:
    quiet, limit = clock_time(LAST + 10, LAST), clock_time(START + 600, LAST)
    assert decide(known).reason == words.format(quiet=quiet, limit=limit)


def test_no_more_than_three_things_that_lack_are_listed() -> None:
    many = Announced(tuple(Expectation(f"images of series {n}", "x", 1, 2) for n in range(5)))
    assert decide(case(10, announced=many)).reason.endswith("; and 2 more.")


def test_terms_of_a_rule_go_before_those_of_the_peer() -> None:
    peer = Peer("ct", "CT1", ("10.0.0.1",), 20.0)
    rule = Rule(name="a", model="m", destinations=(), complete={"quiet_s": 2.0, "at_limit": "hold"})
    assert policy(peer) == Completeness(quiet_s=20.0, counts=False, wait_max_s=0.0)
    assert policy(peer, None, 25.0).quiet_s == 25.0
    found = policy(replace(peer, complete=Completeness(on_release=True, wait_max_s=60.0)), rule)
    assert (found.quiet_s, found.on_release, found.wait_max_s) == (2.0, True, 60.0)
    assert found.at_limit is AtLimit.HOLD
    assert policy(None, rule).quiet_s == 2.0


def test_first_look_is_the_earliest_moment_at_which_anything_may_be_complete() -> None:
    quiet = Completeness(quiet_s=30.0, counts=False)
    assert first_look_s([quiet]) == 30.0
    assert first_look_s([quiet, replace(quiet, quiet_s=2.0)]) == 2.0
    assert first_look_s([replace(quiet, learn=True, quiet_min_s=5.0)]) == 5.0
    assert first_look_s([replace(quiet, ask="pacs")]) == 15.0
    assert first_look_s([replace(quiet, counts=True)]) == 1.0
    assert first_look_s([replace(quiet, quiet_s=0.2, counts=True)]) == 0.2


LEARNING = Completeness(
    quiet_s=30.0, learn=True, quiet_min_s=5.0, quiet_max_s=100.0, percentile=95.0
)


@pytest.mark.parametrize(
    ("pauses", "seconds", "words"),
    [
        ([8.0] * 19, 30.0, "only 19 of the 20"),
        ([8.0] * 20, 12.0, "95 % of the last 20 studies of this protocol had no pause longer"),
        ([1.0] * 20, 5.0, "but not less than 5 s"),
        ([90.0] * 20, 100.0, "but not more than 100 s"),
        # 1 to 100: 95 of 100 were not longer than 95, of which 1.5 times is over the cap.
        ([float(n) / 10 for n in range(1, 101)], 14.2, "longer than 9.5 s, times 1.5"),
        # A pause that no allowed quiet time would have bridged teaches nothing.
        ([8.0] * 20 + [5000.0] * 20, 12.0, "last 20 studies"),
        # Only the newest 200.
        ([8.0] * 200 + [50.0] * 200, 12.0, "last 200 studies"),
    ],
)
def test_learned_quiet_time(pauses: list[float], seconds: float, words: str) -> None:
    found = find_quiet_time(LEARNING, pauses)
    assert found.seconds == pytest.approx(seconds, abs=0.06)
    assert words in found.origin


def test_learned_quiet_time_decides_and_is_explained() -> None:
    learning = {"learn": True, "quiet_s": 60.0, "percentile": 99.0}
    assert decide(case(11.9, terms=learning, pauses=[8.0] * 30)).verdict is Verdict.WAIT
    decision = decide(case(12, terms=learning, pauses=[8.0] * 30))
    assert decision.verdict is Verdict.COMPLETE
    assert "none new for 12 s (learned: 99 % of the last 30 studies" in decision.reason
    assert ask_from(case(0, terms=learning, pauses=[8.0] * 30)) == LAST + 6


def test_longest_pause() -> None:
    assert longest_pause([5.0]) == 0.0
    assert longest_pause([9.0, 1.0, 2.0]) == 7.0


def instance(number: int, series_number: int = 1, **facts: Any) -> Instance:
    """An object of a series, as intake enters it."""
    facts = {"SeriesNumber": series_number, "ImageType": ["ORIGINAL", "PRIMARY"], **facts}
    uid = f"1.9.{series_number}"
    return Instance(f"{uid}.{number}", "1.2", "1.9", uid, "1.2", "p", 1, "0", "ct", 0, facts=facts)


def step(status: str, *objects: str, kind: NoticeKind = NoticeKind.MPPS) -> Notice:
    """What a scanner or an archive says."""
    return Notice(kind, f"1.7.{status}", "1.9", "ct", status, 0.0, objects)


def test_images_in_acquisition_only_ever_says_that_something_lacks() -> None:
    records = [instance(n, 3, ImagesInAcquisition=4, AcquisitionNumber=1) for n in range(4)]
    records += [instance(9, 3, ImagesInAcquisition=2, AcquisitionNumber=2)]
    found = find_expectations(records, [])
    assert [(one.here, one.expected, one.whole) for one in found.expectations] == [
        (4, 4, False),
        (1, 2, False),
    ]
    assert str(found.expectations[1]) == "1 of 2 images of series 3 is here (Images in Acquisition)"


@pytest.mark.parametrize(
    "facts",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"NumberOfFrames": 30},
        {"ImagesInAcquisition": 0},
        {"ImagesInAcquisition": "4"},
        {"ImageType": None},
    ],
)
def test_numbers_that_mean_something_else_are_left_out(facts: dict[str, Any]) -> None:
    record = instance(1, 1, **{"ImagesInAcquisition": 4, **facts})
    assert not find_expectations([record], []).expectations


def test_images_that_disagree_about_their_number_say_nothing() -> None:
    records = [instance(n, 1, ImagesInAcquisition=n) for n in (4, 5)]
    assert not find_expectations(records, []).expectations


def test_related_instances() -> None:
    related = {"NumberOfStudyRelatedInstances": 3, "NumberOfSeriesRelatedInstances": 2}
    found = find_expectations([instance(1, 1, **related), instance(1, 2, **related)], [])
    assert [(one.here, one.expected, one.whole) for one in found.expectations] == [
        (2, 3, True),
        (1, 2, False),
        (1, 2, False),
    ]
    more = find_expectations([instance(1, 1, **related), instance(2, 1, **related)], [])
    assert more.whole_series == {"1.9.1"}


@pytest.mark.parametrize(
    ("notices", "numbers", "going_on"),
    [
        ([step("IN PROGRESS")], [], 1),
        ([step("IN PROGRESS", "1.9.1.1", "1.9.1.9")], [], 1),
        ([step("COMPLETED", "1.9.1.1", "1.9.1.2")], [(2, 2, True)], 0),
        ([step("COMPLETED", "1.9.1.1", "1.9.1.3")], [(1, 2, True)], 0),
        ([step("COMPLETED")], [], 0),
        ([step("COMPLETED", "1.9.1.1"), step("IN PROGRESS")], [(1, 1, False)], 1),
        ([step("DISCONTINUED", "1.9.1.1")], [(1, 1, False)], 0),
        ([step("DISCONTINUED", "1.9.1.1"), step("COMPLETED", "1.9.1.2")], [(2, 2, True)], 0),
        ([step("ONLINE", "1.9.1.1", kind=NoticeKind.AVAILABILITY)], [(1, 1, True)], 0),
        ([step("ONLINE", "1.9.1.7", kind=NoticeKind.AVAILABILITY)], [(0, 1, True)], 0),
        ([step("UNAVAILABLE", "1.9.1.7", kind=NoticeKind.AVAILABILITY)], [], 0),
    ],
)
def test_notices(
    notices: list[Notice], numbers: list[tuple[int, int, bool]], going_on: int
) -> None:
    found = find_expectations([instance(1), instance(2)], notices)
    assert [(one.here, one.expected, one.whole) for one in found.expectations] == numbers
    assert found.steps_in_progress == going_on


T1 = WantedSeries("T1", (AttributeTest("SeriesDescription", one_of=("t1",)),))
FLAIR = WantedSeries("FLAIR", (AttributeTest("SeriesDescription", one_of=("flair",)),))


def test_wanted_series() -> None:
    found = [series(1, SeriesDescription="T1"), series(2, SeriesDescription="localizer")]
    here = Circumstances("mr", START)
    assert find_wanted((T1, FLAIR), found, here, frozenset()) == Wanted(("FLAIR",))
    assert find_wanted((T1,), found, here, frozenset()) == Wanted()
    uid = found[0].series_instance_uid
    assert find_wanted((T1,), found, here, frozenset({uid})) == Wanted((), whole=True)
    assert find_wanted((), found, here, frozenset({uid})) == Wanted()


def test_a_rule_wants_series_of_images_only() -> None:
    here = Circumstances("mr", START)
    rule = Rule(name="a", model="m", destinations=(), when=T1.when)
    assert is_wanted(rule, [series(1, SeriesDescription="T1")], here)
    assert not is_wanted(rule, [series(1, SeriesDescription="T1", images=False)], here)
    assert not is_wanted(rule, [series(1, SeriesDescription="T2")], here)
    assert not is_wanted(Rule(name="a", model="m", destinations=()), [], here)


def test_the_examples_of_the_manual_are_a_configuration(tmp_path: Path) -> None:
    manual = Path(__file__).resolve().parents[2] / "docs" / "completeness.md"
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", manual.read_text("utf-8"), re.MULTILINE)
    peers = [textwrap.dedent(block) for block in blocks if "[[peers]]" in block]
    path = tmp_path / "secondread.toml"
    path.write_text("\n".join(peers), "utf-8")
    ct, mr, portable = load(path).peers
    assert policy(ct).on_release
    assert policy(ct).quiet_s == 10.0
    assert [one.name for one in policy(mr).series] == ["T1", "FLAIR"]
    assert policy(mr).at_limit is AtLimit.HOLD
    assert not policy(portable).counts
