"""``[[destinations]]`` and the tables below it: where results can go, and what proves it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from secondread.config.calls import (
    CaFile,
    CertificateShown,
    KeyShown,
    OverPlainHttp,
    ProxyAddress,
    UserShown,
)
from secondread.config.results import DestinationResults, to_form
from secondread.config.section import Section
from secondread.config.source import resolved
from secondread.config.values import (
    AeTitle,
    AeTitleOrNone,
    Fingerprint,
    HostOrNone,
    Name,
    PortOrNone,
    Username,
)
from secondread.domain.destination import (
    CallSecurity,
    Destination,
    Proof,
    ProofTerms,
    UserIdentity,
    Way,
)
from secondread.domain.drop_folder import DropFolder, Layout
from secondread.domain.network import TlsSettings
from secondread.domain.web_target import Credentials, Scheme, StowForm, TimeLimits, WebTarget

_MIB = 1024**2
_WEEK_S = 7 * 86_400
_TERMS = ProofTerms()
_STOW = StowForm()
_WEB_ANSWER_S = TimeLimits().each_s


def _check_mode(text: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", text) or int(text, 8) & 0o600 != 0o600:
        raise ValueError(
            "must be three octal digits that let the owner read and write, such as '640'"
        )
    return text


class DestinationTls(Section):
    """TLS for calls to this destination, which the table alone switches on."""

    ca: str = Field(
        "",
        description="PEM file of the CAs of which one must have signed its certificate. Empty: ca "
        "in [tls]. A relative path counts from the folder of the configuration file, here and "
        "below.",
    )
    certificate: CertificateShown = ""
    key: KeyShown = ""
    certificate_sha256: Fingerprint = Field(
        "",
        description="SHA-256 fingerprint that its certificate must have, 64 hex digits; the names "
        "in it are not looked at then. Empty: any.",
    )
    check_host: bool = Field(
        True, description="Whether its certificate must name the host that is called."
    )


class DestinationWeb(Section):
    """The DICOMweb server of a destination of kind 'stow'."""

    url: Name = Field(
        description="Where its services begin, such as 'https://pacs:8443/dicom-web'; objects go "
        "to /studies below it."
    )
    auth: Literal["none", "basic", "bearer"] = Field(
        Scheme.NONE.value,
        description="What the node shows: 'none', 'basic' (user name and password) or 'bearer' (a "
        "token). A client certificate is shown besides, where the server asks for one.",
    )
    username: UserShown = ""
    secret_file: str = Field(
        "",
        description="File with the password or the token in one line; it is read for each request, "
        "so that it can be renewed. A relative path counts from the folder of the configuration "
        "file, here and below.",
    )
    ca: CaFile = ""
    certificate: CertificateShown = ""
    key: KeyShown = ""
    over_plain_http: OverPlainHttp = False
    proxy: ProxyAddress = ""
    objects_max: int = Field(
        _STOW.objects_max, ge=1, le=10_000, description="Objects in one request."
    )
    mib_max: int = Field(
        _STOW.bytes_max // _MIB,
        ge=1,
        le=65_536,
        description="MiB in one request; an object that is larger goes alone.",
    )
    names_study: bool = Field(
        _STOW.names_study,
        description="Whether the study stands in the address, /studies/UID, as some servers want.",
    )


class DestinationFolder(Section):
    """The folder of a destination of kind 'folder'."""

    path: Name = Field(
        description="The folder; it must be there, for the node never makes it. "
        "A relative path counts from the folder of the configuration file."
    )
    layout: Literal["study", "flat"] = Field(
        Layout.STUDY.value,
        description="Where in it an object goes: 'study' is <study>/<series>/<object>.dcm, 'flat' "
        "<object>.dcm, by their UIDs.",
    )
    marker: str = Field(
        "",
        description="Name of a file that must lie in it, which a share has and the empty folder "
        "that it is mounted on has not. Empty: none.",
    )
    file_mode: Annotated[str, AfterValidator(_check_mode)] = Field(
        "640", description="Permissions of the files, three octal digits."
    )


class DestinationProof(Section):
    """How it is proven that this destination has what it was sent; docs/destinations.md tells."""

    kind: Literal["auto", "commitment", "read-back", "none"] = Field(
        _TERMS.proof.value,
        description="'commitment' is Storage Commitment, 'read-back' asks for each object (C-FIND, "
        "QIDO-RS, or the folder), 'auto' is commitment where it is offered, else read-back; with "
        "'none' the answer to the transfer is all there is.",
    )
    delay_s: float = Field(
        _TERMS.delay_s,
        ge=0,
        le=3600,
        description="Seconds after an object was sent before it is asked about, so that many go "
        "into one question.",
    )
    wait_s: float = Field(
        _TERMS.wait_s,
        ge=0,
        le=300,
        description="Seconds for which the association of a commitment request stays open for the "
        "report.",
    )
    report_timeout_s: float = Field(
        _TERMS.report_timeout_s,
        ge=1,
        le=_WEEK_S,
        description="Seconds after which a commitment report that has not come is asked for again.",
    )
    tries_max: int = Field(
        _TERMS.tries_max,
        ge=1,
        le=1000,
        description="Questions without proof after which an object waits for a person.",
    )


class DestinationRow(Section):
    """Where results can go: the PACS, a DICOMweb server, a folder, or back to the sender."""

    name: Name = Field(description="Your name for it, without '/'; must be unique.")
    kind: Literal["dicom", "stow", "folder", "sender"] = Field(
        Way.DICOM.value,
        description="'dicom' is a storage SCP, called by C-STORE; 'stow' a DICOMweb server (STOW-RS"
        ", needs [destinations.web]); 'folder' a folder (needs [destinations.folder]); 'sender' "
        "whoever of the [[peers]] sent the study, called at its host and port.",
    )
    ae_title: AeTitleOrNone = Field("", description="The AE title to call; kind 'dicom' needs it.")
    host: HostOrNone = Field("", description="Its host name or IP address; kind 'dicom' needs it.")
    port: PortOrNone = Field(0, description="Its DICOM port; kind 'dicom' needs it.")
    calling_ae_title: AeTitle | None = Field(
        None, description="What the node calls itself there. Default: the node's own AE title."
    )
    username: Username = Field(
        "", description="User name that the node gives when it opens an association. Empty: none."
    )
    passcode_file: str = Field(
        "",
        description="File with the passcode that goes with it, in one line. Empty: none. "
        "A relative path counts from the folder of the configuration file.",
    )
    timeout_s: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="Seconds to wait for a connection or an answer; for an answer of a DICOMweb "
        "server 120 unless it is set.",
    )
    attempts_max: int = Field(
        400,
        ge=1,
        le=10000,
        description="Failed tries after which an object waits for a person; 400 last four days.",
    )
    parallel: int = Field(
        1, ge=1, le=16, description="Associations or requests at a time, at the most."
    )
    tls: DestinationTls | None = Field(
        None, description="TLS for DICOM, as a table [destinations.tls] below it. Default: none."
    )
    web: DestinationWeb | None = Field(
        None, description="The DICOMweb server, as a table [destinations.web] below it."
    )
    folder: DestinationFolder | None = Field(
        None, description="The folder, as a table [destinations.folder] below it."
    )
    proof: DestinationProof = Field(
        DestinationProof.model_validate({}),
        description="How it is proven that it has what it was sent, as a table "
        "[destinations.proof] below it.",
    )
    results: DestinationResults = Field(
        DestinationResults.model_validate({}),
        description="In which form it wants its results, as a table [destinations.results] below "
        "it.",
    )


def to_destination(
    row: DestinationRow, own_ae_title: str, tls: TlsSettings, folder: Path
) -> Destination:
    """A row as a record; ``folder`` is that of the configuration file, ``tls`` the node's own.

    Raises:
        ConfigurationError: the address of a server, or a folder, cannot be used.
    """
    identity = UserIdentity(row.username, _path(folder, row.passcode_file))
    return Destination(
        name=row.name,
        way=Way(row.kind),
        ae_title=row.ae_title,
        host=row.host,
        port=row.port,
        calling_ae_title=row.calling_ae_title or own_ae_title,
        timeout_s=float(row.timeout_s),
        attempts_max=row.attempts_max,
        form=to_form(row.results),
        security=to_security(row.tls, tls, folder) if row.tls is not None else None,
        identity=identity if row.username else None,
        web=to_web_target(row, tls, folder),
        stow=_stow_form(row.web),
        folder=to_drop_folder(row, folder),
        parallel=row.parallel,
        terms=_terms(row.proof),
    )


def to_web_target(row: DestinationRow, tls: TlsSettings, folder: Path) -> WebTarget | None:
    """The server that a row names; None where it names none.

    Raises:
        ConfigurationError: the address cannot be used, or a secret would go in the clear.
    """
    table = row.web
    if table is None:
        return None
    answer_s = row.timeout_s if "timeout_s" in row.model_fields_set else _WEB_ANSWER_S
    certificate, key = _pair(table, tls, folder)
    return WebTarget(
        name=row.name,
        url=table.url,
        credentials=Credentials(
            scheme=Scheme(table.auth),
            username=table.username,
            file=_path(folder, table.secret_file),
            over_plain_http=table.over_plain_http,
        ),
        tls=TlsSettings(certificate=certificate, key=key, ca=tls.ca),
        ca=resolved(folder, table.ca) if table.ca else None,
        proxy=table.proxy,
        limits=TimeLimits(connect_s=float(row.timeout_s), each_s=float(answer_s)),
    )


def to_drop_folder(row: DestinationRow, folder: Path) -> DropFolder | None:
    """The folder that a row names; None where it names none.

    Raises:
        ConfigurationError: the marker is not the name of a file.
    """
    table = row.folder
    if table is None:
        return None
    return DropFolder(
        name=row.name,
        folder=resolved(folder, table.path),
        layout=Layout(table.layout),
        marker=table.marker,
        file_mode=int(table.file_mode, 8),
    )


def to_security(table: DestinationTls, tls: TlsSettings, folder: Path) -> CallSecurity:
    """[destinations.tls] as a record; what it leaves out is taken from [tls]."""
    certificate, key = _pair(table, tls, folder)
    return CallSecurity(
        ca=resolved(folder, table.ca) if table.ca else tls.ca,
        certificate=certificate,
        key=key,
        certificate_sha256=table.certificate_sha256,
        # A certificate that is known by its fingerprint needs no name.
        checks_host=table.check_host and not table.certificate_sha256,
    )


def _pair(
    table: DestinationTls | DestinationWeb, tls: TlsSettings, folder: Path
) -> tuple[Path, Path]:
    """The certificate to show and its key: the table's own, or those of [tls]."""
    if table.certificate:
        return resolved(folder, table.certificate), _path(folder, table.key)
    return tls.certificate, tls.key


def _stow_form(table: DestinationWeb | None) -> StowForm:
    if table is None:
        return StowForm()
    return StowForm(table.objects_max, table.mib_max * _MIB, table.names_study)


def _terms(table: DestinationProof) -> ProofTerms:
    return ProofTerms(
        proof=Proof(table.kind),
        delay_s=float(table.delay_s),
        wait_s=float(table.wait_s),
        report_timeout_s=float(table.report_timeout_s),
        tries_max=table.tries_max,
    )


def _path(folder: Path, text: str) -> Path:
    return resolved(folder, text) if text else Path()
