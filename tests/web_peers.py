"""Web servers that a test tells what to answer, on loopback, with and without TLS."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread

from secondread.access.tls import server_context
from secondread.domain.web_target import TimeLimits, WebTarget
from tests.certificates import Certificates

PATIENT = TimeLimits(connect_s=5.0, each_s=30.0, whole_s=60.0)
QUICK = TimeLimits(connect_s=5.0, each_s=1.0, whole_s=20.0)
JSON = "application/dicom+json"
XML = "application/dicom+xml"


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def contents(self) -> list[bytes]:
        """The parts of a multipart body, byte for byte."""
        start = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
        message = BytesParser(policy=HTTP).parsebytes(start + self.body)
        boundary = message.get_boundary()
        assert boundary is not None
        parts = (b"\r\n" + self.body).split(b"\r\n--" + boundary.encode())
        assert (parts[0], parts[-1]) == (b"", b"--\r\n")
        return [part.split(b"\r\n\r\n", 1)[1] for part in parts[1:-1]]

    @property
    def uids(self) -> list[str]:
        """SOP Instance UIDs of the parts."""
        return [str(dcmread(BytesIO(part)).SOPInstanceUID) for part in self.contents]


@dataclass
class WebPeer:
    """A server that listens at ``port``; ``asked`` is what came, in order."""

    port: int
    scheme: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where its DICOMweb begins."""
        return f"{self.scheme}://127.0.0.1:{self.port}/dicom-web"


class Conversation(BaseHTTPRequestHandler):
    """One request, for whoever decides what is answered."""

    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        # Whoever hangs up in the middle is what some of the tests are about.
        with contextlib.suppress(OSError):
            super().handle()

    def read(self) -> bytes:
        """The body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A sound answer; ``Content_Type`` names a header."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        """End the connection at once."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


Respond = Callable[[Conversation, Asked], None]


@contextlib.contextmanager
def web_peer(
    respond: Respond, *, context: ssl.SSLContext | None = None, reads: bool = True
) -> Iterator[WebPeer]:
    """A server; without ``reads`` it is asked before the body of the request is read."""

    class Handler(Conversation):
        def _answer(self) -> None:
            body = self.read() if reads else b""
            asked = Asked(self.command, self.path, dict(self.headers.items()), body)
            peer.asked.append(asked)
            respond(self, asked)

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):  # where http.server looks for each method
                return self._answer
            raise AttributeError(name)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = super().get_request()
            if context is None:
                return connection, address
            connection.settimeout(10)
            try:
                return context.wrap_socket(connection, server_side=True), address
            except OSError:
                connection.close()
                raise

        def handle_error(self, *_: Any) -> None:
            """Nothing: a client that breaks off is no trouble of the server's."""

    server = Server(("127.0.0.1", 0), Handler)
    peer = WebPeer(server.server_address[1], "http" if context is None else "https")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def response(
    stored: Mapping[str, int] | None = None, failed: Mapping[str, int] | None = None
) -> bytes:
    """A Store Instances Response in JSON (PS3.18 10.5.3): UIDs with warning or failure reasons."""
    module = {
        "00081199": {
            "vr": "SQ",
            "Value": [_item(*one, "00081196") for one in (stored or {}).items()],
        },
        "00081198": {
            "vr": "SQ",
            "Value": [_item(*one, "00081197") for one in (failed or {}).items()],
        },
    }
    return json.dumps(module).encode()


def response_xml(
    stored: Mapping[str, int] | None = None, failed: Mapping[str, int] | None = None
) -> bytes:
    """The same as a native model (PS3.19 A.1)."""

    def sequence(tag: str, reason_tag: str, found: Mapping[str, int]) -> str:
        inner = "".join(
            f'<Item number="{at}"><DicomAttribute tag="00081155" vr="UI"><Value number="1">{uid}'
            f'</Value></DicomAttribute><DicomAttribute tag="{reason_tag}" vr="US">'
            f'<Value number="1">{reason}</Value></DicomAttribute></Item>'
            for at, (uid, reason) in enumerate(found.items(), 1)
        )
        return f'<DicomAttribute tag="{tag}" vr="SQ">{inner}</DicomAttribute>'

    return (
        '<?xml version="1.0" encoding="utf-8"?><NativeDicomModel xmlns='
        '"http://dicom.nema.org/PS3.19/models/NativeDICOM">'
        + sequence("00081199", "00081196", stored or {})
        + sequence("00081198", "00081197", failed or {})
        + "</NativeDicomModel>"
    ).encode()


def _item(uid: str, reason: int, reason_tag: str) -> dict[str, Any]:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if reason:
        item[reason_tag] = {"vr": "US", "Value": [reason]}
    return item


def uids_of(paths: list[Path]) -> list[str]:
    """Their SOP Instance UIDs."""
    return [str(dcmread(path).SOPInstanceUID) for path in paths]


def target(peer: WebPeer, limits: TimeLimits = PATIENT, **fields: Any) -> WebTarget:
    """It as a destination."""
    return WebTarget("pacs", peer.url, limits=limits, **fields)


def store_all(talk: Conversation, asked: Asked) -> None:
    """Answer as a server that stores everything."""
    talk.say(200, response(dict.fromkeys(asked.uids, 0)), Content_Type=JSON)


def make_large(path: Path, size_bytes: int) -> Path:
    """The same object with so many bytes of pixels."""
    head = path.read_bytes()
    with path.open("wb") as file:
        file.write(head[: head.index(b"\xe0\x7f\x10\x00")])
        file.write(b"\xe0\x7f\x10\x00OW\x00\x00" + size_bytes.to_bytes(4, "little"))
        file.truncate(file.tell() + size_bytes)
    return path


def server_side(certificates: Certificates) -> ssl.SSLContext:
    """A server that asks nobody for a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    return context


@contextlib.contextmanager
def tls_before(port: int, certificates: Certificates) -> Iterator[int]:
    """A TLS end that wants a certificate, in front of a plain port; gives its own port."""

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(10)
            try:
                secure = context.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                continue
            with secure, socket.create_connection(("127.0.0.1", port)) as onward:
                exchange_bytes(secure, onward)

    context = server_context(certificates.settings())
    over = threading.Event()
    thread = threading.Thread(target=serve)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


def exchange_bytes(one: socket.socket, other: socket.socket) -> None:
    """What comes from one goes to the other, until one of them has said all."""
    ends = {one: other, other: one}
    with contextlib.suppress(OSError):
        while True:
            waiting = [end for end in ends if isinstance(end, ssl.SSLSocket) and end.pending()]
            for end in waiting or select.select(list(ends), [], [], 30)[0]:
                content = end.recv(65_536)
                if not content:
                    return
                ends[end].sendall(content)
