"""Why a TLS handshake failed, in words for the administrator."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import MappingProxyType

# OpenSSL's names of what it saw itself, or of the alert that the other side sent.
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": "it does not speak TLS on this port; it may mean the plain port",
        "HTTP_REQUEST": "it speaks HTTP, not DICOM over TLS",
        "UNSUPPORTED_PROTOCOL": "it offers no TLS newer than 1.1, which is not safe; it needs 1.2",
        "NO_SHARED_CIPHER": "it offers no cipher that BCP 195 allows",
        "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate; give it one and its key",
        "UNEXPECTED_EOF_WHILE_READING": "it hung up in the middle of the handshake; it may not "
        "speak TLS on this port, or it refuses the node's certificate without a word",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for the node's certificate; set "
        "'certificate' and 'key' in [tls]",
        "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA of the node's certificate; give it that "
        "CA's certificate",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that the node's certificate has expired; renew "
        "it, or compare the clocks",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept the node's certificate",
        "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept the node's certificate; look at its "
        "names and dates",
        "SSLV3_ALERT_HANDSHAKE_FAILURE": "it accepts none of the node's ciphers, or asks for a "
        "certificate that the node does not show",
        "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no TLS newer than 1.1, which is not safe",
    }
)
_MISMATCH = "its certificate names another host than the one that is called"
# X509_V_ERR_..., what the check of the other side's certificate found.
_CHECKS: Mapping[int, str] = MappingProxyType(
    {
        9: "its certificate is not valid yet; compare the clocks",
        10: "its certificate has expired; it needs a new one",
        18: "its certificate is signed by itself, and is not in the CA file",
        19: "its certificate comes from a CA that is not in the CA file",
        20: "its certificate comes from a CA that is not in the CA file",
        26: "its certificate is not meant for this side of TLS (extended key usage)",
        62: _MISMATCH,
        64: _MISMATCH,
        66: "its key is too weak; it needs RSA of 2048 bits or more, or an elliptic curve",
        68: "its certificate is signed with SHA-1 or weaker; it needs SHA-256 or better",
    }
)


def describe_failure(error: OSError) -> str:
    """What is wrong with the other side, from what the handshake or the first reading raised.

    It goes on from "... failed: " and has no full stop. In TLS 1.3 a client has finished its
    handshake before the server looks at its certificate, so the server's refusal comes with the
    first answer that is read.
    """
    if isinstance(error, TimeoutError):
        return "it did not finish the handshake in time"
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _CHECKS:
        return _CHECKS[error.verify_code]
    if isinstance(error, ssl.SSLEOFError):
        return _REASONS["UNEXPECTED_EOF_WHILE_READING"]
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "unknown reason"
        return _REASONS.get(reason, f"OpenSSL says '{reason.replace('_', ' ').lower()}'")
    if isinstance(error, ConnectionError):
        return "it broke the connection in the middle of the handshake"
    return error.strerror or "unknown reason"
