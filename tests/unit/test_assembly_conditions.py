"""Conditions on series: when they hold, and how it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondread.assembly.conditions import (
    TEXT_MAX,
    Circumstances,
    attributes_of,
    examine,
    holds,
)
from secondread.assembly.phrases import asked
from secondread.config.conditions import parse_conditions
from secondread.domain.condition import Finding
from tests.summaries import broken, part, series

HERE = Circumstances("ct1", 0.0)
FOUND = {
    "Modality": ("MR",),
    "ImageType": ("ORIGINAL", "PRIMARY", "M"),
    "PatientAge": (17.0,),
    "EchoTime": (10.0, 80.0),
    "StudyDescription": ("MR Kopf nativ",),
    "ProcedureCodeSequence": ("SCT:816077007", "99LOCAL:12"),
    "ContrastBolusAgent": (),
}


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The node's own time zone."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def ask(*rows: dict, circumstances: Circumstances = HERE) -> bool:
    """Whether conditions hold for what was found; both answers must be the same."""
    conditions = parse_conditions(list(rows))
    answer = holds(conditions, FOUND, circumstances)
    assert examine(conditions, FOUND, circumstances).holds is answer
    return answer


def of(attribute: str, **test: object) -> dict:
    """A condition on an attribute; 'in' and 'from' are reserved words and end with '_'."""
    return {"attribute": attribute, **{key.rstrip("_"): value for key, value in test.items()}}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (of("Modality", is_="MR"), True),
        (of("Modality", is_="mr"), True),
        (of("Modality", in_=["CT", "PT"]), False),
        (of("ImageType", is_="PRIMARY"), True),
        (of("ImageType", is_="PRIMARY", every=True), False),
        (of("ImageType", in_=["M", "PRIMARY", "ORIGINAL"], every=True), True),
        (of("PatientAge", from_=17), True),
        (of("PatientAge", from_=17.1), False),
        (of("PatientAge", to=17), True),
        (of("PatientAge", from_=1, to=16), False),
        (of("PatientAge", is_=17), True),
        (of("EchoTime", from_=50), True),
        (of("EchoTime", from_=50, every=True), False),
        (of("EchoTime", from_=20, to=70), False),
        (of("EchoTime", in_=[9, 10]), True),
        (of("StudyDescription", matches="kopf"), False),
        (of("StudyDescription", matches="(?i)kopf"), True),
        (of("StudyDescription", matches="^Kopf"), False),
        (of("ProcedureCodeSequence", is_="SCT:816077007"), True),
        (of("ProcedureCodeSequence", is_="SCT:81607700"), False),
        (of("ContrastBolusAgent", present=True), False),
        (of("ContrastBolusAgent", present=False), True),
        (of("KVP", present=False), True),
        (of("KVP", to=1000), False),
        (of("KVP", to=1000, every=True), False),
        (of("Modality", present=True), True),
        (of("Modality", is_="MR", matches="C"), False),
        ({"peer": ["ct1", "ct2"]}, True),
        ({"peer": "ct2"}, False),
        ({"not": of("KVP", to=1000)}, True),
        ({"any": [of("Modality", is_="CT"), of("PatientAge", to=18)]}, True),
        ({"any": [of("Modality", is_="CT"), {"peer": "x"}]}, False),
        ({"all": [of("Modality", is_="MR"), {"not": {"peer": "x"}}]}, True),
        ({"all": [of("Modality", is_="MR"), {"peer": "x"}]}, False),
    ],
)
def test_when_a_condition_holds(row: dict, expected: bool) -> None:
    assert ask(row) is expected
    assert ask({"not": row}) is not expected


def test_all_conditions_must_hold() -> None:
    assert ask()
    assert ask(of("Modality", is_="MR"), {"peer": "ct1"})
    assert not ask(of("Modality", is_="MR"), {"peer": "ct2"})


@pytest.mark.parametrize(
    ("moment", "row", "expected"),
    [
        # 2026-03-06 is a Friday.
        ("2026-03-06 07:00", {"between": ["07:00", "19:00"]}, True),
        ("2026-03-06 18:59", {"between": ["07:00", "19:00"]}, True),
        ("2026-03-06 19:00", {"between": ["07:00", "19:00"]}, False),
        ("2026-03-06 06:59", {"between": ["07:00", "19:00"]}, False),
        ("2026-03-06 23:00", {"between": ["22:00", "06:00"]}, True),
        ("2026-03-06 05:59", {"between": ["22:00", "06:00"]}, True),
        ("2026-03-06 06:00", {"between": ["22:00", "06:00"]}, False),
        ("2026-03-06 23:59", {"between": ["20:00", "24:00"]}, True),
        ("2026-03-06 00:00", {"between": ["20:00", "24:00"]}, False),
        ("2026-03-06 12:00", {"weekdays": ["Fri"]}, True),
        ("2026-03-06 12:00", {"weekdays": ["Mon", "Thu"]}, False),
        ("2026-03-06 23:00", {"weekdays": ["Fri"], "between": ["22:00", "06:00"]}, True),
        ("2026-03-07 02:00", {"weekdays": ["Fri"], "between": ["22:00", "06:00"]}, True),
        ("2026-03-06 02:00", {"weekdays": ["Fri"], "between": ["22:00", "06:00"]}, False),
        ("2026-03-09 02:00", {"weekdays": ["Sun"], "between": ["22:00", "06:00"]}, True),
        ("2026-03-09 02:00", {"weekdays": ["Mon"], "between": ["22:00", "06:00"]}, False),
        # Summer time began on 2026-03-29 at 02:00.
        ("2026-03-29 03:30", {"between": ["03:00", "04:00"]}, True),
    ],
)
def test_when_a_time_holds(moment: str, row: dict, expected: bool) -> None:
    at = time.mktime(time.strptime(moment, "%Y-%m-%d %H:%M"))
    assert ask(row, circumstances=Circumstances("ct1", at)) is expected


def test_a_text_has_an_end_for_expressions() -> None:
    row = {"attribute": "StudyDescription", "matches": "x"}
    conditions = parse_conditions([row])
    assert holds(conditions, {"StudyDescription": ("a" * (TEXT_MAX - 1) + "x",)}, HERE)
    assert not holds(conditions, {"StudyDescription": ("a" * TEXT_MAX + "x",)}, HERE)


def told(*rows: dict) -> Iterator[tuple[bool, str]]:
    """A finding, flat."""

    def flat(finding: Finding) -> Iterator[tuple[bool, str]]:
        yield finding.holds, finding.text
        for inner in finding.parts:
            yield from flat(inner)

    return flat(examine(parse_conditions(list(rows)), FOUND, HERE))


def test_every_condition_is_told_with_what_it_was_compared_with() -> None:
    found = list(
        told(
            of("PatientAge", from_=18, to=90),
            of("EchoTime", from_=50, every=True),
            of("KVP", to=120),
            {"any": [of("StudyDescription", matches="(?i)knie"), {"peer": ["ct1", "ct2"]}]},
            {"not": of("Modality", in_=["MR", "CT"])},
            {"not": {"all": [of("ContrastBolusAgent", present=False), {"peer": "x"}]}},
            {"weekdays": ["Mon", "Thu"], "between": ["07:00", "19:00"]},
        )
    )
    assert found == [
        (False, "all of these:"),
        (False, "PatientAge from 18 to 90: it is 17"),
        (False, "every EchoTime 50 or more: it is 10, 80"),
        (False, "KVP 120 or less: it is absent"),
        (True, "at least one of these:"),
        (False, "StudyDescription matching '(?i)knie': it is 'MR Kopf nativ'"),
        (True, "peer ct1 or ct2: it is ct1"),
        (False, "not so: Modality MR or CT: it is 'MR'"),
        (True, "not so: no ContrastBolusAgent, and peer x"),
        (True, "no ContrastBolusAgent: it is absent"),
        (False, "peer x: it is ct1"),
        (False, "first object Mon, Thu 07:00 to 19:00: it came Thu 1970-01-01 01:00"),
    ]
    assert examine((), FOUND, HERE) == Finding(True, "nothing is asked for")


def test_long_and_odd_texts_are_told_on_one_line() -> None:
    conditions = parse_conditions([of("SeriesDescription", present=True)])
    values = {"SeriesDescription": ("a\nb\x1b" + "c" * 100, *map(str, range(9)))}
    (finding,) = examine(conditions, values, HERE).parts
    assert finding.text.startswith("any SeriesDescription: it is 'a b ccc")
    assert finding.text.endswith("…', '0', '1', '2', '3', '4' and 4 more")


def test_what_is_asked_for_in_words() -> None:
    rows = [
        {"any": [of("KVP", is_=120), {"all": [{"peer": "a"}, of("Modality", is_="MR")]}]},
        {"not": {"any": [{"peer": "a"}, {"peer": "b"}]}},
        {"weekdays": ["Sat", "Sun"]},
        of("PatientAge", from_=1, in_=[1, 2, 3]),
    ]
    assert [asked(condition) for condition in parse_conditions(rows)] == [
        "KVP 120, or (peer a, and Modality MR)",
        "not (peer a, or peer b)",
        "first object on Sat, Sun",
        "PatientAge 1 or 2 or 3 and 1 or more",
    ]


def test_what_the_node_works_out_can_be_asked_for() -> None:
    one = series(3, part(slices=20, spacing_mm=(5.0, 0.5, 0.25), tilt_degrees=12.0), KVP=120)
    found = attributes_of(one, one.parts[0])
    assert {key: found[key] for key in ("Plane", "Geometry", "Slices", "Objects", "KVP")} == {
        "Plane": ("axial",),
        "Geometry": ("sound",),
        "Slices": (20.0,),
        "Objects": (20.0,),
        "KVP": (120.0,),
    }
    lengths = [found[key] for key in ("SliceSpacing", "RowSpacing", "ColumnSpacing", "TiltAngle")]
    assert lengths == [(5.0,), (0.5,), (0.25,), (12.0,)]


@pytest.mark.parametrize(
    ("thickness", "coverage"),
    [(2.5, (0.5,)), (5.0, (1.0,)), (6.0, (1.0,)), (None, None), (0.0, None), ([2.5, 5.0], None)],
)
def test_how_much_of_their_distance_slices_image(thickness, coverage) -> None:
    said = {} if thickness is None else {"SliceThickness": thickness}
    one = series(3, part(slices=20, spacing_mm=(5.0, 0.5, 0.25)), **said)
    assert attributes_of(one, one.parts[0]).get("SliceCoverage") == coverage


def test_a_part_goes_before_its_series_and_all_parts_count_together() -> None:
    first = part("EchoNumbers 1", attributes={"EchoTime": 10})
    second = broken("missing-slices", "One is missing.", name="EchoNumbers 2", slices=9)
    one = series(1, (first, second), EchoTime=[10, 80])
    assert attributes_of(one, first)["EchoTime"] == (10.0,)
    assert attributes_of(one, second)["EchoTime"] == (10.0, 80.0)
    assert "SliceSpacing" not in attributes_of(one, second)
    together = attributes_of(one, None)
    assert together["Geometry"] == ("sound", "missing-slices")
    assert together["Slices"] == (24.0, 9.0)
    assert together["SliceSpacing"] == (5.0,)


ROWS = st.recursive(
    st.sampled_from(
        [
            of("Modality", is_="MR"),
            of("PatientAge", from_=18),
            of("KVP", present=False),
            {"peer": "ct1"},
            {"weekdays": ["Thu"]},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda rows: {"any": rows}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda rows: {"all": rows}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda row: {"not": row}, inner),
    ),
    max_leaves=6,
)


@given(st.lists(ROWS, max_size=3))
def test_the_fast_answer_is_the_explained_one(rows: list[dict]) -> None:
    try:
        conditions = parse_conditions(rows)
    except ValueError:  # deeper than anybody may write
        return
    finding = examine(conditions, FOUND, HERE)
    assert holds(conditions, FOUND, HERE) is finding.holds
    assert all(asked(condition) for condition in conditions)
