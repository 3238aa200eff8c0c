"""Who vouches for a package: an Ed25519 signature over ``model.toml``, in a file beside it.

``model.toml`` names the digest of every other file, so a signature over it covers the package.
The file ``model.toml.sig`` is TOML: ``algorithm``, ``key``, the id of the key, and ``signature``,
the 64 bytes of RFC 8032 in base64. The id of a key is sha256 over its
SubjectPublicKeyInfo (RFC 8410) in DER, in hex: what
``openssl pkey -pubin -in FILE -outform DER | sha256sum`` prints.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from secondread.bundles.package import MANIFEST_NAME
from secondread.config.first_party import first_party_root
from secondread.domain.packages import PackageTerms
from secondread.errors import ConfigurationError, ManifestError

SIGNATURE_NAME = f"{MANIFEST_NAME}.sig"
ALGORITHM = "Ed25519"
_FILE_MAX_BYTES = 64 * 1024
_SHOWN = 16
_KEY_ID = re.compile(r"[0-9a-f]{64}")


class Trust(StrEnum):
    """How a package stands; what is wrong is a ``ManifestError`` instead."""

    SIGNED = "signed"
    """By a key that the operator trusts."""
    UNKNOWN_KEY = "signed by an unknown key"
    """Nobody can say whether the signature is right."""
    UNSIGNED = "not signed"
    FIRST_PARTY = "comes with SecondRead"
    """Without a signature of its own."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who vouches for a package; ``key`` is the id of the key that signed, or empty."""

    trust: Trust
    key: str = ""

    @property
    def sentence(self) -> str:
        """For people, without a full stop."""
        return f"{self.trust}, {self.key[:_SHOWN]}…" if self.key else str(self.trust)


@dataclass(frozen=True, slots=True)
class _Signature:
    key: str
    value: bytes


def check_signature(folder: Path, digest: str, terms: PackageTerms) -> Vouched:
    """Look at the signature of the package whose ``model.toml`` had this digest when it was read.

    A signature of a trusted key that is wrong is refused even where none is demanded.

    Raises:
        ManifestError: it is wrong or damaged, or the operator demands one that is not there.
        ConfigurationError: the file of a trusted key cannot be used.
    """
    content = _read(folder / MANIFEST_NAME, folder)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ManifestError(f"'{folder / MANIFEST_NAME}' has changed while it was read; try again.")
    exempt = terms.trust_first_party and is_first_party(folder)
    path = folder / SIGNATURE_NAME
    if not path.exists() and not path.is_symlink():
        if exempt:
            return Vouched(Trust.FIRST_PARTY)
        if terms.require_signature:
            raise ManifestError(
                f"The package in '{folder}' has no signature, and [packages] demands one. Ask its "
                f"maker for {SIGNATURE_NAME}."
            )
        return Vouched(Trust.UNSIGNED)
    signature = _parsed(path, folder)
    key = read_public_keys(terms.trusted_keys).get(signature.key)
    if key is None:
        if terms.require_signature and not exempt:
            raise ManifestError(
                f"The package in '{folder}' was signed with the key {signature.key[:_SHOWN]}…, "
                "which is none of the trusted_keys in [packages]."
            )
        return Vouched(Trust.UNKNOWN_KEY, signature.key)
    try:
        key.verify(signature.value, content)
    except InvalidSignature:
        raise ManifestError(
            f"The signature of the package in '{folder}' is wrong: its {MANIFEST_NAME} is not what "
            f"the key {signature.key[:_SHOWN]}… signed. Get the package anew from its maker."
        ) from None
    return Vouched(Trust.SIGNED, signature.key)


def is_first_party(folder: Path) -> bool:
    """Whether a package is one of those that come with SecondRead."""
    return folder.resolve().parent == first_party_root().resolve()


def sign(folder: Path, key_file: Path) -> str:
    """Write the signature of a package, and return the id of the key.

    Args:
        folder: of the package.
        key_file: a private key in PEM (PKCS #8), without a password.

    Raises:
        ManifestError: the package or the key cannot be used.
    """
    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ManifestError(
            f"'{key_file}' is not an Ed25519 private key in PEM without a password. Make one with: "
            "openssl genpkey -algorithm ed25519 -out FILE."
        )
    value = base64.b64encode(key.sign(_read(folder / MANIFEST_NAME, folder))).decode("ascii")
    name = key_id(key.public_key())
    text = f'algorithm = "{ALGORITHM}"\nkey = "{name}"\nsignature = "{value}"\n'
    (folder / SIGNATURE_NAME).write_text(text, encoding="ascii")
    return name


def key_id(key: Ed25519PublicKey) -> str:
    """By which id a key is called in signatures."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def read_public_keys(files: Iterable[str]) -> Mapping[str, Ed25519PublicKey]:
    """The keys of these PEM files, by id.

    Raises:
        ConfigurationError: one cannot be read, or is no Ed25519 key.
    """
    keys = {}
    for file in files:
        try:
            key = load_pem_public_key(Path(file).read_bytes())
        except OSError as error:
            raise ConfigurationError(
                f"The trusted key '{file}' in [packages] cannot be read: {error.strerror}."
            ) from None
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigurationError(
                f"The trusted key '{file}' in [packages] is not an Ed25519 public key in PEM."
            )
        keys[key_id(key)] = key
    return keys


def _read(path: Path, folder: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise ManifestError(f"There is no {path.name} in '{folder}' that can be read.") from None


def _parsed(path: Path, folder: Path) -> _Signature:
    damaged = ManifestError(
        f"The {SIGNATURE_NAME} in '{folder}' is damaged: it has to hold the texts algorithm = "
        f'"{ALGORITHM}", key and signature. Get the package anew from its maker.'
    )
    if path.is_symlink() or path.stat().st_size > _FILE_MAX_BYTES:
        raise damaged
    try:
        row = tomllib.loads(_read(path, folder).decode("ascii"))
        key, value = row["key"], base64.b64decode(row["signature"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise damaged from None
    if row.get("algorithm") != ALGORITHM or not _KEY_ID.fullmatch(str(key)):
        raise damaged
    return _Signature(key, value)
