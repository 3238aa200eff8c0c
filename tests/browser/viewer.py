"""OHIF as a hospital runs it: its built files and a PACS's DICOMweb behind one address."""

from __future__ import annotations

import http.client
import http.server
import json
import mimetypes
import threading
from functools import partial
from pathlib import Path

_PROXIED = "/dicom-web/"
_ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_CONFIGURATION = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 1,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "strictZSpacingForVolumeViewport": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "pacs",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "pacs",
            "configuration": {
                "friendlyName": "PACS",
                "name": "pacs",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
                "omitQuotationForMultipartRequest": True,
                "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
            },
        }
    ],
}


class Viewer:
    """Serves the viewer's files, and hands on to the PACS what asks for DICOM; ends by ``close``.

    Args:
        files: the folder ``dist`` of ``@ohif/app``.
        pacs_port: where the PACS answers HTTP on loopback.
    """

    def __init__(self, files: Path, pacs_port: int) -> None:
        handler = partial(_Handler, files=files, pacs_port=pacs_port)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments, files: Path, pacs_port: int) -> None:
        self._files, self._pacs_port = files, pacs_port
        super().__init__(*arguments)

    def do_GET(self) -> None:
        try:
            if self.path.startswith(_PROXIED):
                self._hand_on()
            else:
                self._serve_file()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _serve_file(self) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        if name == "app-config.js":
            text = f"window.config = {json.dumps(_CONFIGURATION)};"
            self._answer(200, "text/javascript", text.encode())
            return
        path = (self._files / name).resolve()
        if not path.is_file() or not path.is_relative_to(self._files.resolve()):
            path = self._files / "index.html"
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._answer(200, kind, path.read_bytes())

    def _hand_on(self) -> None:
        asked = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        asked["Forwarded"] = f"proto=http;host={self.headers['Host']}"
        asked["Accept-Encoding"] = "identity"
        connection = http.client.HTTPConnection("127.0.0.1", self._pacs_port, timeout=60)
        try:
            connection.request("GET", self.path, headers=asked)
            answer = connection.getresponse()
            content = answer.read()
            self._answer(answer.status, answer.headers.get("Content-Type", ""), content)
        finally:
            connection.close()

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in _ISOLATION.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: a failure shows in the browser."""
