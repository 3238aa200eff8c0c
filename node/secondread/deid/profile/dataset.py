"""The walk through a data set: each element by its rule, sequences to any depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pydicom._uid_dict import UID_dictionary

from secondread.deid.profile import codes, dates, table, text, values
from secondread.deid.profile.documents import document_for
from secondread.deid.profile.elements import (
    DEPTH_MAX,
    PIXEL_DATA,
    Element,
    encode,
    encode_sequence,
    too_deep,
)
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.number_tables import BESIDE, LUT_DATA, is_number_table
from secondread.deid.profile.options import Profile
from secondread.deid.profile.people import Person
from secondread.deid.profile.risks import NEWER_CLASSES
from secondread.deid.profile.rules import (
    CONTENT_SEQUENCE,
    GRAPHIC_ANNOTATION_SEQUENCE,
    ICC_PROFILE,
    Does,
    Rule,
    RuleBook,
)
from secondread.deid.profile.source import Source
from secondread.errors import CannotUnderstandError

SOP_INSTANCE_UID = 0x00080018
PIXEL_TAGS = frozenset({PIXEL_DATA, 0x7FE00008, 0x7FE00009})
_PIXEL_REPRESENTATION = 0x00280103
_DOCUMENT, _DOCUMENT_LENGTH = 0x00420011, 0x00420015
_METHOD = "PS3.15 E.1, Table E.1-1 2024e, others by allow-list"
_MEMO_VALUE_BYTES, _MEMO_COUNT = 1 << 14, 1 << 15
_TEXT_LIMITS = {b"SH": 16, b"LO": 64}

Path = tuple[int, ...]


class Note(NamedTuple):
    """What was done to the attribute at a path of tags."""

    path: Path
    does: Does


@dataclass(slots=True)
class _Done:
    """What became of an element, and the notes on it and what is in it."""

    encoded: bytes
    notes: list[Note] = field(default_factory=list)


class Cleaner:
    """Applies a profile to the objects of one person.

    What most slices of a series have in common is worked out once: a small element that came before
    with the same value becomes what it became then.
    """

    def __init__(self, profile: Profile, book: RuleBook, key: ProjectKey, person: Person) -> None:
        self.pseudonym = key.pseudonym(person.identity)
        self.notes: Counter[Note] = Counter()
        self._profile, self._book, self._key = profile, book, key
        self._shift_days = key.shift_days(person.identity)
        self._names = person.names
        self._memo: dict[tuple[int, bytes, bool, bytes], _Done] = {}
        self._uids: dict[bytes, bytes] = {}

    def add_names(self, names: frozenset[str]) -> None:
        """More words that may not stay in a description."""
        if not names <= self._names:
            self._names |= names
            self._memo.clear()

    def clean(self, source: Source, root: Mapping[int, bytes]) -> dict[int, bytes]:
        """The elements that stay or take the place of others, encoded, by tag; no pixel data."""
        if len(self._memo) > _MEMO_COUNT:
            self._memo.clear()
        cleaned: dict[int, bytes] = {}
        memo, notes, buffer = self._memo, self.notes, source.buffer
        walk = _Walk(self, source, root)
        bulk_numbers = table.bulk_numbers()
        for element in source.elements:
            tag, vr, start, end, is_open, is_implicit = element
            if tag in PIXEL_TAGS:
                continue
            if is_open or end - start > _MEMO_VALUE_BYTES or tag in bulk_numbers:
                done = walk.element(element, (), source.elements)
            else:
                key = (tag, vr, is_implicit, buffer[start:end])
                found = memo.get(key)
                if found is None:
                    found = memo[key] = walk.element(element, (), source.elements)
                done = found
            if done.encoded and tag not in cleaned:
                cleaned[tag] = done.encoded
            for note in done.notes:
                notes[note] += 1
        cleaned.update(walk.safe_private(source.elements, ()))
        cleaned.update(self._statement())
        if _DOCUMENT in cleaned:
            length = len(document_for(root)).to_bytes(4, "little")
            cleaned[_DOCUMENT_LENGTH] = encode(_DOCUMENT_LENGTH, b"UL", length)
        return cleaned

    def uid(self, value: bytes) -> bytes:
        """A value of VR UI with every UID that the standard did not register replaced."""
        found = self._uids.get(value)
        if found is None:
            found = b"\\".join(self._one_uid(part) for part in value.split(b"\\"))
            if len(self._uids) > _MEMO_COUNT:
                self._uids.clear()
            self._uids[value] = found
        return found

    def _one_uid(self, part: bytes) -> bytes:
        original = part.strip(b" \0").decode("latin-1")
        if not original or original in UID_dictionary or original in NEWER_CLASSES:
            return original.encode("ascii")
        if self._profile.retain_uids and _is_uid(original):
            return original.encode("ascii")
        return self._key.uid(original).encode("ascii")

    def _statement(self) -> Iterator[tuple[int, bytes]]:
        """What PS3.15 E.1.1 asks an object to say of itself."""
        yield 0x00120062, encode(0x00120062, b"CS", b"YES")
        yield 0x00120063, encode(0x00120063, b"LO", _METHOD.encode("ascii"))
        applied = [codes.encode_code(value, "DCM", name) for value, name in self._profile.codes()]
        yield 0x00120064, encode_sequence(0x00120064, applied)
        yield 0x00280303, encode(0x00280303, b"CS", self._profile.dates.value.encode("ascii"))

    def value(self, rule: Rule, does: Does, vr: bytes, tag: int, value: bytes) -> bytes | None:
        """What a value becomes, or None if that cannot be done with it."""
        if does is Does.CHECK:
            if values.is_harmless(tag, vr, value, rule.values_max):
                return value.rstrip(b"\0") if vr in (b"CS", b"DS", b"IS") else value
            return values.known_terms(vr, value)
        if does is Does.UID:
            return self.uid(value)
        if does in (Does.SHIFT, Does.DATE):
            return self._date(does, vr, value)
        if does is Does.PSEUDONYM:
            return self.pseudonym.encode("ascii")
        if does is Does.WORDS:
            kept = text.clean(value, self._names)
            return kept[: _TEXT_LIMITS.get(vr, len(kept))].strip() or None
        if does is Does.AGE:
            return values.limit_age(value)
        if does is Does.DUMMY:
            return values.srgb_profile() if tag == ICC_PROFILE else values.dummy(vr)
        return value if does is Does.KEEP else b""

    def _date(self, does: Does, vr: bytes, value: bytes) -> bytes | None:
        if does is Does.DATE:
            return value if dates.is_sound(vr, value) else None
        moved = [
            dates.shift(vr, part, self._shift_days, self._profile.times)
            for part in value.split(b"\\")
        ]
        return None if None in moved else b"\\".join(part for part in moved if part)

    def keeps_safe_private(self) -> bool:
        """Whether the option is taken."""
        return self._profile.retain_safe_private

    def rule(self, tag: int, in_item: bool) -> Rule:
        """The rule of a tag."""
        return self._book.rule(tag, in_item)


class _Walk:
    """The walk through one object."""

    def __init__(self, cleaner: Cleaner, source: Source, root: Mapping[int, bytes]) -> None:
        self._cleaner, self._source = cleaner, source
        self._is_signed = root.get(_PIXEL_REPRESENTATION, b"\0")[:1] == b"\1"
        self._document = document_for(root)

    def element(self, element: Element, path: Path, content: Sequence[Element]) -> _Done:
        """What becomes of an element; ``content`` is what it is in, a data set or an item."""
        tag = element.tag
        rule = self._cleaner.rule(tag, bool(path))
        at = (*path, tag)
        if rule.does is Does.REMOVE:
            return _Done(b"", [Note(at, Does.REMOVE)])
        vr = self._vr(element, rule)
        if vr == b"SQ":
            return self._sequence(element, rule, at)
        if element.is_open:
            return _Done(b"", [Note(at, Does.REMOVE)])
        value = self._source.value(element)
        if rule.does is Does.DOCUMENT:
            return _Done(encode(tag, vr, self._document), [Note(at, rule.does)])
        if not value and rule.does is not Does.PSEUDONYM:
            return _Done(encode(tag, vr, b""), [Note(at, Does.EMPTY)])
        if rule.does is Does.CHECK and tag in table.bulk_numbers():
            if not is_number_table(tag, value, self._beside(content)):
                return _Done(b"", [Note(at, Does.REMOVE)])
            return _Done(encode(tag, vr, value), [Note(at, Does.CHECK)])
        for does in (rule.does, rule.otherwise):
            if does is Does.REMOVE:
                break
            became = self._cleaner.value(rule, does, vr, tag, value)
            if became is not None:
                return _Done(encode(tag, vr, became), [Note(at, does)])
        return _Done(b"", [Note(at, Does.REMOVE)])

    def _beside(self, content: Sequence[Element]) -> Mapping[int, bytes]:
        found: dict[int, bytes] = {}
        for element in content:
            if element.tag in BESIDE and not element.is_open:
                found.setdefault(element.tag, self._source.value(element))
        return found

    def _vr(self, element: Element, rule: Rule) -> bytes:
        """The VR that is written: the element's own if the dictionary allows it."""
        if element.vr in rule.vrs and not element.is_implicit:
            return element.vr
        if rule.vrs[:2] == (b"US", b"SS") and self._is_signed:
            return b"SS"
        return b"OW" if b"OW" in rule.vrs else rule.vrs[0]

    def _sequence(self, element: Element, rule: Rule, at: Path) -> _Done:
        tag = element.tag
        if rule.does is Does.EMPTY or element.start == element.end:
            return _Done(encode_sequence(tag, []), [Note(at, Does.EMPTY)])
        if rule.does is Does.DUMMY and tag == CONTENT_SEQUENCE:
            return _Done(values.removed_content(tag), [Note(at, Does.DUMMY)])
        if rule.does is Does.DUMMY and tag == GRAPHIC_ANNOTATION_SEQUENCE:
            return _Done(values.removed_annotation(tag), [Note(at, Does.DUMMY)])
        if rule.does is not Does.RECURSE:
            return _Done(b"", [Note(at, Does.REMOVE)])
        if len(at) > DEPTH_MAX:
            raise too_deep()
        try:
            items = self._source.scanner.items(element, len(at))
        except CannotUnderstandError:
            # UN that does not hold what its tag says.
            return _Done(b"", [Note(at, Does.REMOVE)])
        notes = [Note(at, Does.RECURSE)]
        encoded = [self._item(content, at, notes) for _, _, content in items]
        kept = [item for item in encoded if item is not None]
        if encoded and not kept:
            return _Done(b"", [*notes[1:], Note(at, Does.REMOVE)])
        return _Done(encode_sequence(tag, kept), notes)

    def _item(self, content: list[Element], path: Path, notes: list[Note]) -> bytes | None:
        """An item, encoded; None where it was about a look-up table that had to go."""
        cleaned: dict[int, bytes] = {}
        is_code = any(element.tag in codes.MARKS for element in content)
        if is_code:
            parts = {
                each.tag: self._source.value(each) for each in content if each.tag in codes.MACRO
            }
            cleaned[codes.CODE_VALUE], was_known = codes.clean_code(parts)
            does = Does.CHECK if was_known else Does.DUMMY
            notes.append(Note((*path, codes.CODE_VALUE), does))
        for element in content:
            if (is_code and element.tag in codes.MACRO) or element.tag in cleaned:
                continue
            done = self.element(element, path, content)
            notes += done.notes
            if done.encoded:
                cleaned[element.tag] = done.encoded
        if LUT_DATA not in cleaned and any(element.tag == LUT_DATA for element in content):
            return None
        cleaned.update(self.safe_private(content, path))
        return b"".join(cleaned[tag] for tag in sorted(cleaned))

    def safe_private(self, content: Iterable[Element], path: Path) -> Iterator[tuple[int, bytes]]:
        """The private elements that the option keeps, and the creators of their blocks."""
        if not self._cleaner.keeps_safe_private():
            return
        creators: dict[int, table.SafePrivate] = {}
        for element in content:
            group, number = element.tag >> 16, element.tag & 0xFFFF
            if not group % 2 or element.is_open:
                continue
            value = self._source.value(element)
            if 0x10 <= number <= 0xFF:
                creator = value.strip(b" \0").decode("latin-1")
                for block in table.safe_private():
                    if block.group == group and block.creator == creator:
                        creators[group << 8 | number] = block
                continue
            safe = creators.get(group << 8 | number >> 8)
            vr = safe and safe.elements.get(number & 0xFF)
            if safe and vr and values.is_harmless(element.tag, vr, value, 0):
                place = group << 16 | number >> 8
                yield place, encode(place, b"LO", safe.creator.encode("ascii"))
                yield element.tag, encode(element.tag, vr, value)
                self._cleaner.notes[Note((*path, element.tag), Does.CHECK)] += 1


def _is_uid(text_: str) -> bool:
    return len(text_) <= 64 and all(part.isascii() and part.isdigit() for part in text_.split("."))
