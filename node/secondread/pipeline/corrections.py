"""What came back: a corrected segmentation, or key objects that reject a result, become feedback.

They start nothing. An object is looked at in a process of its own (``correction_worker``), and what
it says is one transaction: the feedback, the rows of the trail, and that it was looked at. What the
node itself fails at, because the ledger is locked or the disk is full, is tried again later.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from secondread.delivery.backoff import line_delay_s
from secondread.domain.correction import Correction, CorrectionState
from secondread.domain.monitoring import Feedback, FeedbackSource, Verdict
from secondread.errors import NotFoundError
from secondread.pipeline.correction_candidates import find_candidates
from secondread.pipeline.correction_match import Candidate
from secondread.pipeline.workplace import Workplace
from secondread.results.context import SEG, SR
from secondread.store import Transaction
from secondread.store.feedbacks import EVENT

log = structlog.stdlib.get_logger(__name__)

TIMEOUT_S = 300.0
TRIES_MAX = 90
"""Some three days: what fills or locks a disk on a Friday evening is seen on Monday."""
_AT_A_TIME = 20
_POLL_S = 0.5
_GONE = "The object is not in the spool any more."
_UNREADABLE = "It cannot be read: the process that read it came to no end."
_SAME_UID = (
    "It has the SOP Instance UID of a result of this node and other voxels; a correction needs a "
    "UID of its own (PS3.3 C.12.1.1). Tell whoever makes the program that sent it."
)
_ALREADY_HERE = "It says nothing that was not said before."

Answer = Mapping[str, Any]
Ask = Callable[[Path, Sequence[Candidate], threading.Event], Answer | None]
"""Has an object looked at; ``ask`` below, and in tests without a process."""


class Corrections:
    """Looks at what peers sent that may give feedback; called every so often, by one thread."""

    def __init__(
        self, place: Workplace, stop: threading.Event | None = None, asks: Ask | None = None
    ) -> None:
        self._place = place
        self._stop = stop or threading.Event()
        self._ask = asks or ask

    def step(self) -> int:
        """Look at what waits; how many objects that were."""
        with self._place.ledger.read() as view:
            waiting = view.corrections.waiting(self._place.clock.now(), _AT_A_TIME)
        for one in waiting:
            if not self._stop.is_set():
                self._look(one)
        return len(waiting)

    def _look(self, one: Correction) -> None:
        if one.attempts >= TRIES_MAX:
            # Whatever it was, it took the node down with it.
            self._give_up(one, one.attempts)
            return
        tries = one.attempts + 1
        wait_s = line_delay_s(tries, lasting=True)
        with self._place.ledger.begin() as change:
            change.corrections.begin(one.sop_instance_uid, self._place.clock.now() + wait_s)
        try:
            self._judge(one)
        except Exception as error:
            # One object must not keep the others waiting; the fault is ours, not its.
            if tries >= TRIES_MAX:
                log.error("correction not understood", peer=one.peer, exc_info=error)
                self._give_up(one, tries, f", the last time with {type(error).__name__}")
                return
            log.warning(
                "correction looked at later",
                peer=one.peer,
                tries=tries,
                wait_s=round(wait_s),
                exc_info=error,
            )

    def _give_up(self, one: Correction, tries: int, fault: str = "") -> None:
        text = f"The node failed {tries} times while it looked at it{fault}; the log says why."
        self._end(one, CorrectionState.KEPT, text)
        log.error("correction given up", peer=one.peer, tries=tries)

    def _judge(self, one: Correction) -> None:
        with self._place.ledger.read() as view:
            is_own = view.outbox.knows(one.sop_instance_uid)
            instance = view.instances.find(one.sop_instance_uid)
            study_id = _study_id(view, one)
            only = one.sop_instance_uid if is_own else ""
            candidates = tuple(find_candidates(view, self._place.spool, study_id, only))
        path = None if instance is None else self._place.spool.absolute(instance.path)
        if path is None or not path.is_file():
            self._keep(one, _GONE)
            return
        answer = self._ask(path, candidates, self._stop)
        if answer is None:
            # The node stops; that is no failure of this object.
            with self._place.ledger.begin() as change:
                change.corrections.put_back(one.sop_instance_uid)
            return
        if number := answer.get("errno"):
            raise OSError(number, os.strerror(number))
        if is_own and answer.get("verdict", Verdict.ACCEPT) == Verdict.ACCEPT:
            self._end(one, CorrectionState.OWN, "It is a result of this node, as it was sent.")
        elif is_own:
            self._keep(one, _SAME_UID)
        elif "job" in answer:
            self._count(one, [int(answer["job"])], Verdict(answer["verdict"]), answer["measures"])
        elif "rejects" in answer:
            self._reject(one, answer["rejects"])
        else:
            self._keep(one, str(answer["fault"]))

    def _reject(self, one: Correction, uids: Collection[str]) -> None:
        with self._place.ledger.read() as view:
            found = sorted(set(view.corrections.jobs_of(uids, (SEG, SR)).values()))
            study_id = _study_id(view, one)
            # What they name in other studies may be other patients'.
            jobs = [job_id for job_id in found if view.jobs.get(job_id).study_id == study_id]
        if jobs:
            self._count(one, jobs, Verdict.REJECT, {})
        else:
            self._keep(
                one, "It rejects objects, and none of them is a result of this node in their study."
            )

    def _count(
        self, one: Correction, jobs: Sequence[int], verdict: Verdict, measures: Mapping[str, float]
    ) -> None:
        with self._place.ledger.begin() as change:
            rows = [
                change.feedbacks.add(
                    Feedback(
                        job_id=job_id,
                        at=one.at,
                        verdict=verdict,
                        given_by=one.peer,
                        source=FeedbackSource.SEGMENTATION,
                        sop_instance_uid=one.sop_instance_uid,
                        measures=measures,
                    )
                )
                for job_id in jobs
            ]
            said = "" if any(rows) else _ALREADY_HERE
            change.corrections.end(one.sop_instance_uid, CorrectionState.COUNTED, said)
        for job_id in jobs:
            log.info("feedback", job_id=job_id, verdict=str(verdict), peer=one.peer)

    def _keep(self, one: Correction, reason: str) -> None:
        self._end(one, CorrectionState.KEPT, reason)
        log.warning("no feedback", peer=one.peer, reason=reason)

    def _end(self, one: Correction, state: CorrectionState, reason: str) -> None:
        with self._place.ledger.begin() as change:
            change.corrections.end(one.sop_instance_uid, state, reason)
            if state is CorrectionState.KEPT:
                text = f"What peer '{one.peer}' sent back is kept, and is no feedback. {reason}"
                study_id = _study_id(change, one)
                change.trail.append(
                    self._place.clock.now(), EVENT, text, study_id=study_id, change=("", state)
                )


def ask(path: Path, candidates: Sequence[Candidate], stop: threading.Event) -> Answer | None:
    """Have an object looked at, in a process that may crash, hang or run out of memory.

    Returns:
        What ``correction_worker.look`` says; None where ``stop`` came first.
    """
    request = {"path": str(path.absolute()), "candidates": [asdict(one) for one in candidates]}
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "secondread.pipeline.correction_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # What parsers print is about a patient's object and tells nobody anything.
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"},
        cwd="/",
        text=True,
    )
    said: str | None = json.dumps(request)
    until = time.monotonic() + TIMEOUT_S
    with process:
        while not stop.is_set() and time.monotonic() < until:
            try:
                answer, _ = process.communicate(said, timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                # What is left of the request goes on by itself.
                said = None
                continue
            return _answer(process.returncode, answer)
        process.kill()
        process.communicate()
    return None if stop.is_set() else {"fault": _UNREADABLE}


def _answer(status: int, text: str) -> Answer:
    try:
        answer: Answer = json.loads(text) if status == 0 else {"fault": _UNREADABLE}
    except ValueError:
        return {"fault": _UNREADABLE}
    return answer


def _study_id(view: Transaction, one: Correction) -> int | None:
    try:
        return view.studies.find(one.study_instance_uid).id
    except NotFoundError:
        return None
