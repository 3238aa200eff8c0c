"""The profile on data sets that nobody thought of."""

from __future__ import annotations

import datetime as dt
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary

from secondread.deid.profile import dates, table, text
from secondread.deid.profile.dataset import Cleaner
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.options import BASIC, RESEARCH
from secondread.deid.profile.people import Person
from secondread.deid.profile.rules import RuleBook
from secondread.deid.profile.source import parse
from secondread.errors import CannotUnderstandError, ExportRefusedError
from tests.planted.objects import element, sequence
from tests.planted.scanner import MARK, Scanner

KEY = ProjectKey("property", b"p" * 32)
START = bytes(128) + b"DICM" + element(0x00020010, "UI", b"1.2.840.10008.1.2.1")
TEXTS = "AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UN UR UT OB".split()
TAGS = sorted(tag for tag in DicomDictionary if 7 < tag >> 16 < 0x7FE0)
SEQUENCES = [tag for tag in TAGS if DicomDictionary[tag][0] == "SQ"]


def leaf(tag, vr, before, after):
    token = f"{before}{MARK}000001{after}".encode()
    return tag, element(tag, vr, token)


leaves = st.builds(
    leaf,
    st.sampled_from(TAGS) | st.integers(0x00080000, 0xFFFFFFFF).filter(lambda t: t >> 16 != 0xFFFE),
    st.sampled_from(TEXTS),
    st.sampled_from(["", "HEAD ", "20240101", "1.2.3.", "\\", " "]),
    st.sampled_from(["", " CHEST", "\\AXIAL", "^^", "  "]),
)


def branch(tag, items, is_open):
    return tag, sequence(tag, [data_set(item) for item in items], is_open)


def data_set(elements):
    return b"".join(content for _, content in sorted(dict(elements).items()))


trees = st.recursive(
    leaves,
    lambda inner: st.builds(
        branch,
        st.sampled_from(SEQUENCES) | st.just(0x0040A730) | st.just(0x00091001),
        st.lists(st.lists(inner, max_size=4), max_size=3),
        st.booleans(),
    ),
    max_leaves=12,
)


def clean(content, profile):
    book = RuleBook(profile)
    source = parse(START + content, book.usual_vr)
    root = {each.tag: source.value(each) for each in source.elements}
    return Cleaner(profile, book, KEY, Person(b"somebody", frozenset())).clean(source, root)


@pytest.mark.parametrize("profile", [BASIC, RESEARCH], ids=lambda each: each.name)
@given(elements=st.lists(trees, max_size=6))
@example(elements=[leaf(0x00283006, "AE", "", "")])
@example(elements=[leaf(0x00283006, "UN", "", " CHEST")])
@settings(deadline=None)
def test_no_token_comes_through_wherever_it_stands(profile, elements):
    cleaned = clean(data_set(elements), profile)
    assert Scanner(layers=0).scan(b"".join(cleaned.values())) == []


@given(elements=st.lists(trees, max_size=6))
@settings(deadline=None)
def test_what_comes_out_is_a_data_set_and_stays_as_it_is(elements):
    """Cleaning twice gives what cleaning once gives, but for the UIDs, which are mapped again."""
    once = clean(data_set(elements), BASIC)
    content = b"".join(once[tag] for tag in sorted(once))
    twice = clean(content, BASIC)
    assert sorted(twice) == sorted(once)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_bytes_that_are_no_data_set_are_an_error_that_says_so(content):
    try:
        clean(content, RESEARCH)
    except (CannotUnderstandError, ExportRefusedError) as error:
        assert str(error).endswith((".", "first."))


@given(st.booleans(), st.integers(30, 40))
def test_nesting_without_end_is_an_error(is_open, depth):
    content = b""
    for _ in range(depth):
        content = sequence(0x00081140, [content], is_open)
    if depth <= 32:
        clean(content, BASIC)
    else:
        with pytest.raises(CannotUnderstandError, match="deep"):
            clean(content, BASIC)


days = st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1))


@given(days, days, st.integers(-3652, -366))
def test_intervals_are_kept_to_the_day(first, second, shift):
    moved = [
        dt.datetime.strptime(
            (dates.shift(b"DA", day.strftime("%Y%m%d").encode(), shift, True) or b"").decode(),
            "%Y%m%d",
        )
        for day in (first, second)
    ]
    assert moved[1] - moved[0] == second - first


@given(st.binary(max_size=80))
def test_cleaned_text_is_made_of_known_words(value):
    for word in text.clean(value, ()).decode("ascii").split():
        assert word.lower() in {*table.words(), "ms"} or word.isdigit()


@given(st.lists(st.sampled_from(["HEAD", "Smith", "of", "Brown", "12", "mm", "1970"]), max_size=8))
def test_cleaning_text_twice_changes_nothing(words):
    once = text.clean(" ".join(words).encode(), {"brown"})
    assert text.clean(once, {"brown"}) == once


def test_a_length_that_lies_is_an_error():
    content = struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", 400) + b"Doe^Jane"
    with pytest.raises(CannotUnderstandError, match="cut short"):
        clean(content, BASIC)
