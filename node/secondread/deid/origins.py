"""What an export will call everything: the pairs for the crosswalk, worked out before it is made.

It asks the same functions that the export asks, so that the two cannot differ; whoever publishes an
export compares the names of its files with those that are foretold here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from secondread.deid.profile.dataset import SOP_INSTANCE_UID, Cleaner
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.options import Profile
from secondread.deid.profile.people import person_of
from secondread.deid.profile.rules import PATIENT_ID, PATIENT_NAME, RuleBook
from secondread.deid.profile.source import read_source
from secondread.domain.crosswalk import Pair, PairKind

_CHARACTER_SET = 0x00080005
_ISSUER, _BIRTH_DATE = 0x00100021, 0x00100030
_STUDY_UID, _SERIES_UID = 0x0020000D, 0x0020000E
_WANTED = frozenset(
    {_CHARACTER_SET, PATIENT_NAME, PATIENT_ID, _ISSUER, _BIRTH_DATE}
    | {_STUDY_UID, _SERIES_UID, SOP_INSTANCE_UID}
)


@dataclass(frozen=True, slots=True)
class Origins:
    """What stands for what in one export.

    Attributes:
        pairs: each original once.
        files: where each object will be, relative to the folder of the export.
        patients: how many people there are.
    """

    pairs: tuple[Pair, ...]
    files: frozenset[str]
    patients: int


def origins_of(
    sources: Sequence[Path],
    profile: Profile,
    key: ProjectKey,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Origins:
    """Read who and what each object is, and work out its pseudonyms.

    Raises:
        CannotUnderstandError: a file is not a sound DICOM object.
        ExportRefusedError: a file is in a transfer syntax that is not exported.
    """
    book = RuleBook(profile)
    cleaners: dict[bytes, Cleaner] = {}
    pairs: dict[tuple[PairKind, str], Pair] = {}
    files = set()
    for done, path in enumerate(sources, start=1):
        source = read_source(path, book.usual_vr)
        values = {
            element.tag: source.value(element)
            for element in source.elements
            if element.tag in _WANTED and not element.is_open
        }
        person = person_of(source, values)
        cleaner = cleaners.get(person.identity)
        if cleaner is None:
            cleaner = cleaners[person.identity] = Cleaner(profile, book, key, person)
            pair = _patient(person.identity, cleaner.pseudonym, values)
            pairs[pair.kind, pair.original] = pair
        uids = list(_uids(cleaner, values))
        pairs.update({(pair.kind, pair.original): pair for pair in uids if pair.original})
        study, series, instance = (pair.pseudonym for pair in uids)
        files.add(f"{cleaner.pseudonym}/{study or 'study'}/{series or 'series'}/{instance}.dcm")
        progress(done, len(sources))
    return Origins(tuple(pairs.values()), frozenset(files), len(cleaners))


def _uids(cleaner: Cleaner, values: Mapping[int, bytes]) -> Iterator[Pair]:
    """Study, series and instance, in this order."""
    more: dict[str, str] = {}
    for kind, tag in (
        (PairKind.STUDY, _STUDY_UID),
        (PairKind.SERIES, _SERIES_UID),
        (PairKind.INSTANCE, SOP_INSTANCE_UID),
    ):
        value = values.get(tag, b"")
        original = value.strip(b" \0").decode("latin-1")
        yield Pair(kind, original, cleaner.uid(value).decode("latin-1"), dict(more))
        more[kind.value] = original


def _patient(identity: bytes, pseudonym: str, values: Mapping[int, bytes]) -> Pair:
    """The pair of a person, with the words in which a hospital would ask for them."""

    def text(tag: int) -> str:
        return _decoded(values.get(tag, b""), values.get(_CHARACTER_SET, b""), tag)

    if values.get(PATIENT_ID, b"").strip(b" \0"):
        more = {"patient_id": text(PATIENT_ID), "issuer": text(_ISSUER)}
    elif values.get(PATIENT_NAME, b"").strip(b" \0"):
        more = {"patient_name": text(PATIENT_NAME), "birth_date": text(_BIRTH_DATE)}
    else:
        more = {"study": values.get(_STUDY_UID, b"").strip(b" \0").decode("latin-1")}
    return Pair(PairKind.PATIENT, identity.hex(), pseudonym, more)


def _decoded(value: bytes, character_set: bytes, tag: int) -> str:
    """A text as people write it; what its character set does not allow is marked, not lost.

    The exact bytes are in the pair's original.
    """
    import warnings

    from pydicom import charset, valuerep

    names = [name.strip() for name in character_set.decode("latin-1").strip(" \0").split("\\")]
    delimiters = valuerep.PN_DELIMS if tag == PATIENT_NAME else valuerep.TEXT_VR_DELIMS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            codecs = charset.convert_encodings(names)
            text = charset.decode_bytes(value.strip(b" \0"), codecs, set(delimiters))
        except (LookupError, ValueError):
            text = value.strip(b" \0").decode("latin-1")
    return text.replace("\0", "")
