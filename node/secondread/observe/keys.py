"""Short keyed names that stand for studies in logs, and the secret behind them."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from secondread.errors import LedgerError

SECRET_NAME = "secret.key"
SECRET_BYTES = 32
_KEY_DIGITS = 12
_PATIENT_MARK = b"patient mark"


def study_key(uid: str, secret: bytes) -> str:
    """Twelve hexadecimal digits that stand for a UID; without the secret they lead nowhere.

    A plain hash would not do: the UIDs of a site can be guessed and tried.
    """
    return hmac.new(secret, uid.encode(), hashlib.sha256).hexdigest()[:_KEY_DIGITS]


def patient_mark(patient_id: str, issuer: str, secret: bytes) -> str:
    """64 hexadecimal digits that stand for a patient; '' where there is no Patient ID.

    Without the issuer a Patient ID names different people in different places, so that two issuers
    give two marks, and an issuer that is absent gives a third.
    """
    patient_id, issuer = patient_id.strip(), issuer.strip()
    if not patient_id:
        return ""
    # The length keeps an ID that ends like an issuer from being taken for one with that issuer.
    said = f"{len(issuer)} {issuer}{patient_id}".encode()
    # A key of its own: a Patient ID that looks like a UID must not give a name of the log.
    key = hmac.new(secret, _PATIENT_MARK, hashlib.sha256).digest()
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def read_secret(data_dir: Path) -> bytes:
    """The node's secret, 32 random bytes; made once, readable by its owner only.

    Several processes may call this at the same time: all get the same secret.

    Raises:
        LedgerError: it cannot be read or written, or is too short to be one.
    """
    path = data_dir / SECRET_NAME
    try:
        if not path.exists():
            _create(path)
        secret = path.read_bytes()
    except OSError as error:
        raise LedgerError(
            f"The node's secret '{path}' cannot be used: {error.strerror}. "
            "The folder must belong to the user that runs the node."
        ) from None
    if len(secret) < SECRET_BYTES:
        raise LedgerError(
            f"The node's secret '{path}' is damaged: it has {len(secret)} bytes instead of "
            f"{SECRET_BYTES}. Restore it from a backup, or remove it and a new one is made; "
            "old log lines then no longer match."
        )
    return secret


def _create(path: Path) -> None:
    """Write aside, then link into place: linking fails where another process was first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
