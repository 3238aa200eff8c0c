"""One HTTP request to a DICOMweb server: TLS, credentials, a deadline, and nothing on its own.

It is ``http.client`` on a socket of ours. No redirect is followed, no proxy is taken from the
environment, nothing is kept between two requests, and the answer has a greatest size. An answer
that comes while the body is still on its way is read, and the rest of the body stays here.
"""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from secondread import __version__
from secondread.access.tls import client_context
from secondread.delivery.handshake import NotTlsError
from secondread.delivery.web_line import Line
from secondread.delivery.web_wording import describe_tls_trouble
from secondread.delivery.wording import (
    NobodyThereError,
    connection_trouble,
    is_nobody_there,
    unknown_name,
)
from secondread.domain.network import TlsSettings
from secondread.domain.web_target import PORTS, VISIBLE, Scheme, WebTarget, split_proxy
from secondread.errors import ConfigurationError, PeerRefusedError, PeerUnreachableError

ANSWER_BYTES_MAX = 16 * 1024**2
_READ_BYTES = 65_536
_SECRET_BYTES_MAX = 16 * 1024
_RETRY_AFTER_MAX_S = 86_400.0
_WITH_CONTENT = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)


class Body(Protocol):
    """What is sent; its size is known before."""

    @property
    def size_bytes(self) -> int:
        """Bytes in all."""

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """The bytes, in parts of a moderate size."""


class Sink(Protocol):
    """Takes the body of a 200 or 206 part by part, so that nobody holds it as a whole."""

    def begin(self, content_type: str) -> None:
        """Told the Content-Type field, "" where there is none, before the first part."""

    def write(self, part: bytes) -> None:
        """The next part. What it raises ends the request, and must be no OSError."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request; ``path`` follows the address of the target.

    With a ``sink`` the body of a success goes there, whatever its size, and not into the answer.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Body | None = None
    sink: Sink | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said.

    Attributes:
        status: of HTTP.
        media_type: of the body, in lower case and without parameters; "" where it names none.
        body: at most so long as was allowed.
        retry_after_s: seconds after which it wants to be asked again, or None.
        location: where it sends on to, as ``scheme://host:port`` alone; or "".
    """

    status: int
    media_type: str
    body: bytes
    retry_after_s: float | None = None
    location: str = ""


def exchange(
    target: WebTarget, request: Request, *, answer_bytes_max: int = ANSWER_BYTES_MAX
) -> Answer:
    """Send a request and read its answer, whatever its status.

    Raises:
        PeerUnreachableError: there is no connection, it broke, or it took too long; or a file with
            a secret or a certificate cannot be used for now.
        PeerRefusedError: what answers is no web server, or is not the one that is trusted.
        DeliveryError: what ``request.body`` raised.
    """
    deadline = time.monotonic() + target.limits.whole_s
    authorisation = _authorisation(target)
    connection = _connect(target)
    with closing(connection):
        line = Line(connection, target.limits.each_s, deadline)
        try:
            if target.proxy and target.secure:
                _ask_proxy(target, line)
            if target.secure:
                _start_tls(target, line)
            return _converse(target, request, authorisation, line, answer_bytes_max)
        except TimeoutError:
            late = time.monotonic() >= deadline
            limit_s = target.limits.whole_s if late else target.limits.each_s
            raise PeerUnreachableError(
                f"{target.shown} did not answer in time ({limit_s:g} s); it may hang, or the limit "
                "is too short for objects of this size."
            ) from None
        except ssl.SSLError as error:
            raise describe_tls_trouble(error, target.shown, _shows_certificate(target)) from None
        except (http.client.RemoteDisconnected, http.client.IncompleteRead, OSError):
            raise PeerUnreachableError(f"{target.shown}: the connection broke.") from None
        except http.client.HTTPException:
            raise PeerRefusedError(
                f"{target.shown} does not answer in HTTP. If it speaks TLS on this port, write "
                "https:// in 'url'; else correct the port."
            ) from None
        finally:
            line.hang_up()


def _converse(
    target: WebTarget, request: Request, authorisation: str, line: Line, answer_bytes_max: int
) -> Answer:
    host, port = target.place
    web = http.client.HTTPConnection(host, port)
    web.sock = line
    path = f"{target.root}{request.path}"
    if target.proxy and not target.secure:
        path = f"http://{urlsplit(target.url).netloc}{path}"
    web.putrequest(request.method, path)
    web.putheader("User-Agent", f"SecondRead/{__version__}")
    web.putheader("Connection", "close")
    if authorisation:
        web.putheader("Authorization", authorisation)
    for name, value in request.headers.items():
        web.putheader(name, value)
    if request.body is not None:
        web.putheader("Content-Length", str(request.body.size_bytes))
    web.endheaders()
    whole = all(line.send_unless_answered(part) for part in request.body or ())
    response = web.getresponse()
    with closing(response):
        if request.sink is not None and response.status in _WITH_CONTENT:
            _pour(response, request.sink)
        answer = _read_answer(target, response, answer_bytes_max)
    if not whole and answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise PeerUnreachableError(
            f"{target.shown} answered {answer.status} before it had everything; what it has kept "
            "is not known."
        )
    return answer


def _pour(response: http.client.HTTPResponse, sink: Sink) -> None:
    """Have a sink take the body; what is left of the response has none."""
    sink.begin(response.headers.get("Content-Type") or "")
    while part := response.read1(_READ_BYTES):
        sink.write(part)
    if response.length:
        raise http.client.IncompleteRead(b"")


def _read_answer(
    target: WebTarget, response: http.client.HTTPResponse, answer_bytes_max: int
) -> Answer:
    parts, size_bytes = [], 0
    while part := response.read1(_READ_BYTES):
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > answer_bytes_max:
            raise PeerUnreachableError(
                f"{target.shown} answers with more than {answer_bytes_max // 1024**2} MiB, which "
                "nobody asked for; see its log."
            )
    if response.length:
        raise http.client.IncompleteRead(b"")
    return Answer(
        response.status,
        (response.headers.get("Content-Type") or "").split(";")[0].strip().lower(),
        b"".join(parts),
        read_retry_after_s(response.headers.get("Retry-After")),
        origin_of(response.headers.get("Location")),
    )


def _connect(target: WebTarget) -> socket.socket:
    host, port = split_proxy(target.proxy) if target.proxy else target.place
    try:
        connection = socket.create_connection((host, port), timeout=target.limits.connect_s)
    except socket.gaierror as error:
        why = unknown_name(host, error)
    except UnicodeError:  # no name of the DNS, such as 'pacs..example'
        why = unknown_name(host, socket.gaierror())
    except OSError as error:
        why = connection_trouble(error, host, port)
        if is_nobody_there(error):
            raise NobodyThereError(f"{target.shown}: {why}") from None
    else:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    raise PeerUnreachableError(f"{target.shown}: {why}")


def _ask_proxy(target: WebTarget, line: Line) -> None:
    """Have the proxy connect us (RFC 9110 9.3.6)."""
    host, port = target.place
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    line.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode("ascii"))
    response = http.client.HTTPResponse(_as_socket(line), method="CONNECT")
    with closing(response):
        response.begin()
        if response.status != HTTPStatus.OK:
            raise PeerUnreachableError(
                f"{target.shown}: the proxy {target.proxy} answered {response.status} instead of "
                "connecting; correct 'proxy', or have the address allowed there."
            )


def _as_socket(line: Line) -> Any:
    """http.client asks no more of a socket than a line has."""
    return line


def _start_tls(target: WebTarget, line: Line) -> None:
    settings = target.tls or TlsSettings()
    try:
        context = client_context(settings, ca=target.ca)
    except ConfigurationError as error:
        raise PeerUnreachableError(f"{target.shown} cannot be called: {error}") from None
    has_certificate = _shows_certificate(target)
    try:
        line.start_tls(context, target.place[0], has_certificate)
    except (ssl.SSLCertVerificationError, NotTlsError, PeerRefusedError) as error:
        raise describe_tls_trouble(error, target.shown, has_certificate) from None


def _shows_certificate(target: WebTarget) -> bool:
    return target.tls is not None and target.tls.certificate != Path()


def _authorisation(target: WebTarget) -> str:
    """The Authorization field; "" without one."""
    credentials = target.credentials
    if credentials.scheme is Scheme.NONE:
        return ""
    secret = _read_secret(target)
    if credentials.scheme is Scheme.BEARER:
        if not VISIBLE.fullmatch(secret):
            raise PeerUnreachableError(
                f"The file '{credentials.file}' for {target.shown} does not hold a token: one line "
                "without blanks. Put the token there."
            )
        return f"Bearer {secret}"
    pair = f"{credentials.username}:{secret}".encode()
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


def _read_secret(target: WebTarget) -> str:
    path = target.credentials.file
    try:
        with path.open("rb") as file:
            content = file.read(_SECRET_BYTES_MAX + 1)
        secret = content.decode("utf-8").strip("\r\n")
    except OSError as error:
        told = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        told = "is not text in UTF-8"
    else:
        if secret and len(content) <= _SECRET_BYTES_MAX and secret.isprintable():
            return secret
        told = "does not hold one line of text"
    raise PeerUnreachableError(
        f"The file '{path}' with the secret for {target.shown} {told}; put it right, and delivery "
        "goes on by itself."
    )


def read_retry_after_s(text: str | None) -> float | None:
    """A Retry-After field (RFC 9110 10.2.3), seconds or a date, as seconds; at most a day."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _RETRY_AFTER_MAX_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=dt.UTC)
    seconds = (at - dt.datetime.now(dt.UTC)).total_seconds()
    return min(max(seconds, 0.0), _RETRY_AFTER_MAX_S)


def origin_of(location: str | None) -> str:
    """Scheme, host and port of an address: its path may hold UIDs, its query a token."""
    if not location:
        return ""
    try:
        parts = urlsplit(location)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host or parts.scheme not in PORTS or not VISIBLE.fullmatch(host):
        return ""
    return f"{parts.scheme}://{host[:128]}{f':{port}' if port else ''}"
