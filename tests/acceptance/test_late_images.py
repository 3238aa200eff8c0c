"""Series that come one after another: how many jobs, which versions, and what is said of it all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE

from secondread.domain.states import JobState, StudyState
from secondread.store import Ledger
from tests.store_scu import c_store

from .conftest import RunningNode, Target

pytestmark = pytest.mark.acceptance

SR = "1.2.840.10008.5.1.4.1.1.88.34"
MEDIUM, HIGH = 0, 1
"""Priorities of a C-STORE (PS3.7 table 9.1-1)."""
RULE = """
[[rules]]
name = "{name}"
model = "bright_head"
destinations = ["pacs"]
"""


@pytest.fixture
def start_with(
    tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[Callable[..., RunningNode]]:
    """``start_with(pacs, quiet_s, rules)``: a node whose file ends with the text ``rules``."""
    nodes: list[RunningNode] = []

    def start(pacs: Any, quiet_s: float, rules: str) -> RunningNode:
        folder = tmp_path / "node"
        folder.mkdir()
        target = Target(pacs.ae_title, pacs.host, pacs.port)
        node = RunningNode(folder, free_port(), target, "bright_head", quiet_s)
        text = node.config.read_text()
        text = text.replace("quiet_s =", 'priority_max = "high"\nquiet_s =')
        node.config.write_text(text[: text.index("[[rules]]")] + rules)
        nodes.append(node)
        node.start()
        return node

    yield start
    for node in nodes:
        node.stop()


@pytest.fixture
def make_series(head_series: Callable[..., Any]) -> Callable[..., Sequence[Path]]:
    """``make_series(number, slices, study="late", **fields)``: files of a series of that study."""

    def make(number: int, slices: int = 20, study: str = "late", **fields: Any) -> Sequence[Path]:
        made = head_series(
            size=(slices, 32, 32),
            spacing_mm=(3.0, 5.5, 6.0),
            seed=f"{study} {number}",
            study=study,
            series_number=number,
            **fields,
        )
        paths: Sequence[Path] = made.paths
        return paths

    return make


def send(node: RunningNode, paths: Sequence[Path], priority: int = MEDIUM) -> float:
    """Send as a scanner does, in one association; when that was over, by the monotonic clock."""
    scanner = AE(ae_title="CT1")
    for sop_class in (MRImageStorage, CTImageStorage):
        scanner.add_requested_context(sop_class, ExplicitVRLittleEndian)
    association = scanner.associate("127.0.0.1", node.port, ae_title="SECONDREAD")
    assert association.is_established
    for path in paths:
        answer = c_store(association, dcmread(path), priority=priority)
        assert answer.Status == 0x0000
    association.release()
    return time.monotonic()


def pause_until(moment: float) -> None:
    """Wait for a moment of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))


def wait_for_delivery(node: RunningNode, jobs: int, study_id: int = 1) -> Sequence[Any]:
    """Wait until a study has so many jobs, all of which have ended, and is done."""

    def ended() -> Sequence[Any]:
        # The PACS is a thread of this process, and opening a ledger keeps it from its work.
        time.sleep(0.2)
        with Ledger.open(node.data_dir).read() as view:
            found = view.jobs.of_study(study_id)
            # Rows come after Success: there may be no such study yet.
            states = {study.id: study.state for study in view.studies.list()}
        done = states.get(study_id) is StudyState.DONE
        over = all(job.state in {JobState.DELIVERED, JobState.SUPERSEDED} for job in found)
        return found if done and over and len(found) >= jobs else ()

    found: Sequence[Any] = node.wait_until(ended, 90.0, f"{jobs} jobs to end")
    assert len(found) == jobs
    return found


def reports(pacs: Any, folder: Path) -> list[Dataset]:
    """The reports that a PACS holds, by series number."""
    found = [dcmread(path) for path in pacs.export(folder)]
    return sorted(
        (one for one in found if one.SOPClassUID == SR), key=lambda one: int(one.SeriesNumber)
    )


def predecessor_of(report: Dataset) -> str:
    """SOP Instance UID of the report that this one replaces; '' where it replaces none."""
    for study in report.get("PredecessorDocumentsSequence") or ():
        assert study.StudyInstanceUID == report.StudyInstanceUID
        (series,) = study.ReferencedSeriesSequence
        (instance,) = series.ReferencedSOPSequence
        assert instance.ReferencedSOPClassUID == SR
        return str(instance.ReferencedSOPInstanceUID)
    return ""


def test_three_series_three_seconds_apart_are_one_job(
    start_with: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    make_series: Callable[..., Sequence[Path]],
    tmp_path: Path,
) -> None:
    pacs = small_pacs()
    node = start_with(pacs, 5.0, RULE.format(name="heads"))
    series = [make_series(number, slices) for number, slices in ((2, 18), (3, 20), (4, 24))]
    ended = time.monotonic() - 3.0
    for paths in series:
        pause_until(ended + 3.0)
        ended = send(node, paths)
    (job,) = wait_for_delivery(node, 1)
    assert job.version == 1
    assert job.series_instance_uid == dcmread(series[2][0]).SeriesInstanceUID
    (report,) = reports(pacs, tmp_path / "pacs")
    assert predecessor_of(report) == ""


FOUR_RULES = "".join(
    [
        RULE.format(name="new"),
        RULE.format(name="any") + 'late_images = "any"\n',
        RULE.format(name="never") + 'late_images = "never"\n',
        RULE.format(name="two") + "versions_max = 2\n",
    ]
)


@pytest.mark.slow
def test_three_series_six_seconds_apart_are_versions_as_configured(
    start_with: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    make_series: Callable[..., Sequence[Path]],
    tmp_path: Path,
) -> None:
    node = start_with(small_pacs(), 5.0, FOUR_RULES)
    # One study whose series get better, and one whose series are equal.
    series = [
        (*make_series(2 + at, slices), *make_series(2 + at, 20, "equal"))
        for at, slices in enumerate((18, 20, 24))
    ]
    ended = time.monotonic() - 6.0
    jobs: list[Sequence[Any]] = []
    for paths, better, equal in zip(series, (4, 7, 9), (4, 5, 6), strict=True):
        pause_until(ended + 6.0)
        ended = send(node, paths)
        jobs = [wait_for_delivery(node, better, 1), wait_for_delivery(node, equal, 2)]
    names = ("new", "any", "never", "two")
    counts = [[sum(job.rule == name for job in found) for name in names] for found in jobs]
    assert counts == [[3, 3, 1, 2], [1, 3, 1, 1]]


def test_each_version_names_the_one_before_and_the_same_images_give_nothing(
    start_with: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    make_series: Callable[..., Sequence[Path]],
    tmp_path: Path,
) -> None:
    pacs = small_pacs()
    node = start_with(pacs, 0.6, RULE.format(name="new") + "versions_max = 3\n")
    series = [make_series(2 + at, slices) for at, slices in enumerate((18, 20, 22, 24))]
    for at, paths in enumerate(series[:3]):
        send(node, paths)
        wait_for_delivery(node, at + 1)
    for paths in series[:3]:
        send(node, paths)
    found = reports(pacs, tmp_path / "pacs")
    uids = ["", *(str(report.SOPInstanceUID) for report in found)]
    assert [predecessor_of(report) for report in found] == uids[:3]
    assert len({str(report.SeriesInstanceUID) for report in found}) == 3
    assert "version" not in found[0].SeriesDescription
    assert "version 3" in found[2].SeriesDescription
    send(node, series[3])
    sentence = "New images came, but rule 'new' allows no more than 3 versions."

    def is_said() -> bool:
        with Ledger.open(node.data_dir).read() as view:
            study = view.studies.get(1)
        return study.state is StudyState.DONE and study.reason.endswith(sentence)

    node.wait_until(is_said, 60.0, "the answer that there is no further version")
    story = node.command("study", "show", "1")
    assert [job["version"] for job in story["jobs"]] == [1, 2, 3]
    assert [job["predecessor_id"] for job in story["jobs"]] == [None, 1, 2]
    (rule,) = story["rules"]
    assert (rule["wanted"], rule["note"]) == (True, sentence)
    assert [row["text"] for row in story["trail"] if row["event"] == "late-images"] == [sentence]
    assert len(reports(pacs, tmp_path / "again")) == 3


HELD = """
[rules.complete]
wait_max_s = 2.0
at_limit = "hold"
[[rules.complete.series]]
name = "contrast"
when = [{ attribute = "SeriesDescription", matches = "(?i)contrast" }]
"""


def test_studies_that_give_no_job_are_answers(
    start_with: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    make_series: Callable[..., Sequence[Path]],
) -> None:
    rules = (
        RULE.format(name="heads")
        + 'when = [{ attribute = "Modality", is = "MR" }, '
        + '{ attribute = "SeriesNumber", from = 1, to = 5 }]\n'
        + HELD
    )
    node = start_with(small_pacs(), 0.6, rules)
    send(node, make_series(2, study="unwanted", modality="CT", series_description="plain CT"))
    send(node, make_series(9, study="unwanted"))
    send(node, make_series(2, study="incomplete"))
    assert set(node.wait_until_ended(2)) == {StudyState.DONE, StudyState.HELD}
    unwanted, incomplete = (node.command("study", "show", number) for number in ("1", "2"))

    assert unwanted["study"]["reason"].startswith("No rule wants this study: rule 'heads': ")
    assert unwanted["jobs"] == []
    (rule,) = unwanted["rules"]
    assert not rule["wanted"]
    failed = {
        one["number"]: [test["text"] for test in one["conditions"] if not test["holds"]]
        for one in rule["series"]
    }
    assert len(failed[2]) == len(failed[9]) == 1
    assert "CT" in failed[2][0]
    assert "9" in failed[9][0]
    text = show(node, "1")
    assert failed[9][0] in text
    assert "'plain CT'" in text
    trail = " ".join(f"{row['text']} {row['detail']}" for row in unwanted["trail"])
    assert "plain CT" not in trail
    assert "No rule wants this study" in trail

    assert incomplete["study"]["state"] == "held"
    assert "contrast" in incomplete["study"]["reason"]
    assert incomplete["jobs"] == []
    assert "the series 'contrast' is not here" in show(node, "2")


def show(node: RunningNode, study: str) -> str:
    """What ``study show`` tells a person."""
    command = [sys.executable, "-m", "secondread", "study", "show", study]
    done = subprocess.run(
        [*command, "--config", str(node.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_urgent_studies_go_first(
    start_with: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    make_series: Callable[..., Sequence[Path]],
) -> None:
    node = start_with(small_pacs(), 0.6, RULE.format(name="heads"))
    pipeline = node.pids()["pipeline"]
    os.kill(pipeline, signal.SIGSTOP)
    try:
        for number in range(4):
            send(node, make_series(2, study=f"study {number}"), HIGH if number == 3 else MEDIUM)
        node.wait_until(lambda: "study:receiving" in node.states(), 10.0, "rows")
        time.sleep(3.0)
    finally:
        os.kill(pipeline, signal.SIGCONT)
    assert node.wait_until_ended(4) == [StudyState.DONE] * 4
    with Ledger.open(node.data_dir).read() as view:
        rows = [row for row in view.trail.all() if row.event in {"job", "study"}]
    for after in ("assembling", "queued", "prepared", "inferred", "written"):
        assert next(row.study_id for row in rows if row.after == after) == 4


@pytest.mark.slow
def test_rule_in_shadow_sends_nothing_and_says_so(
    start_with: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    make_series: Callable[..., Sequence[Path]],
) -> None:
    pacs = small_pacs()
    node = start_with(pacs, 0.6, RULE.format(name="heads") + "shadow = true\n")
    send(node, make_series(2))
    (job,) = wait_for_delivery(node, 1)
    assert pacs.held() == []
    assert {path.name for path in (node.data_dir / "results" / job.key).iterdir()} == {
        "seg.dcm",
        "sr.dcm",
    }
    (told,) = node.command("study", "show", "1")["jobs"]
    assert (told["shadow"], told["outcome"], told["deliveries"]) == (True, "analysed", [])
    assert "in shadow: nothing is sent" in show(node, "1")
