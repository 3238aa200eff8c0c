"""A house in which a second version of the sample model challenges the first, in shadow."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from secondread.bundles.registry import load_models
from secondread.delivery.news import News
from secondread.domain.engine import Finished, Ticket
from secondread.domain.monitoring import Comparison
from secondread.domain.network import ModelReference, Rule
from secondread.domain.telling import Event, Listener, ListenerKind
from secondread.pipeline.comparing import Comparing
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.write import Write
from tests.house import MODEL, House, StillClock

CHAMPION = Rule(name="heads", model="bright_head", destinations=("pacs",), priority=5)
CHALLENGER = Rule(
    name="next",
    model="bright_head_next",
    destinations=("pacs",),
    shadow=True,
    challenges="heads",
)


class Ring:
    """A house in which a second version of the model, with other numbers, challenges the first."""

    def __init__(self, folder: Path) -> None:
        package = folder / "next"
        shutil.copytree(MODEL, package)
        told = (package / "model.toml").read_text().replace('"1.0.0"', '"1.1.0"')
        swapped = told.replace("value = 1", "value = X").replace("value = 2", "value = 1")
        (package / "model.toml").write_text(swapped.replace("value = X", "value = 2"))
        models = (
            ModelReference("bright_head", str(MODEL), "RESEARCH"),
            ModelReference("bright_head_next", str(package), "RESEARCH", "bright_head"),
        )
        self.house = House(folder / "data", StillClock())
        self.house.place = replace(
            self.house.place,
            rules=(CHAMPION, CHALLENGER),
            models=MappingProxyType({model.id: model for model in models}),
            manifests=load_models(models),
        )
        self.house.set_rule()

    def answer(self) -> None:
        """The job in flight: the challenger's labels are swapped, and its inner part is smaller."""
        house = self.house
        task = house.engine.tasks[-1]
        voxels = np.load(task.volume_path)
        if task.model_id == "bright_head":
            labels = np.where(voxels >= 700, 2, np.where(voxels >= 400, 1, 0))
        else:
            labels = np.where(voxels >= 810, 1, np.where(voxels >= 400, 2, 0))
        np.save(task.labels_path, labels.astype(np.uint8))
        ticket = Ticket(task.job_key, task.attempt)
        house.engine.outcomes.append(Finished(ticket, "", (), 0.5 * len(house.engine.tasks)))
        assert house.infer.collect(0)

    def start(self) -> None:
        """Take the next job to the model."""
        assert Prepare(self.house.place).step()
        assert self.house.infer.step()

    def run_both(self) -> None:
        for _ in range(2):
            self.start()
            self.answer()
            assert Write(self.house.place).step()

    def compare(self) -> int:
        return Comparing(self.house.place).step()

    def comparisons(self) -> Sequence[Comparison]:
        with self.house.place.ledger.read() as view:
            return view.comparisons.of_model("bright_head_next", "1.1.0", 100)

    def told(self) -> list[tuple[Event, int | None]]:
        """What a webhook that wants to know everything would be told of the whole trail."""
        listener = Listener(
            name="ris", kind=ListenerKind.WEBHOOK, events=frozenset(Event), attempts_max=1
        )
        with self.house.place.ledger.read() as view:
            news = News(view, listener, {}, b"secret")
            return [(message.event, message.job_id) for message in news.of(view.trail.all())]
