"""A model that builds on another, through a whole node."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from secondread.domain.states import StudyState
from secondread.store import Ledger

from .conftest import MODELS, RunningNode, Target

pytestmark = pytest.mark.acceptance


@pytest.fixture
def node(
    tmp_path: Path, free_port: Callable[[], int], small_pacs: Callable[..., Any]
) -> Iterator[RunningNode]:
    """A node, not started, whose rule asks for ``second``, which builds on ``finder``."""
    text = (MODELS / "bright_head" / "model.toml").read_text(encoding="utf-8")
    pin = ""
    for name in ("finder", "second"):
        (tmp_path / name).mkdir()
        mine = text.replace('id = "bright_head"', f'id = "{name}"', 1) + pin
        (tmp_path / name / "model.toml").write_text(mine, encoding="utf-8")
        digest = hashlib.sha256(mine.encode()).hexdigest()
        pin = f'\n[[upstream]]\nid = "{name}"\nversion = "1.0.0"\nsha256 = "{digest}"\n'
    pacs = small_pacs()
    target = Target(pacs.ae_title, pacs.host, pacs.port)
    made = RunningNode(tmp_path, free_port(), target, tmp_path / "second", 0.6)
    with made.config.open("a", encoding="utf-8") as file:
        file.write(f'[[models]]\nid = "finder"\npath = {json.dumps(str(tmp_path / "finder"))}\n')
    yield made
    made.stop()


def test_both_run_on_a_study_and_the_second_answers(
    node: RunningNode, head_series: Callable[..., Any]
) -> None:
    node.start()
    node.send(head_series("axial").folder)
    assert node.wait_until_ended() == [StudyState.DONE]
    with Ledger.open(node.data_dir).read() as view:
        (study,) = view.studies.list()
        (job,) = view.jobs.of_study(study.id)
        assert job.model_id == "second"
        names = [name for name, *_ in view.jobs.checks(job.id)]
    assert names == ["finder: spread of values", "spread of values"]


def test_a_model_that_it_builds_on_and_that_changed_is_told_before_the_node_starts(
    node: RunningNode, tmp_path: Path
) -> None:
    assert [one["fault"] for one in _switched_on(node)] == ["", ""]
    with (tmp_path / "finder" / "model.toml").open("a") as file:
        file.write("# one more line\n")
    faults = {one["id"]: one["fault"] for one in _switched_on(node)}
    assert faults["finder"] == ""
    assert "'second' builds on 'finder' 1.0.0" in faults["second"]
    assert "Install 'finder' 1.0.0" in faults["second"]


def _switched_on(node: RunningNode) -> list[dict[str, Any]]:
    return [one for one in node.command("model", "list")["models"] if one["switched_on"]]
