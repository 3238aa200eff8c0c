"""No token on the whole main path: what a worker can see, and what the node writes of itself.

One node receives planted studies in every state of soundness, is called by strangers, is killed
and started again, and sends to an archive that grumbles. docs/leaks.md says what is looked at.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from deploy.demo.pacs import SmallPacs, free_port
from secondread.domain.states import StudyState
from secondread.store import Ledger
from tests.planted.objects import KINDS
from tests.planted.scanner import MARK, Scanner

from .conftest import RunningNode, Target
from .leaks_looking import (
    Watch,
    Watcher,
    full_scanner,
    names,
    scan_reasons,
    scan_trail,
    scan_written,
)
from .leaks_rules_off import RULES, switch_off
from .leaks_sending import CALLING, GrudgingPacs, Sender, call_as_strangers
from .leaks_studies import PlantedStudy, with_other_content

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(600),
    # The receivers of results stand in this process, and read what the planted studies hold.
    pytest.mark.filterwarnings("ignore:Unknown encoding:UserWarning"),
]

SOUND = PlantedStudy(1)
GAP = PlantedStudy(2, without=(5,))
CONTRADICTORY = PlantedStudy(3, varied=True)
MALFORMED = PlantedStudy(4, is_malformed=True)
SHORT_PIXELS = PlantedStudy(5, needed={0x7FE00010: ("OW", MARK.encode() * 8)})
BAD_RESCALE = PlantedStudy(6, needed={0x00281053: ("DS", MARK.encode())})
ODD_PLANE = PlantedStudy(7, needed={0x00200037: ("DS", MARK.encode())})
UNKNOWN_SCRIPT = PlantedStudy(9, slices=1, needed={0x00080005: ("CS", MARK.encode() + b"4711")})
OTHERS = tuple(
    PlantedStudy(10 + 2 * number + is_malformed, kind, bool(is_malformed), slices=1)
    for number, kind in enumerate(KINDS)
    for is_malformed in (0, 1)
)
KILLED = PlantedStudy(30)
LATE = PlantedStudy(31)
ENDED = {StudyState.DONE, StudyState.HELD}


def parts(folder: Path) -> list[tuple[PlantedStudy, list[Path]]]:
    """A series of two kinds of images, which only planted values tell apart."""
    found = []
    for half in (0, 1):
        kind = f"ORIGINAL\\PRIMARY\\{MARK}00000{half}".encode()
        study = PlantedStudy(8, needed={0x00080008: ("CS", kind)})
        if half:
            study = replace(study, first=100)
        found.append((study, study.write(folder / f"half{half}")))
    return found


@dataclass
class Evidence:
    """What a node has left, and what was seen of its workers."""

    node: RunningNode
    watch: Watch
    temporary: Path
    refused: int
    statuses: list[int]
    pacs: SmallPacs
    grudging: GrudgingPacs
    studies: int

    @property
    def log(self) -> bytes:
        """Standard output and standard error of every process of the node, at level debug."""
        return self.node.log.read_bytes()


def make_node(folder: Path, pacs: SmallPacs, grudging: GrudgingPacs) -> RunningNode:
    """A node that logs all it can, whose scanner has a token for a title."""
    folder.mkdir()
    target = Target(pacs.ae_title, pacs.host, pacs.port)
    node = RunningNode(folder, free_port(), target, "bright_head", 0.6)
    text = node.config.read_text(encoding="utf-8")
    text = text.replace('destinations = ["pacs"]', 'destinations = ["pacs", "grudging"]')
    text += f"""
when = [{{ attribute = "SeriesNumber", from = 0 }}]
[[peers]]
name = "planted"
ae_title = "{CALLING}"
addresses = ["127.0.0.1"]
quiet_s = 1.5
[[destinations]]
name = "grudging"
ae_title = "{grudging.ae_title}"
host = "{grudging.host}"
port = {grudging.port}
[[rules]]
name = "text"
model = "bright_head"
destinations = ["pacs"]
when = [
  {{ attribute = "SeriesDescription", matches = "nobody writes this" }},
  {{ attribute = "ImageType", is = "NEVER" }},
]
"""
    node.config.write_text(text, encoding="utf-8")
    return node


def wait_until_ended(node: RunningNode, uids: set[str]) -> None:
    """Wait until these studies have been looked at and nothing is on its way."""

    def ended() -> bool:
        ledger = Ledger.open(node.data_dir)
        with ledger.read() as view:
            studies = list(view.studies.list())
        ledger.close()
        there = {study.study_instance_uid for study in studies}
        return uids <= there and all(study.state in ENDED for study in studies)

    node.wait_until(ended, 240.0, f"{len(uids)} ended studies")


@pytest.fixture(scope="module")
def main_path(
    tmp_path_factory: pytest.TempPathFactory, dcmtk: Callable[[str], str]
) -> Iterator[Evidence]:
    """One run of everything; the tests look at what it left."""
    folder = tmp_path_factory.mktemp("leaks")
    temporary = folder / "tmp"
    temporary.mkdir()
    pacs, grudging = SmallPacs(folder / "pacs", ("SECONDREAD",)), GrudgingPacs()
    node = make_node(folder / "node", pacs, grudging)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECONDREAD_PLANTED", f"{MARK}555555")
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", None)
        try:
            yield drive(node, folder, dcmtk("storescu"), (pacs, grudging))
        finally:
            node.stop()
            pacs.close()
            grudging.close()


def drive(
    node: RunningNode, folder: Path, storescu: str, servers: tuple[SmallPacs, GrudgingPacs]
) -> Evidence:
    """Take a node through everything that can happen to a study."""
    sent = folder / "sent"
    node.start()
    watcher = Watcher(node.pids()["supervisor"])
    watcher.start()
    sender = Sender(node.port)
    place = ["-aet", CALLING, "-aec", "SECONDREAD", "127.0.0.1", str(node.port)]
    files = [str(path) for path in SOUND.write(sent / "sound")]
    subprocess.run([storescu, *place, *files], check=True, timeout=60, capture_output=True)
    refused = call_as_strangers(node.port)
    broken = (
        GAP,
        CONTRADICTORY,
        MALFORMED,
        SHORT_PIXELS,
        BAD_RESCALE,
        ODD_PLANE,
        UNKNOWN_SCRIPT,
        *OTHERS,
    )
    for study in broken:
        sender.send(study, study.write(sent / str(study.number)))
    for study, paths in parts(sent / "parts"):
        sender.send(study, paths)
    sender.send_odd(SOUND, Path(files[0]))
    for study in (SOUND, MALFORMED):
        again = with_other_content(study)
        sender.send(again, again.write(sent / f"again{study.number}")[:2])
    uids = {study.uid for study in (SOUND, *broken) if study is not SHORT_PIXELS}
    wait_until_ended(node, uids)
    seen = watcher.end()
    sender.send(KILLED, KILLED.write(sent / "killed"))
    kill_and_damage(node, Path(files[0]))
    node.start()
    watcher = Watcher(node.pids()["supervisor"])
    watcher.start()
    sender.send(LATE, LATE.write(sent / "late"))
    uids |= {KILLED.uid, LATE.uid}
    wait_until_ended(node, uids)
    watch = merged(seen, watcher.end())
    node.stop()
    return Evidence(
        node, watch, folder / "tmp", refused, sender.statuses, *servers, studies=len(uids)
    )


def kill_and_damage(node: RunningNode, path: Path) -> None:
    """Kill -9 of every process, and leave what a power cut leaves."""
    node.kill_pid(node.pids()["pipeline"])
    time.sleep(0.2)
    node.kill_all()
    content = path.read_bytes()
    spool = node.data_dir / "spool"
    (spool / "incoming" / "99").write_bytes(content[:7000])
    (spool / "objects" / "00" / f"{'0' * 40}.dcm").write_bytes(content[:9000])
    (spool / "objects" / "01" / f"01{'0' * 38}.dcm").write_bytes(content)


def merged(one: Watch, other: Watch) -> Watch:
    """Two watches as one."""
    places = one.found | other.found
    return Watch(
        {place: one.found.get(place, []) + other.found.get(place, []) for place in places},
        one.pids | other.pids,
        one.memory_bytes + other.memory_bytes,
        one.looks + other.looks,
    )


def test_the_run_has_gone_every_way(main_path: Evidence, tmp_path: Path) -> None:
    ledger = Ledger.open(main_path.node.data_dir)
    with ledger.read() as view:
        studies = list(view.studies.list())
        outcomes = {
            study.study_instance_uid: [job.outcome for job in view.jobs.of_study(study.id)]
            for study in studies
        }
        events = {row.event for row in view.trail.all()}
    ledger.close()
    for study in (SOUND, KILLED, LATE):
        assert outcomes[study.uid][-1] == "analysed", study.number
    for study in (GAP, CONTRADICTORY, BAD_RESCALE, ODD_PLANE):
        assert outcomes[study.uid][-1] == "not analysed", study.number
    modalities = [held.modality for held in main_path.pacs.held()]
    assert modalities.count("SEG") >= 3
    assert modalities.count("SR") >= 6
    assert {0x0000, 0xA900, 0xC000} <= set(main_path.statuses)
    assert main_path.refused >= 5
    assert main_path.grudging.asked
    assert {"object-refused", "association-refused"} <= events
    assert list((main_path.node.data_dir / "spool" / "quarantine").iterdir())


def test_the_log_holds_no_token(main_path: Evidence) -> None:
    log = main_path.log
    for event in (b"object refused", b"association refused", b"request refused", b"role died"):
        assert event in log
    assert b'"level": "debug"' in log
    assert full_scanner().scan(log) == []


def test_a_worker_sees_no_token(main_path: Evidence) -> None:
    watch = main_path.watch
    assert len(watch.pids) >= 2
    assert watch.looks > 5
    assert watch.found == {}


def test_the_memory_of_a_worker_was_read(main_path: Evidence) -> None:
    if not main_path.watch.memory_bytes:
        pytest.skip("the memory of a worker cannot be read here: that takes the right to trace it")
    assert main_path.watch.memory_bytes > 10_000_000


def test_no_file_outside_the_secure_side_holds_a_token(main_path: Evidence) -> None:
    data_dir = main_path.node.data_dir
    assert list((data_dir / "work").glob("*/volume.npy"))
    assert list(data_dir.rglob("*.prom"))
    assert scan_written(data_dir, full_scanner()) == {}


def test_nothing_is_left_in_temporary_folders(main_path: Evidence) -> None:
    assert full_scanner().scan_folder(main_path.temporary) == {}


def test_the_trail_holds_no_token(main_path: Evidence) -> None:
    assert scan_trail(main_path.node.data_dir, full_scanner()) == {}


def test_no_reason_holds_a_token(main_path: Evidence, tmp_path: Path) -> None:
    scanner = Scanner(names(), layers=0)
    assert scan_reasons(main_path.node.data_dir, scanner) == {}
    texts = [
        str(item.TextValue)
        for path in main_path.pacs.export(tmp_path)
        for item in content_items(dcmread(path))
        if "TextValue" in item
    ]
    assert any("missing" in text for text in texts)
    assert [text for text in texts if scanner.scan(text.encode())] == []


def content_items(dataset: Dataset) -> Iterator[Dataset]:
    """Every content item of a report; the copies of the source's header are the patient's own."""
    for item in dataset.get("ContentSequence", ()):
        yield item
        yield from content_items(item)


def test_a_rule_that_is_off_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_pacs: Callable[..., SmallPacs]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(switch_off(tmp_path / "off")))
    monkeypatch.setenv("SECONDREAD_PLANTED", f"{MARK}555555")
    grudging = GrudgingPacs()
    node = make_node(tmp_path / "node", small_pacs(), grudging)
    try:
        node.start()
        watcher = Watcher(node.pids()["supervisor"])
        watcher.start()
        sender = Sender(node.port)
        for study in (SOUND, UNKNOWN_SCRIPT):
            sender.send(study, study.write(tmp_path / "sent"))
        wait_until_ended(node, {SOUND.uid, UNKNOWN_SCRIPT.uid})
        watch = watcher.end()
    finally:
        node.stop()
        grudging.close()
    scanner = full_scanner()
    found = {
        "log": scanner.scan(node.log.read_bytes()),
        "worker": watch.found.get("environ"),
        "files": scan_written(node.data_dir, scanner),
        "trail": scan_trail(node.data_dir, scanner),
    }
    assert {place for place, tokens in found.items() if tokens} == set(RULES)
