"""The presentation contexts of the node, as data.

Intake offers them, the sender picks from them, and the conformance statement prints them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary

_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
# Baggage scanners (DICOS) and eddy current tests of machine parts are not a hospital's objects;
# a trial class was never part of the standard.
_NOT_MEDICAL = (f"{_STORAGE_ROOT}501.", f"{_STORAGE_ROOT}601.")
# These belong to no patient and no study (PS3.4 GG), so there is nothing to keep them with.
_NON_PATIENT = tuple(f"{_STORAGE_ROOT}{end}" for end in ("200.1", "200.3", "200.7", "201.1"))
# PS3.6 table A-1, newer than pydicom's dictionary.
_NEWER_STORAGE = (
    (f"{_STORAGE_ROOT}9.100.1", "Waveform Presentation State Storage"),
    (f"{_STORAGE_ROOT}9.100.2", "Waveform Acquisition Presentation State Storage"),
    (f"{_STORAGE_ROOT}66.7", "Label Map Segmentation Storage"),
    (f"{_STORAGE_ROOT}66.8", "Height Map Segmentation Storage"),
)
# Two storage classes of radiotherapy have their numbers elsewhere (PS3.4 table B.5-1).
_ELSEWHERE = ("1.2.840.10008.5.1.4.34.7", "1.2.840.10008.5.1.4.34.10")
_NEWER_SYNTAXES = (
    ("1.2.840.10008.1.2.4.110", "JPEG XL Lossless"),
    ("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression"),
    ("1.2.840.10008.1.2.4.112", "JPEG XL"),
    ("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression"),
)
_COMPRESSED_ROOTS = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")
# JPIP leaves the pixels on a server (PS3.5 A.6 to A.7), so the object would not be whole here.
_JPIP = (
    "1.2.840.10008.1.2.4.94",
    "1.2.840.10008.1.2.4.95",
    "1.2.840.10008.1.2.4.204",
    "1.2.840.10008.1.2.4.205",
)


@dataclass(frozen=True, slots=True)
class NamedUid:
    """A UID of the standard and its name (PS3.6 table A-1)."""

    uid: str
    name: str


def _named(uid: str) -> NamedUid:
    return NamedUid(uid, UID_dictionary[uid][0])


def _by_number(item: NamedUid) -> tuple[int, ...]:
    return tuple(int(number) for number in item.uid.split("."))


def _storage_classes() -> tuple[NamedUid, ...]:
    known = (
        NamedUid(uid, name if not retired else f"{name} (retired)")
        for uid, (name, kind, _, retired, _) in UID_dictionary.items()
        if kind == "SOP Class" and "Storage" in name and "Trial" not in name
        if uid.startswith(_STORAGE_ROOT) or uid in _ELSEWHERE
        if not uid.startswith(_NOT_MEDICAL) and uid not in _NON_PATIENT
    )
    classes = {item.uid: item for item in known}
    classes |= {uid: NamedUid(uid, name) for uid, name in _NEWER_STORAGE if uid not in classes}
    return tuple(sorted(classes.values(), key=_by_number))


def _compressed_syntaxes() -> tuple[NamedUid, ...]:
    known = (
        NamedUid(uid, name)
        for uid, (name, kind, _, retired, _) in UID_dictionary.items()
        if kind == "Transfer Syntax" and not retired and uid.startswith(_COMPRESSED_ROOTS)
    )
    syntaxes = {item.uid: item for item in known if item.uid not in _JPIP}
    syntaxes |= {uid: NamedUid(uid, name) for uid, name in _NEWER_SYNTAXES if uid not in syntaxes}
    return tuple(sorted(syntaxes.values(), key=_by_number))


VERIFICATION = _named("1.2.840.10008.1.1")
"""C-ECHO (PS3.4 A)."""

UNCOMPRESSED_SYNTAXES: tuple[NamedUid, ...] = (
    _named("1.2.840.10008.1.2.1"),
    _named("1.2.840.10008.1.2"),
    _named("1.2.840.10008.1.2.1.99"),
    _named("1.2.840.10008.1.2.2"),
)
"""Explicit VR Little Endian first, because it is what the node would rather get."""

COMPRESSED_SYNTAXES: tuple[NamedUid, ...] = _compressed_syntaxes()
"""Kept as they came; which of them can be decoded is asked only when a model needs the pixels."""

TRANSFER_SYNTAXES: tuple[NamedUid, ...] = UNCOMPRESSED_SYNTAXES + COMPRESSED_SYNTAXES
"""Every transfer syntax in which the node takes an object."""

STORAGE_SOP_CLASSES: tuple[NamedUid, ...] = _storage_classes()
"""Every composite storage SOP class of the standard (PS3.4 B.5), in the order of the numbers."""

FEEDBACK_SOP_CLASSES: tuple[NamedUid, ...] = tuple(
    item
    for item in STORAGE_SOP_CLASSES
    if item.uid.removeprefix(_STORAGE_ROOT) in {"66.4", "66.7", "88.59"}
)
"""What may say what a result was worth: a corrected segmentation, or key objects that reject it."""

FEEDBACK_SOP_CLASS_UIDS = frozenset(item.uid for item in FEEDBACK_SOP_CLASSES)
"""Their UIDs."""
