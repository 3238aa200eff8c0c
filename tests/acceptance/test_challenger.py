"""A second version of a model in shadow, through a whole node: the PACS never hears of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from secondread.domain.states import StudyState
from secondread.store import Ledger

from .conftest import MODELS, RunningNode, Target

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]
CHALLENGER = """
[[models]]
id = "bright_head_next"
package = "bright_head"
path = "next"
[[rules]]
name = "next"
model = "bright_head_next"
destinations = ["pacs"]
shadow = true
challenges = "heads"
"""


@pytest.fixture
def pacs(small_pacs: Callable[..., Any]) -> Any:
    return small_pacs()


@pytest.fixture
def node(tmp_path: Path, free_port: Callable[[], int], pacs: Any) -> Iterator[RunningNode]:
    """A node, not started, in which two versions of a model are to see every head."""
    shutil.copytree(MODELS / "bright_head", tmp_path / "next")
    manifest = tmp_path / "next" / "model.toml"
    changed = manifest.read_text().replace('"1.0.0"', '"1.1.0"').replace("700.0", "650.0")
    manifest.write_text(changed)
    target = Target(pacs.ae_title, pacs.host, pacs.port)
    made = RunningNode(tmp_path, free_port(), target, "bright_head", 0.6)
    with made.config.open("a", encoding="utf-8") as file:
        file.write(CHALLENGER)
    yield made
    made.stop()


def test_both_are_compared_and_one_is_sent(
    node: RunningNode, pacs: Any, head_series: Callable[..., Any]
) -> None:
    node.start()
    node.send(head_series("axial").folder)
    assert node.wait_until_ended() == [StudyState.DONE]
    ledger = Ledger.open(node.data_dir)

    def compared() -> Any:
        with ledger.read() as view:
            return view.comparisons.of_model("bright_head_next", "1.1.0", 10)

    node.wait_until(lambda: bool(compared()), 60.0, "the comparison")
    (found,) = compared()
    with ledger.read() as view:
        sent = {item.sop_instance_uid for item in view.outbox.of_job(found.champion_job_id)}
        assert view.outbox.of_job(found.challenger_job_id) == ()
        challenger = view.jobs.get(found.challenger_job_id)
    ledger.close()
    assert found.measures["same_input"] == 1.0
    assert 0.5 < found.measures["dice.left_thalamus"] <= 1.0
    received = {one.key for one in pacs.held()}
    assert len(received) == 2
    assert received <= sent
    kept = node.data_dir / "results" / challenger.key
    assert {path.name for path in kept.rglob("*.dcm")} == {"seg.dcm", "sr.dcm"}
    (model,) = node.command("model", "monitor", "bright_head")["models"]
    assert model["jobs"]["analysed"] == 1
    (comparison,) = model["comparisons"]
    assert comparison["compared"] == 1
