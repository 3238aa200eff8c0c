"""The bench measures what it says: its senders and its raw loop do their whole work."""

from __future__ import annotations

import json
import shutil
from io import BytesIO

import pydicom
import pytest

from deploy.demo.pacs import SmallPacs
from tests.bench.figures import Goal, Measured, all_hold, print_line
from tests.bench.goals import GOALS, RACES
from tests.bench.objects import Maker, write_samples
from tests.bench.races import Load, in_turn, send_with_storescu
from tests.bench.receivers import (
    CALLED,
    CALLING,
    Bare,
    BenchError,
    MissingProgramError,
    RawLoop,
    Sink,
    Storescp,
    SyncedStorescp,
)
from tests.bench.scu import Replay, echo, idle_associations

FAST, SLOW = Measured((4.0, 2.0, 3.0)), Measured((1.0, 2.0, 4.0))
TITLES = (CALLING, CALLED)


@pytest.fixture
def receiver(tmp_path):
    pacs = SmallPacs(tmp_path / "pacs", (CALLING,), ae_title=CALLED)
    yield pacs
    pacs.close()


@pytest.mark.parametrize("kind", ["CT", "MR"])
def test_samples_are_dicom_objects_of_a_study_that_never_was(kind):
    maker = Maker(kind)
    samples = [*maker.study(3), *maker.study(2)]
    objects = [pydicom.dcmread(BytesIO(sample.meta + sample.data)) for sample in samples]
    assert [found.SOPInstanceUID for found in objects] == [s.sop_instance_uid for s in samples]
    assert len({found.SOPInstanceUID for found in objects}) == 5
    assert len({found.StudyInstanceUID for found in objects}) == 2
    assert {found.Modality for found in objects} == {kind}
    assert len({found.PixelData for found in objects[:3]}) == 3


def test_replay_brings_every_object_of_every_association_as_it_is(tmp_path):
    if shutil.which("storescp") is None:
        pytest.skip("no storescp: install the package dcmtk")
    studies = [list(Maker("MR").study(3)) for _ in range(4)]
    receiver = Storescp(tmp_path / "scp", "--fork", "+B", "-pdu", "131072")
    try:
        assert Replay(receiver.port, TITLES, studies).run() > 0
        receiver.verify([sample for study in studies for sample in study])
    finally:
        receiver.close()
    stored = {path.read_bytes() for path in (tmp_path / "scp" / "stored").iterdir()}
    for sample in (sample for study in studies for sample in study):
        assert any(content.endswith(sample.data) for content in stored)


def test_an_echo_is_answered_while_idle_associations_are_open(receiver):
    with idle_associations(receiver.port, TITLES, 3):
        assert 0 < echo(receiver.port, *TITLES) < 10


def test_the_raw_loop_stores_what_storescu_sends_and_counts_what_is_missing(tmp_path):
    if shutil.which("storescu") is None:
        pytest.skip("no storescu: install the package dcmtk")
    samples = list(Maker("CT").study(3))
    write_samples(samples, tmp_path / "series")
    loop = RawLoop(tmp_path / "raw")
    try:
        assert send_with_storescu(loop, Load([samples], [tmp_path / "series"])) > 0
        with pytest.raises(BenchError, match="4 objects were sent, 3 files are there"):
            loop.verify([*samples, *Maker("CT").study(1)])
        loop.verify(samples)
    finally:
        loop.close()


def test_the_sink_answers_every_object_of_several_senders(tmp_path):
    if shutil.which("storescu") is None:
        pytest.skip("no storescu: install the package dcmtk")
    studies = [list(Maker("CT").study(2)) for _ in range(2)]
    folders = [tmp_path / "one", tmp_path / "two"]
    for study, folder in zip(studies, folders, strict=True):
        write_samples(study, folder)
    sink = Sink(tmp_path / "sink")
    try:
        # A sender ends with an error where an object is not answered by Success.
        assert send_with_storescu(sink, Load(studies, folders)) > 0
        assert Replay(sink.port, TITLES, studies).run() > 0
    finally:
        sink.close()


def test_a_receiver_of_dcmtk_that_is_made_to_sync_syncs_every_file(tmp_path):
    samples = list(Maker("MR").study(4))
    try:
        receiver = SyncedStorescp(tmp_path / "synced", "--fork", "+B", "-pdu", "131072")
    except MissingProgramError as missing:
        pytest.skip(f"install the package {missing}")
    try:
        assert Replay(receiver.port, TITLES, [samples[:2], samples[2:]]).run() > 0
        receiver.verify(samples)
        log = tmp_path / "synced" / "log"
        log.write_bytes(log.read_bytes().replace(b"synced", b"", 1))
        with pytest.raises(BenchError, match="4 objects were sent, 3 files were synced"):
            receiver.verify(samples)
    finally:
        receiver.close()


@pytest.mark.parametrize("sync", [True, False])
def test_the_bare_loop_keeps_every_object_of_several_senders(tmp_path, sync):
    if shutil.which("storescu") is None:
        pytest.skip("no storescu: install the package dcmtk")
    studies = [list(Maker("CT").study(2)), list(Maker("CT").study(2))]
    folders = [tmp_path / "one", tmp_path / "two"]
    for study, folder in zip(studies, folders, strict=True):
        write_samples(study, folder)
    samples = [sample for study in studies for sample in study]
    bare = Bare(tmp_path / "bare", sync=sync)
    try:
        assert send_with_storescu(bare, Load(studies, folders)) > 0
        assert Replay(bare.port, TITLES, studies).run() > 0
        with pytest.raises(BenchError, match="4 objects were sent, 8 files are there"):
            bare.verify(samples)
        bare.verify([*samples, *samples])
        stored = {path.read_bytes() for path in (tmp_path / "bare" / "stored").iterdir()}
        assert stored == {sample.data for sample in samples}
    finally:
        bare.close()


@pytest.mark.parametrize(
    ("goal", "ratio", "holds"),
    [
        (Goal("f", "objects/s", "a", "b", at_least=1.5), 1.5, True),
        (Goal("f", "objects/s", "a", "b", at_least=1.6), 1.5, False),
        (Goal("f", "ms", "a", at_most=3.0), None, True),
        (Goal("f", "ms", "a", below=3.0), None, False),
    ],
)
def test_a_line_has_the_medians_and_the_verdict(goal, ratio, holds):
    line = goal.line(FAST, SLOW if goal.rival else None)
    assert (line["value"], line["ratio"], line["holds"]) == (3.0, ratio, holds)
    assert line["spread"] == [2.0, 4.0]
    written = []
    print_line(line, written.append)
    assert json.loads(written[0]) == line
    assert all_hold([line]) is holds


def test_what_was_not_measured_does_not_hold():
    goal = Goal("f", "ms", "a", at_most=3.0)
    skipped = goal.without_value(skipped="install the package dcmtk")
    assert skipped["holds"] is None
    assert goal.without_value(error="lost an object")["holds"] is False
    assert not all_hold([skipped])


def test_every_round_begins_with_another_contender():
    rounds = [in_turn(("a", "b", "c"), number) for number in range(4)]
    assert rounds == [("a", "b", "c"), ("b", "c", "a"), ("c", "a", "b"), ("a", "b", "c")]


def test_every_goal_names_contenders_of_its_race():
    contenders = {race.name: set(race.contenders) for race in RACES}
    for part, goals in GOALS.items():
        for goal in goals:
            if part in contenders:
                assert {goal.ours, goal.rival} <= contenders[part]
