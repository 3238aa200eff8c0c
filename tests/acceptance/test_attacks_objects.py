"""Attacks with the content of objects, while an honest peer must be served as ever."""

from __future__ import annotations

import re
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .attacking import UID, Attack, attack, last_word, withstand
from .hostile import EndedError, open_association
from .intake_node import ATTACKER, IntakeNode, running_intake
from .wire import (
    STORE,
    STORE_DEFLATED,
    STORE_IMPLICIT,
    MrObject,
    bomb,
    deflated,
    element,
    message,
    p_data,
    pdv,
    store_rq,
    us,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

SUCCESS, NO_ROOM, MISMATCH, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
INVALID_INSTANCE = 0x0117
REFUSED = {MISMATCH, NOT_UNDERSTOOD, INVALID_INSTANCE}
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
MILLION = 1_000_000


def new_uid(number: int) -> str:
    """A UID that no other test has."""
    return f"{UID}.30.{number}.{time.time_ns()}"


def send_object(node: IntakeNode, uid: str | bytes, data: bytes, context: int = STORE) -> int:
    """C-STORE as the attacker; the association lives on. What got Success is there bit for bit."""
    with open_association(node.port, ATTACKER) as client:
        client.send(message(context, store_rq(uid), data))
        status = client.answer().status
        assert client.echo(2) == 0
        client.release()
    name = uid if isinstance(uid, str) else uid.decode("latin-1")
    if status == SUCCESS:
        row = node.row(name)
        assert row.data() == data
        assert row.is_exact()
    else:
        node.expect_absent(name)
    return status


# --- deflate ---


def deflate_bomb_within_the_limit(node: IntakeNode) -> None:
    uid = new_uid(1)
    data = bomb(uid, 300)
    assert len(data) < 400_000
    assert send_object(node, uid, data, STORE_DEFLATED) == SUCCESS


def deflate_bomb_over_the_limit(node: IntakeNode) -> None:
    uid = new_uid(2)
    assert send_object(node, uid, bomb(uid, 900), STORE_DEFLATED) == NO_ROOM


def deflate_bomb_in_a_value(node: IntakeNode) -> None:
    """The zeros are the value of a text element, and elements without end."""
    uid = new_uid(3)
    long_text = struct.pack("<HH2s2xI", 0x0008, 0x0119, b"UT", 900 * MILLION)
    assert send_object(node, uid, deflated(long_text, 900), STORE_DEFLATED) == NO_ROOM
    assert send_object(node, uid, deflated(b"", 900), STORE_DEFLATED) in {
        NO_ROOM,
        NOT_UNDERSTOOD,
    }


def broken_deflate(node: IntakeNode) -> None:
    uid = new_uid(4)
    plain = MrObject(uid).encode()
    whole = deflated(plain, 0)
    assert send_object(node, uid, plain, STORE_DEFLATED) == NOT_UNDERSTOOD
    assert send_object(node, uid, whole[:-20], STORE_DEFLATED) == NOT_UNDERSTOOD
    assert send_object(node, uid, zlib.compress(plain), STORE_DEFLATED) == NOT_UNDERSTOOD
    assert send_object(node, uid, whole, STORE) == NOT_UNDERSTOOD
    odd = new_uid(5)
    # One byte of padding is in order (PS3.5 A.5), a second object behind the end is not.
    padded = deflated(MrObject(odd).encode(), 0)
    assert send_object(node, odd, padded + bytes(len(padded) % 2), STORE_DEFLATED) == SUCCESS
    more = new_uid(6)
    twice = deflated(MrObject(more).encode(), 0) * 2
    assert send_object(node, more, twice, STORE_DEFLATED) in {SUCCESS, NOT_UNDERSTOOD}


# --- nesting ---


def nest(depth: int, kind: str) -> bytes:
    """Sequences in sequences, so many deep; what holds them is put where MrObject has 'extra'."""
    tag, item, ends = b"\x20\x00\x99\x11", b"\xfe\xff\x00\xe0", b"\xfe\xff"
    unknown = b"\xff\xff\xff\xff"
    close = (ends + b"\x0d\xe0" + bytes(4) + ends + b"\xdd\xe0" + bytes(4)) * depth
    if kind == "explicit":
        return (tag + b"SQ\0\0" + unknown + item + unknown) * depth + close
    if kind == "implicit":
        return (tag + unknown + item + unknown) * depth + close
    if kind == "unknown VR":
        inner = (tag + unknown + item + unknown) * (depth - 1)
        return tag + b"UN\0\0" + unknown + item + unknown + inner + close
    if kind == "no end":
        return (tag + b"SQ\0\0" + unknown + item + unknown) * depth
    assert kind == "known lengths"
    heads = [
        tag + b"SQ\0\0" + struct.pack("<I", 20 * left + 8) + item + struct.pack("<I", 20 * left)
        for left in range(depth - 1, -1, -1)
    ]
    return b"".join(heads)


def deep_nesting(node: IntakeNode) -> None:
    for number, kind in enumerate(("explicit", "unknown VR", "no end", "implicit"), 10):
        uid = new_uid(number)
        implicit = kind == "implicit"
        data = MrObject(uid, extra=nest(10_000, kind)).encode(implicit=implicit)
        context = STORE_IMPLICIT if implicit else STORE
        assert send_object(node, uid, data, context) == NOT_UNDERSTOOD, kind
    uid = new_uid(14)
    # The outer length says where it ends, so the node need not look inside.
    data = MrObject(uid, extra=nest(10_000, "known lengths")).encode()
    assert send_object(node, uid, data) in {SUCCESS, NOT_UNDERSTOOD}
    uid = new_uid(15)
    assert send_object(node, uid, MrObject(uid, extra=nest(12, "explicit")).encode()) == SUCCESS


# --- UIDs ---

BAD_UIDS: Mapping[str, bytes] = {
    "parts of a path": b"../../etc/passwd",
    "many parts of a path": b"../" * 16 + b"tmp/x",
    "an absolute path": b"/etc/passwd",
    "NUL within": b"1.2.3\0.4",
    "NUL and a path": b"1.2.3\0/../../x",
    "65 characters": b"1." * 32 + b"1",
    "1,000 characters": b"1." * 499 + b"22",
    "60,000 bytes of no ASCII": b"\xe9" * 60000,
    "nothing": b"",
    "spaces": b"    ",
    "letters": b"a.b.c.d",
    "an empty part": b"1..2",
    "a dot at the end": b"1.2.3.",
    "a line end": b"1.2.3\n4.5",
    "JSON": b'1.2","level":"error',
    "escape codes": b"\x1b[2J1.2.3",
    "digits of another script": "1.2.\u0663".encode(),
    "a minus": b"1.-2.3",
}


def uids_that_are_none(node: IntakeNode) -> None:
    for what, value in BAD_UIDS.items():
        text = value.decode("latin-1")
        good = new_uid(20)
        template = MrObject(good).encode()
        end = template.index(b"\x08\x00\x60\x00")
        start = template.index(b"\x08\x00\x18\x00")
        raw = value + bytes(len(value) % 2)
        bad = template[:start] + struct.pack("<HH2sH", 8, 0x18, b"UI", len(raw)) + raw
        try:
            # In both, in the request alone and in the data set alone.
            assert send_object(node, value, bad + template[end:]) in REFUSED
            assert send_object(node, value, template) in REFUSED
            assert send_object(node, good, bad + template[end:]) in REFUSED
            if len(value) <= 1000:
                study = MrObject(good, study=text).encode()
                assert send_object(node, good, study) in REFUSED
        except EndedError:
            # A command that says too much may also end the association.
            assert len(value) > 64, f"aborted for a UID with {what}"
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from None
    assert_nothing_outside(node)


def assert_nothing_outside(node: IntakeNode) -> None:
    """The spool holds objects under hashed names, and the folder around it what it always did."""
    for path in node.object_files():
        place = str(path.relative_to(node.data_dir / "spool" / "objects"))
        assert re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{40}\.dcm", place), place
    assert {path.name for path in (node.data_dir / "spool").iterdir()} <= {
        "incoming",
        "objects",
        "quarantine",
    }
    around = {path.name for path in node.folder.iterdir()}
    assert around <= {"data", "secondread.toml", "intake.log"}, around
    assert not Path("/tmp/x").exists()


# --- values ---


def odd_elements() -> dict[str, tuple[int, bytes, bytes]]:
    """By what is wrong: a tag whose element is replaced or inserted before, and by what."""
    pixels = b"\xe0\x7f\x10\x00"

    def put(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
        made = element(tag, vr, value)
        if length is None:
            return made
        width = "<I" if vr in {"OB", "OW", "SQ", "UN", "UT"} else "<H"
        at = 8 if width == "<I" else 6
        return made[:at] + struct.pack(width, length) + made[at + struct.calcsize(width) :]

    return {
        "US of three bytes": (0x00280010, b"", put(0x00280010, "US", b"\x10\0\0")),
        "US of one byte": (0x00280010, b"", put(0x00280010, "US", b"\x10")),
        "US without a value": (0x00280010, b"", put(0x00280010, "US", b"")),
        "US of 60,000 bytes": (0x00280010, b"", put(0x00280010, "US", bytes(60000))),
        "length beyond the end": (0x00280010, b"", put(0x00280010, "US", b"\x10\0", 0xFFFE)),
        "long length beyond the end": (0, pixels, put(0x00281201, "OW", b"", 0xFFFFFFF0)),
        "text of undefined length": (0, pixels, put(0x00281201, "UT", b"", 0xFFFFFFFF)),
        "sequence longer than the rest": (0, pixels, put(0x00289145, "SQ", b"", 0x7FFFFFFF)),
        "item longer than its sequence": (
            0,
            pixels,
            put(0x00289145, "SQ", b"\xfe\xff\x00\xe0\xff\xff\xff\x7f"),
        ),
        "item that is none": (
            0,
            pixels,
            struct.pack("<HH2s2xI", 0x28, 0x9145, b"SQ", 0xFFFFFFFF) + b"\x11" * 64,
        ),
        "VR of small letters": (0x00280010, b"", put(0x00280010, "us", b"\x10\0")),
        "VR of no letters": (0x00280010, b"", put(0x00280010, "\x00\x01", b"\x10\0")),
        "number of frames of 400 digits": (0, b"\x28\0\x10\0", put(0x00280008, "IS", b"9" * 400)),
        "number of frames of 20,000 digits": (
            0,
            b"\x28\0\x10\0",
            put(0x00280008, "IS", b"9" * 20000),
        ),
        "number of frames below nothing": (0, b"\x28\0\x10\0", put(0x00280008, "IS", b"-9")),
        "number of frames in words": (0, b"\x28\0\x10\0", put(0x00280008, "IS", b"many")),
        "number of frames in another script": (
            0,
            b"\x28\0\x10\0",
            put(0x00280008, "IS", "\u0661\u0662".encode()),
        ),
        "more pixels promised than sent": (0x00280010, b"", put(0x00280010, "US", us(65535))),
        "an element twice": (0, b"\x28\0\x10\0", put(0x00280010, "US", us(16))),
        "elements out of order": (0, b"\x28\0\x10\0", put(0x00080060, "CS", b"MR")),
        "an item at the top": (0, pixels, b"\xfe\xff\x00\xe0\0\0\0\0"),
        "an end of an item at the top": (0, pixels, b"\xfe\xff\x0d\xe0\0\0\0\0"),
        "file meta information": (0, b"\x08\0\x16\0", put(0x00020010, "UI", b"1.2.3\0")),
        "a command element": (0, b"\x08\0\x16\0", put(0x00000900, "US", us(0))),
        "native pixels of undefined length": (
            0x7FE00010,
            b"",
            struct.pack("<HH2s2xI", 0x7FE0, 0x10, b"OW", 0xFFFFFFFF) + b"\xfe\xff\xdd\xe0\0\0\0\0",
        ),
        "pixels cut": (0x7FE00010, b"", put(0x7FE00010, "OW", bytes(100), 512)),
        "no pixels": (0x7FE00010, b"", b""),
        "a hundred thousand elements": (
            0,
            pixels,
            b"".join(
                struct.pack("<HHH", 0x5001 + 2 * (n >> 15), n & 0x7FFF, 0x4E55) + b"\0\0"
                for n in range(100_000)
            ),
        ),
        "a very long person name": (0x00100010, b"", put(0x00100010, "PN", b"ZZMARKER" * 8000)),
        "a date that is none": (0, b"\x08\0\x60\0", put(0x00080020, "DA", b"99999999\n\x1b[2J")),
    }


def bent(uid: str, place: tuple[int, bytes, bytes]) -> bytes:
    """A sound object with one element replaced (by tag) or with bytes put before a place."""
    tag, before, content = place
    data = MrObject(uid).encode()
    if before:
        at = data.index(before, 0)
        return data[:at] + content + data[at:]
    start = data.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF))
    if tag == 0x7FE00010:
        return data[:start] + content
    size = struct.unpack_from("<H", data, start + 6)[0]
    return data[:start] + content + data[start + 8 + size :]


MAY_BE_STORED = {
    "number of frames in words",
    "number of frames of 400 digits",
    "number of frames of 20,000 digits",
    "number of frames below nothing",
    "number of frames in another script",
    "a date that is none",
    "a very long person name",
    "a hundred thousand elements",
    "US of three bytes",
    "US of one byte",
    "US without a value",
    "US of 60,000 bytes",
    "item longer than its sequence",
    "native pixels of undefined length",
}
"""Odd, and whole: kept as it came, for a person or a later stage to judge."""


def values_that_lie(node: IntakeNode) -> None:
    for number, (what, place) in enumerate(odd_elements().items(), 40):
        uid = new_uid(number)
        try:
            status = send_object(node, uid, bent(uid, place))
        except (AssertionError, EndedError) as error:
            raise AssertionError(f"{what}: {error}") from None
        allowed = {NOT_UNDERSTOOD, MISMATCH}
        if what in MAY_BE_STORED:
            allowed.add(SUCCESS)
        assert status in allowed, f"{what}: 0x{status:04X}"


def not_a_data_set(node: IntakeNode) -> None:
    uid = new_uid(80)
    whole = MrObject(uid).encode()
    for data in (b"", b"\0", b"\x08", b"This is no image. " * 40, bytes(5000), b"\xff" * 5000):
        assert send_object(node, uid, data) in {NOT_UNDERSTOOD, MISMATCH}
    for cut in (1, 2, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        assert send_object(node, uid, whole[:cut]) in {NOT_UNDERSTOOD, MISMATCH}
    assert send_object(node, uid, whole, STORE_IMPLICIT) == NOT_UNDERSTOOD
    other = new_uid(81)
    assert send_object(node, other, whole) == MISMATCH
    assert send_object(node, uid, whole) == SUCCESS


def object_over_the_limit(node: IntakeNode) -> None:
    """17 MiB where 16 are allowed: the association lives on, nothing is kept."""
    uid = new_uid(82)
    data = MrObject(uid, rows=3000).encode()
    assert len(data) > 17 << 20
    assert send_object(node, uid, data) == NO_ROOM


def text_for_the_log(node: IntakeNode) -> None:
    """Names that would forge a line or tell who the patient is; ``withstand`` reads the log."""
    names = (
        "ZZMARKER^Name",
        'ZZMARKER\n{"event": "forged", "level": "error"}',
        "ZZMARKER\x1b[2J\x1b[1;31m",
        'ZZMARKER","event":"forged',
        "ZZMARKER\r\n\x00\u2028\u0085\x0c",
    )
    for number, name in enumerate(names, 90):
        uid = new_uid(number)
        good = MrObject(uid, patient_name=name)
        send_object(node, uid, good.encode())
        with open_association(node.port, ATTACKER) as client:
            other = MrObject(uid, patient_name=name, fill=b"\0\1").encode()
            assert client.store(uid, other) == MISMATCH
        send_object(node, uid + ".1", good.encode())
        send_object(node, uid + ".2", MrObject(uid + ".2", patient_name=name).encode()[:-50])
    with open_association(node.port, ATTACKER) as client:
        data = MrObject(new_uid(96), patient_name="ZZMARKER").encode()
        client.send(p_data(pdv(STORE, data)))
        last_word(client, 2.0)


def race_for_one_uid(node: IntakeNode) -> None:
    """Ten associations bring the same UID at once, half of them with other content."""
    for _ in range(5):
        uid = new_uid(97)
        contents = [MrObject(uid, fill=bytes((n % 2, 7))).encode() for n in range(10)]
        statuses: dict[int, int] = {}
        together = threading.Barrier(10)

        def send(
            number: int,
            uid: str = uid,
            contents: list[bytes] = contents,
            together: threading.Barrier = together,
            statuses: dict[int, int] = statuses,
        ) -> None:
            with open_association(node.port, ATTACKER) as client:
                together.wait(20)
                statuses[number] = client.store(uid, contents[number])
                client.release()

        threads = [threading.Thread(target=send, args=(n,)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        kept = node.row(uid)
        data = kept.data()
        expected = {n: SUCCESS if contents[n] == data else MISMATCH for n in range(10)}
        assert statuses == expected


ATTACKS: Mapping[str, Attack] = {
    "deflate bomb within the limit": attack(deflate_bomb_within_the_limit),
    "deflate bomb over the limit": attack(deflate_bomb_over_the_limit, "out-of-resources"),
    "deflate bomb in a value": attack(deflate_bomb_in_a_value),
    "broken deflate": attack(broken_deflate, "cannot-understand"),
    "nesting 10,000 deep": attack(deep_nesting, "cannot-understand"),
    "UIDs that are none": attack(uids_that_are_none),
    "values that lie": attack(values_that_lie, "cannot-understand"),
    "no data set": attack(not_a_data_set, "cannot-understand"),
    "object over the limit": attack(object_over_the_limit, "out-of-resources"),
    "text for the log": attack(text_for_the_log, "conflicting-instance"),
    "race for one UID": attack(race_for_one_uid, "conflicting-instance"),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IntakeNode]:
    """One process for all attacks: whatever one of them leaves behind, the next ones meet."""
    with running_intake(tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(node: IntakeNode, name: str) -> None:
    withstand(node, ATTACKS[name])
