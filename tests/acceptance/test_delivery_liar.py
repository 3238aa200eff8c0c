"""Every manner of the lying PACS against the node as it runs: nothing lost, nothing doubled.

One node has a destination for each manner, and goes through all of them at a time, so that this
shows as well that no destination keeps another waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.delivery_cases import AGES_S, CASES, OBJECTS, DeliveryCase, Mend, make_table
from tests.lying_pacs import LyingPacs, lying_pacs

from .delivery_node import DeliveryNode, Filled, Place, delivery_node, make_templates

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

REPOSITORY = Path(__file__).resolve().parents[2]
WAIT_S = 90.0
PROOF = {"delay_s": 0.2, "wait_s": 0.5, "report_timeout_s": 3600.0}
CALLS_MAX = 6
Run = Callable[[DeliveryCase], None]


class Trial:
    """One manner, with a PACS and a destination of its own."""

    def __init__(self, case: DeliveryCase, pacs: LyingPacs) -> None:
        self.case, self.pacs = case, pacs

    @property
    def place(self) -> Place:
        """Its destination."""
        pacs = self.pacs
        values = {"ae_title": pacs.ae_title, "host": pacs.host, "port": pacs.port, "timeout_s": 1.0}
        return Place(self.case.name, values, {"proof": {**PROOF, **self.case.proof}})

    def lie(self) -> None:
        """From now on it is in its manner."""
        if self.case.is_down:
            self.pacs.go_down()
        self.pacs.behave(**self.case.behaviour)

    def mend(self, node: DeliveryNode) -> None:
        """What has to happen before everything is safe."""
        case, pacs = self.case, self.pacs
        if case.mend is Mend.REPORT:
            # What is sent is asked about a moment later, and only then a report is owed.
            until = time.monotonic() + WAIT_S
            while not (answers := tuple(pacs.report_owed())) and time.monotonic() < until:
                time.sleep(0.05)
            assert set(answers) == {0x0000}
            return
        if case.is_down:
            pacs.come_up()
        pacs.behave(by=case.behaviour.get("by", pacs._behaviour.by))
        if case.mend is Mend.PERSON:
            node.command("destination", "resend", case.name)
        node.let_pass(AGES_S, case.name)

    def run(self, node: DeliveryNode, ledger: Filled) -> None:
        """Deliver while it lies, look, have it mended, and look again."""
        case, name = self.case, self.case.name
        uids = ledger.fill_with_results(name, 3)
        for _ in range(case.passes):
            self._settle(node, ledger)
            node.let_pass(case.passes_s, name)

        def has_come() -> bool:
            tally = ledger.tally(name)
            is_so = tally == dict(case.ends) if case.exact else set(tally) == set(case.ends)
            return is_so and self._says(node, ledger)

        what = f"'{name}' to be {dict(case.ends)}, '{case.says}'"
        try:
            node.wait_until(has_come, what, WAIT_S)
        except AssertionError as error:
            raise AssertionError(f"{self._standing(node, ledger)} {error}") from None
        ledger.check_jobs(name, case.job)
        self._check_patience(ledger)
        if case.mend is not Mend.NOTHING:
            self.mend(node)
            try:
                self._wait_until_safe(node, ledger)
            except AssertionError as error:
                raise AssertionError(f"{self._standing(node, ledger)} {error}") from None
        ledger.check_jobs(name, "delivered")
        self._check_pacs(ledger, uids)

    def _check_patience(self, ledger: Filled) -> None:
        """It is not called over and over, and each question has a transaction of its own."""
        case, pacs = self.case, self.pacs
        if case.line == "open":
            assert pacs.count("connected") <= CALLS_MAX
            assert sum(item.attempts for item in ledger.items_for(case.name)) <= CALLS_MAX
        if case.is_down or "rejects" in case.behaviour:
            assert {item.attempts for item in ledger.items_for(case.name)} == {0}
        asked = pacs.uids("asked")
        assert len(asked) == len(set(asked))

    def _settle(self, node: DeliveryNode, ledger: Filled) -> None:
        """Wait until a question has been answered, or taken on, or nothing is left to ask."""
        name = self.case.name

        def asked() -> bool:
            if ledger.tally(name) == {"safe": OBJECTS}:
                return True
            items = [item for item in ledger.items_for(name) if item.state == "sent"]
            now = time.time()
            return bool(items) and all(item.prove_at and item.prove_at > now + 5 for item in items)

        node.wait_until(asked, f"'{name}' to be asked", WAIT_S)

    def _says(self, node: DeliveryNode, ledger: Filled) -> bool:
        line, reason = node.line(self.case.name)
        if line == "half-open":
            line = "open"
        said = [item.reason for item in ledger.items_for(self.case.name)]
        return line == self.case.line and any(self.case.says in one for one in [reason, *said])

    def _wait_until_safe(self, node: DeliveryNode, ledger: Filled) -> None:
        """What waits for its time need not be waited for."""
        name, until = self.case.name, time.monotonic() + WAIT_S
        while ledger.tally(name) != {"safe": OBJECTS}:
            assert time.monotonic() < until, f"'{name}' does not become safe. {node.tail()}"
            time.sleep(2.0)
            node.let_pass(60.0, name)

    def _standing(self, node: DeliveryNode, ledger: Filled) -> str:
        """Where it is, in a line."""
        said = {(item.state.value, item.reason) for item in ledger.items_for(self.case.name)}
        return f"{sorted(said)}, line {node.line(self.case.name)}, PACS {self.pacs.events[-6:]}."

    def _check_pacs(self, ledger: Filled, uids: list[str]) -> None:
        """What is safe is there, once; what is there, is meant to be."""
        case, pacs = self.case, self.pacs
        items = ledger.items_for(case.name)
        assert case.line == "closed" or pacs.count("echo")
        safe = {item.sop_instance_uid for item in items if item.state == "safe"}
        lost = case.behaviour.get("loses", frozenset()) if case.name == "commits-to-lost" else ()
        assert len(safe - set(pacs.kept)) == len(lost)
        assert set(pacs.kept) <= safe
        for item in items:
            if item.sop_instance_uid in pacs.kept:
                digests = pacs.kept[item.sop_instance_uid].digests
                assert digests == {ledger.digest_of(item)}
                assert item.status in {0x0000, case.status}
                assert bool(item.remark) == bool(item.status)
        assert case.status in {item.status for item in items}
        assert sum(times - 1 for times in pacs.doubled.values()) <= case.again_max
        if case.ends.get("replaced"):
            assert not safe.intersection(uids)
        else:
            assert safe == set(uids)


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """``run(case)`` waits for the outcome of a manner; all that were chosen are on their way."""
    chosen = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and "case" in getattr(item, "fixturenames", ())
    ]
    folder = tmp_path_factory.mktemp("liar")
    (folder / "made").mkdir()
    templates = make_templates(folder / "made")
    with ExitStack() as stack:
        node_port = DeliveryNode(folder / "unused", ()).port
        trials = {}
        for number, case in enumerate(chosen):
            title = f"PACS{number}"
            where = ("127.0.0.1", node_port, "SECONDREAD")
            pacs = stack.enter_context(lying_pacs(ae_title=title, node=where))
            trials[case.name] = Trial(case, pacs)
        node, ledger = stack.enter_context(
            delivery_node(
                templates,
                folder=folder / "node",
                places=[trial.place for trial in trials.values()],
                reporters=[
                    trial.pacs.ae_title for trial in trials.values() if trial.case.calls_back
                ],
                port=node_port,
            )
        )
        for trial in trials.values():
            trial.lie()
        node.start()
        pool = stack.enter_context(ThreadPoolExecutor(len(trials)))
        running: dict[str, Future[None]] = {
            name: pool.submit(trial.run, node, ledger) for name, trial in trials.items()
        }

        def wait(case: DeliveryCase) -> None:
            running[case.name].result(timeout=4 * WAIT_S)

        yield wait
        ledger.check_trail()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_becomes_of_it_is_in_the_table(case: DeliveryCase, run: Run) -> None:
    run(case)


def test_documented_table_is_made_of_the_cases() -> None:
    text = (REPOSITORY / "docs" / "lying-pacs.md").read_text(encoding="utf-8")
    assert make_table() in text, "run: python -m tests.delivery_cases"
