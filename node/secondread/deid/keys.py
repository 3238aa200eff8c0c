"""The keys of the crosswalk: where they are read from, and what they seal.

A key is 32 random bytes. Its id follows from it, so a wrong key is told from the right one without
trying it. Two keys derive from each: one encrypts, the other makes the keyed hashes that rows are
found by.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secondread.errors import CrosswalkKeyError
from secondread.store.durability import sync_folder

KEY_BYTES = 32
MARK_BYTES = 16
_ID_BYTES = 8
_NONCE_BYTES = 12
_BLOCK_BYTES = 64
_OTHERS = 0o077
_EVERYBODY = 0o007
_FILE_BYTES_MAX = 64 * 1024
_LINE = re.compile(r"(?P<id>[0-9a-f]{16}) (?P<key>[0-9a-f]{64})")
_HEAD = """\
# SecondRead: the keys of the crosswalk, the newest first. Keep a copy apart from the ledger:
# without them nobody can tell any more who is behind a pseudonym.
"""


class Key:
    """One key.

    Args:
        secret: 32 random bytes.
    """

    __slots__ = ("_cipher", "_mark", "id", "secret")

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.secret = secret
        self.id = self._derived("id")[:_ID_BYTES].hex()
        self._cipher = AESGCM(self._derived("seal"))
        self._mark = self._derived("mark")

    @classmethod
    def new(cls) -> Key:
        """A key that nobody had before."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def __repr__(self) -> str:
        return f"Key({self.id})"

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self.secret, f"secondread crosswalk {purpose}".encode(), "sha256")

    def mark(self, *parts: str) -> bytes:
        """A keyed hash of these parts: 16 bytes to find a row by."""
        message = b"".join(
            len(content).to_bytes(4, "big") + content
            for content in (part.encode("utf-8") for part in parts)
        )
        return hmac.digest(self._mark, message, "sha256")[:MARK_BYTES]

    def seal(self, content: bytes, context: bytes) -> bytes:
        """Encrypt (AES-256-GCM) with a new random nonce; it opens only with the same context.

        The content must not end with a space; it is filled up with them, so that its length does
        not tell how long a name is.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        filled = content + b" " * (-len(content) % _BLOCK_BYTES)
        return nonce + self._cipher.encrypt(nonce, filled, context)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed.

        Raises:
            CrosswalkKeyError: it was changed, or belongs elsewhere.
        """
        from cryptography.exceptions import InvalidTag

        try:
            filled = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise CrosswalkKeyError(
                f"A row of the crosswalk does not open with the key {self.id} that it says it was "
                "sealed with: the ledger was changed or is damaged. Restore it from a backup."
            ) from None
        return filled.rstrip(b" ")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys that were found, the newest first.

    Attributes:
        place: where they were found, for sentences.
        path: the file that holds them, or None where the system gave them and they cannot be
            written.
    """

    keys: tuple[Key, ...]
    place: str
    path: Path | None

    @property
    def newest(self) -> Key:
        """The key that is to be the current one."""
        return self.keys[0]

    def get(self, key_id: str) -> Key | None:
        """The key with this id."""
        return next((key for key in self.keys if key.id == key_id), None)


def read_ring(
    key_file: Path, credential: str, environment: Mapping[str, str] = os.environ
) -> KeyRing:
    """Read the keys: from the system's credential if there is one, else from the file.

    Args:
        key_file: the file; nobody but its owner may have any right on it.
        credential: its name in ``$CREDENTIALS_DIRECTORY`` (systemd.exec, "Credentials").
        environment: where that variable is looked for.

    Raises:
        CrosswalkKeyError: there is neither, or what is there cannot be used.
    """
    folder = environment.get("CREDENTIALS_DIRECTORY", "")
    given = Path(folder) / credential if folder and credential else None
    if given is not None and given.exists():
        # systemd gives the folder to the unit's user alone; the file may be the group's.
        return KeyRing(_read(given, _EVERYBODY), f"the credential '{credential}'", None)
    if not key_file.exists():
        raise CrosswalkKeyError(
            f"There is no key for the crosswalk: '{key_file}' is not there. If this node has never "
            "exported anything, make one with: secondread crosswalk key. If it has, restore the "
            "file from its backup; a new key cannot open the old crosswalk."
        )
    return KeyRing(_read(key_file, _OTHERS), f"'{key_file}'", key_file)


def key_line(key: Key) -> str:
    """A key as a line of the file or the credential."""
    return f"{key.id} {key.secret.hex()}\n"


def create_key_file(path: Path, key: Key) -> None:
    """Write a new file with one key.

    Raises:
        FileExistsError: there is one.
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = _drafted(path, [key])
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)


def put_in_front(ring: KeyRing, key: Key) -> KeyRing:
    """Write a new key into the file, before the others, which stay."""
    assert ring.path is not None
    keys = (key, *ring.keys)
    _drafted(ring.path, keys).replace(ring.path)
    sync_folder(ring.path.parent)
    return KeyRing(keys, ring.place, ring.path)


def _drafted(path: Path, keys: tuple[Key, ...] | list[Key]) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(_HEAD + "".join(map(key_line, keys)))
        file.flush()
        os.fsync(file.fileno())
    return draft


def _read(path: Path, nobody: int) -> tuple[Key, ...]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise CrosswalkKeyError(
            f"The key of the crosswalk '{path}' cannot be read: {error.strerror}. It must belong "
            "to the user that runs the node and the exports."
        ) from None
    if status.st_mode & nobody:
        raise CrosswalkKeyError(
            f"The key of the crosswalk '{path}' can be read or written by others (mode "
            f"{status.st_mode & 0o777:04o}), so it is not used. If nobody has copied it: chmod "
            f"600 '{path}'. If somebody may have: do that, then 'secondread crosswalk rotate'."
        )
    keys = tuple(_parsed(path, content.decode("ascii", "replace")))
    if not keys:
        raise CrosswalkKeyError(
            f"There is no key in '{path}'. Restore the file from its backup; if this node has "
            "never exported anything, remove it and make one with: secondread crosswalk key."
        )
    return keys


def _parsed(path: Path, text: str) -> list[Key]:
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        key = Key(bytes.fromhex(found["key"])) if found else None
        if found is None or key is None or key.id != found["id"]:
            # Not quoted: what stands there may be most of a key.
            raise CrosswalkKeyError(
                f"Line {number} of the key of the crosswalk '{path}' is damaged: it must be the "
                "id of a key, a space, and the key. Restore the file from its backup."
            )
        keys.append(key)
    return keys
