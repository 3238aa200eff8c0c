"""The tables of the conformance statement, made from what the code itself uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from secondread import __version__, errors
from secondread.access.peers import AccessList, Refusal, over_limit
from secondread.config.settings import Settings
from secondread.delivery.store_scu import SUCCESS, WARNINGS, meaning_of
from secondread.dicom.contexts import (
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    NamedUid,
)
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.domain.network import Peer
from secondread.results.report import COMPREHENSIVE_3D_SR_STORAGE
from secondread.results.segmentation import SEGMENTATION_STORAGE

RESULTS = (
    (SEGMENTATION_STORAGE, "the structures, one segment for each"),
    (COMPREHENSIVE_3D_SR_STORAGE, "the measurements (TID 1500), or why there are none"),
)
"""The SOP classes that the node makes, and for what."""

# Explicit VR Little Endian (PS3.5 A.2), in which results are written and sent.
RESULT_SYNTAX = "1.2.840.10008.1.2.1"
# PS3.8 table 9-21
RESULT_WORDS = {1: "1, rejected permanent", 2: "2, rejected transient"}
SOURCE_WORDS = {
    1: "1, service user",
    2: "2, service provider (ACSE)",
    3: "3, service provider (presentation)",
}


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _named(uid: str) -> NamedUid:
    return next(item for item in (*STORAGE_SOP_CLASSES, *TRANSFER_SYNTAXES) if item.uid == uid)


def implementation() -> str:
    """Implementation identifying information (PS3.7 D.3.3.2)."""
    rows = [
        ("Version of SecondRead", __version__),
        ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME),
    ]
    return _table(("", "value"), rows)


def accepted_sop_classes() -> str:
    """Every SOP class that the node supports as SCP."""
    rows = [(VERIFICATION.name, VERIFICATION.uid)]
    rows += [(item.name, item.uid) for item in STORAGE_SOP_CLASSES]
    return _table(("SOP class", "UID"), rows)


def accepted_transfer_syntaxes() -> str:
    """Every transfer syntax in which the node takes an object."""
    return _table(("transfer syntax", "UID"), [(item.name, item.uid) for item in TRANSFER_SYNTAXES])


def sent_sop_classes() -> str:
    """Every presentation context that the node proposes as SCU."""
    syntax = _named(RESULT_SYNTAX)
    rows = [(VERIFICATION.name, VERIFICATION.uid, syntax.name, "whether a destination is there")]
    rows += [(_named(uid).name, uid, syntax.name, what) for uid, what in RESULTS]
    return _table(("SOP class", "UID", "transfer syntax", "for"), rows)


def association_rejections() -> str:
    """How the node rejects associations: asked of the code that decides."""
    peer = Peer(name="mr1", ae_title="MR1", addresses=("192.0.2.7",), quiet_s=30.0)
    access = AccessList([peer], "SECONDREAD")
    cases = [
        ("the calling AE title is not in the list", access.admit("X", "SECONDREAD", "192.0.2.7")),
        ("the peer calls from another address", access.admit("MR1", "SECONDREAD", "192.0.2.8")),
        ("the called AE title is not the node's", access.admit("MR1", "X", "192.0.2.7")),
        ("too many associations are open", over_limit(50)),
    ]
    rows = []
    for why, refusal in cases:
        assert isinstance(refusal, Refusal), why
        rows.append(
            (
                why,
                RESULT_WORDS[refusal.result],
                SOURCE_WORDS[refusal.source],
                str(refusal.diagnostic),
                f"`{refusal.code}`",
            )
        )
    return _table(("when", "result", "source", "reason", "code in the audit trail"), rows)


def store_statuses() -> str:
    """C-STORE statuses that the node answers (PS3.4 B.2.3): one for each error of intake."""
    rows = [("0x0000", "Success", "the object is on disk and will be found again", "")]
    found: list[type[errors.SecondReadError]] = [errors.IntakeError]
    found += _descendants(errors.IntakeError)
    for kind in sorted(found, key=lambda kind: (kind.dimse_status, kind.__name__)):
        kind_of = "Refused" if 0xA700 <= kind.dimse_status <= 0xA7FF else "Failure"
        meaning = (kind.__doc__ or "").strip().splitlines()[0]
        rows.append((f"0x{kind.dimse_status:04X}", kind_of, meaning, f"`{kind.audit_code}`"))
    return _table(("status", "kind", "when", "code in the audit trail"), rows)


def _descendants(kind: type[errors.SecondReadError]) -> list[type[errors.SecondReadError]]:
    children = kind.__subclasses__()
    return children + [leaf for child in children for leaf in _descendants(child)]


def destination_statuses() -> str:
    """What the node makes of a destination's C-STORE answer."""
    rows = [(f"0x{SUCCESS:04X}", meaning_of(SUCCESS), "delivered")]
    rows += [(f"0x{status:04X}", meaning_of(status), "delivered") for status in sorted(WARNINGS)]
    for label, status in (("0xA7xx", 0xA700), ("0x0213", 0x0213), ("0x0110", 0x0110)):
        rows.append((label, meaning_of(status), "tried again, later and later"))
    for label, status in (("0xA9xx", 0xA900), ("0xCxxx", 0xC000), ("0x0122", 0x0122)):
        rows.append((label, meaning_of(status), "waits for a person"))
    return _table(("status", "meaning", "what the node does"), rows)


def defaults() -> str:
    """What an administrator can change, and its value unless changed."""
    settings = Settings()
    rows = [
        ("AE title", "`[node] ae_title`", settings.ae_title),
        ("port", "`[dicom] port`", str(settings.port)),
        ("associations at a time", "`[dicom] max_associations`", str(settings.max_associations)),
        (
            "silence after which an association is aborted",
            "`[dicom] association_timeout_s`",
            f"{settings.association_timeout_s:g} s",
        ),
        (
            "largest object",
            "`[dicom] max_object_mib`",
            f"{settings.max_object_bytes // 1024**2} MiB",
        ),
        ("who may open an association", "`[[peers]]`", "nobody"),
        ("where results go", "`[[destinations]]`, `[[rules]]`", "nowhere"),
    ]
    return _table(("parameter", "key", "default"), rows)


TABLES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "implementation": implementation,
        "accepted SOP classes": accepted_sop_classes,
        "accepted transfer syntaxes": accepted_transfer_syntaxes,
        "sent SOP classes": sent_sop_classes,
        "association rejections": association_rejections,
        "store statuses": store_statuses,
        "destination statuses": destination_statuses,
        "defaults": defaults,
    }
)
"""Name of a block in the statement to what belongs there."""
