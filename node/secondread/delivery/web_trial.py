"""Whether a DICOMweb server can be used: name, TCP, TLS, credentials and query; stores nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from secondread.delivery.reach import Place, connect, look_up
from secondread.delivery.steps import Found, Outcome, Step, Take, take_steps
from secondread.delivery.web import Answer, Request, exchange
from secondread.delivery.web_wording import (
    describe_status,
    describe_unauthorised,
    describe_wrong_answer,
)
from secondread.domain.destination import Proof
from secondread.domain.web_target import TimeLimits, WebTarget, split_proxy
from secondread.errors import DeliveryError

_JSON = {"Accept": "application/dicom+json"}
_ANSWER_BYTES_MAX = 1024**2
_ANSWERED = (HTTPStatus.OK, HTTPStatus.NO_CONTENT)
_KNOWS_NO_QUERY = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.NOT_IMPLEMENTED,
)


def try_web(target: WebTarget, proof: Proof, timeout_s: float) -> Iterator[Step]:
    """Take step after step, each within ``timeout_s``; never raises for what the server does."""
    limits = TimeLimits(timeout_s, timeout_s, timeout_s)
    return take_steps(_Visit(replace(target, limits=limits), proof).steps())


@dataclass(slots=True)
class _Visit:
    """The state from step to step."""

    target: WebTarget
    proof: Proof
    places: list[Place] = field(default_factory=list)
    query: Answer | None = None

    def steps(self) -> Iterator[tuple[str, Take]]:
        yield "name", self.resolve
        yield "tcp", self.connect
        yield "service", self.ask
        yield "proof", self.look_at_proof

    @property
    def place(self) -> tuple[str, int]:
        """The server's, or that of the proxy before it."""
        return split_proxy(self.target.proxy) if self.target.proxy else self.target.place

    def resolve(self) -> Found:
        """Ask for the addresses of the name."""
        host, port = self.place
        self.places = look_up(host, port, self.target.limits.connect_s)
        what = "The proxy " if self.target.proxy else ""
        found = ", ".join(address for _, address in self.places)
        if found == host:
            return Outcome.OK, f"{what}{host} is an address, no name."
        return Outcome.OK, f"{what}'{host}' is {found}."

    def connect(self) -> Found:
        """Open a TCP connection to the first address that takes one."""
        _, port = self.place
        reached = connect(self.places, port, self.target.limits.connect_s)
        with closing(reached.connection):
            return Outcome.OK, f"{reached.place[1]}:{port} takes connections."

    def ask(self) -> Found:
        """Ask for a study that cannot be there (QIDO-RS, PS3.18 10.6), with what the node shows.

        Where it knows no queries, an OPTIONS tells that there is a service at all.
        """
        # Nothing of any patient comes back, and nothing is stored.
        uid = f"2.25.{uuid.uuid4().int}"
        request = Request("GET", f"/studies?StudyInstanceUID={uid}&limit=1", _JSON)
        self.query = self._exchange(request)
        secure = " over TLS" if self.target.secure else ""
        if self.query.status in _ANSWERED:
            if self.query.body.strip() and not self.query.media_type.endswith("json"):
                raise describe_wrong_answer(self.target.shown, self.query.media_type, True)
            return Outcome.OK, f"It answers queries{secure} (QIDO-RS)."
        if self.query.status not in _KNOWS_NO_QUERY:
            raise self._refusal(self.query)
        options = self._exchange(Request("OPTIONS", "/studies", _JSON))
        if options.status not in _ANSWERED:
            raise self._refusal(self.query)
        return Outcome.OK, f"There is a service{secure}, but it answers no queries (QIDO-RS)."

    def look_at_proof(self) -> Found:
        """Whether what it has can be read back."""
        assert self.query is not None
        if self.proof is Proof.NONE:
            return Outcome.NOTE, "Nothing is asked for as proof, as the configuration says."
        if self.query.status in _ANSWERED:
            return Outcome.NOTE, "What it has will be read back by QIDO-RS, which is the proof."
        return Outcome.WARNING, (
            "It answers no queries, so nothing can prove that it has what it was sent: switch "
            'QIDO-RS on there, or set kind = "none" in [destinations.proof].'
        )

    def _exchange(self, request: Request) -> Answer:
        answer = exchange(self.target, request, answer_bytes_max=_ANSWER_BYTES_MAX)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise describe_unauthorised(self.target.shown, self.target.credentials.scheme)
        return answer

    def _refusal(self, answer: Answer) -> DeliveryError:
        return describe_status(
            self.target.shown,
            answer.status,
            retry_after_s=answer.retry_after_s,
            location=answer.location,
        )
