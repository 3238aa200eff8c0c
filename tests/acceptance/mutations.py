"""Sound streams of PDUs and data sets, and ways to spoil them; the same numbers spoil alike."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .intake_node import ATTACKER
from .wire import (
    ASSOCIATE_RQ,
    C_CANCEL_RQ,
    COMMIT,
    COMMITMENT,
    CONTEXTS,
    ECHO,
    IMPLICIT,
    MPPS,
    MR,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_SET_RQ,
    NO_DATA,
    STEP,
    STORE,
    STORE_IMPLICIT,
    AssociationRequest,
    MrObject,
    Proposal,
    abort,
    async_window,
    command_set,
    echo_rq,
    element,
    item,
    message,
    pdu,
    release_rq,
    request_rq,
    store_rq,
    uid_value,
    us,
    user_identity,
)

UID = "1.2.826.0.1.3680043.10.511.5"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
LOOK = 13
NUMBERS = (0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x7FFFFFFF)
NUMBERS += (0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)
TOKENS = (
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",
    b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",
    b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff",
    b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff",
    b"\x20\x00\x0d\x00UI\x00\x00",
    b'../../x\n\x1b[2J"',
    b"\x00" * 9,
    b"\xff" * 6,
)


@dataclass(frozen=True)
class Sound:
    """A conversation in which nothing is wrong: a request, messages and an end."""

    name: str
    request: AssociationRequest
    messages: tuple[tuple[int, bytes, bytes | None], ...]
    end: bytes = b""


def sequence(*items: bytes) -> bytes:
    """Items of a sequence of known length, implicit VR."""
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(each)) + each for each in items)


def _implicit(tag: int, vr: str, value: bytes | str) -> bytes:
    return element(tag, vr, value, implicit=True)


_REFERENCE = _implicit(0x00081150, "UI", MR) + _implicit(0x00081155, "UI", f"{UID}.1")
_COMMITMENT_DATA = _implicit(0x00081195, "UI", f"{UID}.2") + _implicit(
    0x00081199, "SQ", sequence(_REFERENCE, _REFERENCE)
)
_STEP_DATA = element(0x00400252, "CS", "IN PROGRESS") + element(
    0x00400270, "SQ", sequence(element(0x0020000D, "UI", f"{UID}.3"))
)
_FIND_DATA = _implicit(0x00080052, "CS", "STUDY") + _implicit(0x0020000D, "UI", f"{UID}.3")
_FIND_COMMAND = command_set(
    {2: uid_value(FIND), 0x100: us(0x20), 0x110: us(5), 0x700: us(0), 0x800: us(1)}
)
_CANCEL = command_set({0x100: us(C_CANCEL_RQ), 0x120: us(5), 0x800: us(NO_DATA)})
_NESTED = element(
    0x00209111,
    "SQ",
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x20\x00\x56\x91US\x02\x00\x01\x00"
    b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",
)


def _request(user_items: bytes = b"") -> AssociationRequest:
    contexts = (*CONTEXTS, Proposal(LOOK, FIND, (IMPLICIT,)))
    return AssociationRequest(ATTACKER, contexts=contexts, user_items=user_items)


_USER_ITEMS = (
    async_window(4, 1)
    + item(0x54, struct.pack(">H", len(MR)) + MR.encode() + b"\x01\x00")
    + item(0x55, b"FUZZ_1")
    + item(0x56, struct.pack(">H", len(MR)) + MR.encode() + b"\x01\x00\x00\x00\x00\x00")
    + user_identity(b"somebody", b"secret")
)


def sound_streams(serial: int) -> tuple[Sound, ...]:
    """Every kind of conversation; ``serial`` gives the objects UIDs of their own."""
    uids = [f"{UID}.{serial}.{number}" for number in range(4)]
    whole = MrObject(uids[0], extra=_NESTED).encode()
    return (
        Sound("echo", _request(), ((ECHO, echo_rq(), None),) * 2, release_rq()),
        Sound("negotiation", _request(_USER_ITEMS), ((ECHO, echo_rq(), None),), abort()),
        Sound(
            "store",
            _request(_USER_ITEMS),
            (
                (STORE, store_rq(uids[0], 1), whole),
                (STORE_IMPLICIT, store_rq(uids[1], 2), MrObject(uids[1]).encode(implicit=True)),
            ),
            release_rq(),
        ),
        Sound(
            "commitment",
            _request(),
            (
                (
                    COMMIT,
                    request_rq(N_ACTION_RQ, COMMITMENT, "1.2.840.10008.1.20.1.1"),
                    _COMMITMENT_DATA,
                ),
                (ECHO, echo_rq(2), None),
            ),
            release_rq(),
        ),
        Sound(
            "steps",
            _request(),
            (
                (STEP, request_rq(N_CREATE_RQ, MPPS, uids[2]), _STEP_DATA),
                (STEP, request_rq(N_SET_RQ, MPPS, uids[2], 2), _STEP_DATA[:20]),
            ),
            release_rq(),
        ),
        Sound(
            "look",
            _request(),
            ((LOOK, _FIND_COMMAND, _FIND_DATA), (LOOK, _CANCEL, None)),
            release_rq(),
        ),
    )


@dataclass(frozen=True)
class Damage:
    """One way to spoil bytes. ``level`` says which: 0 items of the request, 1 a command set,
    2 a data set, 3 a whole PDU, 4 the order of the PDUs. What encloses them stays sound."""

    level: int
    kind: int
    which: int
    at: int
    value: int


LEVELS, KINDS = 5, 9


def spoil(content: bytes, damage: Damage) -> bytes:
    """Bytes with one fault more."""
    if not content:
        return TOKENS[damage.value % len(TOKENS)]
    at = damage.at % len(content)
    number = NUMBERS[damage.value % len(NUMBERS)]
    if damage.kind == 0:
        return content[:at] + bytes((content[at] ^ (1 << damage.value % 8),)) + content[at + 1 :]
    if damage.kind == 1:
        return content[:at] + bytes((number & 0xFF,)) + content[at + 1 :]
    if damage.kind == 2:
        order = ">H" if damage.value % 2 else "<H"
        return content[:at] + struct.pack(order, number & 0xFFFF) + content[at + 2 :]
    if damage.kind == 3:
        order = ">I" if damage.value % 2 else "<I"
        return content[:at] + struct.pack(order, number) + content[at + 4 :]
    if damage.kind == 4:
        return content[:at]
    size = 1 + damage.value % 40
    if damage.kind == 5:
        return content[:at] + content[at + size :]
    if damage.kind == 6:
        return content[: at + size] + content[at:]
    if damage.kind == 7:
        return content[:at] + TOKENS[damage.value % len(TOKENS)] + content[at:]
    other = damage.value % len(content)
    return content[:at] + content[other : other + size] + content[at:]


def reorder(pdus: list[bytes], damage: Damage) -> list[bytes]:
    """PDUs with one left out, sent twice, or sent at another time."""
    at, other = damage.at % len(pdus), damage.value % len(pdus)
    if damage.kind % 3 == 0:
        return pdus[:at] + pdus[at + 1 :]
    if damage.kind % 3 == 1:
        return [*pdus[: at + 1], *pdus[at:]]
    changed = [*pdus]
    changed[at], changed[other] = changed[other], changed[at]
    return changed


def spoiled_stream(sound: Sound, damages: Sequence[Damage]) -> bytes:
    """A conversation as bytes, with these faults in it."""
    items = sound.request.items()
    messages = [list(each) for each in sound.messages]
    for damage in damages:
        which = messages[damage.which % len(messages)]
        if damage.level == 0:
            items = spoil(items, damage)
        elif damage.level == 1:
            which[1] = spoil(which[1], damage)
        elif damage.level == 2 and which[2] is not None:
            which[2] = spoil(which[2], damage)
    pdus = [pdu(ASSOCIATE_RQ, sound.request.fixed() + items)]
    for context, command, data in messages:
        pdus.append(message(context, command))
        if data is not None:
            whole = message(context, command, data, size=700)
            pdus.append(whole[len(pdus[-1]) :])
    pdus.append(sound.end)
    for damage in damages:
        if damage.level == 3:
            at = damage.which % len(pdus)
            pdus[at] = spoil(pdus[at], damage)
        elif damage.level == 4:
            pdus = reorder(pdus, damage) or [b""]
    return b"".join(pdus)


def random_damages(seed: int) -> list[Damage]:
    """One to four faults, always the same for a seed."""
    numbers = random.Random(seed)

    def one() -> Damage:
        return Damage(
            numbers.randrange(LEVELS),
            numbers.randrange(KINDS),
            numbers.randrange(1 << 16),
            numbers.randrange(1 << 16),
            numbers.randrange(1 << 16),
        )

    return [one() for _ in range(numbers.randint(1, 4))]
