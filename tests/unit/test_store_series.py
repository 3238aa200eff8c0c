"""The series table: what the headers of a study say, and the studies of the past days."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from secondread.domain.instance import Instance
from secondread.domain.series import PartSummary, SeriesSummary, digest
from secondread.domain.series_document import FORM, from_document, to_document
from secondread.store import Ledger
from secondread.store.tables import series as table
from tests.summaries import broken, part, series

FULL = series(
    4,
    (
        part("EchoNumbers 1", attributes={"EchoTime": 10}),
        broken("missing-slices", "One slice is missing.", name="EchoNumbers 2"),
    ),
    unreadable=1,
    EchoTime=[10, 20.5],
    StudyDescription="Kopf für Dr. Ümit",
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A new ledger."""
    return Ledger.open(tmp_path)


def instance(number: int, series_uid: str = "1.8", study: str = "1.9", at: float = 100.0, **said):
    """An object as intake records it."""
    made = Instance(
        f"1.2.{number}", "1.1", study, series_uid, "1.7", f"p/{number}", 10, "f" * 64, "ct", at
    )
    return replace(made, **said)


def arrive(ledger: Ledger, *objects: Instance) -> int:
    """Let objects of one study come; its id."""
    with ledger.begin() as change:
        change.instances.add(objects)
        change.studies.add_instances(objects, lambda _: 5.0)
        return change.studies.find(objects[0].study_instance_uid).id


def test_what_is_kept_is_what_is_found(ledger):
    study = arrive(ledger, instance(1))
    report = series(None, images=False, Modality="SR")
    with ledger.begin() as change:
        change.series.replace(study, [report, FULL, series(2)])
    with ledger.read() as view:
        found = view.series.of_study(study)
        assert list(found.values()) == [series(2), FULL, report]
        assert found[FULL.series_instance_uid] == FULL
        assert view.series.of_study(study + 1) == {}


def test_what_is_replaced_is_gone(ledger):
    study = arrive(ledger, instance(1))
    with ledger.begin() as change:
        change.series.replace(study, [series(1), series(2)])
        change.series.replace(study, [replace(series(2), digest="other")])
    with ledger.read() as view:
        (only,) = view.series.of_study(study).values()
        assert (only.number, only.digest) == (2, "other")
    with ledger.begin() as change:
        change.series.replace(study, [])
    with ledger.read() as view:
        assert view.series.of_study(study) == {}


def test_a_digest_is_of_all_objects_of_a_series_in_any_order(ledger):
    objects = [instance(1), instance(10), instance(2, sha256="e" * 64), instance(3, "1.88")]
    arrive(ledger, *objects)
    with ledger.read() as view:
        found = view.series.digests("1.9")
        assert set(found) == {"1.8", "1.88"}
        pairs = [(item.sop_instance_uid, item.sha256) for item in reversed(objects[:3])]
        assert found["1.8"] == digest(pairs)
        assert view.series.digests("1.99") == {}
    arrive(ledger, instance(4))
    with ledger.read() as view:
        after = view.series.digests("1.9")
    assert after["1.88"] == found["1.88"]
    assert after["1.8"] != found["1.8"]


def test_a_digest_tells_what_else_counts():
    assert digest([("1", "a")]) == digest(iter([("1", "a")]), "")
    assert digest([("1", "a")]) != digest([("1", "a")], "EchoNumbers 2")


def test_studies_since_a_time_come_with_their_series(ledger):
    old = arrive(ledger, instance(1, at=100.0))
    new = arrive(ledger, instance(2, study="1.10", at=200.0))
    arrive(ledger, instance(3, study="1.11", at=300.0))
    with ledger.begin() as change:
        change.series.replace(old, [series(1)])
        change.series.replace(new, [series(3), FULL, series(None)])
    with ledger.read() as view:
        assert [study.id for study, _ in view.series.since(0)] == [old, new]
        ((study, found),) = view.series.since(200.0)
        assert study == view.studies.get(new)
        assert [item.number for item in found] == [3, 4, None]
        assert found[1] == FULL
        assert list(view.series.since(200.5)) == []


def test_many_studies_are_read_page_by_page(ledger):
    for number in range(40):
        study = arrive(ledger, instance(number, study=f"1.{number}"))
        with ledger.begin() as change:
            change.series.replace(study, [series(n) for n in range(1, 31)])
    with ledger.read() as view:
        found = [(study.id, len(members)) for study, members in view.series.since(0)]
    assert found == [(number, 30) for number in range(1, 41)]


def test_what_another_version_wrote_is_not_there(ledger):
    study = arrive(ledger, instance(1))
    with ledger.begin() as change:
        change.series.replace(study, [series(1), series(2)])
        strange = [FORM + 1, *to_document(series(1))[1:]]
        statement = sa.update(table).where(table.c.series_instance_uid == "2.25.71")
        change.series._connection.execute(statement.values(summary=strange))
    with ledger.read() as view:
        assert list(view.series.of_study(study)) == ["2.25.72"]
        assert list(view.series.since(0)) == []
    assert from_document({}) is None
    assert from_document([]) is None


_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_VALUES = st.dictionaries(st.text(), st.lists(st.text() | _NUMBERS).map(tuple))
_PARTS = st.builds(
    PartSummary,
    spacing_mm=st.none() | st.tuples(_NUMBERS, _NUMBERS, _NUMBERS),
    tilt_degrees=_NUMBERS,
    attributes=_VALUES,
)


@given(st.builds(SeriesSummary, attributes=_VALUES, parts=st.lists(_PARTS).map(tuple)))
def test_a_document_holds_all_of_a_summary(summary):
    assert from_document(json.loads(json.dumps(to_document(summary)))) == summary
