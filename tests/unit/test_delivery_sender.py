"""The parts of the sender: what it writes, and what it makes of what comes back."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_ASSOCIATE_RQ

from secondread.delivery.address import Address
from secondread.delivery.association import CONTEXTS_MAX, Identity, Offer, negotiate, request_pdu
from secondread.delivery.commands import (
    C_ECHO_RQ,
    C_STORE_RQ,
    Answer,
    Request,
    encode_request,
    receive_answer,
)
from secondread.delivery.data_stream import DataStream
from secondread.delivery.link import ABORT_PDU, ConversationError, Ending, Link
from secondread.delivery.object_file import Kind, kinds_of, open_object
from secondread.delivery.sender import Sender
from secondread.delivery.wording import Stage, broken_off
from secondread.domain.network import Urgency
from secondread.errors import DeliveryError, PeerRefusedError, PeerUnreachableError

TIMEOUT_S = 5.0
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
ADDRESS = Address("127.0.0.1", 104, "PACS", "SECONDREAD", TIMEOUT_S)
STORE = Request(C_STORE_RQ, 7, SEG, 1, "1.2.3")


@contextmanager
def linked(timeout_s: float = TIMEOUT_S) -> Iterator[tuple[Link, socket.socket]]:
    """A link, and the socket of its peer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(TIMEOUT_S)
        yield Link(ours, timeout_s), theirs


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """An element in Explicit VR Little Endian."""
    if vr == b"OB":
        return struct.pack("<HH2s2xI", group, number, vr, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def file_of(
    data: bytes, *, uid: bytes = b"1.2.3\0", length: int | None = -1, private: int = 0
) -> bytes:
    """A DICOM file; ``length`` is its group length, -1 for the right one, None for none."""
    meta = element(2, 2, b"UI", SEG.encode()) + element(2, 3, b"UI", uid)
    meta += element(2, 0x10, b"UI", EXPLICIT.encode() + b"\0")
    meta += element(2, 0x102, b"OB", bytes(private)) if private else b""
    head = b""
    if length is not None:
        head = element(2, 0, b"UL", struct.pack("<I", len(meta) if length < 0 else length))
    return bytes(128) + b"DICM" + head + meta + data


def pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(content)) + content


def pdv(content: bytes, context_id: int = 1, flags: int = 3) -> bytes:
    return struct.pack(">IBB", len(content) + 2, context_id, flags) + content


def response(**changed: Any) -> bytes:
    """The command set of a C-STORE-RSP to ``STORE``; an element that is None is left out."""
    values = {
        "class_uid": SEG.encode(),
        "field": 0x8001,
        "to": 7,
        "data_set": 0x0101,
        "status": 0,
        "instance": b"1.2.3\0",
        **changed,
    }
    numbers = (0x0002, 0x0100, 0x0120, 0x0800, 0x0900, 0x1000)
    body = b""
    for number, value in zip(numbers, values.values(), strict=False):
        if value is not None:
            content = struct.pack("<H", value) if isinstance(value, int) else value
            body += struct.pack("<HHI", 0, number, len(content)) + content
    return body


def answered(content: bytes, request: Request = STORE) -> Answer:
    """What the sender makes of these bytes."""
    with linked() as (link, theirs):
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)
        link.begin()
        return receive_answer(link, request)


# --- the association


def test_a_request_is_what_pynetdicom_reads_of_it() -> None:
    offers = [Offer(SEG, (EXPLICIT,)), Offer(SR, (EXPLICIT, IMPLICIT))]
    found = A_ASSOCIATE_RQ()
    found.decode(request_pdu(ADDRESS, offers, Identity("node", "secret")))
    assert (found.called_ae_title, found.calling_ae_title) == ("PACS", "SECONDREAD")
    assert found.application_context_name == "1.2.840.10008.3.1.1.1"
    proposed = [
        (item.context_id, item.abstract_syntax, tuple(item.transfer_syntax))
        for item in found.presentation_context
    ]
    assert proposed == [(1, SEG, (EXPLICIT,)), (3, SR, (EXPLICIT, IMPLICIT))]
    user = found.user_information
    assert user is not None
    assert user.maximum_length == 131072
    assert user.user_identity is not None
    assert user.user_identity.user_identity_type == 2
    assert user.user_identity.primary_field == b"node"
    assert user.user_identity.secondary_field == b"secret"


def test_contexts_have_an_end() -> None:
    offers = [Offer(f"1.2.{number}", (EXPLICIT,)) for number in range(CONTEXTS_MAX + 1)]
    assert len(request_pdu(ADDRESS, offers[:-1])) > 128 * 40
    with pytest.raises(ValueError, match="129"):
        request_pdu(ADDRESS, offers)
    with pytest.raises(DeliveryError, match="send them in parts"):
        Sender(ADDRESS, [Kind(offer.sop_class_uid, EXPLICIT) for offer in offers]).open()


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def accepting(*contexts: tuple[int, int, str], length: int = 16384) -> bytes:
    """An A-ASSOCIATE-AC with (id, result, transfer syntax) and a maximum length."""
    content = struct.pack(">H2x32s32x", 1, b" " * 32) + item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, result, syntax in contexts:
        content += item(0x21, bytes([number, 0, result, 0]) + item(0x40, syntax.encode()))
    return pdu(2, content + item(0x50, item(0x51, struct.pack(">I", length))))


def test_each_offer_has_its_answer() -> None:
    offers = [Offer(f"1.2.{number}", (EXPLICIT,)) for number in range(6)]
    with linked() as (link, theirs):
        theirs.sendall(
            accepting(
                (1, 0, EXPLICIT),
                (3, 3, EXPLICIT),
                (5, 4, ""),
                (7, 0, IMPLICIT),
                (9, 1, EXPLICIT),
                (99, 0, EXPLICIT),
            )
        )
        found = negotiate(link, ADDRESS, offers)
    assert found.contexts == {offers[0]: 1}
    # One was accepted in a transfer syntax that nobody asked for, one was not mentioned.
    assert [found.refused[offer] for offer in offers[1:]] == [3, 4, 4, 1, 2]
    assert found.maximum_length == 16384


# --- commands


@pytest.mark.parametrize("urgency", Urgency)
def test_a_store_request_is_what_pydicom_reads_of_it(urgency: Urgency) -> None:
    encoded = encode_request(Request(C_STORE_RQ, 9, SEG, 5, "1.2.345", urgency))
    header = struct.unpack_from(">BxIIBB", encoded)
    assert header == (4, len(encoded) - 6, len(encoded) - 10, 5, 3)
    found = decode(BytesIO(encoded[12:]), True, True)
    assert found.CommandGroupLength == len(encoded) - 12 - 12
    assert (found.AffectedSOPClassUID, found.AffectedSOPInstanceUID) == (SEG, "1.2.345")
    assert (found.CommandField, found.MessageID, found.CommandDataSetType) == (1, 9, 1)
    assert found.Priority == {Urgency.MEDIUM: 0, Urgency.HIGH: 1, Urgency.LOW: 2}[urgency]


def test_an_answer_is_read_in_whatever_pieces_it_comes() -> None:
    whole = response(status=0xB000)
    assert answered(pdu(4, pdv(whole))) == Answer(0xB000)
    split = pdu(4, pdv(whole[:9], flags=1) + pdv(whole[9:30], flags=1)) + pdu(4, pdv(whole[30:]))
    assert answered(split) == Answer(0xB000)
    told = response() + struct.pack("<HHI", 0, 0x0902, 6) + b"not\nme"
    assert answered(pdu(4, pdv(told))) == Answer(0, "not?me")
    echoed = response(class_uid=b"1.2", field=0x8030, to=1, instance=None)
    assert answered(pdu(4, pdv(echoed)), Request(C_ECHO_RQ, 1, "1.2", 1)) == Answer(0)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (pdu(4, pdv(response(to=8))), "a message that was not sent"),
        (pdu(4, pdv(response(to=None))), "a message that was not sent"),
        (pdu(4, pdv(response(field=0x8030))), "another message"),
        (pdu(4, pdv(response(field=0x0001))), "another message"),
        (pdu(4, pdv(response(instance=b"1.2.4\0"))), "another object"),
        (pdu(4, pdv(response(data_set=1))), "with a data set"),
        (pdu(4, pdv(response(status=None))), "without a status"),
        (pdu(4, pdv(response(status=b"\0\0\0"))), "without a status"),
        (pdu(4, pdv(response(), context_id=3)), "something else"),
        (pdu(4, pdv(response(), flags=2)), "something else"),
        (pdu(4, pdv(response()[:-3])), "cut short"),
        (pdu(4, pdv(b"\x08" + response()[1:])), "cut short, or none"),
        (pdu(4, b"\xff\xff\xff\xff\x01\x03"), "outside its PDU"),
        (pdu(4, b"\x00\x00\x00\x00\x01\x03"), "outside its PDU"),
        (pdu(4, pdv(b"", flags=1)) * 70, "does not end"),
        (pdu(4, pdv(bytes(20000), flags=1)), "does not end"),
        (pdu(2, bytes(80)), "no answer"),
        (b"\x04\x00\xff\xff\xff\xff", "4294967295 bytes"),
        (b"\x02\x00" + bytes(4) + b"\x63\x00\x00\x00\x00\x00", "no answer"),
    ],
)
def test_what_is_no_answer_is_told(content: bytes, what: str) -> None:
    with pytest.raises(ConversationError) as raised:
        answered(content)
    assert raised.value.ending is Ending.GARBAGE
    sentence = str(broken_off(raised.value, Stage.ANSWER, ADDRESS, has_certificate=False))
    assert what in sentence
    assert "nobody knows whether it has stored the object" in sentence
    assert sentence.endswith("It may be tried again.")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 120), st.integers(0, 120), st.binary(max_size=30))
def test_no_answer_is_stumbled_over(start: int, length: int, wrong: bytes) -> None:
    sound = pdu(4, pdv(response()))
    try:
        answered(sound[:start] + wrong + sound[start + length :])
    except ConversationError as error:
        for stage in Stage:
            found = broken_off(error, stage, ADDRESS, has_certificate=True)
            assert isinstance(found, PeerUnreachableError | PeerRefusedError)


@pytest.mark.parametrize("ending", set(Ending) - {Ending.REJECTED, Ending.ABORTED})
@pytest.mark.parametrize("stage", Stage)
def test_every_ending_is_a_sentence(ending: Ending, stage: Stage) -> None:
    error = ConversationError(ending, *(["TLSV1_ALERT_UNKNOWN_CA"] * (ending is Ending.TLS_ALERT)))
    found = broken_off(error, stage, ADDRESS, has_certificate=True)
    assert str(found)[0].isupper() and str(found).endswith((".", "?"))
    assert found.retryable == str(found).endswith("It may be tried again.")


# --- files


@pytest.mark.parametrize("length", [-1, None, 0, 5, 10**6])
@pytest.mark.parametrize("private", [0, 100, 5000])
def test_a_file_is_known_by_its_file_meta(tmp_path: Path, length: int | None, private: int) -> None:
    data = element(8, 5, b"CS", b"ISO_IR 100")
    path = tmp_path / "a.dcm"
    path.write_bytes(file_of(data, length=length, private=private))
    with open_object(path) as found:
        assert found.kind == Kind(SEG, EXPLICIT)
        assert found.sop_instance_uid == "1.2.3"
        assert os.pread(found.descriptor, 100, found.offset) == data
        assert found.size_bytes == len(data)


def test_a_deflated_data_set_may_begin_like_file_meta(tmp_path: Path) -> None:
    data = b"\x02\x00\x10\x00UI\xff\xff" + bytes(50)
    (tmp_path / "a.dcm").write_bytes(file_of(data))
    with open_object(tmp_path / "a.dcm") as found:
        assert found.size_bytes == len(data)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text",
        bytes(4000),
        file_of(b""),
        file_of(b"\x08\x00")[:200],
        file_of(element(8, 5, b"CS", b"  "), uid=b"1.2.x "),
        file_of(element(8, 5, b"CS", b"  "), uid=b""),
        bytes(128) + b"DICM" + element(8, 5, b"CS", b"  "),
        file_of(element(8, 5, b"CS", b"  "), private=2 << 20),
    ],
)
def test_other_files_are_not_sent(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    with pytest.raises(DeliveryError, match="not a DICOM file") as raised, open_object(path):
        pass
    assert not raised.value.retryable


def test_contexts_are_those_of_the_files(tmp_path: Path) -> None:
    data = element(8, 5, b"CS", b"ISO_IR 100")
    for name, uid in (("a", SEG), ("b", LABEL_MAP), ("c", SEG)):
        (tmp_path / name).write_bytes(file_of(data).replace(SEG.encode(), uid.encode()))
    (tmp_path / "d").write_bytes(b"no")
    (tmp_path / "e").mkdir()
    os.mkfifo(tmp_path / "f")
    paths = [tmp_path / name for name in "abcdefg"]
    assert kinds_of(paths)[0] == Kind(SEG, EXPLICIT)
    assert len(kinds_of(paths)) == 2
    with pytest.raises(DeliveryError, match="cannot be read"), open_object(tmp_path / "g"):
        pass


# --- the stream


def received(theirs: socket.socket, content: bytearray) -> threading.Thread:
    """Reads all that comes."""

    def read() -> None:
        while part := theirs.recv(1 << 16):
            content.extend(part)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def streamed(path: Path, maximum_length: int, size: int) -> bytes:
    """What goes over the line for a file with so large a data set."""
    content = bytearray()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(TIMEOUT_S)
        thread = received(theirs, content)
        with open_object(path) as source:
            assert source.size_bytes == size
            stream = DataStream(maximum_length)
            assert stream.write(Link(ours, TIMEOUT_S), STORE, source)
        ours.shutdown(socket.SHUT_WR)
        thread.join(TIMEOUT_S)
    return bytes(content)


FRAGMENT = 4096 - 6


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([0, 1024, 4095, 4096, 16384, 131072, 1 << 20, 0xFFFFFFFF]),
    st.one_of(
        st.integers(1, 3 * FRAGMENT),
        st.sampled_from([FRAGMENT, FRAGMENT * 64, FRAGMENT * 64 + 2, FRAGMENT * 128]),
        st.integers(1 << 18, 1 << 20),
    ),
)
def test_an_object_is_sent_in_pdus_that_the_peer_takes(
    tmp_path: Path, maximum_length: int, size: int
) -> None:
    data = element(8, 5, b"CS", b"ISO_IR 100") + os.urandom(size)
    path = tmp_path / "a.dcm"
    path.write_bytes(file_of(data))
    content = streamed(path, maximum_length, len(data))
    fragments = []
    at = 0
    while at < len(content):
        kind, length, inner, context_id, flags = struct.unpack_from(">BxIIBB", content, at)
        assert (kind, context_id, inner) == (4, 1, length - 4)
        assert not maximum_length or length <= maximum_length
        fragments.append((flags, content[at + 12 : at + 6 + length]))
        at += 6 + length
    assert at == len(content)
    assert [flags for flags, _ in fragments] == [3, *[0] * (len(fragments) - 2), 2]
    assert all(len(piece) % 2 == 0 for _, piece in fragments[:-1])
    assert b"".join(piece for _, piece in fragments[1:]) == data


def test_a_file_that_became_shorter_is_not_sent_as_if_it_were_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(file_of(element(8, 5, b"CS", b"ISO_IR 100") + bytes(5000)))
    with linked() as (link, _), open_object(path) as source:
        os.truncate(path, 4000)
        with pytest.raises(DeliveryError, match="became shorter"):
            DataStream(4096).write(link, STORE, source)


# --- the link


def test_a_write_that_is_not_taken_has_an_end() -> None:
    with linked(timeout_s=0.2) as (link, _):
        link.begin()
        with pytest.raises(ConversationError) as raised:
            link.send(bytes(32 << 20))
        assert raised.value.ending is Ending.STALLED
        assert not link.is_quiet


def test_half_a_pdu_is_told() -> None:
    with linked(timeout_s=0.2) as (link, theirs):
        theirs.sendall(b"\x04\x00\x00\x00\x00\x20half")
        link.begin()
        with pytest.raises(ConversationError) as raised:
            link.receive()
    assert raised.value.ending is Ending.SILENT
    assert raised.value.detail == ("in the middle of a PDU",)


def test_an_abort_is_heard_while_something_is_sent_and_an_early_answer_kept() -> None:
    with linked() as (link, theirs):
        link.begin()
        link.listen()
        assert link.is_quiet
        theirs.sendall(pdu(4, pdv(response())))
        link.listen()
        link.listen()
        assert not link.is_quiet
        assert receive_answer(link, STORE) == Answer(0)
        theirs.sendall(ABORT_PDU)
        with pytest.raises(ConversationError) as raised:
            link.listen()
        assert raised.value.ending is Ending.ABORTED
        theirs.close()
        with pytest.raises(ConversationError) as raised:
            link.listen()
        assert raised.value.ending is Ending.CLOSED
        assert not link.is_quiet


def test_an_abort_never_stands_in_the_middle_of_a_pdu() -> None:
    content = bytearray()
    with linked() as (link, theirs):
        link.abort()
        assert theirs.recv(100) == ABORT_PDU
    with linked(timeout_s=0.2) as (link, theirs):
        link.begin()
        with pytest.raises(ConversationError):
            link.send(bytes(32 << 20))
        link.abort()
        thread = received(theirs, content)
        thread.join(TIMEOUT_S)
    assert not content.endswith(ABORT_PDU)
