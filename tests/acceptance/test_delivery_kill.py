"""Kill -9 while something is delivered, whatever the PACS does: in the end all is safe, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.delivery_cases import CASES, COMMITTING, STORING, UNREACHED, DeliveryCase, Mend
from tests.lying_pacs import LyingPacs, lying_pacs

from .delivery_node import (
    NODE,
    DeliveryNode,
    Filled,
    Place,
    Templates,
    delivery_node,
    make_templates,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

AT_A_TIME = 3
TRIES = 4
WAIT_S = 60.0
PAST_S = 4000.0
"""Longer than a report is waited for, or a line is left alone."""
PROOF = {"delay_s": 0.0, "wait_s": 1.0, "report_timeout_s": 3600.0, "tries_max": 24}
BY_NAME = {case.name: case for case in CASES}
STATES = ("ready", "being sent", "answered", "sent", "asked", "reported", "sent again")
Run = Callable[[str, str, str], None]
PROCESSES = ("deliver", "all")
ESSENTIAL = (
    ("ready", "down", "all"),
    ("being sent", "honest", "deliver"),
    ("answered", "honest", "deliver"),
    ("answered", "refuses-kind", "deliver"),
    ("sent", "closes", "deliver"),
    ("asked", "commits-late", "all"),
    ("reported", "commits-later", "all"),
    ("reported", "commits-half", "deliver"),
    ("sent again", "loses", "deliver"),
)
# What happens at the PACS when an object is on its way, where it does not begin to come.
_ON_ITS_WAY = {"hangs": "connected", "hangs-later": "hangs"} | dict.fromkeys(
    ("rejects", "rejects-now"), "rejected"
)
_ANSWERED = {"aborts": "broken", "keeps-silent": "broken", "has-it": "broken"} | {
    "half-answer": "broken"
}
_SENT_AGAIN = {
    "loses": "forgotten",
    "keeps-silent": "broken",
    "has-it": "broken",
    "half-answer": "broken",
    "aborts": "broken",
    "a700": "refused",
}
_NEVER_SENT = {case.name for case in UNREACHED} | {"unauthorised"}
_NOT_ASKED = _NEVER_SENT | {"no-commitment", "no-proof", "lost-read-back"}
_NO_REPORT = _NOT_ASKED | {
    "commits-late",
    "commits-too-late",
    "wrong-transaction",
    "wrong-transaction-new",
    "never-reports",
    "not-now",
}


def comes_to(state: str, case: DeliveryCase) -> bool:
    """Whether an object comes to this state while the PACS is in this manner."""
    name = case.name
    return {
        "ready": case in UNREACHED,
        "being sent": not case.is_down,
        "answered": case in (*STORING, *COMMITTING) or name in _ANSWERED,
        "sent": name not in _NEVER_SENT,
        "asked": name not in _NOT_ASKED,
        "reported": name not in _NO_REPORT,
        "sent again": name in _SENT_AGAIN,
    }[state]


THE_REST = tuple(
    (state, case.name, process)
    for state in STATES
    for case in CASES
    for process in PROCESSES
    if comes_to(state, case) and (state, case.name, process) not in ESSENTIAL
)


@dataclass
class Scene:
    """A node that delivers to one PACS and is killed in a state."""

    node: DeliveryNode
    ledger: Filled
    pacs: LyingPacs
    case: DeliveryCase
    process: str
    killed: bool = False

    def kill(self) -> None:
        """Kill -9; from whatever thread sees that it is time."""
        if self.process == "all":
            self.node.kill()
        else:
            self.node.kill("deliver")
        self.killed = True

    def kill_at(self, *kinds: str) -> None:
        """Kill when these events have happened at the PACS, one after the other."""
        first, *later = kinds
        if later:
            self.pacs.at(first, lambda: self.kill_at(*later))
        else:
            self.pacs.at(first, self.kill)

    def kill_when(self, condition: Callable[[], object], what: str) -> None:
        """Kill when the ledger says that something is so."""
        self.node.wait_until(condition, what, WAIT_S)
        self.kill()

    def await_killed(self) -> None:
        """Wait until it has happened."""
        until = time.monotonic() + WAIT_S
        while not self.killed:
            assert time.monotonic() < until, f"It was not killed. {self.node.tail()}"
            time.sleep(0.01)

    def states(self) -> set[str]:
        """Where the objects are."""
        return {state for (state,) in self.node.rows("SELECT DISTINCT state FROM outbox")}

    def enquiries(self) -> set[str]:
        """Where the questions are."""
        return {state for (state,) in self.node.rows("SELECT DISTINCT state FROM enquiry")}


def provoke(scene: Scene, state: str) -> bool:
    """Start the node, and kill it in a state; whether it was that one."""
    node, case, name = scene.node, scene.case, scene.case.name
    if state == "ready":
        node.start()
        scene.kill_when(lambda: node.line("pacs")[0] == "open", "the line to open")
        return "ready" in scene.states()
    if state == "sent":
        node.start()
        scene.kill_when(lambda: "sent" in scene.states(), "something to be sent")
        return "sent" in scene.states() and "asked" not in scene.enquiries()
    same = "confirmed" if not case.calls_back else "reported"
    kinds = {
        "being sent": (_ON_ITS_WAY.get(name, "receiving"),),
        "answered": (_ANSWERED.get(name, "answered"),),
        "asked": ("acted",),
        "reported": (same,),
        "sent again": (_SENT_AGAIN.get(name, ""), "receiving"),
    }[state]
    if name == "loses" and state == "sent again":
        kinds = ("confirmed", "receiving")
    scene.kill_at(*kinds)
    node.start()
    scene.await_killed()
    if state == "reported":
        return "reported" in scene.enquiries()
    if state == "answered":
        return "ready" in scene.states()
    return True


def mend(scene: Scene) -> None:
    """The PACS is honest from now on."""
    if scene.case.is_down:
        scene.pacs.come_up()
    scene.pacs.behave()


def finish(scene: Scene) -> None:
    """Let it go on until all is safe; what waits for its time need not be waited for."""
    node, ledger, until = scene.node, scene.ledger, time.monotonic() + WAIT_S
    while not set(ledger.tally("pacs")) <= {"safe", "replaced"}:
        standing = [(item.state.value, item.reason) for item in ledger.items_for("pacs")]
        assert time.monotonic() < until, f"It does not become safe: {standing}. {node.tail()}"
        assert node.is_running(), node.tail()
        if "dead" in ledger.tally("pacs"):
            assert scene.case.mend is Mend.PERSON, standing
            node.command("destination", "resend", "pacs")
        time.sleep(0.7)
        node.let_pass(PAST_S, "pacs")


def check(scene: Scene, sent: set[str]) -> None:
    """Everything is there once; again came only what nobody had written down as sent."""
    pacs, case, ledger = scene.pacs, scene.case, scene.ledger
    items = ledger.items_for("pacs")
    safe = {item.sop_instance_uid: item for item in items if item.state == "safe"}
    lost = set(safe) - set(pacs.kept)
    assert len(lost) <= (2 if case.name == "commits-to-lost" else 0)
    for uid, kept in pacs.kept.items():
        assert uid in safe
        assert kept.digests == {ledger.digest_of(safe[uid])}
        again = kept.times > 1 and uid in sent
        assert not again or case.again_max or case.mend is Mend.PERSON, (uid, kept)
    for job_id in ledger.jobs_of["pacs"]:
        there = [item.level for item in items if item.job_id == job_id and item.state == "safe"]
        assert there in ([0, 0], [1])
    ledger.check_jobs("pacs", "delivered")
    ledger.check_trail()


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """``run(*case)`` waits for the outcome; some of those that were chosen run at a time."""
    chosen = [
        tuple(item.callspec.params[name] for name in ("state", "manner", "process"))
        for item in request.session.items
        if item.path == request.path and "state" in getattr(item, "fixturenames", ())
    ]
    folder = tmp_path_factory.mktemp("killed")
    (folder / "made").mkdir()
    templates = make_templates(folder / "made")
    pool = ThreadPoolExecutor(AT_A_TIME)
    running: dict[tuple[str, ...], Future[None]] = {
        case: pool.submit(outlive, folder / "-".join(case).replace(" ", "-"), templates, *case)
        for case in chosen
    }
    yield lambda *case: running[case].result(timeout=TRIES * 2 * WAIT_S)
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    ("state", "manner", "process"),
    [
        *ESSENTIAL,
        *(pytest.param(*rest, marks=pytest.mark.slow) for rest in THE_REST),
    ],
)
def test_killed_in_each_state_it_brings_everything_there_once(
    state: str, manner: str, process: str, run: Run
) -> None:
    run(state, manner, process)


def outlive(folder: Path, templates: Templates, state: str, manner: str, process: str) -> None:
    """Kill a node in a state, as often as it takes to hit it; each time all must become safe."""
    for attempt in range(TRIES):
        if kill_and_go_on(folder / f"{attempt}", templates, BY_NAME[manner], state, process):
            return
    raise AssertionError(f"The state '{state}' was missed {TRIES} times.")


def kill_and_go_on(
    folder: Path, templates: Templates, case: DeliveryCase, state: str, process: str
) -> bool:
    """One node, from its start to the end; whether it was killed in the state."""
    port = DeliveryNode(folder / "unused", ()).port
    with lying_pacs(node=("127.0.0.1", port, NODE)) as pacs:
        values = {"ae_title": "PACS", "host": pacs.host, "port": pacs.port, "timeout_s": 1.0}
        proof = PROOF | {"kind": case.proof.get("kind", "auto")}
        places = [Place("pacs", values, {"proof": proof})]
        reporters = ["PACS"] if case.calls_back or process == "all" else []
        settings = {"folder": folder, "places": places, "reporters": reporters, "port": port}
        with delivery_node(templates, **settings) as (node, ledger):
            scene = Scene(node, ledger, pacs, case, process)
            ledger.fill_with_results("pacs", 3)
            if case.is_down:
                pacs.go_down()
            pacs.behave(**case.behaviour)
            hit = provoke(scene, state)
            mend(scene)
            sent = {
                item.sop_instance_uid
                for item in ledger.items_for("pacs")
                if item.state in {"sent", "safe"}
            }
            node.start()
            finish(scene)
            check(scene, sent)
            return hit
