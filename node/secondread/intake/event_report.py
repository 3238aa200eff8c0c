"""Sending the result of a storage commitment request, as N-EVENT-REPORT.

The report goes out on an association that the node opens, with itself as SCP of the service
(PS3.4 J.3.3.1.3 note, PS3.7 D.3.3.4). A peer that leaves the role selection unanswered gets it all
the same, as many products do.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pynetdicom import AE, _config
from pynetdicom.dsutils import decode
from pynetdicom.presentation import build_context, build_role

from secondread.dicom.commitment_report import (
    STORAGE_COMMITMENT_PUSH,
    WELL_KNOWN_INSTANCE,
    event_information,
    event_type,
)
from secondread.dicom.messages import MESSAGE_SYNTAXES
from secondread.dicom.rejections import why_rejected
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.domain.commitment import Result
from secondread.errors import PeerRefusedError, PeerUnreachableError
from secondread.intake.dimse import SUCCESS


@dataclass(frozen=True, slots=True)
class ReportAddress:
    """Whom to call, and as whom; ``tls`` where only TLS will do; the time-out is in seconds."""

    host: str
    port: int
    called: str
    calling: str
    tls: ssl.SSLContext | None = None
    timeout_s: float = 20.0


def send_event_report(address: ReportAddress, result: Result) -> None:
    """Report a result on a new association; returns when the peer has confirmed it.

    Raises:
        PeerUnreachableError: nobody answered, or not in time.
        PeerRefusedError: the peer refused the association, the service or the report.
    """
    association = _associate(address)
    try:
        syntax = association.accepted_contexts[0].transfer_syntax[0]
        content = event_information(result, str(syntax))
        # Decoding converts nothing: what pynetdicom encodes again are these bytes.
        data_set = decode(BytesIO(content), syntax.is_implicit_VR, syntax.is_little_endian)
        answer, _ = association.send_n_event_report(
            data_set, event_type(result), STORAGE_COMMITMENT_PUSH, WELL_KNOWN_INSTANCE
        )
    finally:
        if association.is_established:
            association.release()
    status = getattr(answer, "Status", None)
    if status is None:
        raise PeerUnreachableError(f"{_shown(address)} did not answer the commitment report.")
    if status != SUCCESS:
        raise PeerRefusedError(
            f"{_shown(address)} answered the commitment report with 0x{status:04X}."
        )


def _associate(address: ReportAddress) -> Any:
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    _config.LOG_HANDLER_LEVEL = "none"
    entity = AE(address.calling)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.acse_timeout = entity.dimse_timeout = address.timeout_s
    entity.connection_timeout = entity.network_timeout = address.timeout_s
    association = entity.associate(
        address.host,
        address.port,
        contexts=[build_context(STORAGE_COMMITMENT_PUSH, list(MESSAGE_SYNTAXES[:2]))],
        ae_title=address.called,
        ext_neg=[build_role(STORAGE_COMMITMENT_PUSH, scp_role=True)],
        tls_args=None if address.tls is None else (address.tls, address.host),
    )
    if association.is_established:
        return association
    if association.is_rejected:
        answer: Any = association.acceptor.primitive
        why = why_rejected(answer.result_source, answer.diagnostic)
        raise PeerRefusedError(f"{_shown(address)} rejected the association {why}.")
    if association.rejected_contexts:
        raise PeerRefusedError(f"{_shown(address)} does not take commitment reports.")
    raise PeerUnreachableError(_diagnosis(address))


def _diagnosis(address: ReportAddress) -> str:
    """Why there was no association, as far as one more connection can tell."""
    try:
        socket.create_connection((address.host, address.port), timeout=address.timeout_s).close()
    except socket.gaierror:
        return f"The name '{address.host}' is not known; correct the host in [[peers]]."
    except TimeoutError:
        return f"{address.host}:{address.port} does not answer; is a firewall between?"
    except OSError as error:
        return f"Nobody listens at {address.host}:{address.port} ({error.strerror})."
    return f"{_shown(address)} broke off the association."


def _shown(address: ReportAddress) -> str:
    return f"'{address.called}' at {address.host}:{address.port}"
