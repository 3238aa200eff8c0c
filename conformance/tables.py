"""The tables of the conformance statement, made from what the code itself uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from pydicom.uid import UID

from secondread import __version__, errors
from secondread.access.passcodes import WRONG_MAX, hash_passcode
from secondread.access.peers import (
    AccessList,
    Caller,
    Identity,
    Refusal,
    disk_low,
    over_limit,
)
from secondread.access.quotas import QuotaBook
from secondread.config.settings import Settings
from secondread.delivery.query import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from secondread.delivery.statuses import SUCCESS, WARNINGS, meaning_of
from secondread.dicom.contexts import (
    FEEDBACK_SOP_CLASSES,
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    NamedUid,
)
from secondread.dicom.messages import MESSAGE_SYNTAXES
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.domain.network import Peer, Quotas, Service
from secondread.intake.commitment import CONTEXTS as COMMITMENT_CLASSES
from secondread.intake.notices import CONTEXTS as NOTICE_CLASSES
from secondread.intake.status import CONTEXTS as STATUS_CLASSES
from secondread.results.companions.encapsulated import ENCAPSULATED_PDF_STORAGE
from secondread.results.companions.key_objects import KEY_OBJECT_SELECTION_STORAGE
from secondread.results.companions.parametric_map_header import PARAMETRIC_MAP_STORAGE
from secondread.results.companions.presentation import GRAYSCALE_PRESENTATION_STATE_STORAGE
from secondread.results.companions.secondary import (
    SECONDARY_CAPTURE_STORAGE,
    TRUE_COLOUR_CAPTURE_STORAGE,
)
from secondread.results.companions.structure_set import STRUCTURE_SET_STORAGE
from secondread.results.report.document import COMPREHENSIVE_3D_SR_STORAGE
from secondread.results.segmentation.compression import list_transfer_syntaxes
from secondread.results.segmentation.documents import (
    LABEL_MAP_SEGMENTATION_STORAGE,
    SEGMENTATION_STORAGE,
)

RESULTS = (
    (SEGMENTATION_STORAGE, "the structures, one segment for each"),
    (LABEL_MAP_SEGMENTATION_STORAGE, "the same as one map, where a destination wants it"),
    (COMPREHENSIVE_3D_SR_STORAGE, "the measurements (TID 1500), or why there are none"),
    (KEY_OBJECT_SELECTION_STORAGE, "the slices worth opening and the other results, if wanted"),
    (GRAYSCALE_PRESENTATION_STATE_STORAGE, "outlines for viewers without segmentations, if wanted"),
    (TRUE_COLOUR_CAPTURE_STORAGE, "pictures of the slices with outlines, if wanted"),
    (SECONDARY_CAPTURE_STORAGE, "a page of pictures and numbers, if wanted"),
    (ENCAPSULATED_PDF_STORAGE, "the report for reading, if wanted"),
    (PARAMETRIC_MAP_STORAGE, "a model's maps"),
    (STRUCTURE_SET_STORAGE, "the outlines for planning systems, if wanted"),
)
"""The SOP classes that the node makes, and for what."""

QUERIES = (
    (STUDY_ROOT_FIND, "what an archive has: of results, of a study, of a patient's past"),
    (STUDY_ROOT_MOVE, "missing images and earlier studies, where a rule wants them"),
    (STUDY_ROOT_GET, "the same, from an archive without C-MOVE; the node is SCP of storage then"),
)
"""The SOP classes by which the node asks archives, and for what."""

SEGMENTATION_BITS = {SEGMENTATION_STORAGE: (1, 8), LABEL_MAP_SEGMENTATION_STORAGE: (8,)}
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
    for uid, what in RESULTS:
        depths = SEGMENTATION_BITS.get(uid)
        found = list_transfer_syntaxes(*depths) if depths else (RESULT_SYNTAX,)
        rows.append((_named(uid).name, uid, ", ".join(_named(one).name for one in found), what))
    asked = ", ".join(_named(one).name for one in MESSAGE_SYNTAXES[:2])
    rows += [(str(UID(uid).name), uid, asked, what) for uid, what in QUERIES]
    return _table(("SOP class", "UID", "transfer syntaxes", "for"), rows)


def other_services() -> str:
    """What the node answers besides Verification and Storage, and the word that allows it."""
    services = {
        Service.COMMITMENT: (COMMITMENT_CLASSES, "a promise that what was stored is safe"),
        Service.NOTICES: (NOTICE_CLASSES, "a hint of when a study is complete"),
        Service.STATUS: (STATUS_CLASSES, "how much of a study has arrived"),
    }
    rows = [
        (str(UID(uid).name), uid, what, f"`{service}`")
        for service, (classes, what) in services.items()
        for uid in classes
    ]
    return _table(("SOP class", "UID", "for", "in `may`"), rows)


def feedback_sop_classes() -> str:
    """What a peer may store that may only give feedback."""
    rows = [(item.name, item.uid) for item in FEEDBACK_SOP_CLASSES]
    return _table(("SOP class", "UID"), rows)


def association_rejections() -> str:
    """How the node rejects associations: asked of the code that decides."""
    rows = []
    full = [
        ("too little disk space is left", disk_low()),
        ("too many associations are open", over_limit(1)),
    ]
    for why, refusal in (*full, *_refused_by_the_list(), *_refused_by_quotas()):
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


def _refused_by_the_list() -> Iterator[tuple[str, Peer | Refusal]]:
    scanner = Peer("mr1", "MR1", ("192.0.2.7",), 30.0)
    pinned = Peer("ct1", "CT1", ("192.0.2.7",), 30.0, tls=True, certificate_sha256="0" * 64)
    named = Peer(
        "us1", "US1", ("192.0.2.7",), 30.0, username="us1", passcode_hash=hash_passcode("right")
    )
    access = AccessList([scanner, pinned, named], "NODE")

    def ask(calling: str, called: str = "NODE", address: str = "192.0.2.7") -> Peer | Refusal:
        return access.admit(Caller(calling, called, address))

    def say(passcode: str) -> Peer | Refusal:
        return access.admit(Caller("US1", "NODE", "192.0.2.7", None, Identity("us1", passcode)))

    yield "the calling AE title is not in the list", ask("X")
    yield "the peer calls from another address", ask("MR1", address="192.0.2.8")
    yield "the peer must use TLS, and does not", ask("CT1")
    shown = Caller("CT1", "NODE", "192.0.2.7", b"another")
    yield "its TLS certificate is not the one in the list", access.admit(shown)
    yield "the called AE title is not the node's", ask("MR1", called="X")
    yield "the peer must give a user name, and does not", ask("US1")
    yield "its user name or passcode is wrong", say("wrong")
    for _ in range(WRONG_MAX):
        waits = say("wrong")
    yield "too many of its passcodes were wrong in the last minute", waits


def _refused_by_quotas() -> Iterator[tuple[str, Refusal | None]]:
    greedy = Peer("mr1", "MR1", ("192.0.2.7",), 30.0, quotas=Quotas(associations=1))
    busy = Peer("ct1", "CT1", ("192.0.2.7",), 30.0, quotas=Quotas(associations_per_hour=1))
    book = QuotaBook()
    for peer in (greedy, busy):
        book.open(peer)
    yield "the peer has too many associations open", book.open(greedy)
    yield "the peer opened too many associations in the last hour", book.open(busy)


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
        ("port for TLS", "`[tls] port`", str(settings.tls.port or "none")),
        ("associations at a time", "`[dicom] max_associations`", str(settings.max_associations)),
        (
            "associations of one peer at a time",
            "`[[peers]] max_associations`",
            str(Quotas().associations),
        ),
        (
            "connections without an association",
            "`[dicom] max_waiting`",
            str(settings.max_waiting),
        ),
        (
            "time for a TLS handshake, and for an association request",
            "`[dicom] request_timeout_s`",
            f"{settings.request_timeout_s:g} s",
        ),
        (
            "time for one PDU",
            "`[dicom] pdu_timeout_s`",
            f"{settings.pdu_timeout_s:g} s",
        ),
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
        (
            "largest data set after inflating",
            "`[dicom] max_inflated_mib`",
            f"{settings.max_inflated_bytes // 1024**2} MiB",
        ),
        (
            "SOP classes to store",
            "`[dicom] sop_classes`, `extra_sop_classes`",
            "those of section 3.2",
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
        "feedback SOP classes": feedback_sop_classes,
        "other services": other_services,
        "association rejections": association_rejections,
        "store statuses": store_statuses,
        "destination statuses": destination_statuses,
        "defaults": defaults,
    }
)
"""Name of a block in the statement to what belongs there."""
