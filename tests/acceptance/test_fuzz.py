"""Spoiled streams and data sets: nothing hangs, nothing ends the process, nothing is half kept."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .hostile import Answer, Client, EndedError, open_association
from .intake_node import ATTACKER, IntakeNode, honest_echo, running_intake
from .mutations import KINDS, LEVELS, UID, Damage, random_damages, sound_streams, spoil
from .mutations import spoiled_stream as spoiled
from .wire import (
    STORE,
    STORE_DEFLATED,
    STORE_IMPLICIT,
    MrObject,
    abort,
    deflated,
    message,
    store_rq,
)

pytestmark = pytest.mark.acceptance

END_S = 6.0
"""When everything has been sent the connection ends at once, or at the latest at a deadline."""
ANSWER_S = 6.0
CORPUS = 100
EXAMPLES = 4000
SOUND_STREAMS = len(sound_streams(0))
LIMITS = {"request_timeout_s": 1.0, "pdu_timeout_s": 2.0, "association_timeout_s": 3.0}

NUMBER = st.integers(0, (1 << 16) - 1)
DAMAGE = st.builds(
    Damage, st.integers(0, LEVELS - 1), st.integers(0, KINDS - 1), NUMBER, NUMBER, NUMBER
)
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Target:
    """A node that is fuzzed, and what it must be like after every case."""

    def __init__(self, node: IntakeNode) -> None:
        self.node = node
        self.serials = itertools.count(1)
        self._read_to = node.log_size()

    def check(self) -> None:
        """It is there, it serves honest peers, and it says nothing of a fault of its own."""
        assert self.node.is_running(), "the process ended"
        assert honest_echo(self.node.port) is None
        since, text = self._read_to, self.node.log_text(self._read_to)
        whole = text[: text.rfind("\n") + 1]
        # Before the look at it: a fault counts for the case that made it, and for no other.
        self._read_to += len(whole.encode("utf-8", "surrogateescape"))
        self.node.check_log(since)

    def take_stream(self, content: bytes) -> None:
        """Send a stream and its end; the node must end the connection."""
        with Client(self.node.port) as client:
            with contextlib.suppress(EndedError):
                client.send(content)
            client.stop_sending()
            client.drain_raw(END_S)

    def take_object(self, uid: str, data: bytes, context: int) -> int | None:
        """C-STORE of a data set; its status, or None where the association was ended."""
        with open_association(self.node.port, ATTACKER) as client:
            try:
                client.send(message(context, store_rq(uid), data, size=900))
                status = client.answer(ANSWER_S).status
            except EndedError:
                return None
            client.release()
        if status == 0:
            row = self.node.row(uid)
            assert row.data() == data, "Success, and other bytes were stored"
            assert row.is_exact()
        else:
            self.node.expect_absent(uid)
        return status


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One process for everything: it has to live through all of it."""
    with running_intake(tmp_path_factory.mktemp("fuzz"), {"dicom": LIMITS}) as node:
        before = node.usage()
        yield Target(node)
        node.wait_until_quiet(before)
        node.check_log()
        node.check_absent()
        node.settle()
        rows = node.rows().values()
        assert all(row.is_exact() for row in rows)
        assert {row.path for row in rows} == set(node.object_files())


def spoiled_object(serial: int, damages: Sequence[Damage], context: int) -> tuple[str, bytes]:
    """A UID and a data set with faults; of a deflated one, every other is spoiled before."""
    uid = f"{UID}.9.{serial}"
    sound = sound_streams(serial)[2].messages[0][2]
    assert sound is not None
    data = MrObject(uid).encode(implicit=True) if context == STORE_IMPLICIT else sound
    data = data.replace(f"{UID}.{serial}.0".encode(), uid.encode())
    inside = serial % 2 == 0
    if context == STORE_DEFLATED and not inside:
        data = deflated(data, 0)
    for damage in damages:
        data = spoil(data, damage)
    return uid, deflated(data, 0) if context == STORE_DEFLATED and inside else data


def response(client: Client) -> Answer:
    """The next response; the node may have a request of its own in between."""
    while not (answer := client.answer()).is_response:
        continue
    return answer


def test_sound_streams_are_served(target: Target) -> None:
    """What the others spoil is sound; else they would try nothing."""
    for sound in sound_streams(next(target.serials)):
        with Client(target.node.port) as client:
            answer = client.associate(sound.request)
            assert set(answer.results.values()) == {0}, sound.name
            for context, command, data in sound.messages:
                client.send(message(context, command, data))
                if sound.name != "look" or data is not None:
                    assert response(client).status in {0x0000, 0xFF00}, sound.name
            client.send(abort())
    target.check()


@pytest.mark.parametrize("context", [STORE, STORE_IMPLICIT, STORE_DEFLATED])
def test_sound_objects_are_stored(target: Target, context: int) -> None:
    for _ in range(2):
        uid, data = spoiled_object(next(target.serials), (), context)
        assert target.take_object(uid, data, context) == 0
    target.check()


@pytest.mark.timeout(180)
def test_corpus_of_streams(target: Target) -> None:
    for seed in range(CORPUS):
        sound = sound_streams(next(target.serials))[seed % SOUND_STREAMS]
        try:
            target.take_stream(spoiled(sound, random_damages(seed)))
            target.check()
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"'{sound.name}' with seed {seed}: {error}") from error


@pytest.mark.timeout(180)
def test_corpus_of_objects(target: Target) -> None:
    contexts = (STORE, STORE_IMPLICIT, STORE, STORE_DEFLATED)
    for seed in range(CORPUS):
        context = contexts[seed % len(contexts)]
        uid, data = spoiled_object(next(target.serials), random_damages(1000 + seed), context)
        try:
            target.take_object(uid, data, context)
            target.check()
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"object with seed {1000 + seed}: {error}") from error


@pytest.mark.slow
@pytest.mark.timeout(1800)
@BOUNDED
@given(which=st.integers(0, SOUND_STREAMS - 1), damages=st.lists(DAMAGE, min_size=1, max_size=5))
def test_streams(target: Target, which: int, damages: list[Damage]) -> None:
    sound = sound_streams(next(target.serials))[which]
    target.take_stream(spoiled(sound, damages))
    target.check()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@BOUNDED
@given(
    context=st.sampled_from((STORE, STORE_IMPLICIT, STORE_DEFLATED)),
    damages=st.lists(DAMAGE, min_size=1, max_size=5),
)
def test_objects(target: Target, context: int, damages: list[Damage]) -> None:
    uid, data = spoiled_object(next(target.serials), damages, context)
    target.take_object(uid, data, context)
    target.check()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@BOUNDED
@given(content=st.binary(max_size=400), associated=st.booleans())
def test_any_bytes(target: Target, content: bytes, associated: bool) -> None:
    """No structure at all, before and after an association."""
    start = sound_streams(0)[0].request.encode() if associated else b""
    target.take_stream(start + content)
    target.check()
