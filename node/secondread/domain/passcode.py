"""How a passcode is kept: as a salted scrypt hash, in one line of text."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

_SCHEME = "scrypt"
_PARTS = 6
# A hash in the configuration must not be able to make the node compute for seconds.
_COST_MAX = 2**15
_BLOCK_MAX = 8
_PARALLEL = 1
_SALT_BYTES_MIN = 8
# A shortened scrypt hash is that of a shorter length, and would fit.
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class PasscodeHash:
    """``scrypt$n$r$p$salt$hash``; salt and hash in base64 (RFC 7914 names n, r and p).

    Attributes:
        cost: n, a power of two.
        block: r.
        parallel: p.
        salt: random bytes of this hash.
        digest: what scrypt made of the passcode.
    """

    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    def __str__(self) -> str:
        """The line of text."""
        numbers = (str(number) for number in (self.cost, self.block, self.parallel))
        return "$".join((_SCHEME, *numbers, _base64(self.salt), _base64(self.digest)))

    @classmethod
    def parse(cls, text: str) -> PasscodeHash:
        """Read the line of text.

        Raises:
            ValueError: it is none; the message never quotes it.
        """
        parts = text.split("$")
        if len(parts) != _PARTS or parts[0] != _SCHEME:
            raise ValueError("is not of the form scrypt$n$r$p$salt$hash")
        try:
            cost, block, parallel = (int(part) for part in parts[1:4])
            salt, digest = (base64.b64decode(part, validate=True) for part in parts[4:])
        except (ValueError, binascii.Error):
            raise ValueError("is not of the form scrypt$n$r$p$salt$hash") from None
        if not 2 <= cost <= _COST_MAX or cost & (cost - 1):
            raise ValueError(f"has an n that is not a power of two from 2 to {_COST_MAX}")
        if not 1 <= block <= _BLOCK_MAX or parallel != _PARALLEL:
            raise ValueError(f"needs an r from 1 to {_BLOCK_MAX} and a p of {_PARALLEL}")
        if len(salt) < _SALT_BYTES_MIN or len(digest) != _DIGEST_BYTES:
            raise ValueError("has a salt or a hash of the wrong length")
        return cls(cost, block, parallel, salt, digest)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
