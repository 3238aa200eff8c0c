"""A radiologist's correction, from a viewer back to a whole node, by DCMTK."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from secondread.domain.correction import CorrectionState
from secondread.domain.monitoring import Verdict
from secondread.domain.states import StudyState
from secondread.store import Ledger
from tests.corrected import by_highdicom, dice, source_images

from .conftest import RunningNode, Target

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

READER = """
[[peers]]
name = "reading room"
ae_title = "READER"
addresses = ["127.0.0.1"]
quiet_s = 0.6
may = ["feedback"]
"""
SENT, NO_CONTEXT = 0, 1


@pytest.fixture
def node(tmp_path: Path, free_port: Callable[[], int], small_pacs: Callable[..., Any]) -> Any:
    """A node that a reading room may send corrections to, and nothing else."""
    pacs = small_pacs()
    target = Target(pacs.ae_title, pacs.host, pacs.port)
    made = RunningNode(tmp_path, free_port(), target, "bright_head", 0.6)
    with made.config.open("a", encoding="utf-8") as file:
        file.write(READER)
    made.start()
    yield made, pacs
    made.stop()


def store(node: RunningNode, program: str, path: Path, title: str) -> int:
    """Send one object with DCMTK; its exit status."""
    command = [program, "-R", "-aet", title, "-aec", "SECONDREAD", "127.0.0.1", str(node.port)]
    return subprocess.run([*command, str(path)], capture_output=True, timeout=60).returncode


def made_of(node: RunningNode, path: Path) -> Any:
    """What was made of an object, once that is so."""
    uid = str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)

    def seen() -> Any:
        with Ledger.open(node.data_dir).read() as view:
            found = view.corrections.find(uid)
        return found if found and found.state is not CorrectionState.WAITING else None

    return node.wait_until(seen, 60.0, "the correction to be looked at")


def delivered(pacs: Any, folder: Path) -> Path:
    """The segmentation that the PACS got."""
    (found,) = (
        path
        for path in pacs.export(folder)
        if pydicom.dcmread(path, stop_before_pixels=True).Modality == "SEG"
    )
    return Path(found)


def test_correction_becomes_feedback_and_nothing_else(
    node: tuple[RunningNode, Any],
    head_series: Callable[..., Any],
    tmp_path: Path,
    dcmtk: Callable[[str], str],
) -> None:
    running, pacs = node
    storescu = dcmtk("storescu")
    series = head_series("axial")
    running.send(series.folder)
    assert running.wait_until_ended() == [StudyState.DONE]
    seg = delivered(pacs, tmp_path / "pacs-before")
    images = source_images(series.paths)
    ours = np.where(series.voxels >= 700, 2, np.where(series.voxels >= 400, 1, 0))
    theirs = ours.astype(np.uint8)
    theirs[:12] = np.where(theirs[:12] == 1, 0, theirs[:12])
    back = by_highdicom(tmp_path / "back.dcm", images, theirs)

    assert store(running, storescu, seg, "READER") == SENT
    assert made_of(running, seg).state is CorrectionState.OWN
    assert store(running, storescu, back, "READER") == SENT
    assert made_of(running, back).state is CorrectionState.COUNTED
    _check_feedback(running, ours == 1, theirs == 1)
    assert len(list(pacs.export(tmp_path / "pacs-after"))) == 2

    # It may send nothing but that, and who has not the right corrects nothing.
    assert store(running, storescu, series.paths[0], "READER") != SENT
    again = by_highdicom(tmp_path / "again.dcm", images, theirs)
    assert store(running, storescu, again, "CT1") == SENT
    assert running.wait_until_ended() == [StudyState.DONE]
    uid = str(pydicom.dcmread(again).SOPInstanceUID)
    running.wait_until(lambda: _is_stored(running, uid), 30.0, "the object to be stored")
    with Ledger.open(running.data_dir).read() as view:
        assert view.corrections.find(uid) is None
        assert len(view.feedbacks.of_job(1)) == 1
    said = running.log.read_text()
    assert '"verdict": "modify"' in said
    assert not any(name in said for name in (uid, "Example^Head"))


def _check_feedback(node: RunningNode, ours: Any, theirs: Any) -> None:
    with Ledger.open(node.data_dir).read() as view:
        (job,) = view.jobs.of_study(1)
        (row,) = view.feedbacks.of_job(job.id)
        (study,) = view.studies.list()
        states: Sequence[str] = [
            row.after for row in view.trail.of_study(study.id) if row.event == "study"
        ]
    assert (row.verdict, row.given_by) == (Verdict.MODIFY, "reading room")
    assert row.measures["dice.brain"] == pytest.approx(dice(ours, theirs))
    assert row.measures["dice.left_thalamus"] == 1
    # Images that came slowly may have been looked at before they were all there.
    assert states[states.index("assembling") :] == ["assembling", "analysing", "done"]


def _is_stored(node: RunningNode, uid: str) -> bool:
    with Ledger.open(node.data_dir).read() as view:
        return view.instances.find(uid) is not None
