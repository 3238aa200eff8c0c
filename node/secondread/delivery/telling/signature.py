"""The signature of a webhook: who sent this, when, and that nobody has changed it on the way.

HMAC-SHA256 over the timestamp, a full stop and the body. The timestamp is new at each try, so that
a receiver can refuse what is older than ``REPLAY_WINDOW_S``; what a receiver does to check it is in
docs/telling.md.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from secondread.errors import PeerUnreachableError

TIMESTAMP, SIGNATURE = "SecondRead-Timestamp", "SecondRead-Signature"
"""Names of the header fields."""
REPLAY_WINDOW_S = 300
"""Seconds for which a receiver should take a signature, either way, for clocks differ."""
SECRET_BYTES_MIN = 16

_SECRET_BYTES_MAX = 4096
_VERSION = "v1"


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """The value of the signature field.

    Args:
        secret: shared with the receiver.
        timestamp: seconds since the epoch, UTC, as in the timestamp field.
        body: the document.
    """
    digest = hmac.new(secret, f"{timestamp}.".encode("ascii") + body, hashlib.sha256).hexdigest()
    return f"{_VERSION}={digest}"


def read_secret(path: Path, shown: str) -> bytes:
    """The secret in a file, without the end of its line; read for each try, so it can be renewed.

    Raises:
        PeerUnreachableError: it cannot be read, or holds no secret.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_SECRET_BYTES_MAX + 1)
    except OSError as error:
        told = f"cannot be read ({error.strerror})"
    else:
        secret = content.strip(b"\r\n")
        if len(secret) >= SECRET_BYTES_MIN and len(content) <= _SECRET_BYTES_MAX:
            return secret
        told = f"does not hold a secret of {SECRET_BYTES_MIN} to {_SECRET_BYTES_MAX} bytes"
    raise PeerUnreachableError(
        f"The file '{path}' with the signing secret for {shown} {told}; put it right, and telling "
        "goes on by itself."
    )
