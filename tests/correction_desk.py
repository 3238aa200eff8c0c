"""A study that a node has analysed and delivered, and somebody who sends corrections back."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from secondread.domain.correction import CorrectionState
from secondread.domain.network import LateImages
from secondread.domain.states import JobState
from secondread.pipeline.correction_match import Candidate
from secondread.pipeline.correction_worker import look
from secondread.pipeline.corrections import Answer, Ask, Corrections
from secondread.pipeline.write import Write
from tests.corrected import SEG, Labels, Reading, source_images
from tests.house import StillClock


def at_once(path: Path, candidates: Sequence[Candidate], _: threading.Event) -> Answer:
    """What the process says, without one."""
    answer: Answer = json.loads(json.dumps(look(path, candidates)))
    return answer


@dataclass(frozen=True)
class Analysed:
    """The files of a node that has analysed and delivered one study, and the study."""

    folder: Path
    paths: Sequence[Path]
    labels: Labels


def analyse(folder: Path, series: Any, late_images: LateImages = LateImages.NEW_INPUT) -> Analysed:
    house = Reading(folder / "data", StillClock())
    house.set_rule(late_images=late_images)
    house.receive(series.paths)
    house.assemble()
    house.analyse()
    Write(house.place).step()
    with house.place.ledger.begin() as change:
        (job,) = change.jobs.of_study(1)
        change.jobs.move(job, JobState.DELIVERED, house.clock.time, "Sent.")
        change.studies.close_if_finished(1, house.clock.time)
    house.place.ledger.close()
    found = np.where(series.voxels >= 700, 2, np.where(series.voxels >= 400, 1, 0))
    return Analysed(folder, series.paths, found.astype(np.uint8))


class Desk:
    """A study that was analysed and delivered, and somebody who corrects it."""

    def __init__(self, folder: Path, analysed: Analysed) -> None:
        shutil.copytree(analysed.folder / "data", folder / "data")
        self.folder = folder
        self.house = Reading(folder / "data", StillClock())
        self.house.clock.time += 1000
        self.paths = analysed.paths
        self.images = source_images(analysed.paths)
        self.labels = analysed.labels

    @property
    def written(self) -> Path:
        """The segmentation of the job."""
        return self.house.place.spool.results / self.house.job.key / "seg.dcm"

    def send_back(self, path: Path, sop_class: str = SEG, asks: Ask | None = None) -> None:
        """The peer stores an object, and the pipeline looks at it."""
        self.house.clock.time += 60
        self.house.receive([path], sop_class)
        Corrections(self.house.place, None, asks or at_once).step()

    @property
    def feedback(self) -> Sequence[Any]:
        with self.house.place.ledger.read() as view:
            return view.feedbacks.of_job(1)

    def made_of(self, path: Path) -> Any:
        """What was made of an object."""
        uid = str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        with self.house.place.ledger.read() as view:
            found = view.corrections.find(uid)
            assert view.instances.find(uid) is not None
        assert found is not None
        return found

    def check_kept(self, path: Path, sentence: str) -> None:
        """An object is kept, and no feedback, and both ledger and trail say why."""
        found = self.made_of(path)
        assert found.state is CorrectionState.KEPT
        assert sentence in found.reason
        assert not self.feedback
        with self.house.place.ledger.read() as view:
            (row,) = view.trail.of_event("feedback")
        assert found.reason in row.text
        assert not any(str(uid) in row.text for uid in (found.sop_instance_uid, "2.25."))
