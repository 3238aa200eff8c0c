"""Objects of a study go in, de-identified files and the record of what was done come out.

The folder appears whole or not at all: objects are written beside it and it gets its name when the
last one is there. A refusal leaves nothing.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from secondread.deid.profile import burned_text, pixels
from secondread.deid.profile.dataset import PIXEL_TAGS, SOP_INSTANCE_UID, Cleaner
from secondread.deid.profile.elements import (
    PIXEL_DATA,
    UNDEFINED,
    encode,
    header,
)
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.manifest import Manifest
from secondread.deid.profile.number_tables import lost_table
from secondread.deid.profile.options import Profile
from secondread.deid.profile.people import person_of
from secondread.deid.profile.risks import Overrides, Risk, risks_of
from secondread.deid.profile.rules import ENCAPSULATED_DOCUMENT, RuleBook
from secondread.deid.profile.source import EXPLICIT_LITTLE, Source, parse, read_source
from secondread.deid.profile.streams import clean_fragments
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.dicom.walk import IMPLICIT_LITTLE
from secondread.errors import CannotUnderstandError, ExportRefusedError, PixelDataError

_SOP_CLASS_UID, _STUDY_UID, _SERIES_UID = 0x00080016, 0x0020000D, 0x0020000E
_BURNED_IN = 0x00280301
_FLOATS = {0x7FE00008: b"OF", 0x7FE00009: b"OD"}
_NATIVE = frozenset({EXPLICIT_LITTLE, IMPLICIT_LITTLE})
_FOUND_BYTES_MAX = 1 << 14
_REASONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Export:
    """What is asked for.

    Attributes:
        sources: the files of a study's objects, or of several studies.
        folder: where the files go; it may not be there yet.
        progress: called after each object with how many are done and how many there are.
        without: tags whose rule is switched off; only a test that must see a leak has any.
    """

    sources: Sequence[Path]
    folder: Path
    profile: Profile
    key: ProjectKey
    overrides: Overrides = field(default_factory=Overrides)
    progress: Callable[[int, int], None] = lambda done, total: None
    without: frozenset[int] = frozenset()
    regions: tuple[pixels.Region, ...] = field(default_factory=pixels.regions)


def export(wanted: Export) -> Manifest:
    """Write the objects, de-identified, and the manifest into the folder.

    Raises:
        ExportRefusedError: an object may show who it is, and nobody took that on themselves; all
            such objects are looked at first, and the message counts them by reason.
        CannotUnderstandError: a file is not a sound DICOM object.
        PixelDataError: an object's pixels are damaged.
        FileExistsError: the folder is there already.
        UsageError: text is to be looked for, and the program that does it is not installed.
    """
    if wanted.profile.find_text:
        burned_text.require_program()
    if wanted.folder.exists():
        raise FileExistsError(f"The folder {wanted.folder} is there already; name a new one.")
    staging = wanted.folder.with_name(f".{wanted.folder.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700, parents=True)
    try:
        manifest = _Exporter(wanted, staging).run()
        manifest.write(staging)
        staging.rename(wanted.folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


class _Exporter:
    """One export: a cleaner per person, and the reasons against going on."""

    def __init__(self, wanted: Export, staging: Path) -> None:
        self._wanted, self._staging = wanted, staging
        self._book = RuleBook(wanted.profile, wanted.without)
        self._cleaners: dict[bytes, Cleaner] = {}
        self._folders: set[Path] = set()
        self._against: Counter[str] = Counter()
        self._manifest = Manifest(wanted.key.name, wanted.profile)

    def run(self) -> Manifest:
        total = len(self._wanted.sources)
        for done, path in enumerate(self._wanted.sources, start=1):
            self._one(path)
            self._wanted.progress(done, total)
        if self._against:
            raise ExportRefusedError(_refusal(self._against, total))
        for cleaner in self._cleaners.values():
            self._manifest.notes += cleaner.notes
        return self._manifest

    def _one(self, path: Path) -> None:
        source = read_source(path, self._book.usual_vr)
        root = _root(source)
        region = None
        if self._wanted.profile.clean_pixels:
            region = pixels.region_for(root, self._wanted.regions)
        risks = tuple(risks_of(root, region is not None))
        if not self._may_go(risks):
            return
        boxes = region.boxes if region else ()
        is_doubtful = bool(boxes) or any(risk.kind == "burned_in" for risk in risks)
        searches = self._wanted.profile.find_text and is_doubtful
        if (boxes or searches) and source.transfer_syntax not in _NATIVE:
            source = _decompressed(path, self._book.usual_vr)
            root = _root(source)
        if searches:
            boxes = (*boxes, *self._search(source, root, boxes))
        person = person_of(source, root)
        cleaner = self._cleaners.get(person.identity)
        if cleaner is None:
            cleaner = Cleaner(self._wanted.profile, self._book, self._wanted.key, person)
            self._cleaners[person.identity] = cleaner
        cleaner.add_names(person.names)
        cleaned = cleaner.clean(source, root)
        if lost := lost_table(root, cleaned):
            self._against[lost] += 1
            return
        # What a program has found is no proof that there was nothing else.
        if region or (ENCAPSULATED_DOCUMENT in cleaned and _BURNED_IN in root):
            cleaned[_BURNED_IN] = encode(_BURNED_IN, b"CS", b"NO")
        content = [cleaned[tag] for tag in sorted(cleaned)]
        content += _pixels(source, root, boxes)
        self._write(cleaner, root, source.transfer_syntax, content)
        self._manifest.objects += 1
        self._manifest.blanked += region is not None

    def _search(
        self, source: Source, root: Mapping[int, bytes], known: Sequence[pixels.Box]
    ) -> tuple[pixels.Box, ...]:
        """Where there is text besides that of the known boxes."""
        element = next((each for each in source.elements if each.tag == PIXEL_DATA), None)
        if element is None:
            return ()
        shape = pixels.shape_of(root)
        value = pixels.blank(source.value(element), shape, known)
        found = burned_text.find_text(value, shape)
        self._manifest.searched += 1
        self._manifest.found += len(found)
        return found

    def _may_go(self, risks: Sequence[Risk]) -> bool:
        """Whether nothing is against the object, or all that is was taken on by somebody."""
        may_go = True
        for risk in risks:
            reason = getattr(self._wanted.overrides, risk.kind, "")
            if reason:
                entry = self._manifest.overrides.setdefault(
                    risk.kind, {"reason": reason, "objects": 0}
                )
                entry["objects"] = int(entry["objects"]) + 1
            else:
                self._against[risk.sentence] += 1
                may_go = False
        return may_go

    def _write(
        self,
        cleaner: Cleaner,
        root: Mapping[int, bytes],
        transfer_syntax: str,
        content: list[bytes],
    ) -> None:
        study, series, instance = (
            cleaner.uid(root.get(tag, b"")).decode("ascii")
            for tag in (_STUDY_UID, _SERIES_UID, SOP_INSTANCE_UID)
        )
        if not instance:
            raise CannotUnderstandError("An object has no SOP Instance UID.")
        folder = self._staging / cleaner.pseudonym / (study or "study") / (series or "series")
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        if transfer_syntax == IMPLICIT_LITTLE:
            transfer_syntax = EXPLICIT_LITTLE
        sop_class = root.get(_SOP_CLASS_UID, b"").strip(b" \0")
        start = _file_start(sop_class, instance.encode("ascii"), transfer_syntax.encode("ascii"))
        _write_all(folder / f"{instance}.dcm", [start, *content])


def _root(source: Source) -> dict[int, bytes]:
    """The short values of a data set by tag; of others only that they are there."""
    buffer = source.buffer
    return {
        tag: buffer[start:end] if end - start < _FOUND_BYTES_MAX and not is_open else b""
        for tag, _, start, end, is_open, _ in source.elements
    }


def _refusal(against: Counter[str], total: int) -> str:
    reasons = "; ".join(
        f"{count} because {sentence}" for sentence, count in against.most_common(_REASONS_SHOWN)
    )
    return (
        f"The export of {total} objects is refused, and nothing was written: {reasons}. Remove the "
        "text or the face from them, leave these objects out, or say on the record why they may "
        "go out."
    )


def _pixels(source: Source, root: Mapping[int, bytes], boxes: Sequence[pixels.Box]) -> list[bytes]:
    """The pixel data, encoded, with nothing beside the pixels; the last tag that is written."""
    element = next((each for each in source.elements if each.tag in PIXEL_TAGS), None)
    if element is None:
        return []
    tag = element.tag
    shape = pixels.shape_of(root)
    if source.transfer_syntax not in _NATIVE:
        fragments = source.scanner.fragments(element)
        cleaned = clean_fragments(fragments, source.transfer_syntax, shape.frames)
        parts = [header(tag, b"OB", UNDEFINED)]
        for fragment in cleaned:
            parts += [struct.pack("<HHI", 0xFFFE, 0xE000, len(fragment)), fragment]
        return [*parts, struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)]
    value = pixels.native(source.value(element), shape)
    if pixels.has_overlay_bits(tuple(root), root):
        value = pixels.without_overlay_bits(value, shape)
    if boxes:
        value = pixels.blank(value, shape, boxes)
    # PS3.5 8.1.2 and A.2: native pixels of more than eight bits are OW.
    vr = _FLOATS.get(tag) or (element.vr if element.vr in (b"OB", b"OW") else b"OW")
    if source.transfer_syntax == IMPLICIT_LITTLE and tag == PIXEL_DATA:
        vr = b"OB" if shape.bits <= 8 and shape.samples > 1 else b"OW"
    return [header(tag, vr, len(value)), value]


def _decompressed(path: Path, usual_vr: Callable[[int], bytes]) -> Source:
    """The object with native pixels, for a box can only be blanked in these."""
    import pydicom

    content = BytesIO()
    try:
        decoded = pydicom.dcmread(path)
        decoded.decompress(as_rgb=False, generate_instance_uid=False)
        decoded.save_as(content)
    except (RuntimeError, ValueError, AttributeError, TypeError, NotImplementedError):
        raise PixelDataError(
            "The text in an object's pixels cannot be blanked, for they cannot be decoded."
        ) from None
    return parse(content.getvalue(), usual_vr)


def _file_start(sop_class: bytes, instance: bytes, transfer_syntax: bytes) -> bytes:
    """An empty preamble and new file meta information (PS3.10 7.1): nothing of the old ones."""
    meta = (
        encode(0x00020001, b"OB", b"\0\1")
        + encode(0x00020002, b"UI", sop_class)
        + encode(0x00020003, b"UI", instance)
        + encode(0x00020010, b"UI", transfer_syntax)
        + encode(0x00020012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii"))
        + encode(0x00020013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii"))
    )
    length = encode(0x00020000, b"UL", len(meta).to_bytes(4, "little"))
    return bytes(128) + b"DICM" + length + meta


def _write_all(path: Path, parts: list[bytes]) -> None:
    """Write the parts one after the other into a file that was not there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ExportRefusedError(
            "Two of the objects have the same SOP Instance UID; leave one of them out."
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"".join(parts[:-1]))
        file.write(parts[-1])
