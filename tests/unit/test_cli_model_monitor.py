"""``secondread model monitor``, ``feedback``, ``pause``, ``resume`` and ``baseline``."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql

from secondread.cli.monitor_page import page
from secondread.cli.monitor_reading import Named, Watched
from secondread.cli.monitor_story import document, tell
from secondread.domain.monitoring import Drift, Feedback, Observed, Verdict
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.errors import EXIT_NO_INPUT, EXIT_OK, EXIT_USAGE
from secondread.monitoring.challenge import figures
from secondread.monitoring.conclusions import NOT_BETTER, concluded
from secondread.monitoring.rejects import reject_share
from secondread.monitoring.standing import Standing
from secondread.store import Ledger
from secondread.store.model_work import DAY_S, PLANNED_DAY, Day, WorkDone
from tests.challenge_scene import Ring
from tests.conftest import make_head
from tests.house import MODEL
from tests.unit.test_monitoring_challenge import alike

CONFIGURATION = """\
[node]
data_dir = "data"
[[models]]
id = "bright_head"
path = "{model}"
[[models]]
id = "bright_head_next"
package = "bright_head"
path = "next"
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104
[[rules]]
name = "heads"
model = "bright_head"
destinations = ["pacs"]
[[rules]]
name = "next"
model = "bright_head_next"
destinations = ["pacs"]
shadow = true
challenges = "heads"
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a node with a study that both models have analysed; only ever copied."""
    folder = tmp_path_factory.mktemp("analysed")
    ring = Ring(folder)
    series = tmp_path_factory.mktemp("series")
    ring.house.receive(make_head(series, "axial", (12, 20, 20), (9.0, 9.0, 9.0)).paths)
    ring.house.assemble()
    ring.run_both()
    ring.compare()
    ring.house.place.ledger.close()
    return folder


@pytest.fixture
def ledger(analysed: Path, tmp_path: Path) -> Iterator[Ledger]:
    """The ledger of a copy of that node."""
    shutil.copytree(analysed, tmp_path, dirs_exist_ok=True)
    with closing(Ledger.open(tmp_path / "data")) as ledger:
        yield ledger


@pytest.fixture
def run(tmp_path: Path, command: Run) -> Run:
    """``run("monitor")``: exit code, standard output, standard error."""
    path = tmp_path / "node.toml"
    path.write_text(CONFIGURATION.format(model=MODEL))
    return lambda *words: command("model", *words, "-c", path)


def trail(ledger: Ledger, event: str) -> Any:
    with ledger.read() as view:
        return view.trail.of_event(event)


def test_the_monitor_tells_work_feedback_and_challengers(ledger: Ledger, run: Run) -> None:
    code, out, _ = run("monitor")
    assert code == EXIT_OK
    first, second = out.split("\n\n")
    assert first.startswith("bright_head 1.0.0, on; rule 'heads'")
    assert "1 analysed, 0 not analysed (0 %, 0 to 79)" in first
    assert "challenged by bright_head_next 1.1.0" in first
    assert "1 study so far" in first
    assert "nothing can be concluded before there are 20" in first
    assert NOT_BETTER in first
    assert "Median time: champion 0.5 s, challenger 1.0 s." in first
    assert second.startswith("bright_head_next 1.1.0, on; rule 'next' (in shadow)")
    assert "challenges bright_head 1.0.0" in second


def test_the_monitor_is_a_document_for_programs(ledger: Ledger, run: Run) -> None:
    code, out, _ = run("monitor", "bright_head", "--json")
    assert code == EXIT_OK
    (model,) = json.loads(out)["models"]
    assert (model["id"], model["version"], model["switched_on"]) == ("bright_head", "1.0.0", True)
    assert model["jobs"] == {"analysed": 1, "refused": 0, "failed": 0, "on_its_way": 0}
    assert model["paused"] is None
    assert model["feedback"]["accept"] == 0
    (comparison,) = model["comparisons"]
    assert comparison["challenger"] == {"id": "bright_head_next", "version": "1.1.0"}
    assert comparison["compared"] == 1
    assert {one["name"] for one in comparison["structures"]} == {"brain", "left_thalamus"}


def test_a_page_is_written(ledger: Ledger, run: Run, tmp_path: Path) -> None:
    code, out, _ = run("monitor", "--html", tmp_path / "models.html")
    assert code == EXIT_OK
    assert "models.html" in out
    text = (tmp_path / "models.html").read_text()
    assert "bright_head_next" in text
    code, _, error = run("monitor", "--html", tmp_path / "nowhere" / "models.html")
    assert code == EXIT_USAGE
    assert "cannot be written" in error


def test_an_unknown_model_is_said(ledger: Ledger, run: Run) -> None:
    code, _, error = run("monitor", "brian_mr")
    assert code == EXIT_NO_INPUT
    assert "No model 'brian_mr'" in error
    code, _, error = run("pause", "bright_head", "--reason", "x", "--version", "9.9.9")
    assert code == EXIT_NO_INPUT
    assert "There is no version '9.9.9' of model 'bright_head'; there is 1.0.0." in error


def test_feedback_is_written_down_without_the_remark_in_the_trail(ledger: Ledger, run: Run) -> None:
    remark = "Mr Doe's left side is cut off"
    code, out, _ = run(
        *("feedback", "1", "--verdict", "modify", "--remark", remark, "--by", "Dr Hall")
    )
    assert code == EXIT_OK
    assert "Noted for job 1 of study 1, model 'bright_head' 1.0.0: modify, by Dr Hall." in out
    with ledger.read() as view:
        (said,) = view.feedbacks.of_job(1)
        assert "Doe" not in " ".join(f"{row.text} {row.detail}" for row in view.trail.all())
    assert (said.verdict, said.given_by, said.remark) == (Verdict.MODIFY, "Dr Hall", remark)
    _, out, _ = run("monitor", "bright_head")
    assert "0 accepted (0 %, 0 to 79), 1 corrected" in out
    assert "Doe" not in out
    assert "Doe" not in run("monitor", "--json")[1]


def test_feedback_on_the_shadow_names_the_job(ledger: Ledger, run: Run) -> None:
    code, out, _ = run("feedback", "1", "--verdict", "accept", "--job", "2", "--json")
    assert code == EXIT_OK
    assert json.loads(out)["model"] == "bright_head_next"
    code, _, error = run("feedback", "1", "--verdict", "accept", "--job", "7")
    assert code == EXIT_NO_INPUT
    assert "Job 7 of study 1 has no result" in error
    code, _, _ = run("feedback", "1", "--verdict", "perhaps")
    assert code == EXIT_USAGE


def test_a_model_is_paused_and_resumed_by_a_person(ledger: Ledger, run: Run) -> None:
    code, _, error = run("pause", "bright_head", "--reason", " ")
    assert code == EXIT_USAGE
    assert "Say why" in error
    code, out, _ = run("pause", "bright_head", "--reason", "new coil")
    assert code == EXIT_OK
    assert "Paused model 'bright_head' 1.0.0" in out
    _, out, _ = run("monitor", "bright_head")
    assert re.search(r"PAUSED since .* by .*: new coil", out)
    assert "secondread model resume bright_head --reason" in out
    code, _, error = run("pause", "bright_head", "--reason", "again")
    assert code == EXIT_USAGE
    assert "paused already" in error
    code, _, error = run("resume", "bright_head", "--reason", "coil\x1b[31m")
    assert code == EXIT_USAGE
    assert "printable" in error
    code, out, _ = run("resume", "bright_head", "--reason", "coil replaced", "--json")
    assert code == EXIT_OK
    assert json.loads(out)["was_paused_for"] == "new coil"
    rows = trail(ledger, "model-pause")
    assert [(row.before, row.after) for row in rows] == [
        ("running", "paused"),
        ("paused", "running"),
    ]
    assert [row.detail["why"] for row in rows] == ["new coil", "coil replaced"]
    code, _, _ = run("resume", "bright_head", "--reason", "again")
    assert code == EXIT_USAGE
    run("pause", "bright_head", "--reason", "once more")
    code, out, _ = run("resume", "bright_head", "--reason", "well", "--retry")
    assert code == EXIT_OK
    assert "0 studies that came meanwhile are on their way again" in out


def test_a_new_baseline_is_in_the_trail(ledger: Ledger, run: Run) -> None:
    code, out, _ = run("baseline", "bright_head", "--reason", "scanner upgrade")
    assert code == EXIT_OK
    assert "begins anew" in out
    (row,) = trail(ledger, "model-baseline")
    assert row.detail["why"] == "scanner upgrade"
    with ledger.read() as view:
        assert view.observations.baseline("bright_head", "1.0.0") is not None


def test_where_no_study_has_come_that_is_said(run: Run, tmp_path: Path) -> None:
    Ring(tmp_path)
    code, out, _ = run("monitor", "bright_head")
    assert code == EXIT_OK
    assert "no study yet" in out
    assert "nothing was observed yet" in out


def test_the_list_of_rules_says_whom_one_challenges(run: Run, command: Run, tmp_path: Path) -> None:
    code, out, _ = command("rule", "list", "-c", tmp_path / "node.toml")
    assert code == EXIT_OK
    assert "shadow, challenges heads" in out


def watched() -> Watched:
    """A model with all that can be shown, and a name that tries to be markup."""
    challenge = figures(
        ("brain", "1.0.0"), ("<b>next</b>", "1.1.0"), [alike(n, more_ml=0.4) for n in range(25)]
    )
    standing = Standing(
        model_id="brain",
        model_version="1.0.0",
        state=Drift.FEW,
        pause=None,
        baseline=None,
        counts=dict.fromkeys(Observed, 0),
        verdicts={Verdict.ACCEPT: 8, Verdict.MODIFY: 2, Verdict.REJECT: 0},
        rejects=reject_share([Feedback(1, 1.0, Verdict.ACCEPT, "x")], MonitoringTerms()),
        groups=(),
    )
    return Watched(
        model=Named("brain", "1.0.0", switched_on=True, rules=()),
        done=WorkDone(analysed=24, refused=3, failed=1),
        refusals={"likeness": 2, "": 1},
        days=(Day(100 * DAY_S, 20, 3), Day(101 * DAY_S, 4, 0)),
        standing=standing,
        challenges=(concluded(challenge),),
    )


class Tags(HTMLParser):
    """Whether every tag that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_escaped_and_loads_nothing() -> None:
    text = page([watched()], 102.0 * DAY_S)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.seen.count("svg") == 3
    assert "<b>next" not in text
    assert "&lt;b&gt;next" in text
    assert not re.search(r"(src|href)=", text)
    assert "thalamus" in text


def test_the_story_is_short_and_its_document_is_json() -> None:
    lines = list(tell(watched()))
    assert len(lines) < 20
    assert "  Refusals    2 by 'likeness', 1 before it saw an image" in lines
    assert "  Feedback    8 accepted (80 %, 49 to 94), 2 corrected" in "\n".join(lines)
    (comparison,) = json.loads(json.dumps(document(watched())))["comparisons"]
    assert comparison["structures"][0]["p_value"] == pytest.approx(2 / 2**25)
    assert comparison["structures"][0]["limits"]["bias"] == pytest.approx(0.4)


def test_an_afternoon_is_of_its_own_day(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.jobs._connection.exec_driver_sql(
            f"UPDATE job SET created_at = {11.9 * DAY_S} WHERE id = 1"
        )
    with ledger.read() as view:
        (day,) = view.model_work.days("bright_head", "1.0.0", 0.0)
        assert day.at == 11 * DAY_S
    # A cast that rounds, as PostgreSQL's does, may only see whole seconds.
    said = str(PLANNED_DAY.compile(dialect=postgresql.dialect()))
    assert said.startswith("CAST(job.created_at AS BIGINT) /")


def test_counting_jobs_by_day_and_reason(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.jobs._connection.exec_driver_sql(
            "UPDATE job SET outcome = 'not analysed', "
            "checks = '[[\"likeness\", 0.1, 0.5, 1.0, false]]' WHERE id = 1"
        )
    with ledger.read() as view:
        work = view.model_work
        assert work.done("bright_head", "1.0.0") == WorkDone(refused=1)
        assert work.refusals("bright_head", "1.0.0", 10) == {"likeness": 1}
        (day,) = work.days("bright_head", "1.0.0", 0.0)
        assert (day.at, day.analysed, day.refused) == (11 * DAY_S, 0, 1)
        assert work.versions("bright_head_next") == ("1.1.0",)
