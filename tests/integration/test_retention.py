"""Files go when their time is over, and not before; on a real spool and a real ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from secondread.config.settings import Settings
from secondread.domain.commitment import FailureReason, Reference
from secondread.domain.disk_pressure import Pressure
from secondread.domain.form import Form
from secondread.domain.hold import Hold
from secondread.domain.retention import Haste, Kind, Retention, WhenLow
from secondread.domain.states import DeliveryState, StudyState
from secondread.errors import UsageError
from secondread.intake.commitment import CommitmentProvider
from secondread.intake.reception import Sender
from secondread.pipeline.caretaker import engage
from secondread.pipeline.disk_watch import DISK_EVENT, DiskWatch
from secondread.pipeline.editions import Edition
from secondread.pipeline.keeping import Surveyor
from secondread.pipeline.predecessor import find_report
from secondread.pipeline.removal import Amount, Wish
from secondread.store.purging import Purging
from tests.house import House, StillClock
from tests.kept_files import KeptFiles, image, nobody, study_uid

NEVER = threading.Event()
DRY = Wish(dry=True)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[KeptFiles]:
    made = KeptFiles(tmp_path / "data")
    yield made
    made.close()


def test_images_go_first_then_results_and_reports_last(files: KeptFiles) -> None:
    job = files.finished(1)
    files.pass_days(29)
    assert files.purge().run(NEVER) == {}
    files.pass_days(1.1)
    assert set(files.purge().run(NEVER)) == {Kind.IMAGES}
    assert files.images_on_disk(1) == 0
    assert files.purged_images(1) == 3
    assert files.results_on_disk(job) == {"seg.dcm", "sr.dcm"}
    files.pass_days(60)
    assert files.purge().run(NEVER) == {Kind.RESULTS: Amount(1, 1000)}
    assert files.results_on_disk(job) == {"sr.dcm"}
    files.pass_days(5 * 365)
    assert files.purge().run(NEVER) == {Kind.REPORTS: Amount(1, 1000)}
    assert not (files.spool.results / job.key).exists()
    with files.ledger.read() as view:
        assert all(item.purged_at is not None for item in view.outbox.of_job(job.id))
        assert view.instances.count() == 3
    said = files.purge_rows()
    assert len(said) == 3
    assert said[0].startswith("Removed 3 images (")
    assert files.purge().run(NEVER) == {}


def test_images_that_no_rule_wanted_go_sooner(files: KeptFiles) -> None:
    files.store(image(1, 0))
    files.end(1)
    files.finished(2)
    files.pass_days(15)
    assert set(files.purge().run(NEVER)) == {Kind.UNWANTED}
    assert (files.images_on_disk(1), files.images_on_disk(2)) == (0, 3)


@pytest.mark.parametrize("state", [StudyState.HELD, StudyState.RECEIVING])
def test_a_study_that_is_not_done_stays(files: KeptFiles, state: StudyState) -> None:
    job = files.finished(1)
    with files.ledger.begin() as change:
        change.studies.move(change.studies.get(job.study_id), state, files.clock.now(), "x")
    files.pass_days(10_000)
    assert files.purge().run(NEVER) == {}
    assert files.purge().purge_study(job.study_id, Wish(haste=Haste.ANY_AGE)) == {}
    assert files.images_on_disk(1) == 3


def test_sent_without_proof_stays_unless_nobody_gives_one(files: KeptFiles) -> None:
    files.store(image(1, 0), image(1, 1), image(1, 2))
    job = files.analyse(1)
    files.deliver(job, DeliveryState.SENT)
    files.end(1)
    files.pass_days(10_000)
    assert files.purge().run(NEVER) == {}
    assert files.images_on_disk(1) == 3
    trusted = files.purge(is_safe=lambda name: name == "pacs")
    assert Kind.IMAGES in trusted.run(NEVER)
    assert files.images_on_disk(1) == 0


def test_results_of_a_job_in_shadow_have_a_time_of_their_own(files: KeptFiles) -> None:
    files.store(image(1, 0))
    job = files.analyse(1, shadow=True)
    files.deliver(job)
    files.end(1)
    files.pass_days(91)
    gone = files.purge(Retention(images_days=0.0)).run(NEVER)
    assert gone == {Kind.SHADOW: Amount(2, 2000)}
    assert files.images_on_disk(1, 1) == 1


def test_whatever_happens_to_a_study_makes_its_time_begin_again(files: KeptFiles) -> None:
    job = files.finished(1)
    files.pass_days(29)
    with files.ledger.begin() as change:
        change.trail.append(files.clock.now(), "commitment", "A peer asked.", study_id=job.study_id)
    files.pass_days(29)
    assert files.purge().run(NEVER) == {}
    files.pass_days(1.1)
    assert Kind.IMAGES in files.purge().run(NEVER)


def test_a_hold_stops_every_purge_until_it_is_released(files: KeptFiles) -> None:
    job = files.finished(1)
    with files.ledger.begin() as change:
        change.holds.place(Hold(job.study_id, "court", "anna", files.clock.now()))
    files.pass_days(10_000)
    for wish in (Wish(), Wish(haste=Haste.EARLY), Wish(haste=Haste.ANY_AGE)):
        assert files.purge().run(NEVER, wish) == {}
        assert files.purge().purge_study(job.study_id, wish) == {}
    with pytest.raises(UsageError, match="on hold already"), files.ledger.begin() as change:
        change.holds.place(Hold(job.study_id, "other", "ben", 1.0))
    with files.ledger.begin() as change:
        change.holds.release(job.study_id, "anna", "settled", files.clock.now())
    assert Kind.IMAGES in files.purge().run(NEVER)
    assert files.images_on_disk(1) == 0
    with files.ledger.read() as view:
        rows = [row for row in view.trail.of_study(job.study_id) if row.event == "hold"]
    assert [(row.detail["who"], row.detail["why"]) for row in rows] == [
        ("anna", "court"),
        ("anna", "settled"),
    ]
    assert not any("court" in row.text for row in rows)


def test_a_dry_run_removes_nothing(files: KeptFiles) -> None:
    files.finished(1)
    files.pass_days(31)
    planned = files.purge().run(NEVER, DRY)
    assert planned[Kind.IMAGES].files == 3
    assert files.images_on_disk(1) == 3
    assert not files.purge_rows()
    assert files.purge().run(NEVER) == planned


def test_two_at_a_time_do_not_remove(files: KeptFiles) -> None:
    with files.purge().alone(), pytest.raises(UsageError, match="removed already"):
        files.purge().run(NEVER)


def test_an_object_that_comes_again_is_stored_like_new(files: KeptFiles) -> None:
    files.finished(1)
    files.pass_days(31)
    files.purge().run(NEVER)
    again = [image(1, number) for number in range(3)]
    assert files.store(*again) == [True, True, True]
    assert files.images_on_disk(1) == 3
    assert files.purged_images(1) == 0
    with files.ledger.read() as view:
        study = view.studies.find(study_uid(1))
    # It is looked at again, and counts no object twice.
    assert (study.state, study.instances) == (StudyState.RECEIVING, 3)
    files.end(1)
    files.pass_days(29)
    assert files.purge().run(NEVER) == {}
    assert files.store(*again) == [False, False, False]


def test_other_content_than_what_was_removed_is_no_conflict(files: KeptFiles) -> None:
    files.finished(1)
    files.pass_days(31)
    files.purge().run(NEVER)
    assert files.store(image(1, 0, fill=b"\1\2")) == [True]
    assert not list(files.spool.quarantine.iterdir())


def test_no_commitment_is_given_for_what_was_removed(files: KeptFiles) -> None:
    files.finished(1)
    provider = CommitmentProvider(files.ledger, files.spool, lambda _: None, files.clock)
    uid = image(1, 0).uid

    def ask() -> FailureReason | None:
        with files.ledger.read() as view:
            held = view.holdings.find([uid])
        reference = Reference(image(1, 0).sop_class, uid)
        return provider._reason_against(reference, held.get(uid))

    assert ask() is None
    files.pass_days(31)
    study = study_uid(1)
    # Marked, and the file still there, as after a crash.
    with files.ledger.begin() as change:
        change.keeping.mark_images(study, files.clock.now())
    assert ask() is FailureReason.NO_SUCH_INSTANCE
    with files.ledger.read() as view:
        assert view.holdings.extents([study]) == {}


def test_a_report_is_found_while_it_is_safe_and_not_after_it_went(files: KeptFiles) -> None:
    job = files.finished(1)
    place, edition = House(files.spool.root, StillClock()).place, Edition(Form(), {"pacs": 0})

    def find() -> Path | None:
        with files.ledger.read() as view:
            before = view.jobs.get(job.id)
            return find_report(place, view, before, edition, shadow=False)

    assert find() == files.spool.results / job.key / "sr.dcm"
    files.pass_days(100)
    files.purge(Retention(reports_days=90.0)).run(NEVER)
    assert find() is None
    place.ledger.close()


def test_a_file_that_the_disk_keeps_stops_no_other_study(
    files: KeptFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.finished(1)
    files.finished(2)
    files.pass_days(31)
    first = files.spool.object_name(image(1, 0).uid)
    begin = Purging.begin

    def fail(purging: Purging, paths: Collection[str]) -> None:
        if first in paths:
            raise OSError(5, "Input/output error", first)
        begin(purging, paths)

    monkeypatch.setattr(Purging, "begin", fail)
    with pytest.raises(OSError, match="Input/output"):
        files.purge().run(NEVER)
    assert (files.images_on_disk(1), files.images_on_disk(2)) == (3, 0)
    assert (files.purged_images(1), files.purged_images(2)) == (0, 3)


def test_the_caretaker_removes_empties_and_warns(files: KeptFiles, tmp_path: Path) -> None:
    files.finished(1)
    files.store_only(image(1, 0, fill=b"\1\2"))
    (stray,) = files.spool.quarantine.iterdir()
    os.utime(stray, (files.clock.now(), files.clock.now()))
    files.pass_days(91)
    settings = Settings(data_dir=files.spool.root, minimum_free_bytes=1 << 60)
    caretaker = engage(settings, files.ledger, files.spool, files.clock)
    caretaker.begin()
    caretaker.work(NEVER)
    assert files.images_on_disk(1) == 0
    assert not stray.exists()
    assert caretaker.watch.look() is Pressure.FULL
    with caretaker.purge.alone():
        caretaker.begin()
        caretaker.work(NEVER)


SCRIPT = """
import os, signal, sys, threading
from pathlib import Path
from secondread.domain.clock import SystemClock
from secondread.domain.retention import Retention
from secondread.pipeline.purge import Purge
from secondread.store import Ledger, Spool
from secondread.store.purging import Purging

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

folder, where = Path(sys.argv[1]), sys.argv[2]
if where == "before the mark":
    Purge._mark = die
elif where == "after the mark":
    Purging.finish = lambda self, paths, marked: paths and die()
elif where == "among the files":
    one = Purging._finish_one
    Purging._finish_one = lambda self, path, goes: one(self, path, goes) and die()
else:
    Purge._remove_results = die
Purge(Ledger.open(folder), Spool(folder), SystemClock(), Retention(), lambda _: False).run(
    threading.Event()
)
"""


def kill_purge(files: KeptFiles, where: str) -> None:
    """Let a process of its own remove files, and die there; the year is 1970 for these files."""
    command = [sys.executable, "-c", SCRIPT, str(files.spool.root), where]
    done = subprocess.run(command, timeout=60, check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("where", "marked", "there"),
    [("before the mark", 0, 3), ("after the mark", 3, 3), ("among the files", 3, 2)],
)
def test_a_purge_that_is_killed_is_finished_by_the_next(
    files: KeptFiles, where: str, marked: int, there: int
) -> None:
    files.finished(1)
    files.pass_days(40)
    kill_purge(files, where)
    assert (files.purged_images(1), files.images_on_disk(1)) == (marked, there)
    files.purge().run(NEVER)
    assert (files.purged_images(1), files.images_on_disk(1)) == (3, 0)
    assert not Purging(files.spool.root).left()
    assert len(files.purge_rows()) == 1


def test_results_that_a_killed_purge_left_go_and_are_told_once(files: KeptFiles) -> None:
    job = files.finished(1)
    files.pass_days(100)
    kill_purge(files, "among results")
    before = files.purge_rows()
    assert files.results_on_disk(job) == {"seg.dcm", "sr.dcm"}
    with files.ledger.read() as view:
        assert all(item.purged_at is not None for item in view.outbox.of_job(job.id))
    files.purge(Retention(reports_days=50.0)).run(NEVER)
    assert files.results_on_disk(job) == set()
    assert files.purge_rows() == before


@pytest.mark.parametrize("where", ["before the mark", "after the mark"])
def test_an_object_that_comes_again_before_a_killed_purge_is_finished_stays(
    files: KeptFiles, where: str
) -> None:
    files.finished(1)
    files.pass_days(40)
    kill_purge(files, where)
    assert files.store(image(1, 0)) == [True]
    files.purge().finish_earlier()
    assert files.spool.object_path(image(1, 0).uid).is_file()
    with files.ledger.read() as view:
        assert image(1, 0).uid not in view.keeping.purged_of(study_uid(1))
    left = 0 if where == "after the mark" else 2
    assert files.images_on_disk(1) == 1 + left


def test_a_file_stored_again_stays_though_its_row_is_not_written_yet(files: KeptFiles) -> None:
    files.finished(1)
    files.pass_days(40)
    kill_purge(files, "after the mark")
    files.registrar.stop()
    assert files.store_only(image(1, 0)) == [True]
    assert files.purged_images(1) == 3
    files.purge().finish_earlier()
    assert files.images_on_disk(1) == 1
    # A start of intake finds the file and gives it its row.
    with files.ledger.read() as view:
        known = view.instances.paths()
    adopted = list(files.objects.adopt_orphans(known, lambda _: Sender("ct", "CT1", 5.0)))
    assert [error for _, error in adopted] == [None]


def test_a_start_of_intake_leaves_alone_what_is_being_removed(files: KeptFiles) -> None:
    files.finished(1)
    files.pass_days(40)
    kill_purge(files, "after the mark")
    with files.ledger.read() as view:
        known = view.instances.paths()
    assert not list(files.objects.adopt_orphans(known, lambda _: Sender("ct", "CT1", 5.0)))


def test_a_purge_rolled_back_after_an_object_gave_way_gives_it_back(files: KeptFiles) -> None:
    files.finished(1)
    files.pass_days(40)
    kill_purge(files, "before the mark")
    path = files.spool.object_name(image(1, 0).uid)
    assert Purging(files.spool.root).give_way(path)
    assert files.images_on_disk(1) == 2
    files.purge(Retention(images_days=0.0)).finish_earlier()
    assert files.images_on_disk(1) == 3


def test_quarantined_files_go_by_age_and_not_while_their_study_is_on_hold(
    files: KeptFiles,
) -> None:
    job = files.finished(1)
    files.finished(2)
    for study in (1, 2):
        files.store_only(image(study, 0, fill=b"\1\2"))
    stopped = files.spool.root / "quarantine" / job.key / "seg.dcm"
    stopped.parent.mkdir(parents=True)
    stopped.write_bytes(b"x" * 10)
    for path in (*files.spool.quarantine.iterdir(), stopped):
        os.utime(path, (files.clock.now(), files.clock.now()))
    with files.ledger.begin() as change:
        change.holds.place(Hold(job.study_id, "court", "anna", files.clock.now()))
    files.pass_days(89)
    assert files.quarantine().run(NEVER) == {}
    files.pass_days(2)
    assert files.quarantine().run(NEVER)[Kind.QUARANTINE].files == 1
    assert stopped.is_file()
    with files.ledger.begin() as change:
        change.holds.release(job.study_id, "anna", "settled", files.clock.now())
    assert files.quarantine().run(NEVER)[Kind.QUARANTINE].files == 2
    assert not stopped.parent.exists()
    assert files.spool.quarantine.is_dir()
    assert not list(files.spool.quarantine.iterdir())


def test_the_survey_tells_what_is_kept_what_is_due_and_what_must_stay(files: KeptFiles) -> None:
    files.finished(1)
    files.pass_days(20)
    files.finished(2)
    job = files.analyse(2, rule="other")
    files.pass_days(11)
    surveyor = Surveyor(files.ledger, files.spool, Retention(), nobody)
    survey = surveyor.survey(files.quarantine(), files.clock.now())
    images = survey.figures[Kind.IMAGES]
    assert (images.kept.files, images.due.files, images.blocked.files) == (6, 3, 3)
    assert survey.objections == {"A job is written.": 1}
    files.deliver(job)
    survey = surveyor.survey(files.quarantine(), files.clock.now())
    assert survey.figures[Kind.IMAGES].next_due_at == files.clock.now() + 30 * 86400
    assert survey.figures[Kind.RESULTS].kept.files == 3
    assert survey.figures[Kind.REPORTS].kept.files == 3


def test_pressure_is_told_once_and_again_when_it_has_gone(
    files: KeptFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.store(image(1, 0))
    free = {"bytes": 2 * 1024**3}
    monkeypatch.setattr(type(files.spool), "free_bytes", lambda _: free["bytes"])

    def look() -> Pressure:
        watch = DiskWatch(files.ledger, files.spool, files.clock, Retention(), 1024**3)
        return watch.look()

    assert look() is Pressure.SOON
    assert look() is Pressure.SOON
    free["bytes"] = 1024**3 // 2
    assert look() is Pressure.FULL
    free["bytes"] = 100 * 1024**3
    assert look() is Pressure.EASY
    assert look() is Pressure.EASY
    with files.ledger.read() as view:
        rows = view.trail.of_event(DISK_EVENT)
    assert [(row.before, row.after) for row in rows] == [
        ("easy", "soon"),
        ("soon", "full"),
        ("full", "easy"),
    ]


@pytest.mark.parametrize(("when_low", "left"), [(WhenLow.WARN, 3), (WhenLow.PURGE_SAFE, 1)])
def test_when_space_is_short_the_oldest_goes_early_where_that_is_wished(
    files: KeptFiles, monkeypatch: pytest.MonkeyPatch, when_low: WhenLow, left: int
) -> None:
    for study in (1, 2, 3):
        files.finished(study)
        files.pass_days(1)
    files.pass_days(3)
    free = 4 * 1024**3

    def free_bytes(_: object) -> int:
        gone = sum(not files.images_on_disk(study) for study in (1, 2, 3))
        return free + gone * 1024**3

    monkeypatch.setattr(type(files.spool), "free_bytes", free_bytes)
    terms = replace(Retention(), when_low=when_low)
    watch = DiskWatch(files.ledger, files.spool, files.clock, terms, 1024**3)
    watch.relieve(files.purge(terms), NEVER)
    there = [study for study in (1, 2, 3) if files.images_on_disk(study)]
    assert there == [1, 2, 3][3 - left :]
    assert all("before its time" in text for text in files.purge_rows())
