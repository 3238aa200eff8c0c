"""Pseudonyms, UIDs and date shifts: functions of the original and of a project's secret key.

A plain hash of an identifier is found again by trying all identifiers (PS3.15 E.1.1), so everything
here is an HMAC-SHA256. Two exports with one key belong together; two with different keys do not.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field

from secondread.dicom.uids import derive_uid
from secondread.errors import ConfigurationError

KEY_BYTES_MIN = 16
_SHIFT_DAYS_MIN, _SHIFT_DAYS_MAX = 366, 3652
_PSEUDONYM_BYTES = 10


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """The secret of one project.

    Attributes:
        name: what the project is called; it may be told to everybody.
        secret: at least 16 random bytes.
        uid_root: the operator's own UID root, or ``""`` for 2.25.

    Raises:
        ConfigurationError: the secret is too short.
    """

    name: str
    secret: bytes = field(repr=False)
    uid_root: str = ""

    def __post_init__(self) -> None:
        if len(self.secret) < KEY_BYTES_MIN:
            raise ConfigurationError(
                f"The key of the project '{self.name}' has {len(self.secret)} bytes: "
                f"give at least {KEY_BYTES_MIN}, from a random source."
            )

    def uid(self, original: str) -> str:
        """The UID that stands for another one."""
        return derive_uid(
            "export", self._digest(b"uid", original.encode()).hex(), root=self.uid_root
        )

    def pseudonym(self, identity: bytes) -> str:
        """The Patient ID of a person: 16 letters and digits, and the prefix ``SR``.

        80 bits: among a million patients the odds of a collision are one in a trillion.
        """
        digest = self._digest(b"patient", identity)[:_PSEUDONYM_BYTES]
        return "SR" + base64.b32encode(digest).decode("ascii")

    def shift_days(self, identity: bytes) -> int:
        """By how many days a person's dates move: one to ten years back, the same for ever."""
        number = int.from_bytes(self._digest(b"dates", identity)[:8], "big")
        return -(_SHIFT_DAYS_MIN + number % (_SHIFT_DAYS_MAX - _SHIFT_DAYS_MIN + 1))

    def _digest(self, purpose: bytes, content: bytes) -> bytes:
        message = len(purpose).to_bytes(1, "big") + purpose + content
        return hmac.digest(self.secret, message, "sha256")
