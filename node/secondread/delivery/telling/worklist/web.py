"""A worklist that is reached over the web: UPS-RS (PS3.18 11)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from secondread.delivery.dicom_web import DataSet, read_data_sets
from secondread.delivery.telling.web_body import HeldBody
from secondread.delivery.telling.web_refusals import describe_answer
from secondread.delivery.telling.worklist.channel import GoneError, TakenError
from secondread.delivery.telling.worklist.content import DataElements, as_json, state_change
from secondread.delivery.telling.worklist.found import state_of
from secondread.delivery.telling.worklist.tags import INPUT_INFORMATION
from secondread.delivery.telling.worklist.workitem import Claim, State
from secondread.delivery.web import Answer, Request, exchange
from secondread.delivery.web_wording import describe_wrong_answer
from secondread.domain.web_target import WebTarget
from secondread.errors import DeliveryError, PeerRefusedError

_JSON = "application/dicom+json"
_ACCEPT = {"Accept": _JSON}
_DONE = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})
_FOUND = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT})
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
# PS3.18 11.6.3.1, 11.7.3.1: of the state of the item, of the Transaction UID, or of what was sent.
_CONFLICTS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT})
_OVER = frozenset({State.COMPLETED, State.CANCELED})
_NO_SERVICE = "there is no worklist: correct 'url', which ends where '/workitems' begins"
_REFUSALS: dict[int, str] = {
    HTTPStatus.FORBIDDEN: "the node may not do this there: give its user the right to perform work",
    HTTPStatus.NOT_FOUND: _NO_SERVICE,
    HTTPStatus.METHOD_NOT_ALLOWED: "it does not take this kind of request: switch UPS-RS on there, "
    "or correct 'url'",
    HTTPStatus.NOT_ACCEPTABLE: "it does not answer in DICOM JSON",
    HTTPStatus.CONFLICT: "it will not have this now; see its log",
    HTTPStatus.GONE: _NO_SERVICE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "there are too many matches for it: ask for fewer",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "it does not take DICOM JSON",
    HTTPStatus.NOT_IMPLEMENTED: "it cannot do this: switch UPS-RS on there, or correct 'url'",
}


@dataclass(frozen=True, slots=True)
class WebWorklist:
    """A manager on the web.

    Attributes:
        target: where its services begin; '/workitems' is added.
        in_array: whether a data set goes out within an array, as PS3.18 11.1.3 has it; some
            servers want it bare.
    """

    target: WebTarget
    in_array: bool = True

    @contextmanager
    def open(self) -> Iterator[WebWorklist]:
        """Nothing: each request has a connection of its own."""
        yield self

    def search(self, keys: DataElements, limit: int) -> list[DataSet]:
        """Search Transaction (PS3.18 11.9); of one page, which is as long as is wanted."""
        query = [*_parameters(keys), ("includefield", f"{INPUT_INFORMATION:08X}")]
        path = f"/workitems?{urlencode([*query, ('limit', str(limit))])}"
        answer = exchange(self.target, Request("GET", path, _ACCEPT))
        if answer.status == HTTPStatus.NO_CONTENT:
            return []
        if answer.status not in _FOUND:
            raise describe_answer(self.target, answer, _REFUSALS)
        if not answer.body.strip():
            return []
        return self._read(answer)[:limit]

    def update(self, claim: Claim, changes: DataElements) -> None:
        """Update Transaction (PS3.18 11.6).

        The Transaction UID stands in the address, where the standard has it, and in the data set
        (PS3.4 CC.2.6), where other servers look for it.
        """
        query = urlencode({"transaction-uid": claim.transaction_uid})
        path = f"/workitems/{claim.workitem_uid}"
        answer = self._send("POST", f"{path}?{query}", changes)
        if answer.status not in _DONE:
            raise self._refusal(claim, answer, "the change of a work item")

    def change_state(self, claim: Claim, state: State) -> None:
        """Change State Transaction (PS3.18 11.7)."""
        path = f"/workitems/{claim.workitem_uid}/state"
        answer = self._send("PUT", path, state_change(claim, state))
        if answer.status not in _DONE:
            what = f"the change of a work item to {state}"
            raise self._refusal(claim, answer, what, claims=state is State.IN_PROGRESS)

    def _send(self, method: str, path: str, elements: DataElements) -> Answer:
        found = as_json(elements)
        content = json.dumps([found] if self.in_array else found, ensure_ascii=False).encode()
        headers = {"Content-Type": _JSON, **_ACCEPT}
        return exchange(self.target, Request(method, path, headers, HeldBody(content)))

    def _refusal(
        self, claim: Claim, answer: Answer, what: str, *, claims: bool = False
    ) -> DeliveryError:
        """Why an item was not changed; servers have one status for many reasons, so ask on."""
        said = f"{self.target.shown} answered {what} with {answer.status}"
        if answer.status in _GONE:
            return GoneError(f"{said}: the work item is not there.")
        if answer.status not in _CONFLICTS:
            return describe_answer(self.target, answer, _REFUSALS)
        state = self._state(claim)
        if state in _OVER:
            return GoneError(f"{said}: the work item is {state} already.")
        if state == State.IN_PROGRESS and claims:
            return TakenError(f"{said}: the work item is in progress already.")
        if state == State.IN_PROGRESS:
            return TakenError(
                f"{said}: the work item is in progress, so that another performer has claimed it, "
                "or it lacks what its final state must say; see its log."
            )
        if state == State.SCHEDULED:
            return PeerRefusedError(f"{said}: nobody has claimed the work item yet.")
        return PeerRefusedError(f"{said}, and does not say in which state the work item is.")

    def _state(self, claim: Claim) -> str:
        """Retrieve Transaction (PS3.18 11.5)."""
        path = f"/workitems/{claim.workitem_uid}"
        answer = exchange(self.target, Request("GET", path, _ACCEPT))
        if answer.status in _GONE:
            return State.CANCELED
        if answer.status not in _FOUND:
            raise describe_answer(self.target, answer, _REFUSALS)
        return next((state_of(one) for one in self._read(answer)), "")

    def _read(self, answer: Answer) -> list[DataSet]:
        found = read_data_sets(answer)
        if found is None:
            raise describe_wrong_answer(self.target.shown, answer.media_type, True)
        return found


def _parameters(keys: DataElements, above: str = "") -> Iterator[tuple[str, str]]:
    """The keys that have a value as query parameters (PS3.18 8.3.4.1)."""
    for tag, _, value in keys:
        name = f"{above}{tag:08X}"
        if isinstance(value, str) and value:
            yield name, value
        elif not isinstance(value, str | bytes | int):
            for item in value:
                yield from _parameters(item, f"{name}.")
