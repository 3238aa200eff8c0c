"""What a worklist can be asked, whichever way it is reached, and how it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from secondread.delivery.dicom_web import DataSet
from secondread.delivery.telling.worklist.content import DataElements
from secondread.delivery.telling.worklist.workitem import Claim, State
from secondread.errors import PeerRefusedError


class TakenError(PeerRefusedError):
    """Somebody else has claimed the item."""

    audit_code = "workitem-taken"


class GoneError(PeerRefusedError):
    """The item is over, or is not there any more; nothing can be said of it."""

    audit_code = "workitem-gone"


class Channel(Protocol):
    """An open way to a worklist; every call raises DeliveryError where it is not carried out."""

    def search(self, keys: DataElements, limit: int) -> Iterable[DataSet]:
        """The items that match, at most so many, in the model of PS3.18 F."""

    def update(self, claim: Claim, changes: DataElements) -> None:
        """Set attributes of an item (PS3.4 CC.2.6)."""

    def change_state(self, claim: Claim, state: State) -> None:
        """Claim, complete or cancel an item (PS3.4 CC.2.1); to end it twice is as good as once."""


class Worklist(Protocol):
    """Where work is; there is one implementation for DIMSE and one for the web."""

    def open(self) -> AbstractContextManager[Channel]:
        """Reach it."""
