"""Why a condition does not hold: always a reason, and never anybody's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondread.assembly.conditions import Circumstances, holds
from secondread.assembly.objections import keywords, what_is, why_not
from secondread.config.conditions import parse_condition
from secondread.domain.attributes import ATTRIBUTES, Kind
from secondread.domain.condition import AllOf, AnyOf, AttributeTest, Not, PeerTest, TimeTest

HERE = Circumstances(peer="ct1", first_at=1_700_000_000.0)
SECRET = "Zebedee Quill 12.03.1961"
_ATTRIBUTES = {"Modality": ("CT",), "EchoTime": (3.0, 90.0), "StationName": (SECRET,)}
_TESTS = st.one_of(
    st.builds(
        AttributeTest,
        st.sampled_from(["Modality", "StationName", "ProtocolName"]),
        one_of=st.sampled_from([("CT",), ("MR", "PT"), (SECRET,)]),
        every=st.booleans(),
    ),
    st.builds(
        AttributeTest,
        st.sampled_from(["EchoTime", "KVP"]),
        low=st.none() | st.floats(0, 50),
        high=st.floats(50, 100),
        every=st.booleans(),
    ),
    st.builds(AttributeTest, st.sampled_from(list(_ATTRIBUTES)), present=st.booleans()),
    st.builds(PeerTest, st.sampled_from([("ct1",), ("mr1", "mr2")])),
    st.builds(
        TimeTest, st.sampled_from([(), ("Mon",)]), st.integers(0, 700), st.integers(701, 1400)
    ),
)
_CONDITIONS = st.recursive(
    _TESTS,
    lambda inner: st.one_of(
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)


@given(_CONDITIONS)
def test_there_is_a_reason_exactly_where_a_condition_does_not_hold(condition):
    reason = why_not(condition, _ATTRIBUTES, HERE)
    assert bool(reason) is not holds((condition,), _ATTRIBUTES, HERE)
    if not reason:
        assert what_is(condition, _ATTRIBUTES, HERE)
    assert keywords(condition) <= set(ATTRIBUTES)


@pytest.mark.parametrize(
    "asked",
    [
        {"matches": "nobody"},
        {"is": "nobody"},
        {"in": ["a", "b"], "every": True},
        {"present": False},
    ],
)
@pytest.mark.parametrize("keyword", [k for k, kind in ATTRIBUTES.items() if kind is Kind.TEXT])
def test_text_of_a_study_is_never_quoted(keyword, asked):
    if keyword in {"Plane", "Geometry"}:
        return
    condition = parse_condition({"attribute": keyword, **asked})
    attributes = {keyword: (SECRET,)}
    reason = why_not(condition, attributes, HERE)
    assert reason
    assert "Quill" not in reason
    assert "Quill" not in what_is(Not(condition), attributes, HERE)
    other = parse_condition({"attribute": keyword, "matches": "Q.i"})
    assert "Quill" not in what_is(other, attributes, HERE)


@pytest.mark.parametrize(
    ("asked", "values", "reason"),
    [
        ({"attribute": "KVP", "from": 100, "to": 140}, (80.0,), "its KVP is 80, not from 100 to"),
        ({"attribute": "KVP", "from": 100}, (80.0,), "its KVP is 80, not 100 or more"),
        ({"attribute": "KVP", "to": 70.5}, (80.0,), "its KVP is 80, not 70.5 or less"),
        ({"attribute": "KVP", "in": [70, 100]}, (80.0,), "its KVP is 80, not 70 or 100"),
        ({"attribute": "KVP", "is": 70}, (), "its KVP is absent"),
        (
            {"attribute": "EchoTime", "is": 7},
            (1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
            "its EchoTime is 1, 2, 3, 4 and 2 more, not 7",
        ),
        (
            {"attribute": "EchoTime", "to": 2, "every": True},
            (1.0, 3.0),
            "its EchoTime is 1, 3, not 2 or less in all its images",
        ),
        (
            {"attribute": "ProcedureCodeSequence", "is": "SCT:1"},
            ("LN:24725-4",),
            "its ProcedureCodeSequence is LN:24725-4, not SCT:1",
        ),
        (
            {"attribute": "ProcedureCodeSequence", "is": "SCT:1"},
            ("99X:Quill, Zebedee",),
            "its ProcedureCodeSequence is not SCT:1",
        ),
        ({"attribute": "PatientAge", "to": 80}, (89.0,), "its PatientAge is 89, not 80 or less"),
        ({"attribute": "PatientAge", "to": 80}, (90.0,), "its PatientAge is not 80 or less"),
        ({"attribute": "PatientSex", "is": "F"}, ("M",), "its PatientSex is M, not F"),
        (
            {"attribute": "ImageType", "matches": "^X$"},
            ("ORIGINAL", "PRIMARY"),
            "its ImageType (ORIGINAL, PRIMARY) does not match '^X$'",
        ),
    ],
)
def test_what_is_compared_with_what(asked, values, reason):
    keyword = asked["attribute"]
    assert why_not(parse_condition(asked), {keyword: values}, HERE).startswith(reason)
