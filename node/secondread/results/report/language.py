"""The language of a report, and what its character set can hold.

A result carries its source's Specific Character Set, because the patient's name is in it. Chinese
can be written where that set has Chinese signs, and where every copied text is plain ASCII: then
UTF-8 can be declared instead without changing a byte. Otherwise the report is in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secondread.bundles.manifest import Label
from secondread.domain.code import Code
from secondread.domain.form import Language
from secondread.results.context import ResultContext
from secondread.results.identity import UNICODE, is_plain, list_character_sets
from secondread.results.report import chinese
from secondread.results.wording import plain

ENGLISH_SENTENCES = {
    "nothing_found": "Analysed: none of the structures that the model knows was found.",
    "not_analysed": "Not analysed, because: {reason}",
    "not_found": "Not found: {names}.",
    "model": "Model: {title}, version {version} ({id}).",
    "replaces": (
        "This is version {version} of the analysis; it replaces the report that is named as its "
        "predecessor."
    ),
    "replaces_other_model": (
        "The report that is replaced was made by version {before} of the model, this one by "
        "version {now}."
    ),
    "research": "Research use only. Not for diagnosis.",
    "compared": (
        "Compared with the report on the study of {date}, made by version {version} of the model."
    ),
    "compared_other_model": (
        "Compared with the report on the study of {date}, made by version {version} of the model; "
        "a change may come from the other version."
    ),
    "changed": "{name}: {before} mL then, {after} mL now ({change}).",
    "why_partial": "Not analysed; the reason is a comment in the report.",
    "date": "{year}-{month:02d}-{day:02d}",
    "date_unknown": "an unknown date",
    "separator": ", ",
}
_SENTENCES = {Language.ENGLISH: ENGLISH_SENTENCES, Language.CHINESE: chinese.SENTENCES}
_MEANINGS: Mapping[Language, Mapping[tuple[str, str], str]] = {
    Language.ENGLISH: {},
    Language.CHINESE: chinese.MEANINGS,
}
_NAMES = {Language.ENGLISH: "English", Language.CHINESE: "Chinese"}
_WITH_CHINESE = frozenset({(UNICODE,), ("GB18030",), ("GBK",)})
"""ISO 2022 IR 58 is not among them: each value would begin with an escape sequence, which readers
show as if it were text, pydicom among them."""
_SIDE_SIGNS = {Language.CHINESE: {"left": "左", "right": "右"}}
_DATE_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Tongue:
    """A language, and the character set that it is written in.

    Attributes:
        character_sets: values of Specific Character Set; empty for the default repertoire.
        own_meanings: what a model's own codes are called, by scheme and value.
    """

    language: Language = Language.ENGLISH
    character_sets: tuple[str, ...] = ()
    own_meanings: Mapping[tuple[str, str], str] | None = None

    @property
    def code(self) -> Code:
        """The language as a value of TID 1204 (PS3.16 CID 5000)."""
        return Code(str(self.language), "RFC5646", _NAMES[self.language])

    def translate(self, code: Code) -> str:
        """The meaning of a code in this language, else as the code has it."""
        key = (code.scheme, code.value)
        known = _MEANINGS[self.language].get(key) or (self.own_meanings or {}).get(key)
        return known if known is not None and self._holds(known) else code.meaning

    def name(self, label: Label) -> str:
        """What a structure is called, with its side."""
        known = label.meanings.get(str(self.language), "")
        return known if known and self._holds(known) else label.meaning

    def say(self, sentence: str, **values: object) -> str:
        """One of the sentences above, by its name, with what belongs into it."""
        return _SENTENCES[self.language][sentence].format(**values)

    def write_date(self, date: str) -> str:
        """``YYYYMMDD`` for people."""
        if len(date) != _DATE_LENGTH or not date.isdigit():
            return self.say("date_unknown")
        return self.say("date", year=date[:4], month=int(date[4:6]), day=int(date[6:]))

    def fit(self, text: str, length: int = 0) -> str:
        """``text`` as far as the character set holds it, on one line; ``length`` cuts."""
        if text.isascii() or not self._holds(text):
            return plain(text, length)
        flat = " ".join(text.split()).replace("\\", "/")
        return flat[:length] if length else flat

    def encode(self, text: str) -> bytes:
        """A text that ``fit`` gave, in the bytes of the character set."""
        if text.isascii():
            return text.encode("ascii")
        if self.character_sets[0] == UNICODE:
            return text.encode("utf-8")
        # In GBK and GB 18030 the signs of GB 2312 have the same bytes.
        return text.encode("gb2312")

    def _holds(self, text: str) -> bool:
        """Whether every sign can be written, and read back from any of the values' places."""
        if text.isascii():
            return True
        if not self.character_sets:
            return False
        if self.character_sets[0] == UNICODE:
            return all(sign.isprintable() or sign.isspace() for sign in text)
        # Of the larger sets the part that has no byte that is a backslash (PS3.5 6.1.2.3).
        try:
            text.encode("gb2312")
        except UnicodeEncodeError:
            return False
        return True


def choose_tongue(context: ResultContext) -> Tongue:
    """The language that the form asks for, where it can be written, else English."""
    if context.form.language is Language.ENGLISH:
        return Tongue()
    declared = list_character_sets(context.reference)
    if declared not in _WITH_CHINESE:
        if not is_plain(context.reference):
            return Tongue()
        declared = (UNICODE,)
    return Tongue(context.form.language, declared, _list_meanings(context))


def _list_meanings(context: ResultContext) -> dict[tuple[str, str], str]:
    """What the manifest's own codes are called: those of its labels without their side."""
    language = context.form.language
    found: dict[tuple[str, str], str] = {}
    signs = _SIDE_SIGNS.get(language, {})
    for label in context.manifest.labels:
        if meaning := label.meanings.get(str(language)):
            side = signs.get(label.laterality, "")
            key = (label.type.scheme, label.type.value)
            found.setdefault(key, meaning.removeprefix(side + "侧").removeprefix(side))
    output = context.manifest.output
    declared = [(one.name, one.meanings) for one in output.numbers]
    declared += [(one.name, one.meanings) for one in output.findings]
    declared += [(one.name, one.meanings) for one in output.places]
    for name, meanings in declared:
        if meaning := meanings.get(str(language)):
            found[name.scheme, name.value] = meaning
    return found
