"""What the headers of a study say, read once and kept in the ledger."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from secondread.pipeline.headers import summaries
from secondread.pipeline.workplace import Workplace
from secondread.store import Ledger, Spool
from tests.slices import STUDY_UID, make_series, store_all


class Node:
    """A ledger and a spool into which objects are put without a network."""

    def __init__(self, folder):
        self.place = Workplace(
            ledger=Ledger.open(folder),
            spool=Spool(folder),
            clock=None,
            owner="pipeline:test",
            ae_title="SECONDREAD",
            uid_root="",
            device_serial="1",
            rules=(),
            models=MappingProxyType({}),
            manifests=MappingProxyType({}),
        )

    def receive(self, datasets):
        instances = store_all(datasets, self.place.spool.root)
        with self.place.ledger.begin() as change:
            change.instances.add(instances)
            change.studies.add_instances(instances, lambda _: 5.0)
        return instances

    def ask(self):
        with self.place.ledger.read() as view:
            study = view.studies.find(STUDY_UID)
        found = summaries(self.place, study)
        with self.place.ledger.read() as view:
            assert tuple(view.series.of_study(study.id).values()) == found
        return found


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def series(number, count=6, first=1, **said):
    datasets = make_series(
        count + first - 1, SeriesNumber=number, SeriesInstanceUID=f"2.25.{number}00", **said
    )[first - 1 :]
    for dataset in datasets:
        dataset.SOPInstanceUID = f"2.25.{number}00{dataset.InstanceNumber:03}"
    return datasets


def test_series_come_by_their_numbers_and_are_kept(node):
    node.receive([*series(7), *series(3), *series(5, Modality="SR")])
    found = node.ask()
    assert [item.number for item in found] == [3, 5, 7]
    assert [item.holds_images for item in found] == [True, False, True]


def test_files_of_series_that_did_not_change_are_not_read_again(node):
    kept = node.receive(series(1))
    node.receive(series(2, 3))
    first = node.ask()
    for instance in kept:
        (node.place.spool.root / instance.path).unlink()
    assert node.ask() == first
    node.receive(series(2, 3, first=4))
    one, two = node.ask()
    assert one == first[0]
    assert (two.objects, two.parts[0].slices) == (6, 6)
    assert two.digest != first[1].digest


def test_a_series_that_is_new_is_read_and_one_that_is_gone_is_forgotten(node):
    node.receive(series(1))
    assert [item.number for item in node.ask()] == [1]
    node.receive(series(9, 3))
    known = node.ask()
    assert [item.number for item in known] == [1, 9]
    stranger = replace(known[0], series_instance_uid="2.25.55", number=55)
    with node.place.ledger.begin() as change:
        change.series.replace(1, [*known, stranger])
    assert node.ask() == known


def test_the_same_image_under_two_uids_is_compared_with_its_pixels(node):
    again = series(1)[2:3]
    again[0].SOPInstanceUID = "2.25.100999"
    node.receive([*series(1), *again])
    (found,) = node.ask()
    (part,) = found.parts
    assert (found.objects, part.outcome, part.slices) == (7, "sound", 6)


def test_a_file_that_is_gone_is_counted_and_nothing_breaks(node):
    instances = node.receive(series(1))
    (node.place.spool.root / instances[0].path).unlink()
    (found,) = node.ask()
    assert (found.objects, found.unreadable) == (6, 1)


def test_a_study_without_objects_has_no_series(node):
    node.receive(series(1, 1))
    with node.place.ledger.read() as view:
        study = view.studies.find(STUDY_UID)
    assert summaries(node.place, replace(study, study_instance_uid="2.25.9")) == ()
