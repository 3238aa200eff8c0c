"""What happens to each attribute: a rule per tag, from the table, the options, the dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from secondread.deid.profile import table
from secondread.deid.profile.options import Dates, Profile


class Does(Enum):
    """What is done to a value; the value is the word for it in a manifest."""

    REMOVE = "removed"
    EMPTY = "emptied"
    DUMMY = "replaced"
    KEEP = "kept"
    CHECK = "kept after a check"
    """Only if every value is a number, a known code string or matches a known form."""
    WORDS = "cleaned"
    """Only the words that are on a list."""
    AGE = "kept, at most 90 years"
    SHIFT = "date moved"
    DATE = "date kept"
    UID = "UID replaced"
    PSEUDONYM = "pseudonym"
    RECURSE = "items cleaned"
    DOCUMENT = "document replaced"


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of one tag.

    Attributes:
        does: what is tried.
        otherwise: what is done when the value does not allow that: removed, emptied or replaced.
        vrs: the VRs that the dictionary gives, the usual one first.
        values_max: how many values there may be, 0 for no limit.
    """

    does: Does
    otherwise: Does
    vrs: tuple[bytes, ...]
    values_max: int = 0


PATIENT_NAME, PATIENT_ID = 0x00100010, 0x00100020
CONTENT_SEQUENCE, GRAPHIC_ANNOTATION_SEQUENCE = 0x0040A730, 0x00700001
ENCAPSULATED_DOCUMENT, ICC_PROFILE = 0x00420011, 0x00282000
_WRITTEN_ANEW = frozenset(
    # Patient Identity Removed, De-identification Method, its codes, Longitudinal Temporal
    # Information Modified, Encapsulated Document Length, Trailing Padding
    {0x00120062, 0x00120063, 0x00120064, 0x00280303, 0x00420015, 0xFFFCFFFC}
)
# They mean something only beside attributes that go: Patient's Alternative Calendar and the Role of
# a Responsible Person.
_LEFT_ALONE = frozenset({0x00100035, 0x00102298})
_GONE = Rule(Does.REMOVE, Does.REMOVE, (b"UN",))
_TIMES = frozenset({b"DA", b"TM", b"DT"})
_BULK = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"})
_TEXTS = frozenset({b"LO", b"SH", b"ST", b"LT", b"UT", b"UC"})
_CHECKED = frozenset(
    {b"US", b"SS", b"UL", b"SL", b"UV", b"SV", b"FL", b"FD", b"AT", b"DS", b"IS", b"CS"}
)
_BY_TYPE = {"1": Does.DUMMY, "2": Does.EMPTY, "": Does.REMOVE}


class RuleBook:
    """The rules of one profile, each worked out when it is first asked for.

    Args:
        profile: the options.
        without: tags whose rule is switched off, so that a test can see that it would be missed.
    """

    def __init__(self, profile: Profile, without: frozenset[int] = frozenset()) -> None:
        self._profile = profile
        self._without = without
        self._rules: tuple[dict[int, Rule], dict[int, Rule]] = ({}, {})

    def rule(self, tag: int, in_item: bool = False) -> Rule:
        """The rule of a tag at the root or in an item; private and unknown tags have one too."""
        rules = self._rules[in_item]
        found = rules.get(tag)
        if found is None:
            found = rules[tag] = self._make(tag, in_item)
        return found

    def usual_vr(self, tag: int) -> bytes:
        """The VR of a tag where the data set does not say."""
        found = table.known(tag)
        if tag & 0xFFFF == 0:
            return b"UL"
        if found is None:
            return b"UN"
        return b"OW" if b"OW" in found.vrs else found.vrs[0]

    def _make(self, tag: int, in_item: bool) -> Rule:
        group = tag >> 16
        known = table.known(tag)
        if known and tag in self._without:
            return Rule(Does.KEEP, Does.KEEP, known.vrs)
        if known is None or group % 2 or group < 8 or tag in _WRITTEN_ANEW | _LEFT_ALONE:
            return _GONE
        vr = known.vrs[0]
        if tag in (PATIENT_NAME, PATIENT_ID):
            return Rule(Does.PSEUDONYM, Does.DUMMY, known.vrs)
        if tag == ENCAPSULATED_DOCUMENT:
            return Rule(Does.DOCUMENT, Does.REMOVE, known.vrs)
        if tag == ICC_PROFILE:
            return Rule(Does.DUMMY, Does.REMOVE, known.vrs)
        row, kind = table.listed().get(tag), table.required(in_item).get(tag, "")
        if row is None:
            otherwise = _BY_TYPE[kind]
            return Rule(self._unlisted(tag, vr, otherwise), otherwise, known.vrs, known.values_max)
        otherwise = _basic(tag, vr, row.basic, kind)
        does = self._listed(vr, row.options, otherwise)
        if otherwise in (Does.RECURSE, Does.UID):
            otherwise = Does.REMOVE
        return Rule(does, otherwise, known.vrs, known.values_max)

    def _unlisted(self, tag: int, vr: bytes, otherwise: Does) -> Does:
        if vr == b"SQ":
            return Does.RECURSE
        if vr == b"UI":
            return Does.UID
        if vr in _CHECKED or tag in table.technical_texts() or tag in table.bulk_numbers():
            return Does.CHECK
        return self._time(otherwise) if vr in _TIMES else otherwise

    def _listed(self, vr: bytes, options: Mapping[str, str], basic: Does) -> Does:
        profile = self._profile
        if "full_dates" in options and vr in _TIMES:
            # A date that also names a device is a date first: kept dates are asked for by name.
            return self._time(basic)
        if profile.retain_patient and "patient" in options:
            return _kept_of_patient(vr)
        kept = (
            (profile.retain_uids, "uids"),
            (profile.retain_device, "device"),
            (profile.retain_institution, "institution"),
        )
        if any(wanted and options.get(name) == "K" for wanted, name in kept):
            return {b"SQ": Does.RECURSE, b"UI": Does.UID}.get(vr, Does.KEEP)
        cleaned = (
            (profile.clean_descriptors, "descriptors"),
            (profile.clean_structured, "structured"),
            (profile.clean_graphics, "graphics"),
            (profile.retain_device, "device"),
        )
        if any(wanted and options.get(name) == "C" for wanted, name in cleaned):
            if vr == b"SQ":
                return Does.RECURSE
            return Does.WORDS if vr in _TEXTS else basic
        return basic

    def _time(self, otherwise: Does) -> Does:
        return {Dates.FULL: Does.DATE, Dates.SHIFTED: Does.SHIFT}.get(
            self._profile.dates, otherwise
        )


def _kept_of_patient(vr: bytes) -> Does:
    if vr == b"AS":
        return Does.AGE
    return Does.WORDS if vr in _TEXTS else Does.CHECK


def _basic(tag: int, vr: bytes, action: str, kind: str) -> Does:
    """The basic profile's action; of alternatives the one that keeps any IOD valid.

    ``kind`` is the strictest type that an IOD gives the attribute, ``""`` where all leave it out.
    """
    if action.endswith("U*"):
        return Does.RECURSE
    if vr == b"UI" and ("U" in action or "D" in action):
        return Does.UID
    if action.startswith("X/") and not kind:
        return Does.REMOVE
    if "Z" in action and kind == "2":
        return Does.EMPTY
    if "D" in action:
        if vr != b"SQ":
            return Does.REMOVE if vr == b"UN" else Does.DUMMY
        # The other sequences hold only what has rules of its own.
        return (
            Does.DUMMY if tag in (CONTENT_SEQUENCE, GRAPHIC_ANNOTATION_SEQUENCE) else Does.RECURSE
        )
    if "Z" in action:
        return Does.EMPTY
    return Does.REMOVE
