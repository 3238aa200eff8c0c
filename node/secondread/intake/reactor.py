"""The reactor: one thread that serves every socket, with select instead of sleeps."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

log = structlog.stdlib.get_logger(__name__)

SWEEP_S = 0.25
TURN_S = 0.02
SPENT_LEAST_S = 0.001
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Endpoint(Protocol):
    """Something with a socket that the reactor serves."""

    def ready(self, events: int) -> None:
        """The socket can be read or written."""

    def sweep(self, now: float) -> None:
        """Look at the clock; ``now`` is monotonic, in seconds."""

    def fail(self, error: Exception) -> None:
        """An exception nobody expected; end at once."""


class Reactor:
    """An event loop over sockets.

    ``post`` may be called from any thread; everything else only from the reactor's own.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._posted: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, READ, None)
        self._awake = threading.Event()
        self._endpoints: dict[int, Endpoint] = {}
        self._stopping = False
        self._spent_s: dict[int, float] = {}
        self._after_turn: Callable[[], None] = _nothing

    def after_turn(self, function: Callable[[], None]) -> None:
        """Call this function when all sockets that were ready have been served."""
        self._after_turn = function

    def add(self, sock: socket.socket, endpoint: Endpoint, events: int) -> None:
        """Serve a socket."""
        self._selector.register(sock, events, endpoint)
        self._endpoints[sock.fileno()] = endpoint
        # The number may have been somebody else's.
        self._spent_s.pop(sock.fileno(), None)

    def change(self, sock: socket.socket, endpoint: Endpoint, events: int) -> None:
        """Wait for other events on a socket; 0 is none."""
        registered = sock.fileno() in self._selector.get_map()
        if not events:
            if registered:
                self._selector.unregister(sock)
        elif registered:
            self._selector.modify(sock, events, endpoint)
        else:
            self._selector.register(sock, events, endpoint)

    def remove(self, sock: socket.socket) -> None:
        """Serve a socket no more; before it is closed."""
        number = sock.fileno()
        self._endpoints.pop(number, None)
        if number in self._selector.get_map():
            self._selector.unregister(sock)

    def post(self, function: Callable[[], None]) -> None:
        """Run a function in the reactor's thread, soon."""
        self._posted.append(function)
        if not self._awake.is_set():
            self._awake.set()
            os.write(self._wake_write, b"\0")

    def stop(self) -> None:
        """Make ``run`` return."""

        def end() -> None:
            self._stopping = True

        self.post(end)

    def run(self) -> None:
        """Serve until ``stop``; then let the descriptors of the loop itself go."""
        swept = time.monotonic()
        while not self._stopping:
            wait_s = SWEEP_S if self._endpoints else None
            self._turn(self._selector.select(wait_s))
            while self._posted:
                self._call(self._posted.popleft())
            self._call(self._after_turn)
            now = time.monotonic()
            if now - swept >= SWEEP_S:
                swept = now
                self._spent_s = {fd: s / 2 for fd, s in self._spent_s.items() if s > SPENT_LEAST_S}
                for endpoint in list(self._endpoints.values()):
                    endpoint.sweep(now)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _turn(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Serve those first who have cost least of late, and look again after a moment.

        Whoever has to wait is still ready at the next look, so a few who keep the node busy do not
        make anybody else wait longer than a turn.
        """
        ready.sort(key=lambda item: self._spent_s.get(item[0].fd, 0.0))
        started = began = time.monotonic()
        for key, events in ready:
            if key.data is None:
                self._woken()
            else:
                self._serve(key.data, events)
            now = time.monotonic()
            self._spent_s[key.fd] = self._spent_s.get(key.fd, 0.0) + now - began
            began = now
            if now - started > TURN_S:
                return

    def _woken(self) -> None:
        # In this order: whoever posts after the read writes again.
        os.read(self._wake_read, 4096)
        self._awake.clear()

    def _serve(self, endpoint: Endpoint, events: int) -> None:
        try:
            endpoint.ready(events)
        except Exception as error:
            # One association must never end the others.
            endpoint.fail(error)

    def _call(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            log.exception("a posted call failed")


def _nothing() -> None:
    """What happens after a turn unless somebody wants more."""
