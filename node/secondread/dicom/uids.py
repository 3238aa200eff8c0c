"""Identifiers of the node and of what it makes; all of them are functions of their inputs."""

from __future__ import annotations

import hashlib
import re

from secondread import __version__
from secondread.errors import ConfigurationError

_UID_LENGTH_MAX = 64
_DIGITS_MIN = 20
_ROOT = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


def derive_uid(*parts: str, root: str = "") -> str:
    """Return the UID that belongs to these parts: the same parts give the same UID for ever.

    Without a root it is a UUID under ``2.25`` (PS3.5 B.2): the first 128 bits of a SHA-256, marked
    as version 8 (RFC 9562 5.8), for ITU-T X.667 asks for a true UUID there. With an operator's own
    root the same number follows the root, cut to what 64 characters leave (PS3.5 9.1).

    Args:
        parts: what the UID stands for; ``("a", "bc")`` and ``("ab", "c")`` differ.
        root: an organisation's UID root without a trailing dot, at most 43 characters.

    Raises:
        ConfigurationError: the root is not a UID or leaves fewer than 20 digits.
    """
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8")
        digest.update(len(content).to_bytes(8, "big") + content)
    number = int.from_bytes(digest.digest()[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    if not root:
        return f"2.25.{number}"
    digits = _UID_LENGTH_MAX - len(root) - 1
    if not _ROOT.fullmatch(root) or digits < _DIGITS_MIN:
        raise ConfigurationError(
            f"The UID root '{root}' cannot be used: give numbers with dots between them, "
            f"at most {_UID_LENGTH_MAX - 1 - _DIGITS_MIN} characters, without a dot at the end."
        )
    return f"{root}.{number % 10**digits}"


IMPLEMENTATION_CLASS_UID = derive_uid("secondread", "implementation class")
"""Names this implementation in associations and file meta (PS3.7 D.3.3.2), whatever its version."""

IMPLEMENTATION_VERSION_NAME = f"SECONDREAD_{__version__}"[:16]
"""At most 16 characters (PS3.7 D.3.3.2.3)."""
