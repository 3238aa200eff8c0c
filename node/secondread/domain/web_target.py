"""A DICOMweb server, and how the node calls it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from secondread.domain.network import TlsSettings
from secondread.errors import ConfigurationError

PORTS = {"http": 80, "https": 443}
VISIBLE = re.compile(r"[\x21-\x7e]+")
"""What may stand in an address or a token (RFC 9110 5.5, without the blank)."""


class Scheme(StrEnum):
    """How the node says who it is; a client certificate is shown besides."""

    NONE = "none"
    BASIC = "basic"
    """User name and password (RFC 7617)."""
    BEARER = "bearer"
    """A token (RFC 6750)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the node shows; the secret is read from its file for each request, so it can be renewed.

    Attributes:
        scheme: which kind.
        username: for ``basic``.
        file: holds the password or the token, in one line.
        over_plain_http: whether they may go over a network without TLS.
    """

    scheme: Scheme = Scheme.NONE
    username: str = ""
    file: Path = Path()
    over_plain_http: bool = False


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds for a TCP connection, for each read or write, and for a request as a whole."""

    connect_s: float = 10.0
    each_s: float = 120.0
    whole_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class WebTarget:
    """A DICOMweb server.

    Attributes:
        name: the administrator's, for sentences.
        url: where its services begin, such as ``https://pacs:8443/dicom-web``.
        credentials: what the node shows.
        tls: the node's own certificate, to be shown, and the CA that is trusted; for ``https``.
        ca: the CA of the server's certificate, where it is not the one in ``tls``.
        proxy: ``host:port`` of a proxy without a password; "" is none.
        limits: how long things may take.

    Raises:
        ConfigurationError: the address cannot be used, or a secret would go in the clear.
    """

    name: str
    url: str
    credentials: Credentials = field(default_factory=Credentials)
    tls: TlsSettings | None = None
    ca: Path | None = None
    proxy: str = ""
    limits: TimeLimits = field(default_factory=TimeLimits)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def secure(self) -> bool:
        """Whether it is ``https``."""
        return urlsplit(self.url).scheme == "https"

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or PORTS[parts.scheme]

    @property
    def root(self) -> str:
        """The path of the address, without a slash at its end."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def shown(self) -> str:
        """It, for sentences."""
        return f"'{self.name}' at {self.url}"


@dataclass(frozen=True, slots=True)
class StowForm:
    """How a server wants its requests.

    Attributes:
        objects_max: in one request.
        bytes_max: in one request; an object that is larger goes alone.
        names_study: whether the study stands in the address, ``/studies/{uid}``.
    """

    objects_max: int = 100
    bytes_max: int = 256 * 1024**2
    names_study: bool = False


def _check(target: WebTarget) -> None:
    where = f"'url' of destination '{target.name}'"
    try:
        parts = urlsplit(target.url)
        port_ok = parts.port != 0
    except ValueError:
        raise ConfigurationError(
            f"{where} is not an address such as https://pacs/dicom-web."
        ) from None
    if parts.scheme not in PORTS or not parts.hostname or not port_ok:
        raise ConfigurationError(f"{where} must be like https://pacs:8443/dicom-web.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{where} may hold neither a user name nor '?' nor '#'; credentials have settings of "
            "their own."
        )
    if not VISIBLE.fullmatch(target.url):
        raise ConfigurationError(f"{where} holds a blank or a letter beyond ASCII; escape it.")
    if target.proxy:
        split_proxy(target.proxy)
    credentials = target.credentials
    shows_secret = credentials.scheme is not Scheme.NONE and not credentials.over_plain_http
    if shows_secret and parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"The credentials of destination '{target.name}' would go over the network in the "
            f"clear: use https:// in {where}, or allow it with 'over_plain_http'."
        )
    if ":" in credentials.username:  # RFC 7617 2
        raise ConfigurationError(
            f"The user name of destination '{target.name}' may not hold a colon."
        )


def split_proxy(proxy: str) -> tuple[str, int]:
    """Host and port of a proxy.

    Raises:
        ConfigurationError: it is not ``host:port``.
    """
    try:
        parts = urlsplit(f"//{proxy}")
        if parts.hostname and parts.port and parts.netloc == proxy and "@" not in proxy:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise ConfigurationError("'proxy' must be host:port, such as proxy.hospital.example:3128.")


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
