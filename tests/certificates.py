"""A certificate authority, and good, expired and foreign certificates as PEM files."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secondread.domain.network import TlsSettings

_CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, each a PEM file."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of one authority and of strangers.

    ``server`` and ``client`` are good and signed by ``ca``, as are the two that have expired.
    ``other_client`` is signed by ``other_ca``, ``self_signed`` by itself; the node knows neither.
    """

    folder: Path
    kind: str
    ca: Pair
    server: Pair
    client: Pair
    expired_server: Pair
    expired_client: Pair
    other_ca: Pair
    other_client: Pair
    self_signed: Pair

    def settings(self, port: int = 0, warn_days: int = 30) -> TlsSettings:
        """The node's TLS settings with the good server certificate."""
        return TlsSettings(
            port, self.server.certificate, self.server.key, self.ca.certificate, warn_days
        )

    def issue(
        self, name: str, *, days: tuple[float, float] = (-1, 365), ca: Pair | None = None
    ) -> Pair:
        """One more certificate, valid from and until so many days from now."""
        return issue(self.folder, name, self.kind, days=days, ca=ca or self.ca)


def make_certificates(folder: Path, kind: str = "rsa") -> Certificates:
    """Make all of them, with keys of kind ``rsa`` (2048 bit) or ``ec`` (P-256)."""
    folder.mkdir(parents=True, exist_ok=True)
    ca = issue(folder, "ca", kind)
    other_ca = issue(folder, "other-ca", kind)
    return Certificates(
        folder=folder,
        kind=kind,
        ca=ca,
        server=issue(folder, "server", kind, ca=ca),
        client=issue(folder, "client", kind, ca=ca),
        expired_server=issue(folder, "expired-server", kind, ca=ca, days=(-30, -1)),
        expired_client=issue(folder, "expired-client", kind, ca=ca, days=(-30, -1)),
        other_ca=other_ca,
        other_client=issue(folder, "other-client", kind, ca=other_ca),
        self_signed=issue(folder, "self-signed", kind),
    )


def issue(
    folder: Path,
    name: str,
    kind: str = "rsa",
    *,
    days: tuple[float, float] = (-1, 365),
    ca: Pair | None = None,
) -> Pair:
    """Write ``name.pem`` and ``name.key``; without ``ca`` it is signed by itself.

    A name that ends in "ca" makes an authority.
    """
    key = _make_key(kind)
    certificate = _sign(name, key, days, ca)
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    pair.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    pair.key.touch(mode=0o600)
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pair


def fingerprint(path: Path) -> str:
    """The SHA-256 fingerprint of a PEM certificate, 64 hex digits."""
    return x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256()).hex()


def _make_key(kind: str) -> Key:
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, 1024 if kind == "rsa-1024" else 2048)


def _sign(name: str, key: Key, days: Sequence[float], ca: Pair | None) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    subject = _name(name)
    issuer, signing_key = subject, key
    if ca is not None:
        issuer = x509.load_pem_x509_certificate(ca.certificate.read_bytes()).subject
        loaded = load_pem_private_key(ca.key.read_bytes(), None)
        assert isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        signing_key = loaded
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    is_ca = name.endswith("ca")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
            critical=False,
        )
    )
    if is_ca:
        builder = builder.add_extension(_CA_USAGE, critical=True)
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
    return builder.sign(signing_key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test Hospital"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
