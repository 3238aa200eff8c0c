"""Certificate files: what they say, and which of them a person must soon renew."""

from __future__ import annotations

import datetime as dt
import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from secondread.domain.destination import CallSecurity, Destination
from secondread.errors import ConfigurationError

if TYPE_CHECKING:
    from secondread.config.settings import Settings

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is read from an X.509 certificate.

    Attributes:
        subject: whose it is, as RFC 4514 writes names.
        issuer: who signed it.
        sha256: the fingerprint of the whole certificate, 64 hex digits.
        not_before: seconds since the epoch at which it begins to be valid.
        not_after: seconds since the epoch at which it ends.
    """

    subject: str
    issuer: str
    sha256: str
    not_before: float
    not_after: float

    def days_left(self, now: float) -> float:
        """Days until it ends, negative afterwards; ``now`` in seconds since the epoch."""
        return (self.not_after - now) / _DAY_S


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A file of certificates that the node is configured with.

    Attributes:
        use: ``own``, ``ca``, ``peer`` or ``destination``; the label of its metric.
        where: the place in the configuration, such as ``'certificate' in [tls]``.
        path: the PEM file.
        consequence: what happens once it has expired.
    """

    use: str
    where: str
    path: Path
    consequence: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something about a certificate file that a person must mend.

    ``over`` says that it is too late, rather than soon: the file is missing, broken or expired.
    """

    use: str
    sentence: str
    remedy: str
    over: bool


def read_file(path: Path, where: str) -> bytes:
    """The content of a file.

    Raises:
        ConfigurationError: it is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        told = "is not there"
    except PermissionError:
        told = "may not be read by the user that runs the node"
    except OSError as error:
        told = f"cannot be read ({error.strerror})"
    raise ConfigurationError(f"The file '{path}' {told}. Correct it, or {where}.")


def read_certificates(path: Path, where: str) -> tuple[Certificate, ...]:
    """All certificates of a PEM file, in its order; ``where`` is where the file is configured.

    Raises:
        ConfigurationError: the file is not there, cannot be read or holds no certificate.
    """
    content = read_file(path, where)
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ConfigurationError(
            f"The file '{path}' holds no PEM certificate, which begins with '-----BEGIN "
            f"CERTIFICATE-----'. Correct it, or {where}."
        ) from None
    return tuple(map(_understand, found))


def _understand(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        sha256=certificate.fingerprint(SHA256()).hex(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def certificate_files(settings: Settings) -> Iterator[CertificateFile]:
    """Every certificate file that the configuration names."""
    tls = settings.tls
    if tls.certificate != Path():
        yield CertificateFile(
            "own", "'certificate' in [tls]", tls.certificate, "peers refuse to talk TLS to the node"
        )
    if tls.ca != Path():
        yield CertificateFile(
            "ca",
            "'ca' in [tls]",
            tls.ca,
            "the node refuses every caller whose certificate it signed",
        )
    for peer in settings.peers:
        if peer.certificate_ca:
            yield CertificateFile(
                "peer",
                f"'certificate_ca' of peer '{peer.name}'",
                Path(peer.certificate_ca),
                f"the node refuses peer '{peer.name}'",
            )
    for destination in settings.destinations:
        yield from _of_destination(destination, frozenset({tls.certificate, tls.ca, Path()}))


def _of_destination(destination: Destination, known: frozenset[Path]) -> Iterator[CertificateFile]:
    """The files that a destination names itself, of those that are not ``known``."""
    security, table = destination.security, "tls"
    if destination.web is not None:
        web, table = destination.web, "web"
        security = CallSecurity(web.ca or Path(), web.tls.certificate if web.tls else Path())
    if security is None:
        return
    for key, path, consequence in (
        ("certificate", security.certificate, "refuses the node"),
        ("ca", security.ca, "is refused by the node"),
    ):
        if path not in known:
            yield CertificateFile(
                "destination",
                f"'{key}' in [destinations.{table}] of '{destination.name}'",
                path,
                f"destination '{destination.name}' {consequence}",
            )


def find_troubles(settings: Settings, now: float, warn_days: float) -> list[Trouble]:
    """What is wrong with the certificate files, or will be within ``warn_days``."""
    troubles = []
    for file in certificate_files(settings):
        try:
            certificates = read_certificates(file.path, file.where)
        except ConfigurationError as error:
            remedy = f"Put the right file there, or correct {file.where}."
            troubles.append(Trouble(file.use, str(error), remedy, over=True))
            continue
        for certificate in certificates:
            trouble = _trouble(file, certificate, now, warn_days)
            if trouble is not None:
                troubles.append(trouble)
    return troubles


def expiring(settings: Settings, now: float, warn_days: float) -> list[str]:
    """One sentence for each trouble of ``find_troubles``, for the log and the audit trail."""
    return [trouble.sentence for trouble in find_troubles(settings, now, warn_days)]


def days_left(settings: Settings, now: float) -> dict[str, float]:
    """For each use of a certificate, the days until the first of that use ends.

    A file that cannot be read counts as ended now.
    """
    least: dict[str, float] = {}
    for file in certificate_files(settings):
        try:
            certificates = read_certificates(file.path, file.where)
            days = min(certificate.days_left(now) for certificate in certificates)
        except ConfigurationError:
            days = 0.0
        least[file.use] = min(days, least.get(file.use, math.inf))
    return least


def remark_on_key(path: Path) -> str:
    """A sentence if every user of the machine may read a private key, else nothing.

    A group may: Debian's ``ssl-cert`` lets services read keys that way.
    """
    try:
        mode = path.stat().st_mode
    except OSError:  # missing or out of reach: ``access.tls`` says so
        return ""
    if mode & stat.S_IROTH:
        return f"Every user of this machine may read the private key '{path}'."
    return ""


def _trouble(
    file: CertificateFile, certificate: Certificate, now: float, warn_days: float
) -> Trouble | None:
    shown = f"The certificate of '{certificate.subject}' in '{file.path}' ({file.where})"
    remedy = "Put a new certificate into the file; the node reads it again by itself."
    days = certificate.days_left(now)
    if days <= 0:
        told = f"expired on {_day(certificate.not_after)}; {file.consequence}."
    elif certificate.not_before > now:
        told = (
            f"is valid only from {_day(certificate.not_before)} on; until then {file.consequence}."
        )
        remedy = "Compare with the machine's clock, or put back the certificate that it replaced."
    elif days <= warn_days:
        told = (
            f"ends on {_day(certificate.not_after)}, in {math.ceil(days)} days; after that "
            f"{file.consequence}."
        )
        return Trouble(file.use, f"{shown} {told}", remedy, over=False)
    else:
        return None
    return Trouble(file.use, f"{shown} {told}", remedy, over=True)


def _day(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d")
