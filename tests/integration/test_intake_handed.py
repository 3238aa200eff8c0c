"""What was fetched comes in through the hand-over folder: whole, once, and looked at as ever."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, dcmwrite

from secondread.domain.destination import Destination
from secondread.store.handed import Handed
from tests.fetching_scene import Node, make_node, study_of
from tests.query_peers import data_set

Make = Callable[..., Any]


@pytest.fixture
def node(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Node]:
    """A node whose intake does not run yet."""
    found = make_node(tmp_path / "data", free_port(), Destination(name="pacs"), "CT1")
    yield found
    found.house.place.ledger.close()


def hand(node: Node, paths: Sequence[Path], source: str = "pacs") -> None:
    """As somebody does who fetches."""
    handed = Handed(node.house.place.spool.root)
    for path in paths:
        copy = handed.folder_of(source) / "arrival-1.part"
        shutil.copyfile(path, copy)
        handed.put(source, copy, str(dcmread(path, stop_before_pixels=True).SOPInstanceUID))


def is_empty(node: Node) -> bool:
    return not list(Handed(node.house.place.spool.root).waiting())


def refused(node: Node) -> Sequence[str]:
    with node.house.place.ledger.read() as view:
        return [row.text for row in view.trail.of_event("object-refused")]


def quarantined(node: Node) -> int:
    return len(list(node.house.place.spool.quarantine.iterdir()))


def test_what_waits_when_intake_starts_comes_in_bit_for_bit(node: Node, head_series: Make) -> None:
    made = head_series(size=(6, 16, 16))
    hand(node, made.paths, "the/pacs ä.")
    with node.intake():
        node.until(lambda: node.count(study_of(made)) == 6)
        node.until(lambda: is_empty(node))
    spool = node.house.place.spool
    assert dict(map(data_set, spool.stored())) == dict(map(data_set, made.paths))
    assert node.studies[study_of(made)].peer == "destination:the/pacs ä."
    assert not refused(node)


def test_what_was_stored_before_a_crash_is_not_doubled(node: Node, head_series: Make) -> None:
    made = head_series(size=(4, 16, 16))
    hand(node, made.paths)
    with node.intake():
        node.until(lambda: node.count(study_of(made)) == 4 and is_empty(node))
    at = node.house.study.last_at
    # The node was killed after it had stored them, and before it removed the files.
    hand(node, made.paths)
    with node.intake():
        node.until(lambda: is_empty(node))
    assert (node.count(study_of(made)), node.house.study.last_at) == (4, at)
    assert len(list(node.house.place.spool.stored())) == 4
    assert not refused(node)
    assert not quarantined(node)


def test_what_is_broken_is_kept_for_a_person_and_the_rest_comes_in(
    node: Node, head_series: Make
) -> None:
    made = head_series(size=(4, 16, 16))
    hand(node, made.paths)
    short, nothing = [path for _, path in Handed(node.house.place.spool.root).waiting()][:2]
    short.write_bytes(short.read_bytes()[:-40])
    nothing.write_bytes(b"no DICOM at all")
    with node.intake():
        node.until(lambda: node.count(study_of(made)) == 2 and is_empty(node))
        node.until(lambda: len(refused(node)) == 2)
    assert quarantined(node) == 2
    assert all("destination:pacs" in text for text in refused(node))


def test_other_content_under_a_known_uid_is_set_aside_and_the_first_stays(
    node: Node, head_series: Make, tmp_path: Path
) -> None:
    made = head_series(size=(3, 16, 16))
    node.house.receive(made.paths)
    first = dict(map(data_set, node.house.place.spool.stored()))
    other = dcmread(made.paths[0])
    other.SeriesDescription = "another"
    dcmwrite(tmp_path / "other.dcm", other)
    hand(node, [tmp_path / "other.dcm"])
    with node.intake():
        node.until(lambda: is_empty(node) and bool(refused(node)))
    assert dict(map(data_set, node.house.place.spool.stored())) == first
    assert quarantined(node) == 1


def test_a_class_that_the_node_does_not_take_is_told_and_not_kept(
    node: Node, head_series: Make, tmp_path: Path
) -> None:
    other = dcmread(head_series(size=(1, 16, 16)).paths[0])
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = "1.2.3.4.5"
    dcmwrite(tmp_path / "other.dcm", other)
    hand(node, [tmp_path / "other.dcm"])
    with node.intake():
        node.until(lambda: is_empty(node) and bool(refused(node)))
    assert not quarantined(node)
    assert not list(node.house.place.spool.stored())


def test_what_is_on_its_way_is_left_alone(node: Node, head_series: Make) -> None:
    made = head_series(size=(2, 16, 16))
    half = Handed(node.house.place.spool.root).folder_of("pacs") / "arrival-x.part"
    half.write_bytes(made.paths[0].read_bytes()[:100])
    hand(node, made.paths[1:])
    with node.intake():
        node.until(lambda: node.count(study_of(made)) == 1)
    assert half.is_file()
