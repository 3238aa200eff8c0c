"""PDUs, messages and data sets as bytes, right or wrong, built by hand.

Nothing of the node and nothing of pynetdicom is used: what the node understands is what these
bytes say. Sizes are bytes.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NODE = "SECONDREAD"
VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
MPPS = "1.2.840.10008.3.1.2.3.3"
MR = "1.2.840.10008.5.1.4.1.1.4"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DICOM_APPLICATION = "1.2.840.10008.3.1.1.1"

# PS3.8 9.3.1
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
# PS3.7 E.1
C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
C_FIND_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0020, 0x0030, 0x0FFF
N_SET_RQ, N_ACTION_RQ, N_CREATE_RQ = 0x0120, 0x0130, 0x0140
HAS_DATA, NO_DATA = 0x0001, 0x0101


# --- PDUs (PS3.8 9.3) ---


def pdu(kind: int, body: bytes = b"", length: int | None = None) -> bytes:
    """A PDU; ``length`` is what it says of itself, if that is not true."""
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def item(kind: int, body: bytes = b"", length: int | None = None) -> bytes:
    """An item or sub-item of an association request (PS3.8 9.3.2); ``length`` as in ``pdu``."""
    return struct.pack(">BxH", kind, len(body) if length is None else length) + body


def title(text: str | bytes) -> bytes:
    """An AE title as it stands on the wire: 16 bytes, padded with spaces."""
    raw = text.encode("latin-1") if isinstance(text, str) else text
    return raw.ljust(16)[:16]


@dataclass(frozen=True)
class Proposal:
    """A presentation context that is proposed."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...] = (EXPLICIT,)

    def encode(self) -> bytes:
        """The presentation context item (PS3.8 9.3.2.2)."""
        syntaxes = b"".join(item(0x40, uid.encode()) for uid in self.transfer_syntaxes)
        return item(
            0x20, bytes((self.id, 0, 0, 0)) + item(0x30, self.abstract_syntax.encode()) + syntaxes
        )


CONTEXTS = (
    Proposal(1, VERIFICATION, (IMPLICIT,)),
    Proposal(3, MR, (EXPLICIT,)),
    Proposal(5, MR, (IMPLICIT,)),
    Proposal(7, MR, (DEFLATED,)),
    Proposal(9, COMMITMENT, (IMPLICIT,)),
    Proposal(11, MPPS, (EXPLICIT,)),
)
"""What most attacks propose: one context for each thing that can go wrong."""
ECHO, STORE, STORE_IMPLICIT, STORE_DEFLATED, COMMIT, STEP = (c.id for c in CONTEXTS)


@dataclass(frozen=True)
class AssociationRequest:
    """An A-ASSOCIATE-RQ; ``user_items`` are added to the User Information item."""

    calling: str | bytes
    called: str | bytes = NODE
    contexts: Sequence[Proposal] = CONTEXTS
    user_items: bytes = b""
    max_pdu: int = 131072
    version: int = 1
    application: str = DICOM_APPLICATION

    def body(self) -> bytes:
        """What stands behind the PDU's header (PS3.8 9.3.2)."""
        return self.fixed() + self.items()

    def fixed(self) -> bytes:
        """Version and titles."""
        titles = title(self.called) + title(self.calling)
        return struct.pack(">HH", self.version, 0) + titles + bytes(32)

    def items(self) -> bytes:
        """The variable items."""
        contexts = b"".join(context.encode() for context in self.contexts)
        return item(0x10, self.application.encode()) + contexts + self.user_information()

    def user_information(self) -> bytes:
        """PS3.8 9.3.2.3 with the maximum length and an implementation class."""
        own = item(0x51, struct.pack(">I", self.max_pdu)) + item(0x52, b"1.2.3.4.5")
        return item(0x50, own + self.user_items)

    def encode(self) -> bytes:
        """The whole PDU."""
        return pdu(ASSOCIATE_RQ, self.body())


def async_window(invoked: int, performed: int) -> bytes:
    """Asynchronous Operations Window sub-item (PS3.7 D.3.3.3)."""
    return item(0x53, struct.pack(">HH", invoked, performed))


def user_identity(username: bytes, passcode: bytes, kind: int = 2) -> bytes:
    """User Identity sub-item (PS3.7 D.3.3.7)."""
    fields = struct.pack(">H", len(username)) + username
    return item(0x58, bytes((kind, 0)) + fields + struct.pack(">H", len(passcode)) + passcode)


def pdv(
    context: int,
    content: bytes,
    *,
    command: bool = False,
    last: bool = True,
    length: int | None = None,
) -> bytes:
    """A presentation data value item (PS3.8 9.3.5.1); ``length`` as in ``pdu``."""
    header = bytes((context, (1 if command else 0) | (2 if last else 0)))
    size = len(content) + 2 if length is None else length
    return struct.pack(">I", size) + header + content


def p_data(*values: bytes) -> bytes:
    """A P-DATA-TF PDU of PDVs."""
    return pdu(P_DATA, b"".join(values))


def release_rq() -> bytes:
    """A-RELEASE-RQ."""
    return pdu(RELEASE_RQ, bytes(4))


def abort(source: int = 0, reason: int = 0) -> bytes:
    """A-ABORT (PS3.8 9.3.8)."""
    return pdu(ABORT, bytes((0, 0, source, reason)))


# --- messages (PS3.7 6.3, 9, 10) ---


def command_set(elements: Mapping[int, bytes], group_length: int | None = None) -> bytes:
    """A command set: implicit VR little endian, its group length in front (PS3.7 6.3.1)."""
    body = b"".join(
        struct.pack("<HHI", 0, element, len(value)) + value
        for element, value in sorted(elements.items())
    )
    size = len(body) if group_length is None else group_length
    return struct.pack("<HHII", 0, 0, 4, size) + body


def uid_value(uid: str | bytes) -> bytes:
    """A UID as an element's value: even length, padded with NUL."""
    raw = uid.encode("latin-1") if isinstance(uid, str) else uid
    return raw + bytes(len(raw) % 2)


def us(number: int) -> bytes:
    """An unsigned short."""
    return struct.pack("<H", number)


def echo_rq(message_id: int = 1) -> bytes:
    """C-ECHO-RQ."""
    return command_set(
        {
            2: uid_value(VERIFICATION),
            0x100: us(C_ECHO_RQ),
            0x110: us(message_id),
            0x800: us(NO_DATA),
        }
    )


def store_rq(
    uid: str | bytes, message_id: int = 1, sop_class: str = MR, priority: int = 0
) -> bytes:
    """C-STORE-RQ."""
    return command_set(
        {
            2: uid_value(sop_class),
            0x100: us(C_STORE_RQ),
            0x110: us(message_id),
            0x700: us(priority),
            0x800: us(HAS_DATA),
            0x1000: uid_value(uid),
        }
    )


def request_rq(
    command: int, sop_class: str, uid: str, message_id: int = 1, type_id: int = 1
) -> bytes:
    """N-ACTION-RQ, N-CREATE-RQ or N-SET-RQ with a data set to follow."""
    affected = command == N_CREATE_RQ
    elements = {
        0x02 if affected else 0x03: uid_value(sop_class),
        0x100: us(command),
        0x110: us(message_id),
        0x800: us(HAS_DATA),
        0x1000 if affected else 0x1001: uid_value(uid),
    }
    if command == N_ACTION_RQ:
        elements[0x1008] = us(type_id)
    return command_set(elements)


def message(context: int, command: bytes, data: bytes | None = None, size: int = 65536) -> bytes:
    """A message in P-DATA-TF PDUs of one PDV each with up to ``size`` bytes of content."""
    parts = [p_data(pdv(context, command, command=True))]
    if data is not None:
        for start in range(0, len(data) or 1, size):
            last = start + size >= len(data)
            parts.append(p_data(pdv(context, data[start : start + size], last=last)))
    return b"".join(parts)


# --- data sets (PS3.5 7.1) ---

_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}


def element(tag: int, vr: str, value: bytes | str, *, implicit: bool = False) -> bytes:
    """One element, little endian; text is padded to even length."""
    if isinstance(value, str):
        value = value.encode("utf-8")
        value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return start + struct.pack("<I", len(value)) + value
    if vr in _LONG:
        return start + vr.encode() + struct.pack("<2xI", len(value)) + value
    return start + vr.encode() + struct.pack("<H", len(value)) + value


@dataclass(frozen=True)
class MrObject:
    """A small MR image; ``study`` may also be any text."""

    uid: str
    study: str = "1.2.826.0.1.3680043.10.511.3.1"
    patient_name: str = "Attack^Table"
    rows: int = 16
    fill: bytes = b"\x5a\xa5"
    sop_class: str = MR
    extra: bytes = b""
    """Encoded elements between (0020,000E) and (0028,0002)."""

    def encode(self, *, implicit: bool = False) -> bytes:
        """The data set, without file meta information."""

        def put(tag: int, vr: str, value: bytes | str) -> bytes:
            return element(tag, vr, value, implicit=implicit)

        pixels = self.fill * (self.rows * self.rows * 2 // len(self.fill))
        return b"".join(
            (
                put(0x00080016, "UI", self.sop_class),
                put(0x00080018, "UI", self.uid),
                put(0x00080060, "CS", "MR"),
                put(0x00100010, "PN", self.patient_name),
                put(0x00100020, "LO", "HOSTILE-1"),
                put(0x0020000D, "UI", self.study),
                put(0x0020000E, "UI", f"{self.study}.1"),
                self.extra,
                put(0x00280002, "US", us(1)),
                put(0x00280004, "CS", "MONOCHROME2"),
                put(0x00280010, "US", us(self.rows)),
                put(0x00280011, "US", us(self.rows)),
                put(0x00280100, "US", us(16)),
                put(0x00280101, "US", us(16)),
                put(0x00280102, "US", us(15)),
                put(0x00280103, "US", us(0)),
                put(0x7FE00010, "OW", pixels),
            )
        )


@functools.cache
def million_zeros() -> bytes:
    """A million zeros as a block that may stand anywhere in a deflated stream, any number of times.

    A full flush makes it independent of what came before.
    """
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    machine.flush(zlib.Z_FULL_FLUSH)
    return machine.compress(bytes(1_000_000)) + machine.flush(zlib.Z_FULL_FLUSH)


def deflated(head: bytes, millions: int) -> bytes:
    """Raw deflate (PS3.5 A.5) of a head and so many million zeros."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = machine.compress(head) + machine.flush(zlib.Z_FULL_FLUSH)
    return start + million_zeros() * millions + machine.flush()


def bomb(uid: str, millions: int) -> bytes:
    """A sound object whose pixels are so many million zeros: 1,000 bytes become a million."""
    plain = MrObject(uid).encode()
    head = plain[: plain.rindex(b"\xe0\x7f\x10\x00")]
    pixels = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", millions * 1_000_000)
    return deflated(head + pixels, millions)
