"""Conditions in TOML: what becomes of them, and in which words mistakes are told."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondread.config.condition_error import ConditionError
from secondread.config.conditions import parse_condition, parse_conditions, walk
from secondread.config.load import examine, load
from secondread.config.patterns import LENGTH_MAX, check_pattern
from secondread.domain.attributes import ATTRIBUTES
from secondread.domain.condition import (
    AllOf,
    AnyOf,
    AttributeTest,
    Condition,
    Not,
    PeerTest,
    TimeTest,
)

BASE = """\
[[models]]
id = "brain_mr"

[[peers]]
name = "ct1"
ae_title = "CT1"
addresses = ["10.1.1.1"]

[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104

[[rules]]
name = "heads"
model = "brain_mr"
destinations = ["pacs"]
"""


def toml(text: str) -> object:
    """The value of one line of TOML."""
    return tomllib.loads(f"it = {text}")["it"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{ attribute = "PatientAge", from = 18, to = 90.5 }', ("PatientAge", (), 18.0, 90.5)),
        ('{ attribute = "PatientAge", from = 18 }', ("PatientAge", (), 18.0)),
        ('{ attribute = "EchoTime", is = 3 }', ("EchoTime", (3.0,))),
        ('{ attribute = "EchoTime", in = [1.5, 3, 3.0] }', ("EchoTime", (1.5, 3.0))),
        ('{ attribute = "Modality", is = " MR " }', ("Modality", ("MR",))),
        ('{ attribute = "Modality", in = ["MR", "CT"] }', ("Modality", ("MR", "CT"))),
        (
            '{ attribute = "AnatomicRegionSequence", is = "SCT:69536005" }',
            ("AnatomicRegionSequence", ("SCT:69536005",)),
        ),
        (
            '{ attribute = "ProcedureCodeSequence", in = ["99LOCAL:CT HEAD:2", "RADLEX:RID1"] }',
            ("ProcedureCodeSequence", ("99LOCAL:CT HEAD:2", "RADLEX:RID1")),
        ),
        (
            '{ attribute = "SOPClassUID", is = "1.2.840.10008.5.1.4.1.1.4" }',
            ("SOPClassUID", ("1.2.840.10008.5.1.4.1.1.4",)),
        ),
        (
            '{ attribute = "StudyDescription", matches = "(?i)head" }',
            ("StudyDescription", (), None, None, "(?i)head"),
        ),
        (
            '{ attribute = "ContrastBolusAgent", present = false }',
            ("ContrastBolusAgent", (), None, None, "", False),
        ),
        (
            '{ attribute = "SliceThickness", to = 2, every = true }',
            ("SliceThickness", (), None, 2.0, "", None, True),
        ),
        (
            '{ attribute = "PatientAge", from = 18, present = true }',
            ("PatientAge", (), 18.0, None, "", True),
        ),
    ],
)
def test_a_test_on_an_attribute(text: str, expected: tuple) -> None:
    assert parse_condition(toml(text)) == AttributeTest(*expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{ peer = "ct1" }', PeerTest(("ct1",))),
        ('{ peer = ["ct1", "ct2", "ct1"] }', PeerTest(("ct1", "ct2"))),
        ('{ between = ["07:00", "19:30"] }', TimeTest((), 420, 1170)),
        ('{ between = ["22:00", "06:00"] }', TimeTest((), 1320, 360)),
        ('{ between = ["00:00", "24:00"] }', TimeTest((), 0, 1440)),
        ("{ between = [07:00:00, 19:30:00] }", TimeTest((), 420, 1170)),
        ('{ weekdays = ["sun", "Monday"] }', TimeTest(("Mon", "Sun"), 0, 1440)),
        ('{ weekdays = "Fri", between = ["22:00", "06:00"] }', TimeTest(("Fri",), 1320, 360)),
        (
            '{ not = { any = [{ peer = "a" }, { all = [{ peer = "b" }] }] } }',
            Not(AnyOf((PeerTest(("a",)), AllOf((PeerTest(("b",)),))))),
        ),
    ],
)
def test_other_conditions(text: str, expected: Condition) -> None:
    assert parse_condition(toml(text)) == expected


def test_every_attribute_can_be_asked_for() -> None:
    for keyword in ATTRIBUTES:
        parse_condition({"attribute": keyword, "present": True})


MISTAKES = [
    ('{ attribute = "PatientAge", from = "18" }', ("from",), "write 18 without quotes"),
    ('{ attribute = "PatientAge", is = "old" }', ("is",), "'old' is not one"),
    ('{ attribute = "PatientAge", in = [1, "2"] }', ("in", 1), "write 2 without quotes"),
    ('{ attribute = "PatientAge", from = true }', ("from",), "such as 5 or 2.5"),
    ('{ attribute = "PatientAge", from = inf }', ("from",), "finite number"),
    ('{ attribute = "PatientAge", is = nan }', ("is",), "finite number"),
    ('{ attribute = "PatientAge", from = 90, to = 18 }', ("from",), "No PatientAge is from 90"),
    ('{ attribute = "PatientAge", matches = "1" }', ("matches",), "which is a number"),
    ('{ attribute = "Modality", from = 1 }', ("from",), "which is text"),
    ('{ attribute = "Modality", is = 5 }', ("is",), 'write it in quotes, "5"'),
    ('{ attribute = "Modality", is = true }', ("is",), "as a text in quotes"),
    ('{ attribute = "Modality", is = ["MR"] }', ("is",), "write 'in' for the list"),
    ('{ attribute = "Modality", in = "MR" }', ("in",), "for one Modality write 'is'"),
    ('{ attribute = "Modality", in = [] }', ("in",), "'in' is empty"),
    ('{ attribute = "Modality", in = ["MR", " "] }', ("in", 1), "present = false"),
    ('{ attribute = "Modality", is = "MR", in = ["CT"] }', ("is",), "both 'is' and 'in'"),
    ('{ attribute = "Modality" }', (), "asks for nothing"),
    ('{ attribute = "Modality", every = true }', (), "asks for nothing"),
    ('{ attribute = "Modality", present = true, every = true }', ("every",), "needs a value"),
    ('{ attribute = "Modality", present = "yes" }', ("present",), "true or false"),
    ('{ attribute = "Modality", is = "MR", every = 1 }', ("every",), "true or false"),
    ('{ attribute = "Modality", is = "MR", present = false }', ("present",), "cannot be absent"),
    ('{ attribute = "AnatomicRegionSequence", is = "69536005" }', ("is",), "is not a code"),
    ('{ attribute = "AnatomicRegionSequence", is = 69536005 }', ("is",), "is a code"),
    ('{ attribute = "AnatomicRegionSequence", matches = "6" }', ("matches",), "which is a code"),
    ('{ attribute = "SOPClassUID", is = "CT" }', ("is",), "is not a UID"),
    ('{ attribute = "SOPClassUID", from = 1 }', ("from",), "which is a UID"),
    ('{ attribute = "Modalty", is = "MR" }', ("attribute",), "did you mean 'Modality'?"),
    ('{ attribute = "Slice Thickness", to = 1 }', ("attribute",), "written 'SliceThickness'"),
    ('{ attribute = "patient_age", to = 1 }', ("attribute",), "written 'PatientAge'"),
    ('{ attribute = "PatientName", is = "X" }', ("attribute",), "Unknown attribute"),
    ('{ attribute = "Zzz", is = "X" }', ("attribute",), "docs/rules.md"),
    ("{ attribute = 5 }", ("attribute",), "in quotes"),
    ('{ attribute = "Modality", matches = "(" }', ("matches",), "valid regular expression"),
    ('{ attribute = "Modality", matches = "(a+)+" }', ("matches",), "take for ever"),
    ('{ attribute = "Modality", matches = "" }', ("matches",), "takes a regular expression"),
    ('{ attribute = "Modality", equals = "MR" }', ("equals",), "did you mean 'is'?"),
    ('{ attribute = "PatientAge", min = 5 }', ("min",), "did you mean 'from'?"),
    ('{ attribut = "Modality" }', ("attribut",), "did you mean 'attribute'?"),
    ('{ is = "MR" }', (), "'is' without what it is about"),
    ("{ }", (), "has nothing"),
    ('{ attribute = "Modality", is = "MR", peer = "a" }', ("peer",), "as two conditions"),
    ('{ peer = "a", weekdays = ["Mon"] }', ("weekdays",), "as two conditions"),
    ("{ peer = [] }", ("peer",), "'peer' is empty"),
    ("{ peer = [1] }", ("peer",), "names of [[peers]]"),
    ('{ between = ["7:00", "19:00"] }', ("between", 0), "two digits each"),
    ('{ between = ["07:00", "24:01"] }', ("between", 1), "not a time of the day"),
    ('{ between = ["07:00"] }', ("between",), "takes two times"),
    ('{ between = ["07:00", "07:00"] }', ("between",), "same time twice"),
    ('{ between = ["24:00", "07:00"] }', ("between", 0), "write 00:00"),
    ("{ between = [7, 19] }", ("between", 0), "not a time of the day"),
    ('{ weekdays = ["Mon", "Mit"] }', ("weekdays", 1), "not a weekday; there are: Mon, Tue"),
    ('{ weekdays = ["T"] }', ("weekdays", 0), "not a weekday"),
    ("{ weekdays = [] }", ("weekdays",), "takes a list"),
    ("{ weekdays = [5] }", ("weekdays", 0), "not a weekday"),
    ("{ any = [] }", ("any",), "nothing could fulfil it"),
    ("{ all = [] }", ("all",), "everything would fulfil it"),
    ('{ any = { peer = "a" } }', ("any",), "a list of conditions"),
    ('{ not = [{ peer = "a" }] }', ("not",), "not = { any = [ … ] }"),
    ('{ any = [{ peer = "a" }, { not = { peer = [] } }] }', ("any", 1, "not", "peer"), "empty"),
    ('{ any = ["MR"] }', ("any", 0), "a table in { }"),
    ('"MR"', (), "a table in { }"),
]


@pytest.mark.parametrize(("text", "path", "said"), MISTAKES)
def test_each_mistake_has_its_sentence_and_its_place(text: str, path: tuple, said: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_condition(toml(text))
    assert said in str(caught.value)
    assert str(caught.value).endswith((".", "?"))
    assert caught.value.path == path


def test_conditions_are_a_list() -> None:
    assert parse_conditions([]) == ()
    with pytest.raises(ConditionError, match="a list of tables"):
        parse_conditions({"peer": "a"})
    with pytest.raises(ConditionError) as caught:
        parse_conditions([{"peer": "a"}, {"peer": []}])
    assert caught.value.path == (1, "peer")


def test_a_model_asks_for_attributes_only() -> None:
    with pytest.raises(ValueError, match="belong into a rule"):
        parse_conditions([{"not": {"peer": "a"}}], attributes_only=True)
    with pytest.raises(ValueError, match="belong into a rule"):
        parse_condition({"weekdays": ["Mon"]}, attributes_only=True)


def test_nobody_stacks_conditions_for_ever() -> None:
    row: dict = {"peer": "a"}
    for _ in range(7):
        row = {"not": row}
    parse_condition(row)
    with pytest.raises(ConditionError, match="more than 8 deep"):
        parse_condition({"not": row})


def test_all_conditions_can_be_walked() -> None:
    parsed = parse_conditions([{"peer": "a"}, {"any": [{"peer": "b"}, {"not": {"peer": "c"}}]}])
    found = {path: item.peers for path, item in walk(parsed) if isinstance(item, PeerTest)}
    assert found == {(0,): ("a",), (1, "any", 0): ("b",), (1, "any", 1, "not"): ("c",)}


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["attribute", "is", "in", "from", "peer", "any", "not", "weekdays"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@given(VALUES)
def test_whatever_is_written_is_a_condition_or_a_sentence(raw: object) -> None:
    try:
        parse_condition(raw)
    except ConditionError as error:
        assert str(error).endswith((".", "?"))


# regular expressions


@pytest.mark.parametrize(
    "pattern",
    ["(?i)head|brain", "^t1.*(tra|ax).*se", "(?:ab)+", r"\bT1\b", ".*a.*b.*c?", r"(\d+\.){2}"],
)
def test_usual_expressions_are_taken(pattern: str) -> None:
    assert check_pattern(pattern) == ""


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a+)+$", "(a|aa)*", "(.|a)*b", "(a*)*", "(x+x+)+y", ".*.*.*.*x", "(?>a+)+", "(a?){40}"),
        *("(x{0,20}){0,20}", "(a{0,16}){0,16}b", "a?" * 40, "(a|a)" * 30, "(ab|b){60}"),
        *("(", "[[a]", "a{5,1}", "x(?i)", "a" * (LENGTH_MAX + 1), "(?P<n>", "\\"),
    ],
)
def test_expressions_that_could_take_for_ever_are_not(pattern: str) -> None:
    assert check_pattern(pattern)


@pytest.mark.parametrize("pattern", [".*a.*a.*b", "a?a?a?a?.*a.*a.*b", "(t1|t2).*(a|b).*x.*y"])
def test_what_is_taken_ends_soon(pattern: str) -> None:
    """A minute would be for ever; what is taken needs a second on a slow machine."""
    assert check_pattern(pattern) == ""
    began = time.monotonic()
    re.search(pattern, "a" * 256)
    assert time.monotonic() - began < 60


# in the file


@pytest.fixture
def faults(tmp_path: Path):
    def told(more: str) -> list[str]:
        path = tmp_path / "secondread.toml"
        path.write_text(BASE + more)
        return [str(fault) for fault in examine(path, {}).faults]

    return told


def test_a_fault_in_a_condition_has_the_line_on_which_it_stands(faults) -> None:
    more = (
        "when = [\n"
        '  { attribute = "Modality", is = "CT" },\n'
        "  { any = [\n"
        '    { attribute = "PatientAge", from = 18 },\n'
        '    { not = { attribute = "PatientAge", to = "1" } },\n'
        "  ] },\n"
        "]\n"
    )
    assert faults(more) == [
        "line 23: [[rules]] 'heads': PatientAge is a number; write 1 without quotes."
    ]
    assert faults('\n[[rules.when]]\nattribute = "Modalty"\nis = "CT"\n') == [
        "line 21: [[rules]] 'heads': Unknown attribute 'Modalty'; did you mean 'Modality'?"
    ]


def test_peers_that_conditions_name_must_be_there(faults) -> None:
    more = 'when = [\n{ any = [\n{ peer = "ct1" }, { not = { peer = [\n"ct2",\n] } }] }]\n'
    (told,) = faults(more)
    assert told.startswith("line 22: [[rules]] 'heads' names 'ct2', which is not among the [[peers")


def test_short_forms_stand_before_the_others(tmp_path: Path) -> None:
    path = tmp_path / "secondread.toml"
    more = (
        'when = [{ peer = "ct1" }]\nmodalities = ["CT"]\npeers = ["ct1"]\n'
        'study_description = "x"\nshadow = true\nlate_images = "any"\nversions_max = 3\n'
    )
    path.write_text(BASE + more)
    (rule,) = load(path, {}).rules
    assert rule.when == (
        PeerTest(("ct1",)),
        AttributeTest("Modality", one_of=("CT",)),
        AttributeTest("StudyDescription", pattern="x"),
        PeerTest(("ct1",)),
    )
    assert (rule.shadow, rule.late_images, rule.versions_max) == (True, "any", 3)


def examples() -> Iterator[str]:
    """The rules that docs/rules.md shows."""
    document = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
    yield from re.findall(r"```toml\n(.*?)```", document.read_text(encoding="utf-8"), re.S)


def test_the_examples_of_the_document_are_sound(tmp_path: Path) -> None:
    found = list(examples())
    assert len(found) >= 5
    more = "".join(found)
    named = set(re.findall(r'^\[\[models\]\]\nid = "(\w+)"', more, re.M)) | {"brain_mr"}
    for model in set(re.findall(r'^model = "(\w+)"', more, re.M)) - named:
        more += f'\n[[models]]\nid = "{model}"\npath = "."\n'
    for peer in set(re.findall(r'"(mr\d|ct\d)"', more)) - {"ct1"}:
        more += f'\n[[peers]]\nname = "{peer}"\nae_title = "{peer}"\naddresses = ["10.1.1.1"]\n'
    more += '\n[[destinations]]\nname = "chest-team"\nae_title = "C"\nhost = "c"\nport = 104\n'
    path = tmp_path / "secondread.toml"
    path.write_text(BASE.partition("[[rules]]")[0] + more)
    assert [str(fault) for fault in examine(path, {}).faults] == []
