"""Which jobs of a challenger are compared next: what is found, and by which index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from secondread.domain.monitoring import Comparison
from secondread.store import Ledger, Transaction
from secondread.store.comparisons import Challenge
from secondread.store.ledger import LEDGER_NAME

STUDIES = 5_000
EVERY_S = 300.0
NOW = STUDIES * EVERY_S
SINCE = NOW - 100 * EVERY_S
OPEN = 4
"""The last so many studies have not been compared."""
PAIR = Challenge("heads", "next")

_STUDIES = f"""
INSERT INTO study (id, study_instance_uid, state, peer, first_at, last_at, quiet_s, due_at,
    instances, urgency, attempts, reason, rounds, answers)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {STUDIES})
SELECT i, '2.25.' || i, 'done', 'ct', i, i, 5, i, 1, 0, 0, '', '{{}}', '[]' FROM n
"""
_JOBS = """
INSERT INTO job (id, key, study_id, state, rule, model_id, model_version, series_instance_uid,
    input_digest, priority, attempts, losses, created_at, next_at, outcome, reason, candidates,
    checks, part, sources, version, urgency, shadow, patient_mark)
SELECT 2 * id + {side}, 'k' || (2 * id + {side}), id, 'delivered', '{rule}', '{rule}', '1',
    '2.25.7', 'd' || id, 0, 0, 0, id * {every}, 0, 'analysed', '', '[]', '[]', '', '[]', 1, 0,
    {side}, '' FROM study
"""
_COMPARISONS = f"""
INSERT INTO comparison (champion_job_id, challenger_job_id, at, measures)
SELECT 2 * id, 2 * id + 1, id * {EVERY_S}, '{{}}' FROM study WHERE id <= {STUDIES - OPEN}
"""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger of many studies, each analysed by two models."""
    folder = tmp_path_factory.mktemp("ledger")
    found = Ledger.open(folder)
    engine = sa.create_engine(f"sqlite:///{folder / LEDGER_NAME}")
    with engine.begin() as connection:
        connection.exec_driver_sql(_STUDIES)
        for side, rule in enumerate((PAIR.champion, PAIR.challenger)):
            connection.exec_driver_sql(_JOBS.format(side=side, rule=rule, every=EVERY_S))
        connection.exec_driver_sql(_COMPARISONS)
    engine.dispose()
    yield found
    found.close()


def plan_of(ledger: Ledger, asks: Callable[[Transaction], Any]) -> list[str]:
    """How the database answers the question that ``asks`` puts to it."""
    asked: list[tuple[str, Any]] = []

    def listen(*told: Any) -> None:
        asked.append((told[2], told[3]))

    engine = ledger._engine
    sa.event.listen(engine, "before_cursor_execute", listen)
    with ledger.read() as view:
        asks(view)
    sa.event.remove(engine, "before_cursor_execute", listen)
    ((query, values),) = (one for one in asked if one[0].startswith("SELECT"))
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)
        return [str(row[3]) for row in rows]


def test_only_pairs_that_are_open_are_due_the_oldest_first(ledger: Ledger) -> None:
    first = STUDIES - OPEN + 1
    expected = tuple((2 * study, 2 * study + 1) for study in range(first, STUDIES + 1))
    with ledger.read() as view:
        assert view.comparisons.due(PAIR, SINCE, 100) == expected
        assert view.comparisons.due(PAIR, SINCE, 1) == expected[:1]
        # Of the last two studies alone.
        assert view.comparisons.due(PAIR, NOW - EVERY_S, 100) == expected[-2:]
        assert view.comparisons.due(Challenge("next", "heads"), NOW, 100) == (expected[-1][::-1],)
        awaited = view.comparisons.awaited([PAIR], SINCE)
    assert awaited == {f"k{job}" for pair in expected for job in pair}


def test_a_model_has_its_last_comparisons_on_either_side_and_no_others(ledger: Ledger) -> None:
    with ledger.read() as view:
        of_champion, of_challenger, of_nobody = (
            view.comparisons.of_model(rule, "1", 3) for rule in ("heads", "next", "other")
        )
    last = STUDIES - OPEN
    expected = [2 * study for study in range(last - 2, last + 1)]
    assert [one.champion_job_id for one in of_champion] == expected
    assert of_challenger == of_champion
    assert of_nobody == ()
    assert isinstance(of_champion[0], Comparison)


@pytest.mark.parametrize(
    "asks",
    [
        lambda view: view.comparisons.due(PAIR, SINCE, 20),
        lambda view: view.comparisons.awaited([PAIR], SINCE),
    ],
    ids=["due", "awaited"],
)
def test_a_challengers_jobs_are_found_by_their_rule_and_age(
    ledger: Ledger, asks: Callable[[Transaction], Any]
) -> None:
    plan = plan_of(ledger, asks)
    assert not any("SCAN" in step for step in plan), plan
    assert "ix_job_of_rule (rule=? AND created_at>?)" in plan[0]


def test_comparisons_of_a_model_are_found_without_all_its_jobs(ledger: Ledger) -> None:
    plan = plan_of(ledger, lambda view: view.comparisons.of_model("next", "1", 20))
    # From the newest comparison on; the scan ends with the last one that is asked for.
    assert [step for step in plan if "SCAN" in step] == ["SCAN comparison"]
    assert not any("TEMP B-TREE" in step for step in plan), plan


def test_a_ledger_of_0007_gets_the_index_and_keeps_what_it_has(tmp_path: Path) -> None:
    from tests.unit.test_store_migrations import fill, take_back

    ledger = Ledger.open(tmp_path)
    fill(ledger)
    ledger.close()
    take_back(tmp_path, "0007")
    ledger = Ledger.open(tmp_path)
    with ledger.read() as view:
        assert [job.rule for job in view.jobs.of_study(1)] == ["rule0", "rule1"]
    plan = plan_of(ledger, lambda view: view.comparisons.due(PAIR, 0.0, 20))
    ledger.close()
    assert any("ix_job_of_rule" in step for step in plan)
