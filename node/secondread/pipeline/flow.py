"""The order of the stages: the only place that knows it."""

from __future__ import annotations

import threading

import structlog

from secondread.domain.engine import Engine
from secondread.pipeline.assemble import Assemble
from secondread.pipeline.infer import Infer
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.workplace import Workplace
from secondread.pipeline.write import Write

log = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.2


class Flow:
    """Moves studies and jobs through the house until it is told to stop."""

    def __init__(self, place: Workplace, engine: Engine) -> None:
        self._infer = Infer(place, engine)
        # The last stage first: what is nearly done goes out before new work comes in.
        self._steps = (
            Write(place).step,
            self._infer.step,
            Prepare(place).step,
            Assemble(place).step,
        )

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        while not stop.is_set():
            worked = [step() for step in self._steps]
            self._infer.collect(0.0 if any(worked) else _POLL_S)
