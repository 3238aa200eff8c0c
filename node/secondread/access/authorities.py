"""The CAs that peers name: which certificate did one of them sign?"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

_FILE_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _FileState:
    """What tells that a file has changed, without reading it."""

    modified_ns: int
    size_bytes: int
    inode: int


class Authorities:
    """The certificates of one PEM file, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state: _FileState | None = None
        self._certificates: tuple[x509.Certificate, ...] = ()
        self._trouble = ""
        with self._lock:
            self._refresh()

    def reject(self, leaf: bytes, now: datetime | None = None) -> str:
        """Why none of the CAs vouches for a certificate (DER), as the end of a sentence; or ''."""
        with self._lock:
            self._refresh()
            certificates, trouble = self._certificates, self._trouble
        if trouble:
            return trouble
        try:
            certificate = x509.load_der_x509_certificate(leaf)
        except ValueError:
            return "it cannot be read as a certificate"
        at = now or datetime.now(UTC)
        if not _is_valid(certificate, at):
            return "it is not valid today"
        if not any(_vouches(ca, certificate, at) for ca in certificates):
            return f"no CA in '{self._path}' has signed it"
        return ""

    def _refresh(self) -> None:
        state = self._look()
        if state is not None and state == self._state:
            return
        self._state, self._certificates, self._trouble = state, (), ""
        try:
            with self._path.open("rb") as file:
                content = file.read(_FILE_MAX_BYTES)
            self._certificates = tuple(x509.load_pem_x509_certificates(content))
        except OSError as error:
            self._trouble = f"the CA file '{self._path}' cannot be read: {error.strerror}"
        except ValueError:
            self._trouble = f"the CA file '{self._path}' holds no certificate in PEM form"

    def _look(self) -> _FileState | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return _FileState(found.st_mtime_ns, found.st_size, found.st_ino)


def _is_valid(certificate: x509.Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def _vouches(ca: x509.Certificate, leaf: x509.Certificate, at: datetime) -> bool:
    """Whether this CA signed the certificate itself, and may sign certificates (RFC 5280 4.2.1)."""
    if not _is_valid(ca, at):
        return False
    try:
        if not ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        leaf.verify_directly_issued_by(ca)
    except (x509.ExtensionNotFound, InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True
