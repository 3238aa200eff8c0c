"""Data sets of every shape, in pieces of every size, whole and damaged."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondread.dicom.walk import (
    DEFLATED,
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    NOTED,
    PIXEL_DATA,
    VALUE_MAX,
    WANTED,
    Outline,
    Walker,
    outline,
)
from secondread.errors import CannotUnderstandError, IntakeError, OutOfResourcesError
from secondread.intake.examine import Announcement, examine

EXPLICIT = "1.2.840.10008.1.2.1"
SYNTAXES = (EXPLICIT, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED)
INFLATED_MAX = 1 << 20
SHORT_VRS = (b"CS", b"DS", b"IS", b"LO", b"UI", b"US")
LONG_VRS = (b"OB", b"OW", b"UN", b"UT")
UNDEFINED = 0xFFFFFFFF
FEW = settings(max_examples=60, deadline=None)
MANY = settings(max_examples=2000, deadline=None)


@dataclass(frozen=True)
class Element:
    """``value`` is bytes, or the items of a sequence, or the fragments of encapsulated pixels."""

    tag: int
    vr: bytes
    value: bytes | tuple[tuple[Element, ...], ...] | tuple[bytes, ...]
    defined: bool = True
    items_defined: bool = True


class Encoder:
    """Writes elements in one transfer syntax, as PS3.5 7.1 says."""

    def __init__(self, syntax: str) -> None:
        self._order = ">" if syntax == EXPLICIT_BIG else "<"
        self._implicit = syntax == IMPLICIT_LITTLE

    def elements(self, elements: Iterable[Element]) -> bytes:
        return b"".join(self.header(item) + self.value(item) for item in elements)

    def header(self, item: Element) -> bytes:
        length = len(self.value(item)) if item.defined else UNDEFINED
        tag = self._pack("HH", item.tag >> 16, item.tag & 0xFFFF)
        if self._implicit:
            return tag + self._pack("I", length)
        if item.vr in SHORT_VRS:
            return tag + item.vr + self._pack("H", length)
        return tag + item.vr + self._pack("HI", 0, length)

    def value(self, item: Element) -> bytes:
        if isinstance(item.value, bytes):
            return item.value
        parts = [self._item(part, item.items_defined) for part in item.value]
        return b"".join(parts) + (b"" if item.defined else self._pack("HHI", 0xFFFE, 0xE0DD, 0))

    def _item(self, part: bytes | tuple[Element, ...], defined: bool) -> bytes:
        content = part if isinstance(part, bytes) else self.elements(part)
        if defined or isinstance(part, bytes):
            return self._pack("HHI", 0xFFFE, 0xE000, len(content)) + content
        end = self._pack("HHI", 0xFFFE, 0xE00D, 0)
        return self._pack("HHI", 0xFFFE, 0xE000, UNDEFINED) + content + end

    def _pack(self, layout: str, *numbers: int) -> bytes:
        return struct.pack(self._order + layout, *numbers)


def _tags() -> st.SearchStrategy[int]:
    others = st.builds(
        lambda group, number: group << 16 | number, st.integers(4, 0x7FDF), st.integers(0, 0xFFFF)
    )
    return st.one_of(st.sampled_from(sorted(WANTED)), others)


def _plain() -> st.SearchStrategy[Element]:
    value = st.one_of(st.binary(max_size=40), st.binary(min_size=300, max_size=300))
    long = st.one_of(value, st.integers(VALUE_MAX - 1, VALUE_MAX + 2).map(bytes))
    return st.one_of(
        st.builds(Element, _tags(), st.sampled_from(SHORT_VRS), value),
        st.builds(Element, _tags(), st.sampled_from(LONG_VRS), long),
    )


def _in_order(elements: list[Element]) -> tuple[Element, ...]:
    return tuple(sorted({item.tag: item for item in elements}.values(), key=lambda it: it.tag))


def _sequence(inner: st.SearchStrategy[Element]) -> st.SearchStrategy[Element]:
    items = st.lists(st.lists(inner, max_size=3).map(_in_order), max_size=3).map(tuple)
    return st.builds(Element, _tags(), st.just(b"SQ"), items, st.booleans(), st.booleans())


def _pixels() -> st.SearchStrategy[Element]:
    native = st.builds(Element, st.just(PIXEL_DATA), st.just(b"OW"), st.binary(max_size=64))
    fragments = st.lists(st.binary(max_size=30), min_size=1, max_size=4).map(tuple)
    encapsulated = st.builds(
        Element, st.just(PIXEL_DATA), st.just(b"OB"), fragments, st.just(False)
    )
    return st.one_of(native, encapsulated)


def data_sets() -> st.SearchStrategy[tuple[Element, ...]]:
    body = st.lists(st.recursive(_plain(), _sequence, max_leaves=8), max_size=12)
    return st.builds(
        lambda elements, pixels: _in_order(elements + pixels), body, st.lists(_pixels(), max_size=1)
    )


def encode(elements: tuple[Element, ...], syntax: str) -> bytes:
    content = Encoder(syntax).elements(elements)
    if syntax != DEFLATED:
        return content
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(content) + machine.flush()


def walk(content: bytes, syntax: str, sizes: list[int]) -> Outline:
    """Feed pieces of ``sizes`` bytes, over and over, until all is fed."""
    walker, view, at, turn = Walker(syntax, INFLATED_MAX), memoryview(content), 0, 0
    while at < len(view):
        size = sizes[turn % len(sizes)]
        walker.feed(view[at : at + size])
        at, turn = at + size, turn + 1
    return walker.finish()


def check_outline(found: Outline, elements: tuple[Element, ...], content: bytes) -> None:
    whole = {item.tag: item.value for item in elements if isinstance(item.value, bytes)}
    for tag in WANTED:
        value = whole.get(tag)
        if value is not None:
            assert found.values.get(tag) == (value if len(value) <= VALUE_MAX else None)
    tags = {item.tag for item in elements}
    assert set(found.values) <= tags & WANTED
    assert found.noted == tags & NOTED
    pixels = whole.get(PIXEL_DATA)
    assert found.pixel_length == (-1 if pixels is None else len(pixels))
    if found.pixel_offset >= 0 and pixels is not None:
        assert content[found.pixel_offset :][: found.pixel_length] == pixels


def check_pieces(elements: tuple[Element, ...], syntax: str, sizes: list[int]) -> None:
    content = encode(elements, syntax)
    found = walk(content, syntax, sizes)
    assert found == outline(memoryview(content), syntax, INFLATED_MAX)
    assert (found.pixel_offset >= 0) == (PIXEL_DATA in found.noted and syntax != DEFLATED)
    check_outline(found, elements, content)


def check_damage(
    elements: tuple[Element, ...],
    syntax: str,
    sizes: list[int],
    flips: list[tuple[int, int]],
    kept: float,
) -> None:
    content = bytearray(encode(elements, syntax))
    for place, value in flips:
        if content:
            content[place % len(content)] ^= value
    damaged = bytes(content[: round(len(content) * kept)])
    answers = []
    for pieces in (sizes, [max(len(damaged), 1)]):
        try:
            answers.append(walk(damaged, syntax, pieces))
        except (CannotUnderstandError, OutOfResourcesError) as error:
            answers.append(type(error))
    assert answers[0] == answers[1]
    if isinstance(answers[0], Outline):
        announced = Announcement("1.2", "1.2.3", syntax)
        try:
            examine(answers[0], announced)
        except IntakeError as error:
            assert error.dimse_status in {0xA900, 0xC000}


SIZES = st.lists(st.sampled_from((1, 2, 3, 5, 8, 11, 12, 13, 100, 5000)), min_size=1, max_size=4)
FLIPS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(1, 255)), max_size=6)
DAMAGE = (data_sets(), st.sampled_from(SYNTAXES), SIZES, FLIPS, st.floats(0, 1))
JUNK = (st.binary(max_size=400), st.sampled_from(SYNTAXES), SIZES)


def check_junk(content: bytes, syntax: str, sizes: list[int]) -> None:
    try:
        walk(content, syntax, sizes)
    except (CannotUnderstandError, OutOfResourcesError) as error:
        assert str(error).endswith(".")


@FEW
@given(data_sets(), st.sampled_from(SYNTAXES), SIZES)
def test_pieces_of_any_size_give_the_outline_of_the_whole(elements, syntax, sizes):
    check_pieces(elements, syntax, sizes)


@FEW
@given(*DAMAGE)
def test_damage_is_refused_or_walked_and_never_raises_anything_else(
    elements, syntax, sizes, flips, kept
):
    check_damage(elements, syntax, sizes, flips, kept)


@FEW
@given(*JUNK)
def test_junk_is_refused_or_walked_and_never_raises_anything_else(content, syntax, sizes):
    check_junk(content, syntax, sizes)


@pytest.mark.slow
@MANY
@given(data_sets(), st.sampled_from(SYNTAXES), SIZES)
def test_pieces_of_any_size_give_the_outline_of_the_whole_many_times(elements, syntax, sizes):
    check_pieces(elements, syntax, sizes)


@pytest.mark.slow
@MANY
@given(*DAMAGE)
def test_damage_is_refused_or_walked_many_times(elements, syntax, sizes, flips, kept):
    check_damage(elements, syntax, sizes, flips, kept)


@pytest.mark.slow
@MANY
@given(*JUNK)
def test_junk_is_refused_or_walked_many_times(content, syntax, sizes):
    check_junk(content, syntax, sizes)
