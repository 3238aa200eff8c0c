"""The container's health check: does the node listen?

It opens a connection and no association, so that the audit trail stays free of it. Whether
destinations answer is the business of ``secondread doctor``: a PACS that is down is no reason to
restart the node.
"""

from __future__ import annotations

import socket

from secondread.config.load import load

TIMEOUT_S = 5.0

settings = load(None)
host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
# A node without a plain port has the one for TLS.
port = settings.port or settings.tls.port
socket.create_connection((host, port), TIMEOUT_S).close()
