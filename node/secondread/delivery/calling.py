"""From a destination as it is configured to a call: whom, how safely, and as whom.

The files are read for each call, so that a certificate or a passcode can be renewed under the
running node, and one that is missing is tried again like a destination that is down.
"""

from __future__ import annotations

from pathlib import Path

from secondread.access.tls import client_context
from secondread.delivery.address import Address
from secondread.delivery.association import Identity
from secondread.delivery.reach import Security
from secondread.domain.destination import Destination
from secondread.domain.network import TlsSettings
from secondread.errors import ConfigurationError, PeerRefusedError, PeerUnreachableError

_PASSCODE_BYTES_MAX = 1024


def address_of(destination: Destination) -> Address:
    """Whom to call for a DICOM destination, and as whom.

    Raises:
        PeerRefusedError: it has no port, as a peer that results are to go back to but whose own
            port nobody has entered.
    """
    if not (destination.host and destination.port):
        raise PeerRefusedError(
            f"Nobody has entered at which host and port '{destination.name}' can be called: enter "
            "'host' and 'port' for it, and send again."
        )
    return Address(
        host=destination.host,
        port=destination.port,
        called=destination.ae_title,
        calling=destination.calling_ae_title,
        timeout_s=destination.timeout_s,
    )


def security_of(destination: Destination) -> Security | None:
    """TLS for a DICOM destination; None is plain DICOM.

    Raises:
        PeerUnreachableError: a file is missing, unreadable or not what it should be.
    """
    asked = destination.security
    if asked is None:
        return None
    settings = TlsSettings(certificate=asked.certificate, key=asked.key, ca=asked.ca)
    try:
        context = client_context(settings, check_hostname=asked.checks_host)
    except ConfigurationError as error:
        raise PeerUnreachableError(f"TLS of destination '{destination.name}': {error}") from None
    return Security(context, asked.certificate != Path(), asked.certificate_sha256)


def identity_of(destination: Destination) -> Identity | None:
    """The user that the node is at a DICOM destination; None is nobody.

    Raises:
        PeerUnreachableError: the passcode cannot be read.
    """
    asked = destination.identity
    if asked is None:
        return None
    if asked.passcode_file == Path():
        return Identity(asked.username)
    where = f"the passcode of destination '{destination.name}', '{asked.passcode_file}',"
    try:
        with asked.passcode_file.open("rb") as file:
            content = file.read(_PASSCODE_BYTES_MAX + 1)
        passcode = content.decode().strip("\r\n")
    except OSError as error:
        raise PeerUnreachableError(
            f"The file with {where} cannot be read ({error.strerror}): put it back, or give the "
            "node's user the right to read it."
        ) from None
    except UnicodeDecodeError:
        passcode = ""
    if not passcode or "\n" in passcode or len(content) > _PASSCODE_BYTES_MAX:
        raise PeerUnreachableError(f"The file with {where} must hold the passcode in one line.")
    return Identity(asked.username, passcode)
