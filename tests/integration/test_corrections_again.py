"""What the node itself fails at while it looks at a correction is tried again, and not for ever."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from structlog.testing import capture_logs

from secondread.domain.correction import CorrectionState
from secondread.domain.monitoring import Verdict
from secondread.pipeline.corrections import TRIES_MAX, Corrections, ask
from secondread.store import Ledger, ledger
from secondread.store.ledger import LEDGER_NAME
from tests.conftest import make_head
from tests.corrected import SEG, by_highdicom
from tests.correction_desk import Analysed, Desk, analyse, at_once

LATER = "correction looked at later"
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    folder = tmp_path_factory.mktemp("analysed")
    return analyse(folder, make_head(folder / "series"))


@pytest.fixture
def desk(tmp_path: Path, analysed: Analysed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(ledger, "BUSY_TIMEOUT_MS", 50)
    found = Desk(tmp_path, analysed)
    yield found
    found.house.place.ledger.close()


@pytest.fixture
def back(desk: Desk) -> Path:
    """A correction that has come, and that nobody has looked at."""
    path = by_highdicom(desk.folder / "back.dcm", desk.images, desk.labels)
    desk.house.receive([path], SEG)
    return path


def no_space(*_: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_waited_for_with_pauses_that_grow_up_to_an_hour(
    desk: Desk, back: Path
) -> None:
    corrections = Corrections(desk.house.place, None, no_space)
    pauses = []
    for tries in range(1, 9):
        with capture_logs() as logs:
            assert corrections.step() == 1
            assert corrections.step() == 0
        (said,) = logs
        assert (said["event"], said["log_level"], said["tries"]) == (LATER, "warning", tries)
        found = desk.made_of(back)
        assert (found.state, found.attempts) == (CorrectionState.WAITING, tries)
        pauses.append(found.next_at - desk.house.clock.time)
        desk.house.clock.time = found.next_at
    for pause_s, longest_s in zip(pauses, [300, 600, 1200, 2400, *[HOUR_S] * 4], strict=True):
        assert 0.75 * longest_s <= pause_s <= longest_s
    assert not desk.feedback
    assert Corrections(desk.house.place, None, at_once).step() == 1
    (row,) = desk.feedback
    assert row.verdict is Verdict.ACCEPT
    assert desk.made_of(back).state is CorrectionState.COUNTED


def test_a_locked_ledger_is_waited_for_over_a_restart(desk: Desk, back: Path) -> None:
    place = desk.house.place
    lock = sqlite3.connect(place.spool.root / LEDGER_NAME, isolation_level=None)

    def locks(*told: Any) -> Any:
        """Somebody writes for long while the object is looked at."""
        lock.execute("BEGIN IMMEDIATE")
        return at_once(*told)

    with capture_logs() as logs:
        assert Corrections(place, None, locks).step() == 1
    lock.execute("ROLLBACK")
    lock.close()
    assert [said["event"] for said in logs] == [LATER]
    assert not desk.feedback
    place.ledger.close()
    desk.house.place = replace(place, ledger=Ledger.open(place.spool.root))
    again = Corrections(desk.house.place, None, at_once)
    assert again.step() == 0
    desk.house.clock.time += HOUR_S
    assert again.step() == 1
    assert len(desk.feedback) == 1


def test_a_result_that_the_disk_does_not_let_be_read_is_no_fault_of_the_correction(
    desk: Desk, back: Path
) -> None:
    aside = desk.written.rename(desk.written.with_suffix(".aside"))
    # The memory of a process from its first byte on: an error of input and output, as on a disk.
    desk.written.symlink_to("/proc/self/mem")
    with capture_logs() as logs:
        Corrections(desk.house.place, None, ask).step()
    assert [said["event"] for said in logs] == [LATER]
    assert desk.made_of(back).state is CorrectionState.WAITING
    desk.written.unlink()
    aside.rename(desk.written)
    desk.house.clock.time += HOUR_S
    Corrections(desk.house.place, None, at_once).step()
    assert len(desk.feedback) == 1


def test_a_correction_that_the_node_fails_at_for_days_is_given_up(desk: Desk, back: Path) -> None:
    uid = str(pydicom.dcmread(back, stop_before_pixels=True).SOPInstanceUID)
    with desk.house.place.ledger.begin() as change:
        for _ in range(TRIES_MAX - 1):
            change.corrections.begin(uid, desk.house.clock.time)
    with capture_logs() as logs:
        Corrections(desk.house.place, None, no_space).step()
    desk.check_kept(back, f"failed {TRIES_MAX} times while it looked at it, the last time with")
    (said,) = (one for one in logs if one["event"] == "correction given up")
    assert (said["log_level"], said["peer"], said["tries"]) == ("error", "ct", TRIES_MAX)
    desk.house.clock.time += 100 * HOUR_S
    assert Corrections(desk.house.place, None, at_once).step() == 0


def test_a_correction_that_takes_the_node_down_each_time_is_given_up(
    desk: Desk, back: Path
) -> None:
    uid = str(pydicom.dcmread(back, stop_before_pixels=True).SOPInstanceUID)
    with desk.house.place.ledger.begin() as change:
        for _ in range(TRIES_MAX):
            change.corrections.begin(uid, desk.house.clock.time)
    Corrections(desk.house.place, None, at_once).step()
    desk.check_kept(back, f"failed {TRIES_MAX} times while it looked at it; the log says why")
    assert not desk.feedback


def test_one_that_fails_keeps_no_other_waiting(desk: Desk, back: Path) -> None:
    other = by_highdicom(desk.folder / "other.dcm", desk.images, desk.labels)
    desk.house.clock.time += 60
    desk.house.receive([other], SEG)
    first = desk.made_of(back).sop_instance_uid

    def at_times(path: Path, *told: Any) -> Any:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        return no_space() if header.SOPInstanceUID == first else at_once(path, *told)

    assert Corrections(desk.house.place, None, at_times).step() == 2
    assert desk.made_of(back).state is CorrectionState.WAITING
    assert desk.made_of(other).state is CorrectionState.COUNTED
